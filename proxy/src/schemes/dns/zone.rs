//! What is true of the names that are answered for. Pure: the addresses come in as an argument.

use std::net::IpAddr;

use super::super::Family;
use hickory_server::proto::op::{LowerQuery, ResponseCode};
use hickory_server::proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_server::proto::rr::{DNSClass, LowerName, Name, RData, Record, RecordType};

/// How often a secondary would ask again, in seconds. There is none: zones are not transferred.
const REFRESH: i32 = 3600;
const RETRY: i32 = 600;
const EXPIRE: i32 = 86_400;

/// One configured name: a zone with an apex and nothing below it, but perhaps the name of its server.
#[derive(Debug)]
pub(super) struct Zone {
    apex: LowerName,
    /// The pool whose backends it stands for.
    pub(super) pool: Box<str>,
    nameservers: Vec<Name>,
    /// Where the servers are whose names lie in this zone.
    glue: Vec<IpAddr>,
    serial: u32,
    /// Seconds.
    ttl: u32,
}

/// Gives the addresses of one family of the backends of a zone's pool that are to be named; `None` if no backend can be
/// named now.
pub(super) type Backends<'a> = dyn Fn(&Zone, Family) -> Option<Vec<IpAddr>> + 'a;

/// What a zone is made of, beside its name and pool.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Empty: `ns.` before the name of each zone.
    pub(super) nameservers: Vec<Name>,
    pub(super) glue: Vec<IpAddr>,
    pub(super) serial: u32,
    pub(super) ttl: u32,
}

/// The answer to a question, without the message around it.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) code: ResponseCode,
    pub(super) authoritative: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    pub(super) additionals: Vec<Record>,
}

impl Reply {
    pub(super) fn error(code: ResponseCode) -> Self {
        Self { code, authoritative: false, answers: Vec::new(), authorities: Vec::new(), additionals: Vec::new() }
    }
}

impl Zone {
    pub(super) fn new(name: &Name, pool: Box<str>, terms: Terms) -> Self {
        let own = || name.prepend_label("ns").into_iter().collect();
        let nameservers = if terms.nameservers.is_empty() { own() } else { terms.nameservers };
        Self { apex: name.into(), pool, nameservers, glue: terms.glue, serial: terms.serial, ttl: terms.ttl }
    }

    fn answer(&self, query: &LowerQuery, backends: &Backends<'_>) -> Reply {
        // As the client spelled it: resolvers vary the case of letters and compare.
        let name = &query.original().name;
        let apex = name.trim_to(usize::from(self.apex.num_labels()));
        if *query.name() == self.apex {
            return self.at_apex(query.query_type(), name, backends);
        }
        if self.own_nameservers().any(|own| LowerName::from(own) == *query.name()) {
            let wanted = families(query.query_type());
            let glue = self.glue.iter().filter(|address| wanted.iter().any(|family| family.has(address)));
            return self.found(&apex, addresses(name, self.ttl, glue));
        }
        // Nothing is below a name without children (RFC 8020).
        Reply { code: ResponseCode::NXDomain, ..self.found(&apex, Vec::new()) }
    }

    fn at_apex(&self, wanted: RecordType, name: &Name, backends: &Backends<'_>) -> Reply {
        match wanted {
            RecordType::A | RecordType::AAAA | RecordType::ANY => {
                // Who wants ANY gets one type only (RFC 8482 4.1), so that a small question has no large answer.
                let found = families(wanted).iter().map(|family| backends(self, *family));
                match found.reduce(|first, second| first.filter(|first| !first.is_empty()).or(second)).flatten() {
                    Some(found) => self.found(name, addresses(name, self.ttl, found.iter())),
                    // Not that there are none: a resolver should keep what it has, or ask another server.
                    None => Reply { authoritative: true, ..Reply::error(ResponseCode::ServFail) },
                }
            }
            RecordType::SOA => self.found(name, vec![self.soa(name)]),
            RecordType::NS => Reply { additionals: self.glue_records(), ..self.found(name, self.ns(name)) },
            _ => self.found(name, Vec::new()),
        }
    }

    /// A name that is there. Without records of the wanted type, the SOA says for how long that may be believed
    /// (RFC 2308 3).
    fn found(&self, apex: &Name, answers: Vec<Record>) -> Reply {
        let authorities = if answers.is_empty() { vec![self.soa(apex)] } else { Vec::new() };
        Reply { code: ResponseCode::NoError, authoritative: true, answers, authorities, additionals: Vec::new() }
    }

    fn soa(&self, apex: &Name) -> Record {
        let primary = self.nameservers.first().cloned().unwrap_or_else(|| apex.clone());
        let mailbox = Name::from(&self.apex).prepend_label("hostmaster").unwrap_or_else(|_| apex.clone());
        let soa = SOA::new(primary, mailbox, self.serial, REFRESH, RETRY, EXPIRE, self.ttl);
        Record::from_rdata(apex.clone(), self.ttl, RData::SOA(soa))
    }

    fn ns(&self, apex: &Name) -> Vec<Record> {
        let record = |server: &Name| Record::from_rdata(apex.clone(), self.ttl, RData::NS(NS(server.clone())));
        self.nameservers.iter().map(record).collect()
    }

    fn own_nameservers(&self) -> impl Iterator<Item = &Name> {
        self.nameservers.iter().filter(|server| self.apex.zone_of(&LowerName::from(*server)))
    }

    fn glue_records(&self) -> Vec<Record> {
        self.own_nameservers().flat_map(|server| addresses(server, self.ttl, self.glue.iter())).collect()
    }
}

/// Answers a question from the zones.
pub(super) fn answer(zones: &[Zone], query: &LowerQuery, backends: &Backends<'_>) -> Reply {
    let transfers = matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR);
    let zone = zones
        .iter()
        .filter(|zone| zone.apex.zone_of(query.name()))
        // One configured name may lie below another.
        .max_by_key(|zone| zone.apex.num_labels());
    match zone {
        Some(zone) if query.query_class() == DNSClass::IN && !transfers => zone.answer(query, backends),
        _ => Reply::error(ResponseCode::Refused),
    }
}

/// The families that answer a question; the first that has any does.
fn families(wanted: RecordType) -> &'static [Family] {
    match wanted {
        RecordType::A => &[Family::V4],
        RecordType::AAAA => &[Family::V6],
        RecordType::ANY => &[Family::V4, Family::V6],
        _ => &[],
    }
}

fn addresses<'a>(name: &Name, ttl: u32, addresses: impl Iterator<Item = &'a IpAddr>) -> Vec<Record> {
    let data = |address: &IpAddr| match address {
        IpAddr::V4(v4) => RData::A(A(*v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(*v6)),
    };
    addresses.map(|address| Record::from_rdata(name.clone(), ttl, data(address))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_server::proto::op::Query;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn zones() -> Vec<Zone> {
        let terms = Terms { nameservers: Vec::new(), glue: vec![[192, 0, 2, 53].into()], serial: 7, ttl: 5 };
        let foreign = Terms { nameservers: vec![name("ns1.example.net.")], ..terms.clone() };
        vec![
            Zone::new(&name("ws.example.com."), "default".into(), terms),
            Zone::new(&name("eu.ws.example.com."), "europe".into(), foreign),
        ]
    }

    fn ask(question: &str, wanted: RecordType, backends: &[&str]) -> Reply {
        let query = LowerQuery::query(Query::query(name(question), wanted));
        let backends: Vec<IpAddr> = backends.iter().map(|address| address.parse().unwrap()).collect();
        answer(&zones(), &query, &|_, family| {
            let of_family = backends.iter().filter(|address| family.has(address)).copied().collect();
            (!backends.is_empty()).then_some(of_family)
        })
    }

    fn lines(records: &[Record]) -> Vec<String> {
        records.iter().map(ToString::to_string).collect()
    }

    const BOTH: [&str; 3] = ["192.0.2.1", "2001:db8::1", "192.0.2.2"];

    #[test]
    fn the_name_has_the_addresses_of_backends_in_their_order_and_as_it_was_spelled() {
        let reply = ask("Ws.eXample.com.", RecordType::A, &BOTH);
        assert_eq!((reply.code, reply.authoritative), (ResponseCode::NoError, true));
        assert_eq!(lines(&reply.answers), ["Ws.eXample.com. 5 IN A 192.0.2.1", "Ws.eXample.com. 5 IN A 192.0.2.2"]);
        let reply = ask("ws.example.com.", RecordType::AAAA, &BOTH);
        assert_eq!(lines(&reply.answers), ["ws.example.com. 5 IN AAAA 2001:db8::1"]);
    }

    #[test]
    fn a_type_that_is_not_there_is_no_data_and_says_for_how_long() {
        for (wanted, backends) in [(RecordType::AAAA, &BOTH[..1]), (RecordType::TXT, &BOTH[..]), (RecordType::MX, &[])]
        {
            let reply = ask("ws.example.com.", wanted, backends);
            assert_eq!((reply.code, reply.answers.len()), (ResponseCode::NoError, 0));
            assert_eq!(
                lines(&reply.authorities),
                ["ws.example.com. 5 IN SOA ns.ws.example.com. hostmaster.ws.example.com. 7 3600 600 86400 5"]
            );
        }
    }

    #[test]
    fn a_name_below_is_not_there() {
        let reply = ask("x.ws.example.com.", RecordType::A, &BOTH);
        assert_eq!((reply.code, reply.authoritative, reply.answers.len()), (ResponseCode::NXDomain, true, 0));
        assert!(lines(&reply.authorities)[0].starts_with("ws.example.com. 5 IN SOA "));
    }

    #[test]
    fn without_a_backend_the_server_fails_rather_than_to_deny_the_name() {
        assert_eq!(ask("ws.example.com.", RecordType::A, &[]).code, ResponseCode::ServFail);
    }

    #[test]
    fn names_of_others_are_refused() {
        for question in ["example.com.", "com.", ".", "aws.example.com.", "ws.example.org."] {
            let reply = ask(question, RecordType::A, &BOTH);
            assert_eq!(reply, Reply::error(ResponseCode::Refused), "{question}");
        }
    }

    #[test]
    fn transfers_and_other_classes_are_refused() {
        for wanted in [RecordType::AXFR, RecordType::IXFR] {
            assert_eq!(ask("ws.example.com.", wanted, &BOTH).code, ResponseCode::Refused);
        }
        let mut query = Query::query(name("ws.example.com."), RecordType::A);
        query.set_query_class(DNSClass::CH);
        let reply = answer(&zones(), &LowerQuery::query(query), &|_, _| unreachable!("nobody is named"));
        assert_eq!(reply.code, ResponseCode::Refused);
    }

    #[test]
    fn the_zone_names_its_servers_and_says_where_its_own_is() {
        let reply = ask("ws.example.com.", RecordType::NS, &[]);
        assert_eq!(lines(&reply.answers), ["ws.example.com. 5 IN NS ns.ws.example.com."]);
        assert_eq!(lines(&reply.additionals), ["ns.ws.example.com. 5 IN A 192.0.2.53"]);
        let glue = ask("ns.ws.example.com.", RecordType::A, &[]);
        assert_eq!(lines(&glue.answers), ["ns.ws.example.com. 5 IN A 192.0.2.53"]);
        let none = ask("ns.ws.example.com.", RecordType::AAAA, &[]);
        assert_eq!((none.code, none.answers.len(), none.authorities.len()), (ResponseCode::NoError, 0, 1));
    }

    #[test]
    fn a_name_below_another_is_a_zone_of_its_own() {
        let reply = ask("eu.ws.example.com.", RecordType::NS, &[]);
        assert_eq!(lines(&reply.answers), ["eu.ws.example.com. 5 IN NS ns1.example.net."]);
        assert_eq!(reply.additionals, [], "their addresses are others' to tell");
        assert_eq!(ask("ns.eu.ws.example.com.", RecordType::A, &BOTH).code, ResponseCode::NXDomain);
        assert_eq!(lines(&ask("eu.ws.example.com.", RecordType::SOA, &[]).answers).len(), 1);
    }

    #[test]
    fn any_gets_one_type() {
        assert_eq!(ask("ws.example.com.", RecordType::ANY, &BOTH).answers.len(), 2);
        let v6 = ask("ws.example.com.", RecordType::ANY, &["2001:db8::1"]);
        assert_eq!(lines(&v6.answers), ["ws.example.com. 5 IN AAAA 2001:db8::1"]);
    }
}

//! One resolution of a name: from records to backends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{RData, Record, RecordType};

use crate::config::{BackendConfig, DEFAULT_WEIGHT, DnsName};

/// The least time for which an answer counts, whatever its time to live: a name is asked once a second at most.
const LEAST: Duration = Duration::from_secs(1);
/// The longest, so that a mistake in a zone does not last for days.
const MOST: Duration = Duration::from_secs(300);
/// When a name is asked again that could not be resolved.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// How long a server may take for an answer, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// The most that a backend's weight can be.
const HEAVIEST: u32 = 256;

/// What a name stands for.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub(super) backends: Vec<BackendConfig>,
    /// How long that counts.
    pub(super) lasts: Duration,
}

/// Resolves a name once. An answer without a record is an error: a name that stood for backends and now for none is
/// likelier to be a mistake, and sessions without a backend are no use to anybody.
pub(super) async fn resolve(name: &DnsName, server: Option<SocketAddr>) -> Result<Found, NetError> {
    // Anew each time: the system's configuration may have changed, and what is cached is old.
    let resolver = resolver(server)?;
    match name {
        DnsName::Srv(name) => {
            let services = records(&resolver, name, RecordType::SRV).await?;
            from_services(&services, &targets(&resolver, &services).await?)
        }
        DnsName::Host { name, port } => Ok(from_addresses(&addresses(&resolver, name).await?, *port)),
    }
}

/// The address records of a name.
async fn addresses(resolver: &TokioResolver, name: &str) -> Result<Vec<Record>, NetError> {
    either(tokio::join!(records(resolver, name, RecordType::A), records(resolver, name, RecordType::AAAA)))
}

/// The address records of the targets of SRV records, asked of the server that named them: it may be the only one that
/// knows them. A target without any is left out.
async fn targets(resolver: &TokioResolver, services: &[Record]) -> Result<Targets, NetError> {
    let names: BTreeSet<_> = services.iter().filter_map(service).map(|service| service.target.to_ascii()).collect();
    let ask = async |name: String| match addresses(resolver, &name).await {
        Err(error) if error.is_no_records_found() => Ok((name, Vec::new())),
        found => Ok((name, found?)),
    };
    futures_util::future::try_join_all(names.into_iter().map(ask)).await.map(Targets::from_iter)
}

/// Address records by name.
type Targets = BTreeMap<String, Vec<Record>>;

fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let mut builder = match server {
        None => TokioResolver::builder_tokio()?,
        Some(server) => {
            let mut config = NameServerConfig::udp_and_tcp(server.ip());
            config.connections.iter_mut().for_each(|connection| connection.port = server.port());
            let config = ResolverConfig::from_name_servers(vec![config]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    (options.cache_size, options.timeout, options.attempts) = (0, PATIENCE, ATTEMPTS);
    builder.build()
}

async fn records(resolver: &TokioResolver, name: &str, kind: RecordType) -> Result<Vec<Record>, NetError> {
    Ok(resolver.lookup(name, kind).await?.answers().to_vec())
}

/// What there is of both families. That there is none of one is no failure; that its server fails is one, for the
/// answer would seem to have shrunk.
fn either(both: (Result<Vec<Record>, NetError>, Result<Vec<Record>, NetError>)) -> Result<Vec<Record>, NetError> {
    match both {
        (Ok(mut v4), Ok(v6)) => {
            v4.extend(v6);
            Ok(v4)
        }
        (Ok(one), Err(none)) | (Err(none), Ok(one)) if none.is_no_records_found() => Ok(one),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn from_addresses(records: &[Record], port: u16) -> Found {
    Found { backends: once_each(backends_at(records, port).collect()), lasts: lasts(records.iter()) }
}

fn backends_at(records: &[Record], port: u16) -> impl Iterator<Item = BackendConfig> {
    let address = |record: &Record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    let addresses = records.iter().filter_map(address);
    addresses.map(move |ip| BackendConfig::new(SocketAddr::new(ip, port).into()))
}

/// In an order of ours: servers rotate their answers.
fn once_each(mut backends: Vec<BackendConfig>) -> Vec<BackendConfig> {
    backends.sort_unstable_by(|a, b| (&a.id, a.priority).cmp(&(&b.id, b.priority)));
    backends.dedup_by(|later, first| later.id == first.id);
    backends
}

/// Fails if no target has an address.
fn from_services(records: &[Record], targets: &Targets) -> Result<Found, NetError> {
    let services: Vec<_> = records.iter().filter_map(service).collect();
    let mut heaviest: BTreeMap<u16, u16> = BTreeMap::new();
    for service in &services {
        let most = heaviest.entry(service.priority).or_default();
        *most = service.weight.max(*most);
    }
    let of_service = |service: &&SRV| {
        let (weight, priority) = (weight(service.weight, heaviest[&service.priority]), service.priority);
        let found = targets.get(&service.target.to_ascii()).map(Vec::as_slice).unwrap_or_default();
        let backends = backends_at(found, service.port);
        backends.map(move |backend| BackendConfig { weight, priority, ..backend }).collect::<Vec<_>>()
    };
    let backends = once_each(services.iter().flat_map(of_service).collect());
    if backends.is_empty() {
        return Err(NetError::from("no target of its SRV records has an address"));
    }
    Ok(Found { backends, lasts: lasts(records.iter().chain(targets.values().flatten())) })
}

/// The service that a record names. A target `.` says that there is none (RFC 2782).
fn service(record: &Record) -> Option<&SRV> {
    match &record.data {
        RData::SRV(service) if !service.target.is_root() => Some(service),
        _ => None,
    }
}

/// An SRV weight of 0 to 65535 as one of ours. 0 beside others is a very small chance, not none (RFC 2782).
fn weight(weight: u16, heaviest: u16) -> u16 {
    if heaviest == 0 {
        return DEFAULT_WEIGHT;
    }
    let scaled = (u32::from(weight) * HEAVIEST).div_ceil(u32::from(heaviest)).clamp(1, HEAVIEST);
    u16::try_from(scaled).expect("at most 256")
}

fn lasts<'a>(records: impl Iterator<Item = &'a Record>) -> Duration {
    let least = records.map(|record| record.ttl).min().unwrap_or_default();
    Duration::from_secs(least.into()).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::rr::Name;
    use hickory_resolver::proto::rr::rdata::A;

    fn service(priority: u16, weight: u16, target: &str, ttl: u32) -> Record {
        let target = Name::from_ascii(target).unwrap();
        Record::from_rdata(Name::root(), ttl, RData::SRV(SRV::new(priority, weight, 9001, target)))
    }

    fn address(last: u8, ttl: u32) -> Record {
        Record::from_rdata(Name::root(), ttl, RData::A(A::new(10, 0, 0, last)))
    }

    /// `a.test.` at 10.0.0.1, and so on.
    fn targets() -> Targets {
        ["a.test.", "b.test.", "c.test.", "d.test.", "e.test."]
            .into_iter()
            .zip(1..)
            .map(|(name, last)| (name.to_owned(), vec![address(last, 3600)]))
            .collect()
    }

    fn summary(found: &Found) -> Vec<(&str, u16, u16)> {
        found.backends.iter().map(|backend| (&*backend.id, backend.priority, backend.weight)).collect()
    }

    #[test]
    fn weights_are_scaled_within_their_priority() {
        let records = [
            service(10, 600, "a.test.", 60),
            service(10, 200, "b.test.", 60),
            service(10, 0, "c.test.", 60),
            service(20, 0, "d.test.", 60),
            service(20, 0, "e.test.", 60),
        ];
        let expected = [
            ("10.0.0.1:9001", 10, 256),
            ("10.0.0.2:9001", 10, 86),
            ("10.0.0.3:9001", 10, 1),
            ("10.0.0.4:9001", 20, 100),
            ("10.0.0.5:9001", 20, 100),
        ];
        assert_eq!(summary(&from_services(&records, &targets()).unwrap()), expected);
    }

    #[test]
    fn a_service_without_an_address_is_none() {
        let known = service(0, 1, "a.test.", 60);
        let found = from_services(&[known, service(0, 1, "nobody.test.", 60)], &targets()).unwrap();
        assert_eq!(summary(&found), [("10.0.0.1:9001", 0, 256)]);
        for none in [service(0, 1, "nobody.test.", 60), service(0, 0, ".", 60)] {
            assert!(from_services(&[none], &targets()).is_err());
        }
    }

    #[test]
    fn an_answer_counts_as_long_as_its_shortest_record_within_bounds() {
        let of = |ttls: &[u32]| lasts(ttls.iter().map(|ttl| address(1, *ttl)).collect::<Vec<_>>().iter()).as_secs();
        assert_eq!([of(&[60, 20, 300]), of(&[0]), of(&[86_400]), of(&[])], [20, 1, 300, 1]);
    }

    #[test]
    fn each_address_is_a_backend_in_an_order_of_ours() {
        let found = from_addresses(&[address(2, 5), address(1, 5), address(2, 5)], 9001);
        assert_eq!(summary(&found), [("10.0.0.1:9001", 0, 100), ("10.0.0.2:9001", 0, 100)]);
    }
}

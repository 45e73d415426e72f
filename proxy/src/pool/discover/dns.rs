//! One resolution of a name: from records to backends.

use std::collections::BTreeMap;
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
        DnsName::Srv(name) => Ok(from_services(&records(&resolver, name, RecordType::SRV).await?)),
        DnsName::Host { name, port } => {
            let both =
                tokio::join!(records(&resolver, name, RecordType::A), records(&resolver, name, RecordType::AAAA));
            Ok(from_addresses(&either(both)?, *port))
        }
    }
}

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
    let address = |record: &Record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    let mut addresses: Vec<_> = records.iter().filter_map(address).map(|ip| SocketAddr::new(ip, port)).collect();
    // Servers rotate their answers; the order of a list says nothing here.
    addresses.sort_unstable();
    addresses.dedup();
    let backends = addresses.into_iter().map(|address| BackendConfig::new(address.into())).collect();
    Found { backends, lasts: lasts(records) }
}

fn from_services(records: &[Record]) -> Found {
    let service = |record: &Record| match &record.data {
        // A target `.` says that there is no such service (RFC 2782).
        RData::SRV(service) if !service.target.is_root() => Some(service.clone()),
        _ => None,
    };
    let services: Vec<_> = records.iter().filter_map(service).collect();
    let mut heaviest: BTreeMap<u16, u16> = BTreeMap::new();
    for service in &services {
        let most = heaviest.entry(service.priority).or_default();
        *most = service.weight.max(*most);
    }
    let mut backends: Vec<_> =
        services.iter().filter_map(|service| of_service(service, heaviest[&service.priority])).collect();
    backends.sort_unstable_by(|a, b| (a.priority, &a.id).cmp(&(b.priority, &b.id)));
    backends.dedup_by(|a, b| a.id == b.id);
    Found { backends, lasts: lasts(records) }
}

fn of_service(service: &SRV, heaviest: u16) -> Option<BackendConfig> {
    let target = service.target.to_ascii();
    let url = format!("ws://{}:{}", target.trim_end_matches('.'), service.port).parse().ok()?;
    let weight = weight(service.weight, heaviest);
    Some(BackendConfig { weight, priority: service.priority, ..BackendConfig::new(url) })
}

/// An SRV weight of 0 to 65535 as one of ours. 0 beside others is a very small chance, not none (RFC 2782).
fn weight(weight: u16, heaviest: u16) -> u16 {
    if heaviest == 0 {
        return DEFAULT_WEIGHT;
    }
    let scaled = (u32::from(weight) * HEAVIEST).div_ceil(u32::from(heaviest)).clamp(1, HEAVIEST);
    u16::try_from(scaled).expect("at most 256")
}

fn lasts(records: &[Record]) -> Duration {
    let least = records.iter().map(|record| record.ttl).min().unwrap_or_default();
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
            ("a.test:9001", 10, 256),
            ("b.test:9001", 10, 86),
            ("c.test:9001", 10, 1),
            ("d.test:9001", 20, 100),
            ("e.test:9001", 20, 100),
        ];
        assert_eq!(summary(&from_services(&records)), expected);
        assert!(from_services(&[service(0, 0, ".", 60)]).backends.is_empty(), "no such service");
    }

    #[test]
    fn an_answer_counts_as_long_as_its_shortest_record_within_bounds() {
        let lasts = |ttls: &[u32]| {
            from_services(&ttls.iter().map(|ttl| service(0, 0, "a.test.", *ttl)).collect::<Vec<_>>()).lasts.as_secs()
        };
        assert_eq!([lasts(&[60, 20, 300]), lasts(&[0]), lasts(&[86_400]), lasts(&[])], [20, 1, 300, 1]);
    }

    #[test]
    fn each_address_is_a_backend_in_an_order_of_its_own() {
        let record = |last| Record::from_rdata(Name::root(), 5, RData::A(A::new(10, 0, 0, last)));
        let [one, two] = [record(1), record(2)];
        let found = from_addresses(&[two.clone(), one.clone(), two], 9001);
        assert_eq!(summary(&found), [("10.0.0.1:9001", 0, 100), ("10.0.0.2:9001", 0, 100)]);
    }
}

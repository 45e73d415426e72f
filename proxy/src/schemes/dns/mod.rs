//! A responder of the DNS: configured names have the addresses of the least loaded backends (`--dns-listen`).
//!
//! Authoritative, without recursion and without transfers. It runs on the supervisor's runtime, never on a worker.

mod names;
mod respond;
mod socket;
mod zone;

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::Name;
use tokio::time::sleep;

use super::counts::DnsAnswer;
use super::limiter::{Limiter, Prefixes};
use super::{Family, Schemes};
use crate::config::DnsConfig;
use names::Names;
use respond::{Channel, respond};
use socket::Sockets;
use zone::{Terms, Zone};

/// What one site has. Source addresses by UDP can be invented, so a whole site shares its rate.
const SITES: Prefixes = Prefixes { v4: 24, v6: 56 };
/// How often the names of backends are resolved.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);

/// The responder with its sockets open.
#[derive(Debug)]
pub struct Dns {
    sockets: Vec<Sockets>,
    responder: Arc<Responder>,
}

/// Answers questions.
#[derive(Debug)]
struct Responder {
    zones: Vec<Zone>,
    schemes: Arc<Schemes>,
    limiter: Limiter,
    names: Names,
    /// Backends in an answer.
    answers: usize,
    /// Whether the next datagram beyond a site's rate is dropped; every other one is told to ask by TCP.
    drop_next: AtomicBool,
}

impl Dns {
    /// Opens the sockets.
    ///
    /// # Errors
    /// As the system has it; the text names the flag.
    pub fn bind(config: &DnsConfig, schemes: Arc<Schemes>) -> io::Result<Self> {
        let sockets: Vec<Sockets> =
            config.listen.iter().map(|address| Sockets::bind(*address)).collect::<Result<_, _>>()?;
        let responder = Arc::new(Responder::new(config, schemes));
        Ok(Self { sockets, responder })
    }

    /// Where it answers: ports with their numbers.
    ///
    /// # Errors
    /// As the system has it.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.sockets.iter().map(Sockets::address).collect()
    }

    /// Answers for ever, on this runtime.
    pub async fn serve(self) {
        for sockets in self.sockets {
            let responder = self.responder.clone();
            tokio::spawn(async move {
                if let Err(error) = sockets.serve(responder).await {
                    tracing::error!(%error, "the DNS cannot be answered");
                }
            });
        }
        loop {
            self.responder.names.refresh(self.responder.hosts()).await;
            sleep(RESOLVE_EVERY).await;
        }
    }
}

impl Responder {
    fn new(config: &DnsConfig, schemes: Arc<Schemes>) -> Self {
        let parse = |name: &String| Name::from_ascii(format!("{name}.")).expect("a name that was judged");
        let terms = Terms {
            nameservers: config.nameservers.iter().map(parse).collect(),
            glue: config.listen.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).collect(),
            serial: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as u32,
            ttl: config.ttl.as_secs() as u32,
        };
        let zone =
            |name: &crate::config::DnsZone| Zone::new(&parse(&name.name), name.pool.as_str().into(), terms.clone());
        Self {
            zones: config.names.iter().map(zone).collect(),
            schemes,
            limiter: Limiter::new(NonZeroU32::new(config.rate).unwrap_or(NonZeroU32::MIN), SITES),
            names: Names::default(),
            answers: config.answers,
            drop_next: AtomicBool::new(false),
        }
    }

    /// The names of hosts that answers may need.
    fn hosts(&self) -> HashSet<String> {
        let pools: HashSet<&str> = self.zones.iter().map(|zone| &*zone.pool).collect();
        pools.into_iter().flat_map(|pool| self.schemes.hosts(pool)).collect()
    }

    fn answer(&self, message: Vec<u8>, client: SocketAddr, channel: Channel) -> Option<Vec<u8>> {
        let (bytes, code) =
            respond(&self.zones, message, (client, channel), &|zone, family| self.backends(zone, family))?;
        self.schemes.counts.dns(match code {
            _ if channel == Channel::Shortened => DnsAnswer::Shortened,
            ResponseCode::NoError => DnsAnswer::Answered,
            ResponseCode::NXDomain => DnsAnswer::NoName,
            ResponseCode::Refused => DnsAnswer::Refused,
            ResponseCode::ServFail => DnsAnswer::NoBackend,
            _ => DnsAnswer::Bad,
        });
        Some(bytes)
    }

    /// As [`Responder::answer`], within the rate. Of what is beyond it, every other one gets an answer that is no longer
    /// than the question, so that an honest client comes back by TCP, and nobody is flooded in whose name is asked.
    fn answer_datagram(&self, message: &[u8], client: SocketAddr) -> Option<Vec<u8>> {
        if self.limiter.check(client.ip()).is_ok() {
            return self.answer(message.to_vec(), client, Channel::Udp);
        }
        if self.drop_next.fetch_xor(true, Ordering::Relaxed) {
            self.schemes.counts.dns(DnsAnswer::Dropped);
            return None;
        }
        self.answer(message.to_vec(), client, Channel::Shortened)
    }

    fn backends(&self, zone: &Zone, family: Family) -> Option<Vec<IpAddr>> {
        let resolve = |host: &str| self.names.get(host);
        self.schemes.addresses(&zone.pool, (family, self.answers), resolve, Instant::now())
    }
}

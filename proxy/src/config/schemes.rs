//! What the schemes besides proxying are configured with.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::Origin;

/// How the handshakes of a pool are answered (`--mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// With a session that the proxy relays.
    Proxy,
    /// With 307 and the least loaded backend's public URL.
    Redirect,
}

/// The schemes of the process.
#[derive(Clone, Debug)]
pub struct SchemesConfig {
    /// `--assign`. `None`: nobody can ask.
    pub assign: Option<AssignConfig>,
    /// `--assigned-lifetime`: how long a session that the proxy does not see lasts, on average. Not zero.
    pub assigned_lifetime: Duration,
    /// `--dns-listen`. `None`: the DNS is not answered.
    pub dns: Option<DnsConfig>,
    /// `--on-scale`. `None`: nothing is run.
    pub on_scale: Option<OnScale>,
}

/// Who may ask for an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignConfig {
    /// `--assign-origin`: pages that may ask; may be empty.
    pub origins: Vec<Origin>,
    /// `--assign-rate`: requests a second from one client, at least 1.
    pub rate: u32,
    /// `--assign-ttl`: how soon a client should connect. At least a second.
    pub ttl: Duration,
}

/// The DNS responder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// `--dns-listen`: where it answers, by UDP and TCP. At least one.
    pub listen: Vec<SocketAddr>,
    /// `--dns-name`: what it answers for. At least one, none twice.
    pub names: Vec<DnsName>,
    /// `--dns-ns`: who answers for these names. Empty: `ns.` before each name, with the addresses of `listen`.
    pub nameservers: Vec<String>,
    /// `--dns-answers`: addresses in an answer, at least 1.
    pub answers: usize,
    /// `--dns-ttl`: how long an answer may be kept. At least a second, at most a day.
    pub ttl: Duration,
    /// `--dns-rate`: answers a second to one network, at least 1.
    pub rate: u32,
}

/// A name of the DNS, and the pool whose backends it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsName {
    /// The name in lower case, without a dot at its end.
    pub name: String,
    /// The pool.
    pub pool: String,
}

/// The command that is run when a pool should get larger or smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnScale {
    /// `--on-scale`: a program.
    pub program: PathBuf,
    /// `--on-scale-timeout`: how long it may take. Not zero.
    pub timeout: Duration,
}

/// When a pool is too small or too large. At least one of the two targets is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleConfig {
    /// `--sessions-per-backend`: how many sessions a backend should have. `None`: sessions do not matter.
    pub sessions_per_backend: Option<u32>,
    /// `--scale-load`: what part of a backend should be in use as it reports, above 0, at most 1. `None`: reports do not
    /// matter.
    pub load: Option<f64>,
    /// `--scale-min`: the fewest backends.
    pub min: u32,
    /// `--scale-max`: the most backends, not below `min`.
    pub max: u32,
    /// `--scale-slack`: the part of a target that must be spare before a backend is one too many. 0 to 0.9.
    pub slack: f64,
    /// `--scale-debounce`: how long another number must be wanted before it counts. May be zero.
    pub debounce: Duration,
}

/// Where a backend is without the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Public {
    /// `public-url`. `None`: nobody can be sent there.
    pub url: Option<super::PublicUrl>,
    /// `public-address`. Empty: what the host of its URL is or resolves to.
    pub addresses: Vec<IpAddr>,
}

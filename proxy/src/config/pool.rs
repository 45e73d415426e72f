//! Pools of backends, and the routes to them.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderName;

use super::{
    Admission, BackendUrl, BackendsFile, Balancing, Compression, DnsName, HeaderPattern, HealthConfig, HostPattern,
    Mode, Moving, PathPrefix, Public, ReattachOrder, RenewalConfig, RulesConfig, ScaleConfig, SessionKey, Transport, fleet,
};

/// The pool that `--backend` fills, and that is meant where none is named.
pub const DEFAULT_POOL: &str = "default";

/// The weight of a backend that is given none.
pub const DEFAULT_WEIGHT: u16 = 100;

/// A pool of backends.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolConfig {
    /// Its name.
    pub name: String,
    /// How it treats its backends.
    pub settings: PoolSettings,
    /// Its backends that the configuration names; no id and no URL twice.
    pub backends: Vec<BackendConfig>,
    /// `--backends-file`: a list of more.
    pub file: Option<BackendsFile>,
    /// `--backends-dns`: a name that stands for more.
    pub dns: Option<DnsName>,
}

/// How a pool treats its backends.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSettings {
    /// `--connect-timeout`: how long connecting to a backend and its handshake may take, also for a probe. Not zero.
    pub connect_timeout: Duration,
    /// `--handshakes-per-backend`: handshakes under way with one backend at a time, at least 1.
    pub handshakes_per_backend: usize,
    /// `--backend-ca`, `--backend-server-name`, `--backend-cert`, `--backend-key`, `--send-proxy`.
    pub transport: Transport,
    /// How it chooses among them, and what it asks them.
    pub balancing: Balancing,
    /// How it watches their health.
    pub health: HealthConfig,
    /// How it moves sessions among them.
    pub moving: Moving,
    /// `--http-timeout`: how long a plain request may stand still. Not zero.
    pub http_timeout: Duration,
    /// `--mode`.
    pub mode: Mode,
    /// When it is too small or too large. `None`: nobody is told.
    pub scale: Option<ScaleConfig>,
    /// `--dns-server`: who is asked about `--backends-dns`. `None`: the system's resolv.conf says it.
    pub dns_server: Option<SocketAddr>,
}

impl RouteConfig {
    /// What it takes, as people read it: hosts, paths and header fields as the configuration has them, `*` for all.
    #[must_use]
    pub fn title(&self) -> String {
        fn joined(patterns: &[impl ToString]) -> Option<String> {
            let texts: Vec<_> = patterns.iter().map(ToString::to_string).collect();
            (!texts.is_empty()).then(|| texts.join(","))
        }
        let parts = [joined(&self.hosts), joined(&self.paths), joined(&self.headers)];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "*".to_owned() } else { parts.join(" ") }
    }

    /// Whether it certainly takes every handshake that the `other` one takes.
    pub(super) fn takes_all_of(&self, other: &Self) -> bool {
        let covers = |own: &[HeaderPattern], others: &[HeaderPattern]| own.iter().all(|header| others.contains(header));
        (self.hosts.is_empty() || self.hosts == other.hosts)
            && (self.paths.is_empty() || self.paths == other.paths)
            && covers(&self.headers, &other.headers)
    }
}

/// A backend of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendConfig {
    /// What people call it; unique in its pool. By default the authority of its URL.
    pub id: String,
    /// Where it is.
    pub url: BackendUrl,
    /// Its share of the pool's sessions, relative to the others': from 0 to 256. 0: it gets no session.
    pub weight: u16,
    /// How many legs it may have at a time, at least 1. `None`: any number.
    pub max_sessions: Option<usize>,
    /// Where it is without the proxy.
    pub public: Public,
    /// Those of a higher number get sessions when those of all lower ones failed lately or are full.
    pub priority: u16,
    /// Who reports for it.
    pub reporting: Reporting,
}

/// Who reports for a backend, where that is not as its pool has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reporting {
    /// `agent`: the `host:port` of its agent. `None`: on its own host, at `--agent-port`.
    pub agent: Option<String>,
    /// `agent-send`: what its agent is sent first, as it is. May be empty.
    pub agent_send: String,
    /// `load-url`: the `http://` URL of its load report. `None`: at its own address, at `--load-path`.
    pub load_url: Option<Uri>,
}

impl BackendConfig {
    /// The backend at `url`, with the defaults.
    #[must_use]
    pub fn new(url: BackendUrl) -> Self {
        Self {
            id: url.authority(),
            url,
            weight: DEFAULT_WEIGHT,
            max_sessions: None,
            public: Public::default(),
            priority: 0,
            reporting: Reporting::default(),
        }
    }

    /// The backend that these keys of `[[backend]]` describe, with values as the file has them; `pool` is none of them.
    ///
    /// # Errors
    /// All that is wrong, each with its key before it.
    pub fn from_settings(settings: &[(&str, &str)]) -> Result<Self, Vec<String>> {
        fleet::backend(settings)
    }
}

/// Which handshakes go to which pool, and what their sessions are configured with.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// What a `[[rule]]` calls it; no two have the same. `None`: it has none.
    pub name: Option<String>,
    /// The hosts whose handshakes it takes. Empty: all.
    pub hosts: Vec<HostPattern>,
    /// The paths, with all below them, whose handshakes it takes. Empty: all.
    pub paths: Vec<PathPrefix>,
    /// The header fields that must all be there.
    pub headers: Vec<HeaderPattern>,
    /// The name of the pool.
    pub pool: String,
    /// Which of its requests it takes.
    pub admission: Admission,
    /// What the sessions are configured with.
    pub session: tideover_protocol::session::Config,
    /// `--reattach-order`.
    pub reattach_order: ReattachOrder,
    /// `--reattach-header`: a field that says `1` on re-attaches and is never taken from a client. `None`: no such field.
    pub reattach_header: Option<HeaderName>,
    /// What its messages are looked at with; its [`Look`](super::Look) is that of `session`, too.
    pub rules: RulesConfig,
    /// What changes of a handshake on re-attaches.
    pub renewal: RenewalConfig,
    /// `--compression`.
    pub compression: Compression,
    /// `--session-key-file`: what the session protocol's headers are signed with. `None`: they are not.
    pub session_key: Option<SessionKey>,
}

//! The configuration of `tideover serve`, in two steps: *raw*, each setting as it was written and where; then *valid*,
//! a [`Config`].
//!
//! A flag goes before its `TIDEOVER_*` environment variable, that before the key of the `--config` file, that before
//! the default. Everything wrong, in whichever source, also where another one overrides it, is reported at once.
//! Unknown keys of the file are wrong. Unknown `TIDEOVER_*` variables are not: Kubernetes sets `TIDEOVER_SERVICE_HOST`
//! and its like for a service of that name.

mod admin;
mod admission;
mod args;
mod backend;
mod balancing;
mod choice;
mod discovery;
mod file;
mod flags;
mod fleet;
mod health;
mod moving;
mod origin;
mod parse;
mod pattern;
mod pool;
mod problem;
mod public_url;
mod raw;
mod reader;
mod renewal;
mod rules;
mod schemes;
mod session_key;
#[cfg(test)]
mod tests;
mod tls;
mod units;
mod valid;

use std::sync::Arc;
use std::time::Duration;

pub use admin::{AdminAddress, AdminToken};
pub use admission::{Admission, EdgeLimits, Http};
pub use args::Args;
pub use backend::{BackendUrl, InvalidBackendUrl};
pub use balancing::{Balance, Balancing, CookieName, HashKey};
pub use discovery::{BackendsFile, DnsName};
pub use flags::tables::{TABLES, TableKind};
pub use flags::{Fallback, Flag, Kind, Scope, THEMES, Theme, flags};
pub use health::{CheckProbe, Ejection, HealthCheck, HealthConfig, Statuses};
pub use moving::{Moving, Rebalance};
pub use origin::Origin;
pub use pattern::{HeaderPattern, HostPattern, PathPrefix};
pub use pool::{BackendConfig, DEFAULT_POOL, DEFAULT_WEIGHT, PoolConfig, PoolSettings, Reporting, RouteConfig};
pub use problem::{Place, Problem, Problems};
pub use public_url::PublicUrl;
pub use raw::Sources;
pub use renewal::{HookConfig, HookUrl, OnHookFailure, RenewalConfig, ValuesFile};
pub(crate) use rules::unhex;
pub use rules::{Ahead, Code, Look, Profile, RulesConfig};
pub use schemes::{AssignConfig, DnsConfig, DnsZone, Mode, OnScale, Public, ScaleConfig, SchemesConfig};
pub use session_key::SessionKey;
pub use tls::{Listen, Transport};

/// Everything that `tideover serve` is configured with, valid: each value is within its flag's bounds (see
/// [`flags`]), and they fit each other. Sizes are bytes.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--listen`: where clients connect. At least one, none twice. Port 0 takes a free port.
    pub listen: Vec<Listen>,
    /// `--tls-cert`, `--tls-key`, `--tls-client-ca`, `--tls-client-auth`: TLS toward clients, with its files read.
    /// `None`: no listener has TLS.
    pub tls: Option<Arc<crate::tls::Server>>,
    /// `--proxy-protocol in`: the networks of `--trust-proxies`, the only ones that may connect. `None`: connections begin
    /// without a PROXY header.
    pub proxy_protocol: Option<Vec<ipnet::IpNet>>,
    /// The pools, each name once.
    pub pools: Vec<PoolConfig>,
    /// The routes; the first that takes a handshake has it. Each names one of `pools`. At least one.
    pub routes: Vec<RouteConfig>,
    /// `--poison-entries`: poisoned messages remembered for the operator, the newest. From 0 to 100,000.
    pub poison_entries: usize,
    /// `--max-handshake-bytes`: the head of an HTTP request or response. From 8 KiB to 1 MiB.
    pub max_handshake_bytes: usize,
    /// `--buffer-total-bytes`: what all sessions together may buffer, half of it in each direction. At least twice
    /// `session.max_message.bytes + session.buffer_bytes` of each route.
    pub buffer_total_bytes: usize,
    /// `--max-sessions`: sessions at a time, at least 1.
    pub max_sessions: usize,
    /// What else is taken on at most.
    pub limits: EdgeLimits,
    /// `--drain-timeout`: how long sessions may go on after SIGTERM. May be zero.
    pub drain_timeout: Duration,
    /// `--trust-forwarded`: peers whose forwarding headers are kept. May be empty.
    pub trust_forwarded: Vec<ipnet::IpNet>,
    /// What there is besides proxying.
    pub schemes: SchemesConfig,
    /// `--admin`: where the operator's API listens. `None`: nowhere.
    pub admin: Option<AdminAddress>,
    /// `--admin-token-file`: what its callers must show on TCP. `None`: on TCP only health and metrics are answered.
    pub admin_token: Option<AdminToken>,
    /// `--workers`: threads that relay, from 1 to 1024.
    pub workers: usize,
    /// `--log`: directives that `tracing_subscriber::EnvFilter` takes.
    pub log: String,
    /// `--log-query`: whether lines of the log show queries.
    pub log_query: bool,
    /// `--log-format`.
    pub log_format: LogFormat,
}

impl Config {
    /// The defaults, with these backends. Reads no flag, variable or file.
    ///
    /// # Errors
    /// There is no backend, or one is given twice.
    pub fn with_backends(backends: &[BackendUrl]) -> Result<Self, Problems> {
        let flags = backends.iter().map(|url| ("backend", url.to_string())).collect();
        Sources { flags, ..Sources::default() }.config()
    }
}

impl Config {
    /// The process's own settings in which `new` differs: they take a restart. The names of their flags.
    #[must_use]
    pub fn differs_in(&self, new: &Self) -> Vec<&'static str> {
        let token = |config: &Self| config.admin_token.as_ref().map(|token| token.expose().to_owned());
        let (limits, others) = (&self.limits, &new.limits);
        let differing = [
            ("listen", self.listen != new.listen),
            ("tls-cert", self.tls.is_some() != new.tls.is_some()),
            ("proxy-protocol", self.proxy_protocol != new.proxy_protocol),
            ("poison-entries", self.poison_entries != new.poison_entries),
            ("max-handshake-bytes", self.max_handshake_bytes != new.max_handshake_bytes),
            ("buffer-total-bytes", self.buffer_total_bytes != new.buffer_total_bytes),
            ("max-sessions", self.max_sessions != new.max_sessions),
            ("handshake-timeout", limits.handshake_timeout != others.handshake_timeout),
            ("max-header-fields", limits.max_header_fields != others.max_header_fields),
            ("max-http-requests", limits.max_http_requests != others.max_http_requests),
            ("max-sessions-per-address", limits.max_sessions_per_address != others.max_sessions_per_address),
            ("session-rate-per-address", limits.session_rate_per_address != others.session_rate_per_address),
            ("drain-timeout", self.drain_timeout != new.drain_timeout),
            ("trust-forwarded", self.trust_forwarded != new.trust_forwarded),
            ("admin", self.admin != new.admin),
            ("admin-token-file", token(self) != token(new)),
            ("assign", self.schemes.assign != new.schemes.assign),
            ("assigned-lifetime", self.schemes.assigned_lifetime != new.schemes.assigned_lifetime),
            ("dns-listen", self.schemes.dns != new.schemes.dns),
            ("on-scale", self.schemes.on_scale != new.schemes.on_scale),
            ("workers", self.workers != new.workers),
            ("log-query", self.log_query != new.log_query),
            ("log", self.log != new.log),
            ("log-format", self.log_format != new.log_format),
        ];
        differing.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }

    /// Whether sessions of all routes can live with a total of `buffer-total-bytes` that is not this configuration's.
    ///
    /// # Errors
    /// One needs more: its largest message could wait for ever.
    pub fn check_total(&self, total: usize) -> Result<(), Problems> {
        let least = self.routes.iter().map(|route| valid::least_total(&route.session)).max().unwrap_or_default();
        if least <= total {
            return Ok(());
        }
        let [total, least] = [total, least].map(|bytes| units::format_size(bytes as u64));
        let message = format!("the {total} in force are less than {least}, which a route needs; more takes a restart");
        Err(Problems(vec![Problem::at(&Place::Flag("buffer-total-bytes"), message)]))
    }
}

/// Which backends a session tries that lost its own (`--reattach-order`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReattachOrder {
    /// The others, then the one it lost.
    OtherFirst,
    /// The one it lost, then the others.
    SameFirst,
    /// The one it lost only.
    SameOnly,
}

/// What becomes of a client's offer of permessage-deflate (`--compression`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Backends are offered it too; compressed messages pass as they come.
    Relay,
    /// It is declined.
    Off,
}

/// How a line of the log is written (`--log-format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; with colours on a terminal.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

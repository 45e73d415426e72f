//! How many handshakes led to no session, by reason.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a handshake led to no session, for the operator's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not a WebSocket handshake at all.
    NotWebSocket,
    /// A bad handshake, or no HTTP.
    Bad,
    /// Another version of the protocol.
    Version,
    /// Larger than `--max-handshake-bytes`.
    TooLarge,
    /// No handshake in time.
    Timeout,
    /// No good TLS handshake.
    Tls,
    /// No good PROXY header, or from a peer that is not trusted.
    Proxy,
    /// `--max-sessions` are live.
    Full,
    /// `--max-sessions-per-address` are live.
    Address,
    /// Too fast for `--session-rate-per-address`.
    Rate,
    /// The proxy is about to end.
    Draining,
    /// An operator has paused the proxy.
    Paused,
    /// Not among `--allow-host`.
    Host,
    /// Not among `--allow-origin`.
    Origin,
    /// No route takes it.
    NoRoute,
    /// No backend took it.
    NoBackend,
    /// A backend refused it.
    Backend,
    /// A backend took a plain request and gave no good answer.
    Broken,
    /// A plain request stood still for `--http-timeout`.
    Late,
}

impl Reason {
    /// Why handshakes are refused.
    pub const HANDSHAKES: [Self; 17] = [
        Self::NotWebSocket,
        Self::Bad,
        Self::Version,
        Self::TooLarge,
        Self::Timeout,
        Self::Tls,
        Self::Proxy,
        Self::Full,
        Self::Address,
        Self::Rate,
        Self::Draining,
        Self::Paused,
        Self::Host,
        Self::Origin,
        Self::NoRoute,
        Self::NoBackend,
        Self::Backend,
    ];
    /// Why the proxy itself refuses plain requests.
    pub const REQUESTS: [Self; 9] = [
        Self::Bad,
        Self::Full,
        Self::Draining,
        Self::Paused,
        Self::Host,
        Self::NoRoute,
        Self::NoBackend,
        Self::Broken,
        Self::Late,
    ];

    const COUNT: usize = Self::Late as usize + 1;

    /// Its word, as a label of a metric.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NotWebSocket => "not_websocket",
            Self::Bad => "bad",
            Self::Version => "version",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
            Self::Full => "full",
            Self::Address => "address",
            Self::Rate => "rate",
            Self::Draining => "draining",
            Self::Paused => "paused",
            Self::Host => "host",
            Self::Origin => "origin",
            Self::NoRoute => "no_route",
            Self::NoBackend => "no_backend",
            Self::Backend => "backend",
            Self::Broken => "broken",
            Self::Late => "late",
        }
    }
}

/// Counts by reason.
#[derive(Debug, Default)]
pub struct Refused([AtomicU64; Reason::COUNT]);

impl Refused {
    pub(super) fn count(&self, reason: Reason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were refused for this reason.
    #[must_use]
    pub fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize].load(Ordering::Relaxed)
    }
}

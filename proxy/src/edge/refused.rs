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
    /// The proxy is about to end.
    Draining,
    /// An operator has paused the proxy.
    Paused,
    /// No route takes it.
    NoRoute,
    /// No backend took it.
    NoBackend,
    /// A backend refused it.
    Backend,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 13] = [
        Self::NotWebSocket,
        Self::Bad,
        Self::Version,
        Self::TooLarge,
        Self::Timeout,
        Self::Tls,
        Self::Proxy,
        Self::Full,
        Self::Draining,
        Self::Paused,
        Self::NoRoute,
        Self::NoBackend,
        Self::Backend,
    ];

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
            Self::Draining => "draining",
            Self::Paused => "paused",
            Self::NoRoute => "no_route",
            Self::NoBackend => "no_backend",
            Self::Backend => "backend",
        }
    }
}

/// Counts by reason.
#[derive(Debug, Default)]
pub struct Refused([AtomicU64; Reason::ALL.len()]);

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

//! STUB of the contract's configuration.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// `--reattach-order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReattachOrder {
    /// Others first.
    OtherFirst,
    /// The last one first.
    SameFirst,
    /// The last one only.
    SameOnly,
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text.
    Text,
    /// JSON.
    Json,
}

/// A backend's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendUrl {
    /// Name or address, v6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl BackendUrl {
    /// `host:port`.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}", self.authority())
    }
}

impl std::str::FromStr for BackendUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = text.strip_prefix("ws://").and_then(|rest| rest.rsplit_once(':')).ok_or("ws://host:port")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: port.parse().map_err(|_| "port")? })
    }
}

/// Valid configuration.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "stub")]
pub struct Config {
    pub listen: Vec<SocketAddr>,
    pub backends: Vec<BackendUrl>,
    pub session: tideover_protocol::session::Config,
    pub reattach_order: ReattachOrder,
    pub max_handshake_bytes: usize,
    pub buffer_total_bytes: usize,
    pub max_sessions: usize,
    pub connect_timeout: Duration,
    pub drain_timeout: Duration,
    pub handshakes_per_backend: usize,
    pub trust_forwarded: Vec<ipnet::IpNet>,
    pub workers: usize,
    pub log: String,
    pub log_format: LogFormat,
}

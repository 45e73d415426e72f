//! Which requests a route takes, and how many the process takes at a time.

use std::time::Duration;

use super::{HostPattern, Origin};

/// What becomes of requests that are no WebSocket handshakes (`--http`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http {
    /// They go to the backends of the route's pool.
    #[default]
    Proxy,
    /// They are answered 426.
    Reject,
}

/// Which requests a route takes of those that are its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// `--http`.
    pub http: Http,
    /// `--allow-origin`: the origins of pages that may begin sessions. Empty: all.
    pub origins: Vec<Origin>,
    /// `--allow-host`: the hosts that requests may be for. Empty: all.
    pub hosts: Vec<HostPattern>,
}

/// What the process takes on at most, before a request is anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeLimits {
    /// `--handshake-timeout`: from being accepted to a whole request head. Not zero.
    pub handshake_timeout: Duration,
    /// `--max-header-fields`: fields of a request's head, from 1 to 120.
    pub max_header_fields: usize,
    /// `--max-http-requests`: plain HTTP requests under way at a time, at least 1.
    pub max_http_requests: usize,
    /// `--max-sessions-per-address`: sessions of one client network at a time. 0: any number.
    pub max_sessions_per_address: usize,
    /// `--session-rate-per-address`: sessions that one client network may begin in a second. 0: any number.
    pub session_rate_per_address: u32,
}

impl Default for EdgeLimits {
    /// As the table of flags has it; a test compares the two.
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            max_header_fields: 100,
            max_http_requests: 10_000,
            max_sessions_per_address: 0,
            session_rate_per_address: 0,
        }
    }
}

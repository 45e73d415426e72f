//! Which requests a route takes, and how many the process takes at a time.

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
}

/// What the process takes on at most, before a request is anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeLimits {
    /// `--max-http-requests`: plain HTTP requests under way at a time, at least 1.
    pub max_http_requests: usize,
}

impl Default for EdgeLimits {
    /// As the table of flags has it; a test compares the two.
    fn default() -> Self {
        Self { max_http_requests: 10_000 }
    }
}

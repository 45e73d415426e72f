//! How a pool chooses among its backends, and what it asks them.

use std::fmt;
use std::time::Duration;

use hyper::header::HeaderName;

use super::SessionKey;

/// How a pool chooses among its backends, and what it asks them.
#[derive(Clone, Debug, PartialEq)]
pub struct Balancing {
    /// `--balance`.
    pub balance: Balance,
    /// `--hash-key`: what [`Balance::Hash`] hashes.
    pub hash_key: HashKey,
    /// `--hash-balance-factor`: with [`Balance::Hash`], no backend gets more than so many hundredths of its part of the
    /// sessions. At least 101.
    pub hash_balance_factor: u32,
    /// `--sticky-cookie`: the cookie that leads a client back to its backend. `None`: none is set.
    pub sticky_cookie: Option<CookieName>,
    /// `--sticky-key-file`: what makes the cookie's values. `None`: a key that the process makes for itself.
    pub sticky_key: Option<SessionKey>,
    /// `--latency-half-life`: how fast a measured round trip time fades. Not zero.
    pub latency_half_life: Duration,
    /// `--agent-port`: where the agents of backends listen that are given none of their own. `None`: nowhere.
    pub agent_port: Option<u16>,
    /// `--agent-interval`: between two questions to an agent, and how long it may take to answer. Not zero.
    pub agent_interval: Duration,
    /// `--load-path`: the path of a backend's load report. `None`: backends are not asked, but for those that are given a
    /// URL of their own.
    pub load_path: Option<String>,
    /// `--load-interval`: between two questions for a load report, and how long an answer may take. Not zero.
    pub load_interval: Duration,
    /// `--load-half-life`: a report that is older by this weighs half. Not zero.
    pub load_half_life: Duration,
    /// `--load-max-age`: so long after its latest report, nothing is known of a backend's load. Not zero.
    pub load_max_age: Duration,
    /// `--full-rps`: the request rate at which a backend of weight 100 is full. `None`: rates are not used.
    pub full_rps: Option<u32>,
}

impl Default for Balancing {
    /// As the table of flags has it; a test compares the two.
    fn default() -> Self {
        Self {
            balance: Balance::LeastConn,
            hash_key: HashKey::Address,
            hash_balance_factor: 125,
            sticky_cookie: None,
            sticky_key: None,
            latency_half_life: Duration::from_secs(10),
            agent_port: None,
            agent_interval: Duration::from_secs(2),
            load_path: None,
            load_interval: Duration::from_secs(2),
            load_half_life: Duration::from_secs(5),
            load_max_age: Duration::from_secs(60),
            full_rps: None,
        }
    }
}

/// How a pool chooses (`--balance`); `docs/balancing.md` has the formulas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The fewest sessions for its weight.
    LeastConn,
    /// In turns, as often as its weight says.
    RoundRobin,
    /// Of two drawn by weight, the one with fewer sessions for its weight.
    RandomTwo,
    /// The least round trip time, times its sessions for its weight.
    Latency,
    /// The one that the session's key falls to, as long as that has not too many.
    Hash,
    /// The fewest sessions for its weight and its headroom, by what backends report of their load.
    Score,
}

/// What of a handshake is hashed (`--hash-key`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The first field of this name.
    Header(HeaderName),
    /// The first cookie of this name.
    Cookie(CookieName),
    /// The value of the first query parameter of this name, as it is written.
    Query(String),
    /// The client's address, as trusted peers say (`--trust-forwarded`).
    Address,
}

impl HashKey {
    /// Reads `header:NAME`, `cookie:NAME`, `query:NAME` or `address`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None => (text == "address").then_some(Self::Address),
            Some(("header", name)) => name.parse().ok().map(Self::Header),
            Some(("cookie", name)) => CookieName::new(name).map(Self::Cookie),
            Some(("query", name)) => {
                let plain =
                    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"&=#".contains(&byte));
                plain.then(|| Self::Query(name.to_owned()))
            }
            Some(_) => None,
        }
    }
}

/// The name of a cookie: a token (RFC 6265 4.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieName(String);

impl CookieName {
    /// `None` if it is no token.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        (!name.is_empty() && name.len() <= 128 && name.bytes().all(token)).then(|| Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_key_names_a_part_of_the_handshake() {
        assert_eq!(HashKey::parse("header:X-User"), Some(HashKey::Header(HeaderName::from_static("x-user"))));
        assert_eq!(HashKey::parse("cookie:sid"), CookieName::new("sid").map(HashKey::Cookie));
        assert_eq!(HashKey::parse("query:room"), Some(HashKey::Query("room".into())));
        assert_eq!(HashKey::parse("address"), Some(HashKey::Address));
        for text in [
            "",
            "header",
            "header:",
            "header:a b",
            "cookie:",
            "cookie:a=b",
            "query:",
            "query:a&b",
            "path:1",
            "address:",
        ] {
            assert_eq!(HashKey::parse(text), None, "{text}");
        }
    }
}

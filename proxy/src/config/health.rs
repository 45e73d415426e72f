//! How a pool watches the health of its backends.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;

/// Everything about the health of a pool's backends. The default is that of the flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// The active checks.
    pub check: HealthCheck,
    /// What failed dials and deaths lead to.
    pub ejection: Ejection,
    /// `--slow-start`: how long the weight of a backend that came back grows from a tenth to the whole. `None`: it has
    /// all of it at once.
    pub slow_start: Option<Duration>,
    /// `--health-panic`: the least percentage of a pool's backends that must be up by their checks for the checks to
    /// be believed. From 0 (always) to 100.
    pub panic: u8,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self { check: HealthCheck::default(), ejection: Ejection::default(), slow_start: None, panic: 50 }
    }
}

/// The active checks of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// `--health-check`: how it asks. `None`: not at all.
    pub probe: Option<CheckProbe>,
    /// `--health-status`: statuses of a healthy answer to an HTTP check.
    pub statuses: Statuses,
    /// `--health-host`: the `Host` of a check. `None`: the backend's own.
    pub host: Option<HeaderValue>,
    /// `--health-interval`: from the beginning of a check to that of the next.
    pub interval: Duration,
    /// `--health-timeout`: how long a check may take.
    pub timeout: Duration,
    /// `--health-rise`: passed checks in a row that bring a backend up, at least 1.
    pub rise: u32,
    /// `--health-fall`: failed checks in a row that take it down, at least 1.
    pub fall: u32,
}

/// What failed dials and deaths lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// `--ejection-time`: how long the first ejection lasts; each further one lasts twice as long. `None`: nothing is
    /// ejected.
    pub time: Option<Duration>,
    /// `--ejection-max`: the longest ejection.
    pub max: Duration,
}

impl Default for HealthCheck {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            probe: None,
            statuses: Statuses::default(),
            host: None,
            interval: 2 * second,
            timeout: 2 * second,
            rise: 2,
            fall: 3,
        }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self { time: Some(Duration::from_secs(1)), max: Duration::from_secs(30) }
    }
}

/// How a check asks a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckProbe {
    /// A TCP connection is enough.
    Tcp,
    /// A GET for this path and query must be answered with one of `--health-status`.
    Http(Box<str>),
    /// A WebSocket handshake for this path and query must be answered 101.
    WebSocket(Box<str>),
}

impl FromStr for CheckProbe {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (how, target) = text.split_once(':').unwrap_or((text, ""));
        match how {
            "tcp" if text == "tcp" => Ok(Self::Tcp),
            "http" => target_of(target).map(Self::Http),
            "ws" => target_of(target).map(Self::WebSocket),
            _ => Err(()),
        }
    }
}

/// A path and query in origin form (RFC 9112 3.2.1).
fn target_of(text: &str) -> Result<Box<str>, ()> {
    let parsed = hyper::http::uri::PathAndQuery::from_str(text).map_err(|_| ())?;
    // `http://host/` was meant as a URL; it is no path.
    if text.starts_with('/') && !text.starts_with("//") && !text.contains('#') {
        Ok(parsed.as_str().into())
    } else {
        Err(())
    }
}

impl fmt::Display for CheckProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("tcp"),
            Self::Http(target) => write!(f, "http:{target}"),
            Self::WebSocket(target) => write!(f, "ws:{target}"),
        }
    }
}

/// A set of HTTP statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(pub(super) Vec<RangeInclusive<u16>>);

impl Default for Statuses {
    /// 200 to 399.
    fn default() -> Self {
        Self(vec![200..=399])
    }
}

impl Statuses {
    /// Whether the status is one of them.
    #[must_use]
    pub fn contains(&self, status: StatusCode) -> bool {
        self.0.iter().any(|range| range.contains(&status.as_u16()))
    }
}

/// One item of the list: `204` or `200-399`, within 200 to 599.
pub(super) fn statuses(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number =
        |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse::<u16>().ok())?;
    let (first, last) = (number(first)?, number(last)?);
    (200 <= first && first <= last && last <= 599).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_tcp_http_or_ws_with_a_path() {
        for text in ["tcp", "http:/health", "http:/health?deep=1", "ws:/", "ws:/room:1"] {
            assert_eq!(text.parse::<CheckProbe>().unwrap().to_string(), text);
        }
        for text in
            ["", "off", "tcp:", "tcp:80", "http", "http:", "http:health", "http://a/", "ws:/#x", "ws:/a b", "icmp"]
        {
            assert!(text.parse::<CheckProbe>().is_err(), "{text}");
        }
    }

    #[test]
    fn statuses_are_single_ones_and_ranges() {
        assert_eq!(statuses("204"), Some(204..=204));
        assert_eq!(statuses("200-399"), Some(200..=399));
        for text in ["", "-", "200-", "-299", "+200", "199", "600", "300-200", "2xx", "200-300-400", "101"] {
            assert_eq!(statuses(text), None, "{text}");
        }
    }
}

//! Where backends come from besides the configuration itself: a file that lists them, a DNS name.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{BackendConfig, fleet};

/// A list of backends, one a line: `URL [weight=N] [max-sessions=N] [priority=N] [id=NAME]`. `#` begins a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendsFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it listed when it was read.
    pub backends: Vec<BackendConfig>,
}

impl BackendsFile {
    /// Reads the list at `path`.
    ///
    /// # Errors
    /// It cannot be read, or some lines are wrong: all of them, with their numbers.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
        Ok(Self { path: path.to_owned(), backends: parse(&text)? })
    }
}

fn parse(text: &str) -> Result<Vec<BackendConfig>, String> {
    let mut backends: Vec<BackendConfig> = Vec::new();
    let mut wrong = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let words = line.split('#').next().unwrap_or_default().split_whitespace();
        match parse_line(words) {
            Ok(None) => {}
            Ok(Some(new)) => match backends.iter().find_map(|other| fleet::clash(&new, other)) {
                Some(clash) => wrong.push(format!("line {number}: {clash}")),
                None => backends.push(new),
            },
            Err(why) => wrong.push(format!("line {number}: {why}")),
        }
    }
    if wrong.is_empty() { Ok(backends) } else { Err(format!("is wrong in {}", wrong.join("; "))) }
}

fn parse_line<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Option<BackendConfig>, String> {
    let Some(url) = words.next() else { return Ok(None) };
    let mut settings = vec![("url", url)];
    for word in words {
        let setting = word.split_once('=').ok_or_else(|| format!("{word:?} is not key=value"))?;
        if settings.iter().any(|(key, _)| *key == setting.0) {
            return Err(format!("{} is given twice", setting.0));
        }
        settings.push(setting);
    }
    fleet::backend(&settings).map(Some).map_err(|wrong| wrong.join(", "))
}

/// A DNS name that stands for backends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DnsName {
    /// Each address of the host is one, on that port.
    Host {
        /// The name.
        name: Box<str>,
        /// The TCP port.
        port: u16,
    },
    /// Each of its SRV records is one.
    Srv(Box<str>),
}

impl FromStr for DnsName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(name) = text.strip_prefix("srv:") {
            return if is_name(name) { Ok(Self::Srv(name.into())) } else { Err(()) };
        }
        let (name, port) = text.rsplit_once(':').ok_or(())?;
        let port = port.parse().ok().filter(|number| *number != 0 && !port.starts_with('+')).ok_or(())?;
        let is_address = name.parse::<std::net::IpAddr>().is_ok();
        if is_name(name) && !is_address { Ok(Self::Host { name: name.into(), port }) } else { Err(()) }
    }
}

/// Whether it can be a DNS name: labels of 1 to 63 characters, 253 in all. A final dot keeps it from search lists.
fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { name, port } => write!(f, "{name}:{port}"),
            Self::Srv(name) => write!(f, "srv:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_backend_a_line() {
        let text =
            "# all of them\nws://10.0.0.1:9001\n\n  ws://b:80 weight=7\tmax-sessions=9 id=b priority=1 # slow\r\n";
        let backends = parse(text).unwrap();
        assert_eq!(backends[0], BackendConfig::new("ws://10.0.0.1:9001".parse().unwrap()));
        let b = &backends[1];
        assert_eq!((&*b.id, b.weight, b.max_sessions, b.priority), ("b", 7, Some(9), 1));
        assert_eq!(parse("# nobody today\n"), Ok(Vec::new()));
    }

    #[test]
    fn everything_wrong_in_a_list_is_told_with_its_line() {
        let text =
            "ws://a\nws://b/c\nws://c weight=257\nws://d wait=1\nws://e heavy\nws://f weight=1 weight=2\nWS://a:80\n";
        let why = parse(text).unwrap_err();
        let parts = [
            "is wrong in line 2: url: \"ws://b/c\" has a path",
            "line 3: weight: \"257\" is not a whole number from 0 to 256",
            "line 4: wait: unknown key",
            "line 5: \"heavy\" is not key=value",
            "line 6: weight is given twice",
            "line 7: ws://a:80 is given twice",
        ];
        for part in parts {
            assert!(why.contains(part), "{part}\nis not in\n{why}");
        }
        assert_eq!(why.matches("line ").count(), parts.len());
    }

    #[test]
    fn a_dns_name_has_a_port_or_srv_records() {
        for text in ["ws.example.com:9001", "localhost:80", "srv:_ws._tcp.example.com", "srv:_ws._tcp.example.com."] {
            assert_eq!(text.parse::<DnsName>().unwrap().to_string(), text);
        }
        for bad in
            ["", "ws.example.com", "a:0", "a:+1", "a:65536", "127.0.0.1:80", "srv:", "srv:a b", "a..b:1", "::1:80"]
        {
            assert!(bad.parse::<DnsName>().is_err(), "{bad}");
        }
    }
}

//! Where a backend is.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The address of a backend, `ws://host:port`, or `wss://host:port` with TLS. Has no path, query or user: these are the client's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackendUrl {
    /// Whether it is `wss://`.
    pub tls: bool,
    /// A name in lower case, or an IP address; an IPv6 address without brackets.
    pub host: String,
    /// The TCP port, not 0; if the URL gives none 80, or 443 with TLS (RFC 6455 section 3).
    pub port: u16,
}

impl BackendUrl {
    /// `host:port` as in a `Host` header: an IPv6 address in brackets (RFC 3986 3.2.2).
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
        write!(f, "{}://{}", if self.tls { "wss" } else { "ws" }, self.authority())
    }
}

impl From<std::net::SocketAddr> for BackendUrl {
    /// The backend at that address, without TLS.
    fn from(address: std::net::SocketAddr) -> Self {
        Self { tls: false, host: address.ip().to_string(), port: address.port() }
    }
}

/// Why a text is no URL of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidBackendUrl {
    /// It begins with neither `ws://` nor `wss://`.
    Scheme,
    /// It has a user or password.
    User,
    /// Its host is missing, or neither a name nor an IP address.
    Host,
    /// Its port is not a number from 1 to 65535.
    Port,
    /// It has a path other than `/`.
    Path,
    /// It has a query or a fragment.
    Query,
}

impl fmt::Display for InvalidBackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "begins with neither ws:// nor wss://",
            Self::User => "has a user or password; the client's own headers are what a backend gets",
            Self::Host => "has no valid host: a name, an IPv4 address, or an IPv6 address in brackets",
            Self::Port => "has no valid port: 1 to 65535, or none for 80, with TLS 443",
            Self::Path => "has a path; the client's path is used",
            Self::Query => "has a query or fragment; the client's query is used",
        })
    }
}

impl std::error::Error for InvalidBackendUrl {}

impl FromStr for BackendUrl {
    type Err = InvalidBackendUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidBackendUrl::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" => true,
            _ => return Err(InvalidBackendUrl::Scheme),
        };
        let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if behind.contains(['?', '#']) {
            return Err(InvalidBackendUrl::Query);
        }
        if !matches!(behind, "" | "/") {
            return Err(InvalidBackendUrl::Path);
        }
        if authority.contains('@') {
            return Err(InvalidBackendUrl::User);
        }
        let (host, port) = split_port(authority)?;
        Ok(Self { tls, host: parse_host(host)?, port: parse_port(port, if tls { 443 } else { 80 })? })
    }
}

/// The host, with its brackets, and what stands behind its colon.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), InvalidBackendUrl> {
    let host_ends = match authority.find(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    match authority.split_at(host_ends) {
        (host, "") => Ok((host, None)),
        (host, port) => Ok((host, Some(port.strip_prefix(':').ok_or(InvalidBackendUrl::Host)?))),
    }
}

fn parse_host(host: &str) -> Result<String, InvalidBackendUrl> {
    if let Some(bracketed) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match bracketed.parse::<Ipv6Addr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => Err(InvalidBackendUrl::Host),
        };
    }
    let is_name = !host.is_empty()
        && host.len() <= 253
        && host.split('.').all(|label| !label.is_empty() && label.len() <= 63)
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    // A host that ends in a number must be an IPv4 address: `256.0.0.1` is no name.
    let ends_in_number = host.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    match is_name && (!ends_in_number || host.parse::<IpAddr>().is_ok()) {
        true => Ok(host.to_ascii_lowercase()),
        false => Err(InvalidBackendUrl::Host),
    }
}

fn parse_port(port: Option<&str>, default: u16) -> Result<u16, InvalidBackendUrl> {
    let Some(digits) = port else { return Ok(default) };
    match digits.parse() {
        Ok(port) if port != 0 && !digits.starts_with('+') => Ok(port),
        _ => Err(InvalidBackendUrl::Port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_a_host_and_a_port() {
        let cases = [
            ("ws://127.0.0.1:9001", "127.0.0.1:9001"),
            ("ws://Chat-1.Example.com", "chat-1.example.com:80"),
            ("WS://chat:8080/", "chat:8080"),
            ("ws://[::1]:9001", "[::1]:9001"),
            ("ws://[FE80:0::1]", "[fe80::1]:80"),
            ("wss://chat", "chat:443"),
            ("WSS://chat:80/", "chat:80"),
        ];
        for (text, authority) in cases {
            let url: BackendUrl = text.parse().unwrap();
            let tls = text.to_lowercase().starts_with("wss");
            assert_eq!((url.authority().as_str(), url.tls), (authority, tls));
            assert_eq!(url.to_string(), format!("{}://{authority}", if tls { "wss" } else { "ws" }));
            assert_eq!(url.to_string().parse(), Ok(url));
        }
        let address: std::net::SocketAddr = "[::1]:9001".parse().unwrap();
        assert_eq!(BackendUrl::from(address).to_string(), "ws://[::1]:9001");
    }

    #[test]
    fn what_a_backend_cannot_have_is_named() {
        use InvalidBackendUrl::*;
        let cases = [
            ("", Scheme),
            ("127.0.0.1:9001", Scheme),
            ("http://a", Scheme),
            ("wss:a", Scheme),
            ("ws://me:secret@a", User),
            ("ws://", Host),
            ("ws://:80", Host),
            ("ws://::1", Host),
            ("ws://[::1", Host),
            ("ws://[::1]9001", Host),
            ("ws://a b", Host),
            ("ws://a..b", Host),
            ("ws://256.0.0.1", Host),
            ("ws://a:", Port),
            ("ws://a:0", Port),
            ("ws://a:+80", Port),
            ("ws://a:65536", Port),
            ("ws://a:80:80", Port),
            ("ws://a/chat", Path),
            ("ws://a//", Path),
            ("ws://a?x=1", Query),
            ("ws://a/chat#x", Query),
        ];
        for (text, why) in cases {
            assert_eq!(text.parse::<BackendUrl>(), Err(why), "{text}");
        }
    }
}

//! Where clients reach a backend without the proxy.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper::http::uri::Authority;

/// Where clients reach a backend without the proxy: `ws://` or `wss://`, a host, and perhaps a port and a path that goes
/// before the client's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicUrl {
    tls: bool,
    authority: String,
    /// Begins with a slash and does not end with one, or is empty.
    prefix: String,
}

impl PublicUrl {
    /// The URL for a client that asked for `target`, its path and query.
    #[must_use]
    pub fn with(&self, target: &str) -> String {
        format!("{}:{}", self.scheme(), self.without_scheme(target))
    }

    /// The reference (RFC 3986 4.1) that leads a client there that asked the proxy for `target`, with TLS or without.
    ///
    /// Where the scheme stays the same it is left out: some clients take only `ws` for the scheme of a WebSocket, others
    /// only `http`, and a network-path reference (4.2) means either.
    #[must_use]
    pub fn reference(&self, target: &str, client_has_tls: bool) -> String {
        if client_has_tls == self.tls { self.without_scheme(target) } else { self.with(target) }
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "wss" } else { "ws" }
    }

    fn without_scheme(&self, target: &str) -> String {
        format!("//{}{}{target}", self.authority, self.prefix)
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.prefix)
    }
}

impl FromStr for PublicUrl {
    /// What is wrong, to stand behind the text.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| "is not a URL such as wss://chat-1.example.com")?;
        let tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err("does not begin with ws:// or wss://"),
        };
        let authority = uri.authority().filter(|authority| has_host(authority)).ok_or("has no valid host or port")?;
        if authority.as_str().contains('@') {
            return Err("has a user or password");
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("has a query or fragment; the client's query is used");
        }
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { tls, authority: authority.as_str().to_ascii_lowercase(), prefix })
    }
}

/// `http` parses a port only when it is asked for, and takes one that is empty.
fn has_host(authority: &Authority) -> bool {
    let text = authority.as_str();
    let port = text.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    !authority.host().is_empty() && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> PublicUrl {
        text.parse().unwrap_or_else(|why| panic!("{text} {why}"))
    }

    #[test]
    fn the_clients_path_and_query_go_behind_the_url() {
        let cases = [
            ("wss://Chat-1.example.com", "wss://chat-1.example.com/room?id=1"),
            ("ws://[::1]:9001/", "ws://[::1]:9001/room?id=1"),
            ("wss://example.com/backends/1/", "wss://example.com/backends/1/room?id=1"),
        ];
        for (text, expected) in cases {
            assert_eq!(url(text).with("/room?id=1"), expected);
            assert_eq!(url(&url(text).to_string()), url(text), "reads back");
        }
    }

    #[test]
    fn a_reference_names_the_scheme_only_where_it_changes() {
        assert_eq!(url("ws://a:1").reference("/x", false), "//a:1/x");
        assert_eq!(url("wss://a").reference("/x", true), "//a/x");
        assert_eq!(url("wss://a").reference("/x", false), "wss://a/x");
        assert_eq!(url("ws://a").reference("/x", true), "ws://a/x");
    }

    #[test]
    fn what_a_public_url_cannot_have_is_named() {
        let cases = [
            ("chat.example.com", "ws://"),
            ("https://chat.example.com", "ws://"),
            ("ws://", "URL"),
            ("ws://:80", "host"),
            ("ws://a:", "host"),
            ("ws://a:0", "host"),
            ("ws://a:70000", "host"),
            ("ws://me@a", "user"),
            ("ws://a/?x=1", "query"),
            ("ws://a/#x", "fragment"),
        ];
        for (text, mention) in cases {
            let why = text.parse::<PublicUrl>().expect_err(text);
            assert!(why.contains(mention), "{text} {why}");
        }
    }
}

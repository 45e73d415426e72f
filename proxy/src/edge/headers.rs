//! Which header fields pass through the proxy, and which are its own.

use std::fmt::Write;
use std::net::IpAddr;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::fields::{is_forwarded, is_handshake, is_one_hop, is_reserved, is_same, items};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// Its address.
    pub(super) ip: IpAddr,
    /// Whether what it says about those before it is believed (`--trust-forwarded`).
    pub(super) trusted: bool,
    /// Whether it speaks TLS with us.
    pub(super) tls: bool,
}

/// The headers that backends get for a client's handshake: all end-to-end ones as they came and in their order, then
/// X-Forwarded-* and Forwarded (RFC 7239).
///
/// `reattach` is `--reattach-header`: ours alone, so what a client sends under that name is dropped.
pub(super) fn upstream(client: &HeaderMap, peer: Peer, reattach: Option<&HeaderName>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(client.keys_len() + 8);
    let named = named_by_connection(client);
    for (name, value) in client {
        let one_hop = is_one_hop(name) || named.contains(name);
        let ours = is_reserved(name) || is_handshake(name) || is_forwarded(name);
        let reattach = reattach.is_some_and(|own| is_same(own, name));
        let body = *name == header::CONTENT_LENGTH;
        if *name == header::HOST || !(one_hop || ours || reattach || body) {
            headers.append(name, value.clone());
        }
    }
    add_forwarded(&mut headers, client, peer, &named);
    headers
}

/// The client's address: that of `peer`, or what the trusted ones before us say, up to the first that is not trusted.
///
/// `upstream` are the headers that [`upstream`] made.
pub(super) fn client_address(upstream: &HeaderMap, peer: IpAddr, trusts: impl Fn(IpAddr) -> bool) -> IpAddr {
    let lines: Vec<_> = upstream.get_all(X_FORWARDED_FOR).iter().collect();
    let mut said = lines.iter().rev().flat_map(|line| items(line.as_bytes()).rev()).map(address);
    let mut client = peer;
    // The last one is the peer, written by us; each is as good as the one behind it is trusted.
    while let Some(Some(before)) = said.next() {
        client = before.to_canonical();
        if !trusts(client) {
            break;
        }
    }
    client
}

fn address(item: &[u8]) -> Option<IpAddr> {
    str::from_utf8(item).ok()?.parse().ok()
}

/// The headers of a backend's answer that the client gets.
pub(super) fn downstream(backend: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(backend.keys_len() + 4);
    let named = named_by_connection(backend);
    for (name, value) in backend {
        if !is_one_hop(name) && !named.contains(name) && !is_reserved(name) && !is_handshake(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(header::CONNECTION).iter();
    lines.flat_map(|line| items(line.as_bytes())).filter_map(|name| HeaderName::from_bytes(name).ok()).collect()
}

/// Says who the client is. What a trusted peer says is kept: its lists get one more element, its protocol and host
/// stay, for they are the first client's.
fn add_forwarded(headers: &mut HeaderMap, client: &HeaderMap, peer: Peer, named: &[HeaderName]) {
    let said = |name: &HeaderName| -> Vec<HeaderValue> {
        if !peer.trusted || named.contains(name) {
            return Vec::new();
        }
        client.get_all(name).iter().cloned().collect()
    };
    let proto = if peer.tls { "https" } else { "http" };
    let host = client.get(header::HOST).and_then(|host| host.to_str().ok());
    let mut extend = |name: HeaderName, element: String| {
        let value = HeaderValue::try_from(element).expect("addresses and quoted hosts are header values");
        for value in said(&name).into_iter().chain([value]) {
            headers.append(&name, value);
        }
    };
    extend(X_FORWARDED_FOR, peer.ip.to_string());
    extend(header::FORWARDED, forwarded_element(peer.ip, proto, host));
    for (name, own) in [(X_FORWARDED_PROTO, Some(proto)), (X_FORWARDED_HOST, host)] {
        match said(&name).into_iter().next() {
            Some(value) => drop(headers.insert(name, value)),
            None => own.and_then(|own| own.parse().ok()).map_or((), |value| drop(headers.insert(name, value))),
        }
    }
}

/// One element of Forwarded (RFC 7239 4): a v6 address in brackets and quoted (6), a host quoted if it is no token.
fn forwarded_element(ip: IpAddr, proto: &str, host: Option<&str>) -> String {
    let mut element = match ip {
        IpAddr::V4(ip) => format!("for={ip};proto={proto}"),
        IpAddr::V6(ip) => format!("for=\"[{ip}]\";proto={proto}"),
    };
    if let Some(host) = host {
        let token = !host.is_empty() && host.bytes().all(is_token_byte);
        let host = if token { host.to_owned() } else { quoted(host) };
        write!(element, ";host={host}").expect("a string takes all");
    }
    element
}

/// A quoted-string (RFC 9110 5.6.4).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// RFC 9110 5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: Peer = Peer { ip: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), trusted: false, tls: false };

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).fold(
            HeaderMap::new(),
            |mut headers, (name, value): (_, HeaderValue)| {
                headers.append(name, value);
                headers
            },
        )
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    const SET: [&str; 4] = [
        "x-forwarded-for: 192.0.2.7",
        "forwarded: for=192.0.2.7;proto=http;host=chat.example",
        "x-forwarded-proto: http",
        "x-forwarded-host: chat.example",
    ];

    fn check(client: &[(&str, &str)], passed: &[&str]) {
        let client: Vec<_> = [("host", "chat.example")].iter().chain(client).copied().collect();
        let expected: Vec<_> = ["host: chat.example"].iter().chain(passed).chain(&SET).copied().collect();
        assert_eq!(lines(&upstream(&map(&client), V4, None)), expected);
    }

    #[test]
    fn end_to_end_fields_pass_in_order_and_with_all_their_values() {
        check(
            &[("cookie", "a=1"), ("origin", "http://x"), ("cookie", "b=2"), ("sec-websocket-protocol", "v1, v2")],
            &["cookie: a=1", "cookie: b=2", "origin: http://x", "sec-websocket-protocol: v1, v2"],
        );
    }

    #[test]
    fn hop_by_hop_fields_and_those_named_by_connection_are_dropped() {
        check(
            &[
                ("connection", "keep-alive, Upgrade, X-Secret"),
                ("connection", "x-other"),
                ("x-secret", "1"),
                ("x-other", "1"),
                ("keep-alive", "timeout=5"),
                ("proxy-authorization", "Basic x"),
                ("proxy-connection", "keep-alive"),
                ("te", "trailers"),
                ("trailer", "x"),
                ("transfer-encoding", "identity"),
                ("upgrade", "websocket"),
                ("content-length", "0"),
                ("accept", "*/*"),
            ],
            &["accept: */*"],
        );
    }

    #[test]
    fn bytes_that_are_no_text_hide_nothing_that_is_named_beside_them() {
        let mut client = map(&[("host", "x"), ("x-hop", "1"), ("x-other", "1"), ("x-kept", "1")]);
        for line in [&b"X-Hop, \xff"[..], &b"\x80,x-other"[..]] {
            client.append(header::CONNECTION, HeaderValue::from_bytes(line).unwrap());
        }
        assert_eq!(lines(&upstream(&client, V4, None))[..3], ["host: x", "x-kept: 1", "x-forwarded-for: 192.0.2.7"]);
        assert_eq!(lines(&downstream(&client)), ["host: x", "x-kept: 1"]);
    }

    #[test]
    fn connection_cannot_take_the_host_or_our_own_fields_away() {
        check(&[("connection", "upgrade, host, x-forwarded-for, forwarded")], &[]);
    }

    #[test]
    fn the_handshake_of_the_client_leg_stays_on_it() {
        check(
            &[
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("sec-websocket-version", "13"),
                ("sec-websocket-extensions", "permessage-deflate"),
                ("Sec_WebSocket_Extensions", "permessage-deflate"),
                ("sec-websocket_protocol", "v1"),
            ],
            &[],
        );
    }

    #[test]
    fn reserved_names_are_stripped_however_spelled() {
        check(
            &[("Tideover-Session", "1"), ("tideover_epoch", "1"), ("TIDEOVER-Next_Seq", "1"), ("tideovers", "mine")],
            &["tideovers: mine"],
        );
    }

    #[test]
    fn the_reattach_header_is_never_a_clients() {
        let client = map(&[("host", "x"), ("X-Balancer-Reconnect", "1"), ("x_balancer-reconnect", "1"), ("x-b", "1")]);
        let own = HeaderName::from_static("x-balancer-reconnect");
        assert_eq!(lines(&upstream(&client, V4, Some(&own)))[..3], ["host: x", "x-b: 1", "x-forwarded-for: 192.0.2.7"]);
        assert!(lines(&upstream(&client, V4, None)).contains(&"x_balancer-reconnect: 1".into()));
    }

    #[test]
    fn what_strangers_say_about_others_is_dropped() {
        check(
            &[
                ("x-forwarded-for", "10.0.0.1"),
                ("x_forwarded_for", "10.0.0.1"),
                ("X-Forwarded_Proto", "https"),
                ("x-forwarded-host", "evil"),
                ("forwarded", "for=10.0.0.1"),
            ],
            &[],
        );
    }

    #[test]
    fn what_a_trusted_peer_says_is_kept() {
        let client = map(&[
            ("host", "[::1]:8080"),
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-proto", "http"),
            ("forwarded", "for=198.51.100.1"),
        ]);
        let peer = Peer { ip: "2001:db8::7".parse().unwrap(), trusted: true, tls: true };
        assert_eq!(
            lines(&upstream(&client, peer, None)),
            [
                "host: [::1]:8080",
                "x-forwarded-for: 198.51.100.1",
                "x-forwarded-for: 2001:db8::7",
                "forwarded: for=198.51.100.1",
                "forwarded: for=\"[2001:db8::7]\";proto=https;host=\"[::1]:8080\"",
                "x-forwarded-proto: http",
                "x-forwarded-host: [::1]:8080",
            ]
        );
    }

    #[test]
    fn the_clients_address_is_the_first_that_is_not_trusted_from_behind() {
        let trusts = |ip: IpAddr| ip.to_string().starts_with("10.");
        let of = |said: &[&str], peer: &str| {
            let fields: Vec<_> = said.iter().map(|said| ("x-forwarded-for", *said)).collect();
            let ip = peer.parse().unwrap();
            let headers = upstream(&map(&fields), Peer { ip, trusted: trusts(ip), tls: false }, None);
            client_address(&headers, ip, trusts).to_string()
        };
        assert_eq!(of(&[], "192.0.2.7"), "192.0.2.7");
        assert_eq!(of(&["198.51.100.1"], "192.0.2.7"), "192.0.2.7", "a stranger's word");
        assert_eq!(of(&["198.51.100.1"], "10.0.0.1"), "198.51.100.1");
        assert_eq!(of(&["6.6.6.6, 198.51.100.1, 10.0.0.2", "10.0.0.3"], "10.0.0.1"), "198.51.100.1");
        assert_eq!(of(&["198.51.100.1, junk"], "10.0.0.1"), "10.0.0.1");
        assert_eq!(of(&["10.0.0.9"], "10.0.0.1"), "10.0.0.9", "trusted all along");
        // An item that is no text is where belief ends; its line has others.
        let mut client = map(&[("host", "x"), ("x-forwarded-for", "6.6.6.6")]);
        for line in [&b"\xff, 198.51.100.1"[..], &b"\xff"[..]] {
            client.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
            let peer = Peer { ip: "10.0.0.1".parse().unwrap(), trusted: true, tls: false };
            let found = client_address(&upstream(&client, peer, None), peer.ip, trusts).to_string();
            assert_eq!(found, if line.len() > 1 { "198.51.100.1" } else { "10.0.0.1" });
        }
    }

    #[test]
    fn answers_keep_their_fields_but_those_of_the_hop() {
        let backend = map(&[
            ("connection", "upgrade, x-hop"),
            ("upgrade", "websocket"),
            ("x-hop", "1"),
            ("sec-websocket-accept", "x"),
            ("tideover-ack", "explicit"),
            ("set-cookie", "a=1"),
            ("sec-websocket-protocol", "v1"),
            ("set-cookie", "b=2"),
        ]);
        assert_eq!(lines(&downstream(&backend)), ["set-cookie: a=1", "set-cookie: b=2", "sec-websocket-protocol: v1"]);
    }

    #[test]
    fn quotes_in_a_host_are_escaped() {
        assert_eq!(quoted(r#"a"b\c"#), r#""a\"b\\c""#);
    }
}

//! What the names of HTTP header fields mean to a proxy, and what lists in their values have.

use hyper::header::{self, HeaderMap, HeaderName};

/// Fields about one hop even where Connection does not name them (RFC 9110 7.6.1), besides `keep-alive` and `proxy-*`.
const ONE_HOP: [HeaderName; 5] =
    [header::CONNECTION, header::TE, header::TRAILER, header::TRANSFER_ENCODING, header::UPGRADE];

/// How the fields of a WebSocket handshake begin (RFC 6455 11.3).
const HANDSHAKE: &str = "sec-websocket-";

/// What says who the client is.
const FORWARDED: [HeaderName; 4] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
];

/// Whether a field is about one connection only.
pub(crate) fn is_one_hop(name: &HeaderName) -> bool {
    ONE_HOP.contains(name) || name == "keep-alive" || name.as_str().starts_with("proxy-")
}

/// Whether a field is the proxy's own part of the WebSocket handshake, made anew on each leg (RFC 6455 4.1, 4.2.2), however
/// it is spelled. Extensions are a matter between neighbours too (RFC 6455 9.1): `deflate` makes of a client's offer what
/// backends are offered. Only the subprotocols are between the two ends.
pub(crate) fn is_handshake(name: &HeaderName) -> bool {
    dashed(name).take(HANDSHAKE.len()).eq(HANDSHAKE.bytes()) && *name != header::SEC_WEBSOCKET_PROTOCOL
}

/// Whether a field is `Tideover-*`, which is between the proxy and its backends.
pub(crate) fn is_reserved(name: &HeaderName) -> bool {
    name.as_str().as_bytes().strip_prefix(b"tideover").is_some_and(|rest| matches!(rest.first(), Some(b'-' | b'_')))
}

/// Whether a field says who the client is: X-Forwarded-* and Forwarded (RFC 7239).
pub(crate) fn is_forwarded(name: &HeaderName) -> bool {
    FORWARDED.iter().any(|own| is_same(own, name))
}

/// Whether two names are the same to a backend: an underscore passes for a dash with CGI-like servers.
pub(crate) fn is_same(one: &HeaderName, other: &HeaderName) -> bool {
    dashed(one).eq(dashed(other))
}

fn dashed(name: &HeaderName) -> impl Iterator<Item = u8> {
    name.as_str().bytes().map(|byte| if byte == b'_' { b'-' } else { byte })
}

/// Whether the operator may give a field a meaning of their own: it has none in HTTP's transport or in the WebSocket
/// handshake, and the proxy neither sets nor drops it.
pub(crate) fn is_free(name: &HeaderName) -> bool {
    let text = name.as_str().replace('_', "-");
    let Ok(dashed) = HeaderName::try_from(text.as_str()) else { return false };
    let taken = [header::HOST, header::CONTENT_LENGTH].contains(&dashed) || text.starts_with("sec-");
    !taken && !is_one_hop(&dashed) && !is_reserved(&dashed) && !is_forwarded(&dashed)
}

/// The items of a comma-separated list, without the space around them. Bytes that are no text hide none of the others.
pub(crate) fn items(list: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Whether a comma-separated list has `token`, which is compared without case.
pub(crate) fn is_listed(list: &[u8], token: &str) -> bool {
    items(list).any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether the comma-separated lists under `name` have `token`, which is compared without case.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|line| is_listed(line.as_bytes(), token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HeaderName {
        HeaderName::try_from(text).unwrap()
    }

    #[test]
    fn an_underscore_passes_for_a_dash() {
        for (one, other) in [("x-a-b", "X_A-b"), ("x_a_b", "x-a-b"), ("x-a-b", "x-a-b")] {
            assert!(is_same(&name(one), &name(other)), "{one} {other}");
        }
        for (one, other) in [("x-a-b", "x-ab"), ("x-a", "x-a-b"), ("x-a", "x.a")] {
            assert!(!is_same(&name(one), &name(other)), "{one} {other}");
        }
    }

    #[test]
    fn of_a_handshake_only_the_subprotocols_are_between_the_ends() {
        let ours = "Sec-WebSocket-Key Sec_WebSocket_Extensions sec-websocket_version SEC_WEBSOCKET-ACCEPT \
                    Sec_WebSocket_Protocol Sec-WebSocket_Protocol Sec-WebSocket-Other";
        assert!(ours.split_whitespace().all(|text| is_handshake(&name(text))));
        let theirs = ["Sec-WebSocket-Protocol", "Sec-WebSocketKey", "Sec-WebSocket", "Sec-Fetch-Mode", "x"];
        assert!(!theirs.iter().any(|text| is_handshake(&name(text))));
    }

    #[test]
    fn a_list_has_its_items_whatever_bytes_are_beside_them() {
        let with: [&[u8]; 5] = [b"a", b"b,a", b" A\t, \xff", b"\xff ,,a", b"b c,\x80,a"];
        assert!(with.iter().all(|list| is_listed(list, "a")));
        let without: [&[u8]; 5] = [b"", b"a b", b"\xffa", b"ab", b"\"a\""];
        assert!(!without.iter().any(|list| is_listed(list, "a")));
    }

    #[test]
    fn what_has_a_meaning_is_not_free() {
        let taken = "Host Content-Length Connection keep_alive Proxy-Authorization TE Upgrade Sec-WebSocket-Protocol \
                     Sec-Anything sec_fetch Tideover-Session tideover_x Forwarded X-Forwarded_For transfer-encoding";
        assert!(taken.split_whitespace().all(|text| !is_free(&name(text))));
        assert!(["X-Balancer-Reconnect", "tideovers", "Cookie", "x"].iter().all(|text| is_free(&name(text))));
    }
}

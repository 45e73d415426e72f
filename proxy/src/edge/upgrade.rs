//! Whether a request is a good WebSocket handshake (RFC 6455 4.2.1).

use hyper::body::Body;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Version};

use super::refusal::Refusal;
use crate::fields::{has_token, is_listed};

const WEBSOCKET: &str = "websocket";

/// Whether a request is the last that its client may send on its connection, by its method and the values of its Upgrade:
/// what is said behind it are frames, or what a tunnel carries. Who reads the bytes of a connection and who answers its
/// requests must agree on that, or something would be read as HTTP that nobody has checked.
pub(super) fn ends_http<'a>(method: &[u8], upgrades: impl IntoIterator<Item = &'a [u8]>) -> bool {
    method == b"CONNECT" || upgrades.into_iter().any(|upgrade| is_listed(upgrade, WEBSOCKET))
}

/// The same of a request as hyper gives it.
pub(super) fn is_last(method: &Method, headers: &HeaderMap) -> bool {
    ends_http(method.as_str().as_bytes(), headers.get_all(header::UPGRADE).iter().map(HeaderValue::as_bytes))
}

/// Whether a request asks for a WebSocket at all, well or badly.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    has_token(headers, &header::UPGRADE, WEBSOCKET)
}

/// Checks a client's handshake and gives its Sec-WebSocket-Key.
pub(super) fn check<B: Body>(request: &Request<B>) -> Result<&HeaderValue, Refusal> {
    let headers = request.headers();
    if !is_wanted(headers) {
        return Err(Refusal::NotWebSocket);
    }
    if request.method() != Method::GET {
        return Err(Refusal::Bad("the method must be GET (RFC 6455 section 4.2.1)"));
    }
    if request.version() != Version::HTTP_11 {
        return Err(Refusal::Bad("the handshake needs HTTP/1.1 (RFC 6455 section 4.2.1)"));
    }
    if only(headers, &header::HOST).is_none_or(HeaderValue::is_empty) {
        return Err(Refusal::Bad("there must be one Host (RFC 6455 section 4.2.1, RFC 9112 section 3.2)"));
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(Refusal::Bad("Connection must have \"Upgrade\" (RFC 6455 section 4.2.1)"));
    }
    if only(headers, &header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::Version);
    }
    if !request.body().is_end_stream() {
        return Err(Refusal::Bad("a handshake has no body (RFC 6455 section 4.1)"));
    }
    only(headers, &header::SEC_WEBSOCKET_KEY)
        .filter(|key| is_key(key.as_bytes()))
        .ok_or(Refusal::Bad("Sec-WebSocket-Key must be one value of 16 bytes in base64 (RFC 6455 section 4.2.1)"))
}

/// The value of a field that stands exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// 16 bytes are 22 characters of base64 and two of padding.
fn is_key(key: &[u8]) -> bool {
    key.strip_suffix(b"==").is_some_and(|digits| {
        digits.len() == 22 && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const GOOD: [(&str, &str); 5] = [
        ("host", "chat.example"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];

    fn request(fields: &[(&str, &str)]) -> Request<Full<Bytes>> {
        fields
            .iter()
            .fold(Request::builder(), |request, (name, value)| request.header(*name, *value))
            .body(Full::default())
            .unwrap()
    }

    fn without(name: &str) -> Vec<(&str, &str)> {
        GOOD.into_iter().filter(|(other, _)| *other != name).collect()
    }

    fn with<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
        without(name).into_iter().chain([(name, value)]).collect()
    }

    fn refused(request: &Request<Full<Bytes>>) -> Refusal {
        check(request).map(|_| ()).unwrap_err()
    }

    fn is_bad(request: &Request<Full<Bytes>>, mention: &str) {
        let refusal = refused(request);
        assert!(matches!(refusal, Refusal::Bad(what) if what.contains(mention)), "{mention}: {refusal:?}");
    }

    #[test]
    fn a_good_handshake_gives_its_key() {
        assert_eq!(check(&request(&GOOD)).unwrap(), KEY);
    }

    #[test]
    fn whoever_asks_for_a_websocket_or_a_tunnel_sends_no_other_request() {
        let cases: [(&[&[u8]], bool); 8] = [
            (&[b"websocket"], true),
            (&[b"h2c, WebSocket"], true),
            (&[b"x", b"websocket"], true),
            (&[b"\xff, websocket"], true),
            (&[], false),
            (&[b"h2c"], false),
            (&[b"websocket/13"], false),
            (&[b"websocket\xff"], false),
        ];
        for (upgrades, wanted) in cases {
            let mut headers = HeaderMap::new();
            for upgrade in upgrades {
                headers.append(header::UPGRADE, HeaderValue::from_bytes(upgrade).unwrap());
            }
            assert_eq!((is_wanted(&headers), is_last(&Method::GET, &headers)), (wanted, wanted), "{upgrades:?}");
            assert!(is_last(&Method::CONNECT, &headers), "{upgrades:?}");
        }
    }

    #[test]
    fn other_requests_are_told_to_upgrade() {
        for fields in [without("upgrade"), with("upgrade", "h2c")] {
            assert_eq!(refused(&request(&fields)), Refusal::NotWebSocket);
        }
    }

    #[test]
    fn another_version_is_told_ours() {
        for fields in [without("sec-websocket-version"), with("sec-websocket-version", "8")] {
            assert_eq!(refused(&request(&fields)), Refusal::Version);
        }
    }

    #[test]
    fn a_bad_handshake_is_told_what_is_wrong() {
        is_bad(&request(&without("host")), "Host");
        is_bad(&request(&[GOOD.as_slice(), &[("host", "other")]].concat()), "Host");
        is_bad(&request(&with("connection", "keep-alive")), "Connection");
        is_bad(&request(&without("sec-websocket-key")), "Sec-WebSocket-Key");
        is_bad(&request(&[GOOD.as_slice(), &[("sec-websocket-key", KEY)]].concat()), "Sec-WebSocket-Key");
        for key in ["", "short==", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZ===", "dGhlIHNhbXBsZSBub25-ZQ=="] {
            is_bad(&request(&with("sec-websocket-key", key)), "Sec-WebSocket-Key");
        }
    }

    #[test]
    fn method_version_and_body_are_checked() {
        let mut post = request(&GOOD);
        *post.method_mut() = Method::POST;
        is_bad(&post, "GET");
        let mut old = request(&GOOD);
        *old.version_mut() = Version::HTTP_10;
        is_bad(&old, "HTTP/1.1");
        let mut body = request(&GOOD);
        *body.body_mut() = Full::new(Bytes::from_static(b"x"));
        is_bad(&body, "body");
    }
}

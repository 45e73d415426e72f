//! Target `handshake`: the head of any request, as hyper would give it, through the check of RFC 6455, the fields that backends
//! are told, and the form in which it is kept for re-attaches.

use std::net::{IpAddr, Ipv4Addr};

use http_body_util::Empty;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Uri};
use tideover::edge::fuzzing::told;
use tideover::pool::fuzzing::kept;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const LIMIT: usize = 64 << 10;
/// Of the handshake of RFC 6455, all that is a client's to say to a backend.
const ITS_OWN: &str = "sec-websocket-protocol";
const ONE_HOP: [&str; 7] =
    ["connection", "upgrade", "te", "trailer", "transfer-encoding", "keep-alive", "content-length"];
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];

/// Panics where backends would be told what is not the client's to say, or something else the next time. Gives whether it was a
/// handshake.
pub(crate) fn check(data: &[u8]) -> bool {
    let Some((&[flags], bytes)) = data.split_first_chunk() else { return false };
    let (trusted, own) = (flags & 1 != 0, HeaderName::from_static("x-reattach"));
    let Some((request, target)) = parsed(bytes) else { return false };
    let Some(upstream) = told(&request, PEER, trusted, Some(&own)) else { return false };
    let named = |name: &str| {
        let lines =
            request.headers().get_all("connection").iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
        lines.map(<[u8]>::trim_ascii).any(|item| item.eq_ignore_ascii_case(name.as_bytes()))
    };
    for name in upstream.keys() {
        let text = name.as_str();
        let dashed = text.replace('_', "-");
        assert!(!dashed.starts_with("sec-websocket-") || text == ITS_OWN, "{name}");
        assert!(!ONE_HOP.contains(&text) && !text.starts_with("proxy-"), "{name}");
        assert!(!dashed.starts_with("tideover-") && dashed != "x-reattach", "{name}");
        assert!(!named(text) || text == "host" || FORWARDED.contains(&text), "{name}");
        assert!(!FORWARDED.contains(&dashed.as_str()) || !text.contains('_'), "{name}");
    }
    let hosts = upstream.get_all("host").iter().count();
    assert_eq!(hosts, 1, "one Host");
    let chain: Vec<_> = upstream.get_all("x-forwarded-for").iter().collect();
    assert_eq!(chain.last().and_then(|last| last.to_str().ok()), Some("192.0.2.7"));
    assert!(trusted || chain.len() == 1, "a stranger's word about others: {chain:?}");
    let (again, headers) = kept(&target, &upstream, LIMIT).expect("it is small");
    assert_eq!((again.to_string(), &headers), (target, &upstream), "a re-attach tells the same");
    true
}

/// As hyper makes it of a head, and the path and query that backends are asked for.
fn parsed(bytes: &[u8]) -> Option<(Request<Empty<hyper::body::Bytes>>, String)> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut head = httparse::Request::new(&mut fields);
    head.parse(bytes).ok()?;
    let uri: Uri = head.path?.parse().ok()?;
    let target = uri.path_and_query()?.to_string();
    let mut request = Request::new(Empty::new());
    *request.method_mut() = head.method?.parse().ok()?;
    *request.uri_mut() = uri;
    let mut headers = HeaderMap::new();
    for field in head.headers.iter() {
        headers.append(HeaderName::try_from(field.name).ok()?, HeaderValue::from_bytes(field.value).ok()?);
    }
    *request.headers_mut() = headers;
    Some((request, target))
}

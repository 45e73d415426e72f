//! The client's handshake as it goes to backends: kept for the life of the session, for re-attaches.

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::Extensions;
use hyper::{Method, Request, Uri};
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use super::dial::{Agreed, Expected};
use super::renewals::Renewed;
use super::session_headers::SessionHeaders;
use crate::config::SessionKey;
use crate::deflate::{Agreement, Offers};
use crate::net::proxy_protocol::Ends;
use crate::renewal;

/// Header fields that a kept handshake may have: what hyper takes from a client (100) and what the edge adds.
const MAX_FIELDS: usize = 128;

/// A request to a backend; a WebSocket handshake has no body.
pub(super) type UpstreamRequest = Request<Empty<Bytes>>;

/// A handshake is larger than `--max-handshake-bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Everything needed to give the client's handshake to a backend again.
#[derive(Debug)]
pub struct KeptHandshake {
    /// The request head as HTTP/1.1 text, without what is made anew for each backend: Sec-WebSocket-Key and -Version,
    /// Connection and Upgrade.
    head: Box<[u8]>,
    subprotocol: Option<Box<str>>,
    /// What backends are offered.
    offers: Offers,
    /// The compression of the session.
    deflate: Option<Agreement>,
    /// Whose it is, for the PROXY header of a backend that gets one.
    client: Option<Ends>,
    /// Where the client is, as far as proxies before us are trusted, for a choice by it.
    address: Option<IpAddr>,
}

impl KeptHandshake {
    /// Keeps a request for `target` (path and query) with `headers`, which are all that a backend gets to see.
    ///
    /// # Errors
    /// If that is more than `limit` bytes of HTTP/1.1 text, or more than 128 header fields.
    pub fn new(target: &str, headers: &HeaderMap, limit: usize) -> Result<Self, TooLarge> {
        let mut head = Vec::with_capacity(1024.min(limit));
        for part in ["GET ", target, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        for (name, value) in headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        if head.len() > limit || headers.len() > MAX_FIELDS {
            return Err(TooLarge);
        }
        let head = head.into_boxed_slice();
        Ok(Self { head, subprotocol: None, offers: Offers::default(), deflate: None, client: None, address: None })
    }

    /// The same, with an offer of compression. Without it there is none.
    #[must_use]
    pub fn offering(self, offers: Offers) -> Self {
        Self { offers, ..self }
    }

    /// The same, with the client's address, for a choice by it.
    #[must_use]
    pub fn at_address(self, address: IpAddr) -> Self {
        Self { address: Some(address), ..self }
    }

    /// The client's address, if it is known.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The same, with the ends of the client's connection.
    #[must_use]
    pub fn from_client(self, ends: Ends) -> Self {
        Self { client: Some(ends), ..self }
    }

    /// The ends of the client's connection, if they are known.
    #[must_use]
    pub fn client(&self) -> Option<Ends> {
        self.client
    }

    /// Remembers what the first backend and the client agreed on. A later backend is offered just that and must agree
    /// to it.
    pub fn agree_on(&mut self, subprotocol: Option<Box<str>>, deflate: Option<Agreement>) {
        self.subprotocol = subprotocol;
        self.deflate = deflate;
        self.offers = deflate.map(Agreement::offers).unwrap_or_default();
    }

    /// The subprotocol of the session.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// The compression of the session.
    #[must_use]
    pub fn deflate(&self) -> Option<Agreement> {
        self.deflate
    }

    /// Whether a later backend agreed to what the session was begun with.
    ///
    /// # Errors
    /// What differs, in words for the log.
    pub(super) fn is_kept_by(&self, later: &Agreed) -> Result<(), &'static str> {
        if later.subprotocol != self.subprotocol {
            return Err("another subprotocol than the session's");
        }
        match (self.deflate, later.deflate) {
            (Some(_), None) => Err("no permessage-deflate, which the session uses"),
            (Some(agreed), Some(later)) if !agreed.is_kept_by(later) => {
                Err("a smaller client_max_window_bits than the session's")
            }
            // Without an offer there is no agreement.
            (Some(_), Some(_)) | (None, _) => Ok(()),
        }
    }

    /// Whether its query has such a key.
    #[must_use]
    pub fn has_query_key(&self, key: &str) -> bool {
        let line = self.head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let target = line.split(|byte| *byte == b' ').nth(1).and_then(|target| std::str::from_utf8(target).ok());
        target.is_some_and(|target| renewal::has_key(target, key))
    }

    /// Bytes that this takes: itself and what it points to. At most `--max-handshake-bytes` twice and 256.
    #[must_use]
    pub fn memory(&self) -> usize {
        let subprotocol = self.subprotocol.as_ref().map_or(0, |name| name.len());
        size_of::<Self>() + self.head.len() + subprotocol + self.offers.memory()
    }

    /// The handshake for a backend, signed with `key` as of now. `spelling` may hold how the client spelled the header
    /// names.
    pub(super) fn request(&self, session: &SessionHeaders, key: Option<&SessionKey>, spelling: Extensions) -> Upstream {
        let (target, headers) = self.parse();
        let mut upstream = self.upstream(target, headers, session, key);
        *upstream.request.extensions_mut() = spelling;
        upstream
    }

    /// The handshake for a later backend, with what was renewed of it.
    pub(super) fn request_again(
        &self,
        session: &SessionHeaders,
        key: Option<&SessionKey>,
        renewed: Option<&Renewed>,
    ) -> Upstream {
        match renewed {
            Some(Renewed { target, headers }) => self.upstream(target.clone(), headers.clone(), session, key),
            None => self.request(session, key, Extensions::new()),
        }
    }

    fn upstream(
        &self,
        target: Uri,
        mut headers: HeaderMap,
        session: &SessionHeaders,
        key: Option<&SessionKey>,
    ) -> Upstream {
        session.add_to(&mut headers, target.path_and_query().map_or("/", |target| target.as_str()), key);
        let mut upstream = Upstream::new(target, headers, self.offers.clone());
        upstream.client = self.client;
        upstream
    }

    /// A handshake that asks only whether there is somebody: for the session's path, but without its query, its
    /// cookies or anything else that could begin something in the application.
    pub(super) fn probe(&self) -> Upstream {
        let (target, kept) = self.parse();
        let path = Uri::try_from(target.path()).expect("a path of a URI is a URI");
        let mut headers = HeaderMap::new();
        if let Some(host) = kept.get(header::HOST) {
            headers.insert(header::HOST, host.clone());
        }
        let agent = concat!("tideover-probe/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        Upstream::new(path, headers, Offers::default())
    }

    /// The target and the header fields.
    pub(super) fn parse(&self) -> (Uri, HeaderMap) {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut fields);
        parsed.parse(&self.head).expect("what was kept is a request");
        let target = parsed.path.and_then(|path| Uri::try_from(path).ok()).expect("what was kept has a target");
        let mut headers = HeaderMap::with_capacity(parsed.headers.len() + 11);
        for field in parsed.headers.iter() {
            let name = HeaderName::try_from(field.name).expect("what was kept has valid names");
            headers.append(name, HeaderValue::from_bytes(field.value).expect("what was kept has valid values"));
        }
        (target, headers)
    }
}

/// A handshake on its way to a backend, and what is needed to check the answer.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) request: UpstreamRequest,
    pub(super) expected: Expected,
    /// The ends of the client's connection; `None` for one of our own.
    pub(super) client: Option<Ends>,
}

impl Upstream {
    /// Adds our own part of the handshake (RFC 6455 4.1). No other extension is offered than what `offers` say.
    pub(super) fn new(target: Uri, mut headers: HeaderMap, offers: Offers) -> Self {
        let key = generate_key();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_str(&key).expect("base64 is a header value"));
        if let Some(offered) = offers.header() {
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, offered);
        }
        let accept = derive_accept_key(key.as_bytes());
        let expected = Expected { accept, offered: subprotocols(&headers), offers, explicit: false };
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = target;
        *request.headers_mut() = headers;
        Self { request, expected, client: None }
    }
}

fn subprotocols(headers: &HeaderMap) -> Vec<Box<str>> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|name| !name.is_empty()).map(Box::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> KeptHandshake {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "chat.example"),
            ("cookie", "a=1"),
            ("cookie", "b=\u{e9}"),
            ("authorization", "Bearer secret"),
            ("sec-websocket-protocol", "v2.chat, v1.chat"),
        ] {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        KeptHandshake::new("/room%20/1?user=a&b", &headers, 1024).unwrap()
    }

    fn first() -> SessionHeaders {
        SessionHeaders::first(uuid::Uuid::nil())
    }

    #[test]
    fn what_is_kept_comes_back_with_a_key_of_our_own() {
        let upstream = kept().request(&first(), None, Extensions::new());
        assert_eq!(upstream.request.uri(), "/room%20/1?user=a&b");
        let headers = upstream.request.headers();
        let cookies: Vec<_> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(cookies, [b"a=1".as_slice(), "b=\u{e9}".as_bytes()]);
        assert_eq!(upstream.expected.offered, ["v2.chat".into(), "v1.chat".into()]);
        assert_eq!(upstream.expected.accept, derive_accept_key(headers[header::SEC_WEBSOCKET_KEY].as_bytes()));
        assert!(!headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS));
    }

    #[test]
    fn a_later_backend_is_offered_what_was_agreed_on() {
        let client = HeaderMap::from_iter([(
            header::SEC_WEBSOCKET_EXTENSIONS,
            HeaderValue::from_static("permessage-deflate; client_max_window_bits, permessage-deflate"),
        )]);
        let mut kept = kept().offering(Offers::of_client(&client));
        let offered = |kept: &KeptHandshake| {
            let upstream = kept.request(&first(), None, Extensions::new());
            upstream.request.headers().get(header::SEC_WEBSOCKET_EXTENSIONS).cloned()
        };
        assert_eq!(offered(&kept).unwrap().to_str().unwrap().split(", ").count(), 2);
        let answer = HeaderMap::from_iter([(
            header::SEC_WEBSOCKET_EXTENSIONS,
            HeaderValue::from_static("permessage-deflate; server_no_context_takeover; client_max_window_bits=9"),
        )]);
        let agreed = kept.offers.answered(&answer).unwrap();
        kept.agree_on(None, agreed);
        assert_eq!(
            offered(&kept).unwrap(),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=9"
        );
        kept.agree_on(None, None);
        assert_eq!(offered(&kept), None, "nothing was agreed on");
    }

    #[test]
    fn each_backend_gets_a_fresh_key() {
        let accepts = [(); 2].map(|()| kept().request(&first(), None, Extensions::new()).expected.accept);
        assert_ne!(accepts[0], accepts[1]);
    }

    #[test]
    fn a_probe_carries_no_secret() {
        let probe = kept().probe();
        assert_eq!(probe.request.uri(), "/room%20/1");
        let mut names: Vec<_> = probe.request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected = ["connection", "host", "sec-websocket-key", "sec-websocket-version", "upgrade", "user-agent"];
        assert_eq!(names, expected);
    }

    #[test]
    fn more_than_the_limit_is_not_kept() {
        let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static("0123456789"))]);
        let size = KeptHandshake::new("/", &headers, 1024).unwrap().head.len();
        assert!(KeptHandshake::new("/", &headers, size).is_ok());
        assert_eq!(KeptHandshake::new("/", &headers, size - 1).unwrap_err(), TooLarge);
    }

    #[test]
    fn memory_counts_what_it_points_to() {
        let mut kept = kept();
        let before = kept.memory();
        kept.agree_on(Some("v2.chat".into()), None);
        assert_eq!(kept.memory(), before + 7);
        assert!(size_of::<KeptHandshake>() <= 240);
        assert!(before > kept.head.len());
    }
}

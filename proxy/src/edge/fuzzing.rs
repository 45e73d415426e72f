//! What of the edge reads strangers' bytes, for the fuzz targets in `proxy/tests/fuzz`; nothing else may use it.

use std::net::IpAddr;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName};
use hyper::{Method, Request};

use super::headers::{self, Peer};
use super::strict::Strict;
use super::upgrade;

/// Where a client's bytes have led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The next byte begins a request.
    Between,
    /// In a request's head.
    Head,
    /// In a request's body.
    Body,
    /// Behind a WebSocket handshake or a CONNECT: no byte is looked at.
    Opaque,
}

/// The check of a client's bytes that comes before hyper.
#[derive(Debug)]
pub struct Reader(Strict);

impl Reader {
    /// For a fresh connection; heads may have `max_head` bytes.
    #[must_use]
    pub fn new(max_head: usize) -> Self {
        Self(Strict::new(max_head))
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// How many of them are good, and what is wrong with the next.
    pub fn accept(&mut self, bytes: &[u8]) -> Result<(), (usize, &'static str)> {
        self.0.accept(bytes).map(drop).map_err(|(good, violation)| (good, violation.what))
    }

    /// Where they have led to.
    #[must_use]
    pub fn place(&self) -> Place {
        self.0.place()
    }
}

/// Whether the edge answers no request that would follow this one on its connection.
#[must_use]
pub fn is_last(method: &Method, headers: &HeaderMap) -> bool {
    upgrade::is_last(method, headers)
}

/// The header fields that backends get for a client's request; `None` if that is no good WebSocket handshake.
#[must_use]
pub fn told(request: &Request<Empty<Bytes>>, ip: IpAddr, trusted: bool, own: Option<&HeaderName>) -> Option<HeaderMap> {
    upgrade::check(request).ok()?;
    Some(headers::upstream(request.headers(), Peer { ip, trusted, tls: false }, own))
}

/// The header fields of a backend's answer that the client gets.
#[must_use]
pub fn passed(backend: &HeaderMap) -> HeaderMap {
    headers::downstream(backend)
}

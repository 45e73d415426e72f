//! What backends are told of a request: its target, its header, and whose it is.

use std::borrow::Cow;
use std::net::IpAddr;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request;
use hyper::http::uri::{Authority, Uri};

use super::EdgeContext;
use super::headers::{self, Peer};
use super::opening::Client;
use super::refusal::Refusal;
use crate::pool::Route;

/// A request's head as backends get it, but for what is made anew for each.
#[derive(Debug)]
pub(super) struct Told {
    /// Path and query, or `*`.
    pub(super) target: Uri,
    pub(super) headers: HeaderMap,
    /// The client's address, as far as proxies before us are trusted.
    pub(super) address: IpAddr,
}

impl Told {
    /// What backends of `route` are told of the request with this head.
    pub(super) fn of(
        context: &EdgeContext,
        client: Client,
        head: &request::Parts,
        route: &Route,
    ) -> Result<Self, Refusal> {
        let ip = client.peer().ip().to_canonical();
        let trusts = |ip: IpAddr| context.config.trust_forwarded.iter().any(|net| net.contains(&ip));
        let peer = Peer { ip, trusted: trusts(ip), tls: client.tls };
        let said = match head.uri.authority() {
            Some(authority) => Cow::Owned(with_host(&head.headers, authority)?),
            None => Cow::Borrowed(&head.headers),
        };
        let headers = headers::upstream(&said, peer, route.reattach_header.as_ref());
        let address = headers::client_address(&headers, ip, trusts);
        let target = head.uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
        Ok(Self { target, headers, address })
    }
}

/// The header of a request whose target is absolute: what that says of the host goes before the field (RFC 9112 3.2.2),
/// for the routes as for backends.
fn with_host(headers: &HeaderMap, authority: &Authority) -> Result<HeaderMap, Refusal> {
    let host = HeaderValue::from_str(authority.as_str()).ok().filter(|host| !host.as_bytes().contains(&b'@'));
    let host = host.ok_or(Refusal::Bad("the target may name no user (RFC 9110 section 4.2.4)"))?;
    let mut headers = headers.clone();
    headers.insert(header::HOST, host);
    Ok(headers)
}

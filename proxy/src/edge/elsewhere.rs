//! Telling a client which backend to go to, in place of a session.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request;
use hyper::http::uri::PathAndQuery;
use hyper::{Response, StatusCode};

use super::EdgeContext;
use super::headers::{self, Peer};
use super::opening::Client;
use super::refusal::{Refusal, ReplyBody};
use crate::config::Mode;
use crate::pool::Route;
use crate::schemes::assign_target;

/// The answer to a request for an assignment (`--assign on`). `None`: it is another request.
pub(super) fn assignment(
    context: &EdgeContext,
    client: Client,
    request: &Request<Incoming>,
) -> Option<Response<ReplyBody>> {
    let target = assign_target(request.uri()).filter(|_| context.config.schemes.assign.is_some())?;
    let peer = client.peer();
    let address = headers::client_address(&forwarded(context, client, request.headers()), canonical(peer), |ip| {
        trusts(context, ip)
    });
    let head = as_handshake(request, &target);
    // It is about to end, or paused: that is none of the backends' doing, but nobody should rely on it now.
    let route = context.fleet.route(&head).filter(|_| context.closed().is_none());
    let pool = route.as_ref().map(|route| &*route.pool.name);
    let response = context.schemes.answer(&head, address, pool, &target)?;
    let target = without_query(context, &target);
    tracing::debug!(%peer, client = %address, target, status = response.status().as_u16(), "assignment");
    Some(response.map(Either::Left))
}

/// What is known of the client, as backends are told it.
fn forwarded(context: &EdgeContext, client: Client, headers: &HeaderMap) -> HeaderMap {
    let ip = canonical(client.peer());
    headers::upstream(headers, Peer { ip, trusted: trusts(context, ip), tls: client.tls }, None)
}

fn canonical(peer: SocketAddr) -> IpAddr {
    peer.ip().to_canonical()
}

fn trusts(context: &EdgeContext, ip: IpAddr) -> bool {
    context.config.trust_forwarded.iter().any(|net| net.contains(&ip))
}

/// The request as a handshake with this target would be, for the routes.
fn as_handshake(request: &Request<Incoming>, target: &str) -> request::Parts {
    let mut head = Request::new(()).into_parts().0;
    head.method = request.method().clone();
    head.headers = request.headers().clone();
    let mut uri = request.uri().clone().into_parts();
    uri.path_and_query = PathAndQuery::try_from(target).ok();
    // What is left of a request's target is one.
    head.uri = hyper::Uri::from_parts(uri).unwrap_or_default();
    head
}

/// Where a handshake is sent, as a Location. `None`: the proxy relays its session (`--mode proxy`).
pub(super) fn redirect(
    context: &EdgeContext,
    client: Client,
    head: &request::Parts,
    route: &Route,
) -> Result<Option<HeaderValue>, Refusal> {
    if route.pool.settings().mode == Mode::Proxy {
        return Ok(None);
    }
    if let Some(refusal) = context.closed() {
        return Err(refusal);
    }
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    // Ours, or that of the outermost trusted proxy.
    let scheme = forwarded(context, client, &head.headers).remove("x-forwarded-proto");
    let tls = scheme.is_some_and(|scheme| {
        ["https", "wss"].iter().any(|tls| scheme.as_bytes().eq_ignore_ascii_case(tls.as_bytes()))
    });
    let location = context.schemes.redirect(&route.pool.name, target, tls);
    let location = location.ok_or_else(|| Refusal::NoBackend("none has a public-url and takes sessions".into()))?;
    let location = HeaderValue::try_from(location);
    location.map(Some).map_err(|_| Refusal::Bad("the target cannot be written in a Location (RFC 9110 section 10.2.2)"))
}

/// A target as the log may show it (`--log-query`).
fn without_query<'a>(context: &EdgeContext, target: &'a str) -> &'a str {
    let query = target.find('?').filter(|_| !context.config.log_query);
    query.map_or(target, |query| &target[..query])
}

/// 307: the same request again, there (RFC 9110 15.4.8).
pub(super) fn redirected(context: &EdgeContext, location: HeaderValue, peer: SocketAddr) -> Response<ReplyBody> {
    let shown = String::from_utf8_lossy(location.as_bytes());
    tracing::info!(%peer, location = without_query(context, &shown), "handshake redirected");
    let mut response = Response::new(Either::Left(Full::new(Bytes::new())));
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

//! Telling a client which backend to go to, in place of a session.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request;
use hyper::http::uri::PathAndQuery;
use hyper::{Response, StatusCode};

use super::EdgeContext;
use super::refusal::{Refusal, ReplyBody, close_after_handshake};
use crate::config::Mode;
use crate::pool::Route;
use crate::schemes::{assign_target, client};

/// The answer to a request for an assignment (`--assign on`). `None`: it is another request.
pub(super) fn assignment(
    context: &EdgeContext,
    peer: SocketAddr,
    request: &Request<Incoming>,
) -> Option<Response<ReplyBody>> {
    let target = assign_target(request.uri()).filter(|_| context.config.schemes.assign.is_some())?;
    let trusted = &context.config.trust_forwarded;
    let client = client::address(request.headers(), peer.ip(), trusted);
    let head = as_handshake(request, &target);
    // The proxy is about to end: that is none of the backends' doing, but nobody should rely on it any more.
    let route = context.fleet.route(&head).filter(|_| !context.is_draining());
    let pool = route.as_ref().map(|route| &*route.pool.name);
    let response = context.schemes.answer(&head, client, pool, &target)?;
    tracing::debug!(%peer, %client, target, status = response.status().as_u16(), "assignment");
    Some(response.map(Either::Left))
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
    peer: SocketAddr,
    head: &request::Parts,
    route: &Route,
) -> Result<Option<HeaderValue>, Refusal> {
    if route.pool.settings().mode == Mode::Proxy {
        return Ok(None);
    }
    if context.is_draining() {
        return Err(Refusal::Draining);
    }
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let tls = client::has_tls(&head.headers, peer.ip(), &context.config.trust_forwarded);
    let location = context.schemes.redirect(&route.pool.name, target, tls);
    let location = location.ok_or_else(|| Refusal::NoBackend("none has a public-url and takes sessions".into()))?;
    let location = HeaderValue::try_from(location);
    location.map(Some).map_err(|_| Refusal::Bad("the target cannot be written in a Location (RFC 9110 section 10.2.2)"))
}

/// 307: the same request again, there (RFC 9110 15.4.8).
pub(super) fn redirected(location: HeaderValue, peer: SocketAddr) -> Response<ReplyBody> {
    tracing::info!(%peer, location = %String::from_utf8_lossy(location.as_bytes()), "handshake redirected");
    let mut response = Response::new(Either::Left(Full::new(Bytes::new())));
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    close_after_handshake(&mut response);
    response
}

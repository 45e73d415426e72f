//! Plain HTTP: a request that is no handshake, and the answer of a backend to it.

use std::net::SocketAddr;

use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request;
use hyper::{Method, Request, Response, Version};

use super::EdgeContext;
use super::body::{Download, Progress, Stalled, UnderWay, Upload};
use super::guard::Patience;
use super::headers;
use super::opening::Client;
use super::refusal::{Refusal, ReplyBody, close_after_handshake};
use super::told::Told;
use crate::config::Http;
use crate::fields::has_token;
use crate::pool::{Exchange, ExchangeError, Sender};

/// Answers a request that asks for no WebSocket.
pub(super) async fn answer(
    context: &EdgeContext,
    client: Client,
    patience: &Patience,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    match exchange(context, client, patience, request).await {
        Ok(mut response) => {
            context.requests.answered(response.status());
            if context.is_draining() {
                close_after_handshake(&mut response);
            }
            response
        }
        Err(refusal) => refused(context, client.peer(), &refusal),
    }
}

fn refused(context: &EdgeContext, peer: SocketAddr, refusal: &Refusal) -> Response<ReplyBody> {
    if *refusal == Refusal::NotWebSocket {
        refusal.log("handshake refused", peer);
        context.refused.count(refusal.reason());
    } else {
        refusal.log("request refused", peer);
        context.requests.refused(refusal.reason());
    }
    refusal.response()
}

async fn exchange(
    context: &EdgeContext,
    client: Client,
    patience: &Patience,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Refusal> {
    let (head, body) = request.into_parts();
    let route = context.fleet.route(&head);
    if route.as_ref().is_some_and(|route| route.admission.http == Http::Reject) {
        return Err(Refusal::NotWebSocket);
    }
    if head.method == Method::CONNECT {
        return Err(Refusal::Method);
    }
    check_host(&head)?;
    let route = route.ok_or(Refusal::NoRoute)?;
    if !route.allows_host(&head) {
        return Err(Refusal::Host);
    }
    let permit = context.take_request()?;
    let told = Told::of(context, client, &head, &route)?;
    let (sender, request) = (Sender { ends: client.ends, address: told.address }, upstream(head, body, told));
    let expects = has_token(request.headers(), &header::EXPECT, "100-continue");
    let progress = Progress::new();
    let timeout = route.pool.settings().http_timeout;
    patience.set(timeout);
    let mut stalled: Stalled = Box::pin(progress.clone().stalled(timeout));
    let request = Upload::of(request, expects, progress.clone());
    // On the heap: the state of a dial is large, and a handshake's future has room for either.
    let sent = Box::pin(route.pool.exchange(request, sender, &mut stalled)).await;
    let Exchange { response, connection, sticky } = sent.map_err(refusal)?;
    let under_way = UnderWay { progress, stalled, _connection: connection, _permit: permit };
    Ok(downstream(response, sticky).map(|body| Either::Right(Download::new(body, under_way))))
}

/// One Host, which only HTTP/1.0 may leave out: routes judge one, so backends may not get another.
fn check_host(head: &request::Parts) -> Result<(), Refusal> {
    let hosts = head.headers.get_all(header::HOST).iter().count();
    let good = hosts == 1 || hosts == 0 && head.version != Version::HTTP_11;
    good.then_some(()).ok_or(Refusal::Bad("there must be one Host (RFC 9112 section 3.2)"))
}

fn refusal(error: ExchangeError) -> Refusal {
    match error {
        ExchangeError::NoBackend(why) => Refusal::NoBackend(why),
        ExchangeError::Client => Refusal::Bad("the body of the request broke off"),
        ExchangeError::Broken(why) => Refusal::Broken(why),
        ExchangeError::Late(why) => Refusal::Late(why),
    }
}

/// The request as a backend gets it.
fn upstream(head: request::Parts, body: Incoming, told: Told) -> Request<Incoming> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = told.target;
    let headers = request.headers_mut();
    *headers = told.headers;
    keep(&head.headers, headers, &header::CONTENT_LENGTH);
    keep(&head.headers, headers, &header::TRAILER);
    // Of all that TE may say, the one thing that a chunked body can carry through (RFC 9110 10.1.4).
    if has_token(&head.headers, &header::TE, "trailers") {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("TE"));
    }
    // How the client spelled the names of its fields.
    *request.extensions_mut() = head.extensions;
    request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    request
}

/// The answer as the client gets it.
fn downstream(response: Response<Incoming>, sticky: Option<HeaderValue>) -> Response<Incoming> {
    let (mut head, body) = response.into_parts();
    let mut headers = headers::downstream(&head.headers);
    keep(&head.headers, &mut headers, &header::TRAILER);
    if let Some(cookie) = sticky {
        headers.append(header::SET_COOKIE, cookie);
    }
    head.headers = headers;
    head.version = Version::HTTP_11;
    head.extensions.remove::<hyper::upgrade::OnUpgrade>();
    Response::from_parts(head, body)
}

/// Takes a field along that handshakes have no use for.
fn keep(from: &HeaderMap, to: &mut HeaderMap, name: &header::HeaderName) {
    for value in from.get_all(name) {
        to.append(name, value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_host_which_only_http_1_0_may_leave_out() {
        let cases: [(Version, &[&str], bool); 7] = [
            (Version::HTTP_11, &["a"], true),
            (Version::HTTP_11, &[""], true),
            (Version::HTTP_11, &[], false),
            (Version::HTTP_11, &["a", "a"], false),
            (Version::HTTP_10, &["a"], true),
            (Version::HTTP_10, &[], true),
            (Version::HTTP_10, &["a", "b"], false),
        ];
        for (version, hosts, good) in cases {
            let request = hosts.iter().fold(Request::builder().version(version), |it, host| it.header("host", *host));
            let (head, ()) = request.body(()).expect("a request").into_parts();
            assert_eq!(check_host(&head).is_ok(), good, "{version:?} {hosts:?}");
        }
    }
}

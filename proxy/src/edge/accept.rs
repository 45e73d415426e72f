//! From a client's request to its answer: a 101 with a backend leg behind it, or a refusal.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request;
use hyper::{Request, Response, StatusCode};
use tungstenite::handshake::derive_accept_key;
use uuid::Uuid;

use super::guard::Patience;
use super::headers;
use super::opening::Client;
use super::refusal::{Refusal, ReplyBody, close_after_handshake, upgrade_to_websocket};
use super::told::Told;
use super::{EdgeContext, Reason, SessionSlot, elsewhere, plain, upgrade};
use crate::config::Compression;
use crate::deflate::Offers;
use crate::pool::{Attached, FirstAttachError, KeptHandshake, Route, SessionHeaders};

/// A session whose backend leg is there and whose client is being sent its 101.
pub(super) struct Accepted {
    pub(super) route: Arc<Route>,
    pub(super) attached: Attached,
    pub(super) handshake: KeptHandshake,
    pub(super) slot: SessionSlot,
    pub(super) id: Uuid,
}

/// Answers a request. With a 101 comes the session that is to begin when the client has it.
pub(super) async fn answer(
    context: &EdgeContext,
    client: Client,
    patience: &Patience,
    request: Request<Incoming>,
) -> (Response<ReplyBody>, Option<Accepted>) {
    let last = upgrade::is_last(request.method(), request.headers());
    let (mut response, accepted) = match elsewhere::assignment(context, client, &request) {
        Some(response) => (response, None),
        None if upgrade::is_wanted(request.headers()) => attach(context, client, request).await,
        None => (plain::answer(context, client, patience, request).await, None),
    };
    // Whatever it was answered: what a client sends behind it is not checked, so it is not read.
    if last && accepted.is_none() {
        close_after_handshake(&mut response);
    }
    (response, accepted)
}

/// Answers a request for a WebSocket.
async fn attach(
    context: &EdgeContext,
    client: Client,
    request: Request<Incoming>,
) -> (Response<ReplyBody>, Option<Accepted>) {
    let peer = client.peer();
    let accepted = match begin(context, client, request).await {
        Ok(accepted) => accepted,
        Err(Refused::ByUs(refusal)) => {
            refusal.log("handshake refused", peer);
            context.refused.count(refusal.reason());
            return (refusal.response(), None);
        }
        Err(Refused::ByBackend(response)) => {
            context.refused.count(Reason::Backend);
            return (pass_on(*response, peer), None);
        }
        Err(Refused::Elsewhere(location)) => return (elsewhere::redirected(context, location, peer), None),
    };
    let (accept, mut accepted) = accepted;
    (switching(&accept, &mut accepted.attached), Some(accepted))
}

enum Refused {
    ByUs(Refusal),
    ByBackend(Box<(Response<Incoming>, String)>),
    /// It is told to go there.
    Elsewhere(HeaderValue),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::ByUs(refusal)
    }
}

impl From<FirstAttachError> for Refused {
    fn from(error: FirstAttachError) -> Self {
        match error {
            FirstAttachError::NoBackend(why) => Self::ByUs(Refusal::NoBackend(why)),
            FirstAttachError::Refused(response, backend) => {
                Self::ByBackend(Box::new((*response, backend.url.to_string())))
            }
        }
    }
}

/// Gives the Sec-WebSocket-Accept for the client's key, and the session.
async fn begin(
    context: &EdgeContext,
    client: Client,
    request: Request<Incoming>,
) -> Result<(HeaderValue, Accepted), Refused> {
    let key = upgrade::check(&request)?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64 is a header value");
    let (mut head, _) = request.into_parts();
    head.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let route = context.fleet.route(&head).ok_or(Refusal::NoRoute)?;
    if !route.allows_host(&head) {
        return Err(Refusal::Host.into());
    }
    if !route.allows_origin(&head) {
        return Err(Refusal::Origin.into());
    }
    if let Some(location) = elsewhere::redirect(context, client, &head, &route)? {
        return Err(Refused::Elsewhere(location));
    }
    let told = Told::of(context, client, &head, &route)?;
    let slot = context.take_slot(told.address)?;
    let mut handshake = keep(context, client, &told, offers(&head, &route))?;
    let id = Uuid::now_v7();
    let mut attached = route.first_attach(&handshake, &SessionHeaders::first(id), &head.extensions).await?;
    if let Some(cookie) = route.pool.sticky_cookie(&handshake, attached.lease.backend()) {
        attached.response.headers.append(header::SET_COOKIE, cookie);
    }
    handshake.agree_on(attached.subprotocol.clone(), attached.deflate);
    Ok((accept, Accepted { route, attached, handshake, slot, id }))
}

/// What re-attaches repeat: what backends are told, and what the client offered to compress with.
fn keep(context: &EdgeContext, client: Client, told: &Told, offers: Offers) -> Result<KeptHandshake, Refusal> {
    let target = told.target.path_and_query().map_or("/", |target| target.as_str());
    let kept = KeptHandshake::new(target, &told.headers, context.config.max_handshake_bytes);
    let kept = kept.map_err(|_| Refusal::TooLarge)?;
    Ok(kept.from_client(client.ends).at_address(told.address).offering(offers))
}

fn offers(head: &request::Parts, route: &Route) -> Offers {
    match route.compression {
        Compression::Relay => Offers::of_client(&head.headers),
        Compression::Off => Offers::default(),
    }
}

/// The client's 101 (RFC 6455 4.2.2): the backend's own fields, its subprotocol, our Accept, and the compression that
/// was agreed on.
fn switching(accept: &HeaderValue, attached: &mut Attached) -> Response<ReplyBody> {
    let backend = std::mem::take(&mut attached.response.headers);
    let mut headers = headers::downstream(&backend);
    headers.remove(header::CONTENT_LENGTH);
    upgrade_to_websocket(&mut headers);
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.clone());
    if let Some(deflate) = attached.deflate {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, deflate.header());
    }
    let mut response = Response::new(Either::Left(Full::new(Bytes::new())));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    // How the backend spelled the names of its fields.
    *response.extensions_mut() = std::mem::take(&mut attached.response.extensions);
    response
}

/// A backend's refusal as the client's answer: status, end-to-end fields, and the body as it comes.
fn pass_on((mut response, backend): (Response<Incoming>, String), peer: SocketAddr) -> Response<ReplyBody> {
    let status = response.status();
    tracing::info!(%peer, status = status.as_u16(), reason = %format_args!("refused by {backend}"), "handshake refused");
    let mut headers: HeaderMap = headers::downstream(response.headers());
    if let Some(version) = response.headers().get(header::SEC_WEBSOCKET_VERSION) {
        headers.insert(header::SEC_WEBSOCKET_VERSION, version.clone());
    }
    *response.headers_mut() = headers;
    response.map(|body| Either::Right(body.into()))
}

//! Who may call.
//!
//! A browser on the operator's machine reaches a loopback port too, and the page that it shows may be anybody's. So
//! on TCP a name other than `localhost` is no Host of ours (a page whose name was re-bound to 127.0.0.1 sends its own
//! name), a request that comes from another origin is refused, and what shows or changes something takes a token,
//! which no page has. A unix socket is out of a page's reach, and its mode says who may connect.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, OpenApi, PathItem, Ref, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::error::Failure;
use crate::config::AdminToken;

/// How the API is reached, and what its callers must show.
#[derive(Clone, Debug)]
pub enum Access {
    /// By a unix socket: who may connect may do everything.
    Unix,
    /// By TCP.
    Tcp {
        /// Where it listens.
        local: SocketAddr,
        /// What callers show; `None`: nothing is shown or changed.
        token: Option<AdminToken>,
    },
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Admits to what shows or changes something.
pub(super) async fn admit(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    match access.check_token(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

/// Admits to health and metrics.
pub(super) async fn admit_to_open(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if access.guards_all() { admit(State(access), request, next).await } else { next.run(request).await }
}

/// Refuses what comes from a web page of another origin, or by a name that is not ours.
pub(super) async fn check_source(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    match access.check_source(&request) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

/// Refuses a body that is not JSON: the types that an HTML form can send are not.
pub(super) async fn check_content_type(request: Request, next: Next) -> Response {
    let is_json = |value: &HeaderValue| {
        let value = value.to_str().unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
    };
    let headers = request.headers();
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    let declared = headers.get(header::CONTENT_TYPE);
    if declared.is_some_and(|value| !is_json(value)) || (has_body && declared.is_none()) {
        let error = "a body must be declared as Content-Type: application/json";
        return Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error).into_response();
    }
    next.run(request).await
}

impl Access {
    /// Whether what shows or changes something takes the token.
    pub(super) fn guards_some(&self) -> bool {
        matches!(self, Self::Tcp { .. })
    }

    /// Whether health and metrics take it too.
    pub(super) fn guards_all(&self) -> bool {
        matches!(self, Self::Tcp { local, .. } if !local.ip().to_canonical().is_loopback())
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let token = match self {
            Self::Unix => return Ok(()),
            Self::Tcp { token, .. } => token.as_ref().ok_or_else(|| {
                Failure::forbidden("on TCP this needs a token, and the proxy has none; see --admin-token-file")
            })?,
        };
        let missing = || Failure::new(StatusCode::UNAUTHORIZED, "this needs Authorization: Bearer <token>");
        let shown = only(headers, &header::AUTHORIZATION)?.ok_or_else(missing)?.as_bytes();
        let (scheme, shown) = shown.split_at_checked("Bearer ".len()).ok_or_else(missing)?;
        if !scheme.eq_ignore_ascii_case(b"Bearer ") || !token.is(shown) {
            return Err(Failure::new(StatusCode::UNAUTHORIZED, "this is not the token of --admin-token-file"));
        }
        Ok(())
    }

    fn check_source(&self, request: &Request) -> Result<(), Failure> {
        let headers = request.headers();
        let host = only(headers, &header::HOST)?.ok_or_else(|| Failure::bad("there must be a Host"))?;
        let host = host.to_str().map_err(|_| Failure::bad("the Host is not text"))?;
        let target = request.uri().authority().map(Authority::as_str);
        if let Self::Tcp { local, .. } = self
            && ![Some(host), target].into_iter().flatten().all(|name| is_ours(name, local.port()))
        {
            let error = format!("the Host must be an IP address or localhost, with port {}", local.port());
            return Err(Failure::new(StatusCode::MISDIRECTED_REQUEST, error));
        }
        let origin = only(headers, &header::ORIGIN)?;
        let same_origin = |origin: &HeaderValue| {
            let authority = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
            // A page reaches a unix socket only by what forwards a port to it; there its Host was not looked at yet.
            is_known(host) && authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        };
        let site = headers.get(SEC_FETCH_SITE);
        let same_site = |site: &HeaderValue| site == "same-origin" || site == "none";
        if !origin.is_none_or(same_origin) || !site.is_none_or(same_site) {
            return Err(Failure::forbidden("pages of other origins may not call the operator's API"));
        }
        Ok(())
    }
}

/// The value of a field that may stand once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Failure> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Failure::bad(format!("{name} stands more than once"))),
    }
}

/// Whether a Host is an IP address or `localhost`, with any port: no name that somebody else can bind to an address.
fn is_known(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost") || bare.unwrap_or(name).parse::<IpAddr>().is_ok()
}

/// Whether it is that with this port, 80 if it has none.
fn is_ours(host: &str, port: u16) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let named_port = match authority.port() {
        Some(named) => Some(named.as_u16()),
        None if host.ends_with(':') => None,
        None => Some(80),
    };
    is_known(host) && named_port == Some(port) && !host.contains('@')
}

/// Adds to a document what the guards may answer, and the token if it is asked for.
pub(super) fn document(document: &mut OpenApi, takes_token: bool) {
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.insert(Failure::name().into_owned(), Failure::schema());
    components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        let token = takes_token.then(|| SecurityRequirement::new("token", [""; 0]));
        operation.security = Some(token.into_iter().collect());
        for (status, description) in ANSWERS {
            let reference = Ref::from_schema_name(Failure::name());
            let content = Content::new(Some(reference));
            let answer = ResponseBuilder::new().description(description).content("application/json", content).build();
            operation.responses.responses.entry(status.to_owned()).or_insert(answer.into());
        }
    }
}

const ANSWERS: [(&str, &str); 5] = [
    ("400", "The request is not understood"),
    ("401", "The token is missing or wrong"),
    ("403", "The proxy has no token, or the call comes from a page of another origin"),
    ("415", "The body is not declared as application/json"),
    ("421", "The Host is not an IP address or localhost with the right port"),
];

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut utoipa::openapi::path::Operation> {
    [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_of_ours_is_an_address_or_localhost_with_the_port() {
        for host in ["127.0.0.1:81", "localhost:81", "LOCALHOST:81", "[::1]:81", "192.0.2.1:81"] {
            assert!(is_ours(host, 81), "{host}");
        }
        assert!(is_ours("127.0.0.1", 80) && is_ours("[::1]", 80));
        let others = [
            "",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:82",
            "evil.example:81",
            "localhost.evil.example:81",
            "::1:81",
            "user@localhost:81",
            "127.0.0.1.nip.io:81",
            "localhost:81/",
            "0x7f000001:81",
        ];
        for host in others {
            assert!(!is_ours(host, 81), "{host}");
        }
    }
}

//! One active check: how it asks, and what counts as passed.

use std::fmt;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use tokio::time::Instant;

use super::super::dial::{self, Answer, DialError};
use super::super::handshake::{Upstream, UpstreamRequest};
use super::super::polite;
use crate::config::{BackendUrl, CheckProbe, HealthCheck, Transport};
use crate::deflate::Offers;
use crate::net::Stream;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("tideover-check/", env!("CARGO_PKG_VERSION")));

/// What a check found.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A TCP connection was made.
    Connected,
    /// An HTTP check was answered with a status that is healthy.
    Healthy(StatusCode),
    /// A WebSocket check was answered 101.
    Switched,
    /// An HTTP check was answered with another status, or a WebSocket check with anything but 101.
    Status(StatusCode),
    /// There was no answer, or none that counts.
    Failed(DialError),
}

impl Outcome {
    pub(super) fn passed(&self) -> bool {
        match self {
            Self::Connected | Self::Healthy(_) | Self::Switched => true,
            Self::Status(_) | Self::Failed(_) => false,
        }
    }

    /// The machine that we run on failed, not the backend: this says nothing.
    pub(super) fn is_our_own(&self) -> bool {
        matches!(self, Self::Failed(error) if error.is_our_own())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Healthy(status) | Self::Status(status) => write!(f, "answered {status}"),
            Self::Switched => f.write_str("answered 101"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// Where a backend is, and how it is connected to.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) url: &'a BackendUrl,
    pub(super) transport: &'a Transport,
}

impl Place<'_> {
    async fn connect(self, by: Instant) -> Result<Stream, DialError> {
        dial::connect(self.url, self.transport, None, by).await
    }
}

/// Makes the check that `settings` ask for, of the backend there, in at most `settings.timeout`. Dropping the future
/// closes the connection.
pub(super) async fn check(place: Place<'_>, probe: &CheckProbe, settings: &HealthCheck) -> Outcome {
    let by = Instant::now() + settings.timeout;
    let asked = match probe {
        CheckProbe::Tcp => place.connect(by).await.map(|_| Outcome::Connected),
        CheckProbe::Http(target) => http(place, target, settings, by).await,
        CheckProbe::WebSocket(target) => web_socket(place, target, settings, by).await,
    };
    asked.unwrap_or_else(Outcome::Failed)
}

async fn http(place: Place<'_>, target: &str, settings: &HealthCheck, by: Instant) -> Result<Outcome, DialError> {
    let stream = place.connect(by).await?;
    let mut request: UpstreamRequest = Request::default();
    *request.uri_mut() = uri(target);
    *request.headers_mut() = headers(place.url, settings);
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    match dial::exchange(stream, request, by).await? {
        Answer::Switched(..) => Ok(Outcome::Status(StatusCode::SWITCHING_PROTOCOLS)),
        // The body says nothing to us: it is dropped with the connection.
        Answer::Other(response) => Ok(match response.status() {
            healthy if settings.statuses.contains(healthy) => Outcome::Healthy(healthy),
            other => Outcome::Status(other),
        }),
    }
}

/// A leg that begins is closed as a client closes it, so that no handler logs an error.
async fn web_socket(place: Place<'_>, target: &str, settings: &HealthCheck, by: Instant) -> Result<Outcome, DialError> {
    let stream = place.connect(by).await?;
    let Upstream { request, expected, .. } =
        Upstream::new(uri(target), headers(place.url, settings), Offers::default());
    match dial::exchange(stream, request, by).await? {
        Answer::Switched(response, stream, _) => {
            let agreed = dial::validate(&response, &expected);
            tokio::spawn(polite::close(stream));
            agreed.map(|_| Outcome::Switched)
        }
        Answer::Other(response) => Ok(Outcome::Status(response.status())),
    }
}

fn uri(target: &str) -> Uri {
    Uri::try_from(target).expect("a valid configuration has valid targets")
}

fn headers(url: &BackendUrl, settings: &HealthCheck) -> HeaderMap {
    let own = || HeaderValue::try_from(url.authority()).expect("an authority is a header value");
    let host = settings.host.clone().unwrap_or_else(own);
    HeaderMap::from_iter([(header::HOST, host), (header::USER_AGENT, AGENT)])
}

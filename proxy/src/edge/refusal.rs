//! What the proxy itself says to a handshake that leads to no session, and to a request that gets no answer.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use super::Reason;
use super::body::Download;

/// Body of an answer to a client: our own text, or a backend's body as it comes.
pub(super) type ReplyBody = Either<Full<Bytes>, Download>;

/// Why the proxy refuses a request. What a backend refuses is not among these.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not a WebSocket handshake at all.
    NotWebSocket,
    /// A bad one; says what is wrong and where that is written.
    Bad(&'static str),
    /// Another version of the protocol (RFC 6455 4.4).
    Version,
    /// Larger than `--max-handshake-bytes`.
    TooLarge,
    /// A request began and was not complete in time.
    Timeout,
    /// `--max-sessions` are live.
    Full,
    /// `--max-sessions-per-address` are live.
    Address,
    /// Too fast for `--session-rate-per-address`.
    Rate,
    /// The proxy is about to end.
    Draining,
    /// An operator has paused the proxy.
    Paused,
    /// Not among `--allow-host`.
    Host,
    /// Not among `--allow-origin`.
    Origin,
    /// No route takes it.
    NoRoute,
    /// No backend took it; the text is for the log.
    NoBackend(String),
    /// A method that no backend is asked to serve.
    Method,
    /// `--max-http-requests` are under way.
    Busy,
    /// A backend took a plain request and gave no good answer; the text is for the log.
    Broken(String),
    /// A plain request stood still for `--http-timeout`; the text is for the log.
    Late(String),
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotWebSocket | Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Address | Self::Rate => StatusCode::TOO_MANY_REQUESTS,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Full | Self::Busy | Self::Draining | Self::Paused | Self::NoBackend(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Method => StatusCode::NOT_IMPLEMENTED,
            Self::Broken(_) => StatusCode::BAD_GATEWAY,
            Self::Late(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Under what it is counted.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::NotWebSocket => Reason::NotWebSocket,
            Self::Bad(_) | Self::Method => Reason::Bad,
            Self::Version => Reason::Version,
            Self::TooLarge => Reason::TooLarge,
            Self::Timeout => Reason::Timeout,
            Self::Full | Self::Busy => Reason::Full,
            Self::Address => Reason::Address,
            Self::Rate => Reason::Rate,
            Self::Draining => Reason::Draining,
            Self::Paused => Reason::Paused,
            Self::Host => Reason::Host,
            Self::Origin => Reason::Origin,
            Self::NoRoute => Reason::NoRoute,
            Self::NoBackend(_) => Reason::NoBackend,
            Self::Broken(_) => Reason::Broken,
            Self::Late(_) => Reason::Late,
        }
    }

    /// What the client reads.
    fn text(&self) -> &'static str {
        match self {
            Self::NotWebSocket => "only WebSocket handshakes are served here (RFC 6455 section 4.2.1)",
            Self::Bad(what) => what,
            Self::Version => "Sec-WebSocket-Version must be 13 (RFC 6455 section 4.4)",
            Self::TooLarge => "the handshake is too large",
            Self::Timeout => "the request was not complete in time",
            Self::Full => "too many sessions",
            Self::Address => "too many sessions of one address",
            Self::Rate => "too many handshakes of one address",
            Self::Draining => "shutting down",
            Self::Paused => "no new sessions for now",
            Self::Host => "this host is not served here",
            Self::Origin => "pages of this origin may not connect",
            Self::NoRoute => "no route leads there",
            Self::NoBackend(_) => "no backend is available",
            Self::Method => "this method is not served here",
            Self::Busy => "too many requests are under way",
            Self::Broken(_) => "the backend gave no good answer",
            Self::Late(_) => "the backend gave no answer in time",
        }
    }

    pub(super) fn response(&self) -> Response<ReplyBody> {
        let mut response = Response::new(Either::Left(Full::new(Bytes::from(format!("{}\n", self.text())))));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match self {
            Self::NotWebSocket => upgrade_to_websocket(headers),
            Self::Version => {
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            Self::Full | Self::Busy | Self::Paused | Self::Address | Self::Rate | Self::NoBackend(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Bad(_) | Self::TooLarge | Self::NoRoute | Self::Draining => {}
            Self::Host | Self::Origin => {}
            Self::Timeout | Self::Method | Self::Broken(_) | Self::Late(_) => {}
        }
        if *self != Self::NotWebSocket {
            close_after_handshake(&mut response);
        }
        response
    }

    /// The whole answer, for a connection that nobody else speaks HTTP on any more.
    pub(super) fn text_of_response(&self) -> String {
        let (status, text) = (self.status(), self.text());
        let length = text.len() + 1;
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{text}\n"
        )
    }

    /// One line for what was refused. What is our side's fault is a warning.
    pub(super) fn log(&self, what: &str, peer: SocketAddr) {
        let status = self.status().as_u16();
        if self.status().is_server_error() {
            tracing::warn!(%peer, status, reason = %self, "{what}");
        } else {
            tracing::info!(%peer, status, reason = %self, "{what}");
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())?;
        match self {
            Self::NoBackend(why) | Self::Broken(why) | Self::Late(why) => write!(f, ": {why}"),
            _ => Ok(()),
        }
    }
}

/// Makes a refused handshake the last request of its connection: what a hasty client sent behind it are frames, not
/// another request. A 426 says what to upgrade to (RFC 9110 15.5.22).
pub(super) fn close_after_handshake<B>(response: &mut Response<B>) {
    let upgrade = response.status() == StatusCode::UPGRADE_REQUIRED;
    let headers = response.headers_mut();
    let connection = if upgrade { "Upgrade, close" } else { "close" };
    if upgrade {
        upgrade_to_websocket(headers);
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
}

/// Marks an answer as one about WebSocket: a 101 or a 426.
pub(super) fn upgrade_to_websocket(headers: &mut hyper::HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

//! One dial: TCP, the HTTP exchange, and the check of the backend's 101.

use std::error::Error as _;
use std::fmt;
use std::future::poll_fn;
use std::io;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::http::response;
use hyper::{Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::handshake::UpstreamRequest;
use super::health::Failure;
use crate::config::{BackendUrl, Transport};
use crate::deflate::{Agreement, Offers};
use crate::fields::has_token;
use crate::net::Stream;
use crate::net::proxy_protocol::{self, Ends};
use crate::tls;

/// Bytes that a backend's response head may have. More is a bad handshake.
pub(super) const MAX_RESPONSE_HEAD: usize = 64 << 10;

const TIDEOVER_ACK: HeaderName = HeaderName::from_static("tideover-ack");

/// Why a dial failed.
#[derive(Debug)]
pub(super) enum DialError {
    /// No place among the backend's handshakes in time, or one of those failed meanwhile.
    Queue,
    /// No TCP connection.
    Connect(io::Error),
    /// No TCP connection in time.
    ConnectTimeout,
    /// No TLS handshake: the backend does not speak it, or is not whom it should be.
    Tls(io::Error),
    /// No TLS handshake in time.
    TlsTimeout,
    /// No answer in time.
    AnswerTimeout,
    /// The connection ended before an answer.
    Ended(hyper::Error),
    /// It answered with something that is not HTTP.
    NotHttp(hyper::Error),
    /// It answered 101, but not as RFC 6455 4.1 wants it, or not as the session needs it.
    BadHandshake(&'static str),
    /// It answered a re-attach with another status.
    Status(StatusCode),
}

impl DialError {
    /// A 401 or 403: the application does not want this client.
    pub(super) fn denial(&self) -> Option<StatusCode> {
        match self {
            Self::Status(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) => Some(*status),
            _ => None,
        }
    }

    /// What it says of the backend's health. `None`: nothing, the backend was not asked.
    pub(super) fn failure(&self) -> Option<Failure> {
        match self {
            Self::Queue => None,
            Self::Connect(_) if self.is_our_own() => None,
            Self::Connect(_) | Self::ConnectTimeout => Some(Failure::Proof),
            Self::Tls(_) if self.is_our_own() => None,
            Self::Tls(_)
            | Self::TlsTimeout
            | Self::AnswerTimeout
            | Self::Ended(_)
            | Self::NotHttp(_)
            | Self::BadHandshake(_)
            | Self::Status(_) => Some(Failure::Handshake),
        }
    }

    /// This machine could not dial, for want of descriptors, ports, memory or roots to trust: that says nothing of the backend.
    pub(super) fn is_our_own(&self) -> bool {
        let error = match self {
            Self::Connect(error) => error,
            // Nothing to trust is there: the backend was not heard.
            Self::Tls(error) => return error.kind() == io::ErrorKind::Other,
            _ => return false,
        };
        let ours = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
        ours.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue => f.write_str("no place among its handshakes"),
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::ConnectTimeout => f.write_str("no connection in time"),
            Self::Tls(error) => write!(f, "no TLS: {}", tls::explain(error)),
            Self::TlsTimeout => f.write_str("no TLS handshake in time"),
            Self::AnswerTimeout => f.write_str("no answer in time"),
            Self::Ended(error) => write!(f, "ended before an answer: {}", why_ended(error)),
            Self::NotHttp(error) => write!(f, "no HTTP answer: {error}"),
            Self::BadHandshake(what) => write!(f, "bad handshake: {what}"),
            Self::Status(status) => write!(f, "answered {status}"),
        }
    }
}

/// With TLS 1.3, a backend that refuses our certificate says so when the handshake is over for us.
fn why_ended(error: &hyper::Error) -> String {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    io.map_or_else(|| error.to_string(), tls::explain)
}

impl From<hyper::Error> for DialError {
    fn from(error: hyper::Error) -> Self {
        if error.is_parse() { Self::NotHttp(error) } else { Self::Ended(error) }
    }
}

/// What a 101 is checked against.
#[derive(Debug)]
pub(super) struct Expected {
    /// The Sec-WebSocket-Accept that answers our key (RFC 6455 4.2.2).
    pub(super) accept: String,
    /// The subprotocols that the client offers.
    pub(super) offered: Vec<Box<str>>,
    /// The compression that is offered.
    pub(super) offers: Offers,
    /// Whether the backend must opt in to acknowledge explicitly.
    pub(super) explicit: bool,
}

/// What a good 101 agrees to.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) subprotocol: Option<Box<str>>,
    pub(super) deflate: Option<Agreement>,
    pub(super) explicit: Option<AckCarrier>,
}

/// How a backend that acknowledges explicitly says so (`Tideover-Ack` in its 101).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckCarrier {
    /// `explicit`: in unsolicited Pongs.
    Pong,
    /// `message`: in text messages, for frameworks that cannot send Pongs.
    Message,
}

/// What a backend answered, on a stream that is `S`.
pub(super) enum Answer<S = Stream> {
    /// 101: the response head, the stream and what came behind the head.
    Switched(Box<response::Parts>, S, Bytes),
    /// Anything else, with its body still coming.
    Other(Response<Incoming>),
}

/// Connects to the backend before `by`, up to where HTTP begins: TCP, the PROXY header that says whose connection it
/// is, TLS. `client` are the ends of the client's connection; without them it is one of our own.
pub(super) async fn connect(
    url: &BackendUrl,
    transport: &Transport,
    client: Option<Ends>,
    by: Instant,
) -> Result<Stream, DialError> {
    let mut stream = connect_tcp(url, by).await?;
    if transport.send_proxy {
        // A fresh connection has room for it.
        stream.write_all(&proxy_protocol::encode(client)).await.map_err(DialError::Connect)?;
    }
    if !url.tls {
        return Ok(Stream::Plain(stream));
    }
    // On the heap: the state of a handshake is large, and plain dials share this future.
    let secured = timeout_at(by, Box::pin(transport.tls.connect(stream, &url.host))).await;
    secured.map_err(|_| DialError::TlsTimeout)?.map_err(DialError::Tls)
}

/// Connects to any address of the backend before `by`. Each one tried may take its share of what is left of the time.
async fn connect_tcp(url: &BackendUrl, by: Instant) -> Result<TcpStream, DialError> {
    let lookup = timeout_at(by, lookup_host((url.host.as_str(), url.port))).await;
    let addresses: Vec<_> = lookup.map_err(|_| DialError::ConnectTimeout)?.map_err(DialError::Connect)?.collect();
    let mut failed = DialError::Connect(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for (left, address) in (1..=addresses.len()).rev().zip(addresses) {
        match timeout_at(share(by, left), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(DialError::Connect)?;
                return Ok(stream);
            }
            Ok(Err(error)) => failed = DialError::Connect(error),
            Err(_) => failed = DialError::ConnectTimeout,
        }
    }
    Err(failed)
}

/// The end of an equal share of the time until `by` for the first of `left` attempts.
pub(super) fn share(by: Instant, left: usize) -> Instant {
    let now = Instant::now();
    let parts = u32::try_from(left.max(1)).unwrap_or(u32::MAX);
    now + by.saturating_duration_since(now) / parts
}

/// Sends the request and takes the answer, which must begin before `by`. Dropping the future closes the connection.
pub(super) async fn exchange<S>(stream: S, request: UpstreamRequest, by: Instant) -> Result<Answer<S>, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.preserve_header_case(true).title_case_headers(true).max_buf_size(MAX_RESPONSE_HEAD);
    let (mut sender, mut connection) = http.handshake(TokioIo::new(stream)).await?;
    // A task of its own: the body of a refusal is still read when this future is done.
    let connection = tokio::spawn(async move {
        poll_fn(|cx| connection.poll_without_shutdown(cx)).await?;
        Ok::<_, hyper::Error>(connection.into_parts())
    });
    let sent = timeout_at(by, sender.send_request(request)).await;
    let response = sent.map_err(|_| DialError::AnswerTimeout)??;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Answer::Other(response));
    }
    let (mut head, _) = response.into_parts();
    head.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let parts = connection.await.map_err(|_| DialError::BadHandshake("the connection was lost"))??;
    Ok(Answer::Switched(Box::new(head), parts.io.into_inner(), parts.read_buf))
}

/// Checks a 101 (RFC 6455 4.1, "the client MUST validate the server's response") and gives what it agrees to.
pub(super) fn validate(head: &response::Parts, expected: &Expected) -> Result<Agreed, DialError> {
    let headers = &head.headers;
    let bad = |what| Err(DialError::BadHandshake(what));
    if head.version != Version::HTTP_11 {
        return bad("101 needs HTTP/1.1");
    }
    if !has_token(headers, &header::UPGRADE, "websocket") {
        return bad("no Upgrade: websocket");
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return bad("no Connection: Upgrade");
    }
    if only(headers, &header::SEC_WEBSOCKET_ACCEPT)? != Some(expected.accept.as_bytes()) {
        return bad("wrong Sec-WebSocket-Accept");
    }
    // It would be taken for the first frames, by us or, with other eyes, by somebody before us.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return bad("a 101 with a Transfer-Encoding (RFC 9112 section 6.1)");
    }
    if only(headers, &header::CONTENT_LENGTH)?.is_some_and(|length| length != b"0") {
        return bad("a 101 with a body (RFC 9110 section 15.2)");
    }
    let deflate = expected.offers.answered(headers).map_err(DialError::BadHandshake)?;
    let explicit = ack_carrier(headers)?;
    if expected.explicit && explicit.is_none() {
        return bad("no Tideover-Ack: it does not opt in to acknowledge explicitly (--ack explicit)");
    }
    Ok(Agreed { subprotocol: subprotocol(headers, &expected.offered)?, deflate, explicit })
}

fn subprotocol(headers: &HeaderMap, offered: &[Box<str>]) -> Result<Option<Box<str>>, DialError> {
    let Some(chosen) = only(headers, &header::SEC_WEBSOCKET_PROTOCOL)? else { return Ok(None) };
    match offered.iter().find(|offered| offered.as_bytes() == chosen) {
        Some(name) => Ok(Some(name.clone())),
        None => Err(DialError::BadHandshake("a subprotocol that was not offered")),
    }
}

fn ack_carrier(headers: &HeaderMap) -> Result<Option<AckCarrier>, DialError> {
    match only(headers, &TIDEOVER_ACK)? {
        None => Ok(None),
        Some(value) if value.eq_ignore_ascii_case(b"explicit") => Ok(Some(AckCarrier::Pong)),
        Some(value) if value.eq_ignore_ascii_case(b"message") => Ok(Some(AckCarrier::Message)),
        Some(_) => Err(DialError::BadHandshake("Tideover-Ack is neither explicit nor message")),
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, DialError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(DialError::BadHandshake("a header field that may stand once is repeated"));
    }
    Ok(first.map(|value| value.as_bytes().trim_ascii()))
}

/// Whether an answer says that there is no application behind it, now.
pub(super) fn is_unavailable(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

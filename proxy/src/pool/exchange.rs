//! One plain HTTP request and its answer: which backend, and the connection to it.
//!
//! Each request has a connection of its own: none is shared by clients, so no answer can be taken for another's. A
//! request that was sent is never sent again: it may have been acted on.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Pool;
use super::backend::Lease;
use super::dial::{self, MAX_RESPONSE_HEAD};
use super::health::Dial;
use super::round::Round;
use crate::net::Stream;
use crate::net::proxy_protocol::Ends;

/// Whose a plain request is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    /// The ends of the client's connection.
    pub(crate) ends: Ends,
    /// Where the client is, as far as proxies before us are trusted.
    pub(crate) address: IpAddr,
}

/// A backend's answer whose body is still coming.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) response: Response<Incoming>,
    /// To be kept until the answer's body is over: dropped, it ends the connection.
    pub(crate) connection: Connection,
    /// The Set-Cookie that brings the client back to this backend, if that is news to it.
    pub(crate) sticky: Option<HeaderValue>,
}

/// The connection of an exchange, and its place on the backend.
#[derive(Debug)]
pub(crate) struct Connection {
    task: JoinHandle<()>,
    _lease: Lease,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why there is no answer. The texts are for the log.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// No backend could be connected to.
    NoBackend(String),
    /// The client's body ended before its end.
    Client,
    /// The backend took the request and gave no good answer.
    Broken(String),
    /// Nothing moved for `--http-timeout`.
    Late(String),
}

impl Pool {
    /// Sends `request`, whose header is all that the backend gets to see, and waits for its answer until `stalled`.
    ///
    /// Backends are connected to one after the other, as at a session's first attach, within `--connect-timeout`. The
    /// first that can be connected to has the request.
    ///
    /// # Errors
    /// See [`ExchangeError`]. Dropping the future closes what was begun.
    pub(crate) async fn exchange<B>(
        &self,
        mut request: Request<B>,
        sender: Sender,
        stalled: impl Future<Output = ()>,
    ) -> Result<Exchange, ExchangeError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (stream, lease) = self.connect_for(request.uri(), request.headers(), sender).await?;
        let sticky = self.sticky_cookie_for(request.headers(), lease.backend());
        // One request a connection.
        request.headers_mut().append(header::CONNECTION, HeaderValue::from_static("close"));
        let mut http = http1::Builder::new();
        http.preserve_header_case(true).title_case_headers(true).max_buf_size(MAX_RESPONSE_HEAD);
        let url = lease.backend().url.clone();
        let broken = |error: hyper::Error| match error.is_user() {
            true => ExchangeError::Client,
            false => ExchangeError::Broken(format!("{url}: {error}")),
        };
        let (mut http, driver) = http.handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Why it ends, the exchange or its body says.
        let task = tokio::spawn(async move { drop(driver.await) });
        let connection = Connection { task, _lease: lease };
        let response = tokio::select! {
            response = http.send_request(request) => response.map_err(broken)?,
            () = stalled => return Err(ExchangeError::Late(format!("{url}: no answer in time"))),
        };
        self.dialled(connection._lease.backend(), Dial::Answered);
        match check(&response) {
            Ok(()) => Ok(Exchange { response, connection, sticky }),
            Err(what) => Err(ExchangeError::Broken(format!("{url}: {what}"))),
        }
    }

    async fn connect_for(
        &self,
        target: &hyper::Uri,
        headers: &HeaderMap,
        sender: Sender,
    ) -> Result<(Stream, Lease), ExchangeError> {
        let settings = self.settings();
        let by = Instant::now() + settings.connect_timeout;
        let wish = self.wish_of(target, headers, Some(sender.address));
        let mut round = Round::new(self.candidates(wish));
        while let Some(lease) = self.pick(wish, |id| round.is_left(id).then_some(0)) {
            let (backend, begun) = (lease.backend().clone(), Instant::now());
            let share = dial::share(by, round.left());
            round.begin(backend.id);
            match dial::connect(&backend.url, &settings.transport, Some(sender.ends), share).await {
                Ok(stream) => return Ok((stream, lease)),
                Err(error) => {
                    round.failed(&backend, &error);
                    if let Some(failure) = error.failure() {
                        self.dialled(&backend, Dial::Failed(failure, begun.elapsed()));
                    }
                }
            }
        }
        Err(ExchangeError::NoBackend(round.summary()))
    }
}

/// What hyper lets pass, and no client of ours should see.
fn check(response: &Response<Incoming>) -> Result<(), &'static str> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err("it switches protocols, which nobody asked for");
    }
    check_framing(response.headers())
}

/// Refuses an answer whose end two readers could see in two places.
pub(super) fn check_framing(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let is_number = |length: &HeaderValue| length.as_bytes().iter().all(u8::is_ascii_digit);
    if lengths.next().is_some_and(|length| !is_number(length)) || lengths.next().is_some() {
        return Err("its answer has more than one Content-Length (RFC 9112 section 6.3)");
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if headers.contains_key(header::CONTENT_LENGTH) {
        return Err("its answer has a Content-Length and a Transfer-Encoding (RFC 9112 section 6.3)");
    }
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err("its answer has a transfer coding that nobody asked for (RFC 9112 section 7.4)");
    }
    Ok(())
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBackend(why) | Self::Broken(why) | Self::Late(why) => f.write_str(why),
            Self::Client => f.write_str("the body of the request broke off"),
        }
    }
}

//! One handshake for somebody who only wants to know how a backend answers: the same that a session's is, and judged
//! the same.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::header::HeaderMap;
use hyper::{StatusCode, Uri};
use tokio::time::{Instant, timeout_at};

use super::dial::{self, AckCarrier, Answer, DialError};
use super::handshake::Upstream;
use crate::config::{BackendUrl, Transport};
use crate::deflate::{Agreement, Offers};
use crate::net::Stream;

/// Bytes of a refusal's body that are read.
const REFUSAL: usize = 4 << 10;

/// A backend that let us in.
#[derive(Debug)]
pub(crate) struct Knocked {
    /// The connection.
    pub(crate) stream: Stream,
    /// What came right behind the 101.
    pub(crate) leftover: Bytes,
    /// The subprotocol that it chose.
    pub(crate) subprotocol: Option<Box<str>>,
    /// The compression that it agreed to.
    pub(crate) deflate: Option<Agreement>,
    /// Whether it says that it acknowledges explicitly.
    pub(crate) explicit: Option<AckCarrier>,
}

/// Why it did not.
#[derive(Debug)]
pub(crate) enum KnockError {
    /// It answered with another status; the beginning of what it said, if that is text.
    Refused(StatusCode, String),
    /// There was no answer, or a bad one.
    Failed(String),
}

impl fmt::Display for KnockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status, said) if said.is_empty() => write!(f, "refused the handshake: {status}"),
            Self::Refused(status, said) => write!(f, "refused the handshake: {status}: {said}"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl From<DialError> for KnockError {
    fn from(error: DialError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Asks `url` for `target` with these headers, and for compression if `offers` has any. Takes at most `within`.
pub(crate) async fn knock(
    url: &BackendUrl,
    transport: &Transport,
    target: Uri,
    headers: HeaderMap,
    offers: Offers,
    within: Duration,
) -> Result<Knocked, KnockError> {
    let by = Instant::now() + within;
    let upstream = Upstream::new(target, headers, offers);
    let stream = dial::connect(url, transport, None, by).await?;
    match dial::exchange(stream, upstream.request, by).await? {
        Answer::Switched(head, stream, leftover) => {
            let agreed = dial::validate(&head, &upstream.expected)?;
            let dial::Agreed { subprotocol, deflate, explicit } = agreed;
            Ok(Knocked { stream, leftover, subprotocol, deflate, explicit })
        }
        Answer::Other(response) => {
            let status = response.status();
            let body = timeout_at(by, Limited::new(response.into_body(), REFUSAL).collect()).await;
            let said = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
            let text: String = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
            Err(KnockError::Refused(status, text.chars().take(200).collect()))
        }
    }
}

//! What of the pool reads strangers' bytes, for the fuzz targets in `proxy/tests/fuzz`; nothing else may use it.

use std::time::Duration;

use bytes::Bytes;
use hyper::Uri;
use hyper::header::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::KeptHandshake;
use super::dial::{self, Answer};
use super::exchange::check_framing;
use super::handshake::Upstream;
use crate::deflate::Offers;

/// The longest that an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a backend's answer came to.
#[derive(Debug)]
pub enum Dialled {
    /// A leg: the header of its 101, the subprotocol, and the bytes behind the head that have been read.
    Leg(HeaderMap, Option<Box<str>>, Bytes),
    /// Another status.
    Refused,
    /// No good answer, and why.
    Failed(String),
}

/// A handshake for `target` with `headers` on a stream, and what comes of the answer.
pub async fn dial<S>(stream: S, target: Uri, headers: HeaderMap) -> Dialled
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let offers = Offers::of_client(&headers);
    let Upstream { request, expected, .. } = Upstream::new(target, headers, offers);
    match dial::exchange(stream, request, Instant::now() + PATIENCE).await {
        Ok(Answer::Switched(head, _, leftover)) => match dial::validate(&head, &expected) {
            Ok(agreed) => Dialled::Leg(head.headers, agreed.subprotocol, leftover),
            Err(error) => Dialled::Failed(error.to_string()),
        },
        Ok(Answer::Other(response)) => match check_framing(response.headers()) {
            Ok(()) => Dialled::Refused,
            Err(what) => Dialled::Failed(what.to_owned()),
        },
        Err(error) => Dialled::Failed(error.to_string()),
    }
}

/// What later backends get of a handshake that is kept; `None` if it is too large.
#[must_use]
pub fn kept(target: &str, headers: &HeaderMap, limit: usize) -> Option<(Uri, HeaderMap)> {
    KeptHandshake::new(target, headers, limit).ok().map(|kept| kept.parse())
}

//! The end of a connection that was no good HTTP, or not in time.

use std::net::SocketAddr;

use hyper::StatusCode;
use tokio::io::AsyncWriteExt;

use super::refusal::Refusal;
use super::strict::Violation;
use super::{EdgeContext, Reason};
use crate::net::Stream;

/// Why no request could be made of what a client sent.
pub(super) enum Failure {
    /// hyper has answered that it is too large.
    TooLarge(hyper::Error),
    /// hyper has answered that it is no HTTP.
    Unreadable(hyper::Error),
    /// It is to be answered with this.
    Refused(Refusal),
    /// Nothing came in time.
    Idle,
    /// The client is gone, or has had its answer.
    Gone(hyper::Error),
}

impl Failure {
    /// What `error` ended a connection for; without one, that was the time. `within_head`: a request had begun.
    pub(super) fn of(error: Option<hyper::Error>, within_head: bool) -> Self {
        let late = || if within_head { Self::Refused(Refusal::Timeout) } else { Self::Idle };
        let Some(error) = error else { return late() };
        match Violation::behind(&error) {
            Some(violation) if violation.in_head => Self::Refused(Refusal::Bad(violation.what)),
            Some(_) => Self::Gone(error),
            None if error.is_parse_too_large() => Self::TooLarge(error),
            None if error.is_parse() => Self::Unreadable(error),
            None if error.is_timeout() => late(),
            None => Self::Gone(error),
        }
    }

    /// Counts it and says so in the log.
    pub(super) fn log(&self, context: &EdgeContext, peer: SocketAddr) {
        let (reason, status) = match self {
            Self::TooLarge(error) => (error, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Self::Unreadable(error) => (error, StatusCode::BAD_REQUEST),
            Self::Refused(refusal) => {
                context.refused.count(refusal.reason());
                return refusal.log("handshake refused", peer);
            }
            Self::Idle => {
                context.refused.count(Reason::Timeout);
                return tracing::info!(%peer, reason = "no handshake in time", "connection closed");
            }
            Self::Gone(error) => {
                return tracing::debug!(%peer, reason = %error, "the client went away before its session began");
            }
        };
        context.refused.count(if status == StatusCode::BAD_REQUEST { Reason::Bad } else { Reason::TooLarge });
        tracing::info!(%peer, status = status.as_u16(), %reason, "handshake refused");
    }

    /// Gives the client the answer that nobody else gave it.
    pub(super) async fn answer(&self, stream: &mut Stream) {
        if let Self::Refused(refusal) = self {
            // A fresh connection, or one whose answers were taken, has room for it.
            let _gone_or_taken = stream.write_all(refusal.text_of_response().as_bytes()).await;
        }
    }
}

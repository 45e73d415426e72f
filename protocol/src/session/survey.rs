//! What an operator is shown of a session.

use std::time::Duration;

use crate::time::Instant;

use super::Session;
use super::leg::Attachment;

/// The replay ring at one moment. A message dropped, expired or poisoned leaves a gap: its seq counts as acknowledged
/// and forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSurvey {
    /// Seq of the last message that the client sent whole; 0 before the first.
    pub received: u64,
    /// Seq of the last message that was wholly written to the current leg, or before the first retained one.
    pub written: u64,
    /// No message up to this seq is unacknowledged.
    pub acknowledged: u64,
    /// No message up to this seq is retained.
    pub forgotten: u64,
    /// Messages that it may hold (`--buffer-messages`).
    pub max_messages: usize,
    /// Bytes of messages that it holds, headers and the one being received included.
    pub bytes: usize,
    /// Bytes that it may hold (`--buffer-bytes`).
    pub max_bytes: usize,
    /// How long ago its oldest message was received; `None` if it holds no whole one.
    pub oldest: Option<Duration>,
}

impl Session {
    /// The replay ring now.
    #[must_use]
    pub fn survey_ring(&self, now: Instant) -> RingSurvey {
        let ring = &self.upstream.ring;
        let (received, limits) = (ring.last_seq(), ring.limits());
        let age = |millis: u32| now.since(self.began + Duration::from_millis(millis.into()));
        RingSurvey {
            received,
            written: ring.written_seq(),
            acknowledged: ring.first_unacknowledged().map_or(received, |seq| seq - 1),
            forgotten: ring.first_retained().map_or(received, |seq| seq - 1),
            max_messages: limits.messages,
            bytes: ring.bytes(),
            max_bytes: limits.bytes,
            oldest: ring.oldest_received().map(age),
        }
    }

    /// How long the session has had its backend leg; `None` while it has none.
    #[must_use]
    pub fn leg_age(&self, now: Instant) -> Option<Duration> {
        match &self.backend {
            Attachment::Attached(leg) => Some(now.since(leg.since)),
            Attachment::Asking { .. } | Attachment::Waiting { .. } | Attachment::Dialling { .. } | Attachment::None => {
                None
            }
        }
    }
}

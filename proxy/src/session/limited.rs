//! The limits that sessions meet, for the operator's counts.

use tideover_protocol::frame::FrameError;
use tideover_protocol::session::{EndReason, Limit};

/// A limit of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// `--message-rate`.
    MessageRate,
    /// `--byte-rate`.
    ByteRate,
    /// `--control-rate`.
    ControlRate,
    /// `--max-message-bytes`, of client or backend.
    MessageBytes,
    /// `--max-message-frames`, of client or backend.
    MessageFrames,
    /// `--buffer-messages` or `--buffer-bytes`, with `--on-full close`.
    Buffer,
    /// `--idle-timeout`.
    Idle,
    /// `--max-session-age`.
    Age,
    /// `--slow-client-timeout`.
    SlowClient,
}

/// How many causes, the first ones, can slow a client down instead of ending its session.
pub const SLOWING: usize = 3;

impl Cause {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All, in their order.
    pub const ALL: [Self; 9] = [
        Self::MessageRate,
        Self::ByteRate,
        Self::ControlRate,
        Self::MessageBytes,
        Self::MessageFrames,
        Self::Buffer,
        Self::Idle,
        Self::Age,
        Self::SlowClient,
    ];

    /// Its word, as a label of a metric.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::MessageRate => "message_rate",
            Self::ByteRate => "byte_rate",
            Self::ControlRate => "control_rate",
            Self::MessageBytes => "message_bytes",
            Self::MessageFrames => "message_frames",
            Self::Buffer => "buffer",
            Self::Idle => "idle",
            Self::Age => "age",
            Self::SlowClient => "slow_client",
        }
    }

    /// The limit that a session ends for, if it does.
    pub(super) fn of_end(reason: EndReason) -> Option<Self> {
        match reason {
            EndReason::OverLimit(limit) => Some(limit.into()),
            EndReason::ClientError(FrameError::TooBig) | EndReason::BackendOverLimit(FrameError::TooBig) => {
                Some(Self::MessageBytes)
            }
            EndReason::ClientError(FrameError::TooManyFrames) | EndReason::BackendOverLimit(_) => {
                Some(Self::MessageFrames)
            }
            EndReason::RingFull => Some(Self::Buffer),
            _ => None,
        }
    }
}

impl From<Limit> for Cause {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::Messages => Self::MessageRate,
            Limit::Bytes => Self::ByteRate,
            Limit::Controls => Self::ControlRate,
            Limit::Idle => Self::Idle,
            Limit::Age => Self::Age,
            Limit::SlowClient => Self::SlowClient,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_causes_stand_in_their_order_and_those_that_slow_down_come_first() {
        assert!(Cause::ALL.iter().enumerate().all(|(n, cause)| *cause as usize == n));
        let slowing = [Limit::Messages, Limit::Bytes, Limit::Controls].map(Cause::from);
        assert!(slowing.iter().all(|cause| (*cause as usize) < SLOWING));
    }
}

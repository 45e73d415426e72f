//! Why a hook gave no good answer.

use std::fmt;

use hyper::StatusCode;

use super::super::dial::DialError;
use super::HookResult;
use super::answer::InvalidAnswer;

/// Why. Its `Display` is for the log: it has nothing of the question or the answer but names.
#[derive(Debug)]
pub(in super::super) enum Failure {
    /// No call was made: another one had just found nobody.
    GaveUp,
    /// No connection.
    Unreachable(DialError),
    /// `localhost` is another machine.
    NotLoopback,
    /// The connection broke, or what came is no HTTP.
    Broken(hyper::Error),
    /// No answer in time.
    Timeout,
    /// Another status than 200 or 204. A redirect is one of these.
    Status(StatusCode),
    /// The answer broke off, or is longer than `--reattach-hook-max-bytes`.
    Body,
    /// The answer cannot be followed.
    Invalid(InvalidAnswer),
    /// The target would be longer than a request's can be.
    Target,
}

impl Failure {
    pub(super) fn result(&self) -> HookResult {
        match self {
            Self::GaveUp => HookResult::GaveUp,
            Self::Unreachable(_) | Self::NotLoopback | Self::Broken(_) => HookResult::Unreachable,
            Self::Timeout => HookResult::Timeout,
            Self::Status(_) => HookResult::Status,
            Self::Body | Self::Invalid(_) | Self::Target => HookResult::Invalid,
        }
    }

    /// Whether the next call would end the same, whoever it is for.
    pub(super) fn found_nobody(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::NotLoopback | Self::Broken(_) | Self::Timeout)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GaveUp => f.write_str("not asked, as another call had just found nobody"),
            Self::Unreachable(error) => error.fmt(f),
            Self::NotLoopback => f.write_str("localhost is no address of this machine's"),
            Self::Broken(error) => write!(f, "no HTTP answer: {error}"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Status(status) if status.is_redirection() => {
                write!(f, "answered {status}; redirects are not followed")
            }
            Self::Status(status) => write!(f, "answered {status}"),
            Self::Body => f.write_str("the answer is longer than reattach-hook-max-bytes, or broke off"),
            Self::Invalid(why) => write!(f, "the answer is no good: {why}"),
            Self::Target => f.write_str("the request's target would be longer than 64 KiB"),
        }
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Self::Broken(error)
    }
}

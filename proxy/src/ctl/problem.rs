//! Why an order was not carried out, and the exit code for that.

use std::fmt;
use std::process::ExitCode;

/// Why there is nothing to show.
#[derive(Debug)]
pub(super) enum Problem {
    /// The API refused, or what was asked for failed.
    Refused(String),
    /// It was called wrongly.
    Usage(String),
    /// There was nobody to ask, or no answer.
    Unreachable(String),
}

impl Problem {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Unreachable(_) => ExitCode::from(3),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) | Self::Usage(text) | Self::Unreachable(text) => f.write_str(text),
        }
    }
}

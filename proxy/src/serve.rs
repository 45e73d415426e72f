//! `tideover serve`.

use std::process::ExitCode;

use crate::config::Config;

/// Serves until a signal ends it.
#[must_use]
pub fn run(_config: Config) -> ExitCode {
    ExitCode::SUCCESS
}

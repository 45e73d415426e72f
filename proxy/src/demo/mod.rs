//! `tideover demo`: a proxy, its backends and its clients in one command, with backends that are killed.

use std::process::ExitCode;
use std::time::Duration;

/// The flags of `tideover demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How long to run, such as 15s; without it, until Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// WebSocket clients
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,
    /// Messages that each client sends a second
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// Echo backends
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub backends: u32,
    /// How often a backend is killed and started again
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    pub kill_every: Duration,
    /// Makes the choice of the backends to kill repeatable; without it, each run differs
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

/// Runs the demo.
#[must_use]
pub fn run(_options: Options) -> ExitCode {
    ExitCode::SUCCESS
}

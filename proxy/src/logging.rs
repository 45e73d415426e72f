//! The program's log: lines on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts the log of this process: `filter` as in `--log`, one line an event, with colours only on a terminal and
/// without `NO_COLOR`. Does nothing if the process already has a log, as in a test.
pub fn init(filter: &str, format: LogFormat) {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(colours);
    // An error says only that there is a log already.
    let _already = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

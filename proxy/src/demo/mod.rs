//! `tideover demo`: one command that shows a newcomer what the proxy does.
//!
//! It starts the proxy and a few echo backends as child processes on free loopback ports, lets real WebSocket clients
//! send numbered messages through the proxy, kills a backend with SIGKILL every second or so and starts it again, and
//! keeps the books as an outsider: everything it reports is what its clients saw, nothing is asked of the proxy.
//!
//! - `show` puts it together and decides when it is over,
//! - `client` and `ledger` send, receive and keep the books,
//! - `fleet` kills and restarts the backends, `proxy` runs the proxy, `child` keeps all of them on a leash,
//! - `echo` is the program of a backend, `display` what is printed.

mod child;
mod client;
mod display;
mod echo;
mod fleet;
mod ledger;
mod proxy;
mod rng;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use clap::value_parser;

pub use child::Leash;
pub use echo::EchoOptions;

/// Flags of `tideover demo`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Stop sending after this long, wait for the outstanding echoes and print a summary [default: until Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub run_for: Option<Duration>,

    /// Number of WebSocket clients (1 to 400: the proxy needs two of the customary 1024 file descriptors for each)
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..=400))]
    pub clients: u32,

    /// Messages a second that each client sends (1 to 1000)
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u32).range(1..=1000))]
    pub rate: u32,

    /// Number of echo backends (1 to 16)
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=16))]
    pub backends: u32,

    /// Time between two kills, give or take a fifth; the killed backend is away for half of it (at least 10ms)
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = kill_interval)]
    pub kill_every: Duration,

    /// Decides which backend is killed when [default: random, printed at the start]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

/// Programs that the demo runs as its child processes; not for people.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Part {
    /// An echo backend of the demo
    #[command(hide = true)]
    Echo(EchoOptions),
    /// Runs this program again so that it ends with the demo
    #[command(hide = true)]
    Leash(Leash),
}

/// Runs the demo to its end.
///
/// Returns success if every message was echoed, in order, and no client was closed; 1 if not, or if the demo could not
/// be set up (said on stderr).
pub fn run(options: Options) -> ExitCode {
    match current_thread(show::run(options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed("demo", &error),
    }
}

/// Runs one of the demo's child programs. Does not return before it is stopped, except with an error.
pub fn run_part(part: Part) -> ExitCode {
    match part {
        Part::Echo(options) => match current_thread(echo::run(options)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed("echo", &error),
        },
        Part::Leash(leash) => failed("leash", &leash.exec()),
    }
}

/// All in one thread: it must be the main one, as a child is killed by the system when the thread that started it ends.
fn current_thread<T>(work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn failed(who: &str, error: &std::io::Error) -> ExitCode {
    eprintln!("tideover {who}: {error}");
    ExitCode::FAILURE
}

fn kill_interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(10) {
        return Err("must be at least 10ms".to_owned());
    }
    Ok(interval)
}

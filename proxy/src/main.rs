//! The `tideover` program.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tideover::config::{self, Problems, Sources};
use tideover::{check, ctl, demo, doctor, logging, profiles, serve};

/// A WebSocket reverse proxy that keeps the client's connection open while backends come and go.
#[derive(Debug, Parser)]
#[command(name = "tideover", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Relay WebSocket sessions to backends.
    ///
    /// Every flag is also an environment variable and a key of the --config file. A flag goes before its variable,
    /// that before the file. Sizes are written 64KiB (binary), 64KB (decimal) or 65536; durations 250ms or 1m 30s.
    /// SIGTERM or SIGINT drains and ends with exit code 0; a bad configuration ends with exit code 2. SIGHUP, or a
    /// change of the file, takes a new configuration: backends, pools, routes and their settings.
    Serve(config::Args),
    /// Look at a running proxy, its backends and sessions, and give orders, by its operator's API.
    ///
    /// Exit codes: 0 done, 1 refused or failed, 2 called wrongly, 3 the API cannot be reached. docs/operator.md has all
    /// about it.
    Ctl(ctl::Options),
    /// Say what a backend is like, and which settings fit it.
    ///
    /// Connects to it a few times, sends what it is told to, and prints what it saw, with the flags that follow from it.
    /// Exit codes: 0 examined, 1 it cannot be reached or refused, 2 called wrongly. docs/doctor.md has all about it.
    Doctor(doctor::Options),
    /// Say whether a configuration is valid, and what its rules make of messages.
    ///
    /// Takes the flags, variables and file of serve, and connects to nothing. Each --message or --hex is tried with the
    /// rules of a route: which match, what of the others does not, under which keys what would be done. Without any
    /// backend only rules are judged. Exit codes: 0 valid, 2 not, with all mistakes. docs/rules.md has all about rules.
    Check(check::Options),
    /// Show the profiles that the program has in it.
    #[command(subcommand)]
    Profile(profiles::Command),
    /// Show it: a proxy, echo backends that are killed, and clients that do not notice.
    Demo(demo::Options),
    #[command(flatten)]
    DemoPart(demo::Part),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve(args.sources()),
        Command::Ctl(options) => ctl::run(options),
        Command::Doctor(options) => doctor::run(options),
        Command::Check(options) => check::run(options),
        Command::Profile(command) => profiles::run(&command),
        Command::Demo(options) => demo::run(options),
        Command::DemoPart(part) => demo::run_part(part),
    }
}

fn serve(sources: Sources) -> ExitCode {
    match sources.config() {
        Ok(config) => {
            logging::init(&config.log, config.log_format);
            serve::run(config, sources)
        }
        Err(problems) => refuse(&problems),
    }
}

/// The log may be what is configured wrongly, so this goes straight to standard error.
fn refuse(problems: &Problems) -> ExitCode {
    eprintln!("{problems}");
    ExitCode::from(Problems::EXIT_CODE)
}

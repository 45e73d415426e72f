//! What is asked for on the command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, Subcommand, ValueEnum};

/// Tideover beside other proxies, under the same load.
///
/// The load and the backends share the first core, the proxies have the last one, one worker each. Rounds are
/// interleaved: every contestant has its turn before the next round begins. Every answer is checked for order and
/// content; a wrong one ends the run.
#[derive(Debug, Parser)]
#[command(name = "relay")]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
    /// Turns of each contestant in each case.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// How long a turn is measured, after a quarter of that for warming up.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Only these parts; repeatable. All by default.
    #[arg(long, value_enum)]
    pub(crate) part: Vec<Part>,
    /// Only these cases of the relay part, as CONNECTIONSxIN-FLIGHTxBYTES or CONNECTIONSxRATE/sxBYTES (messages a
    /// second of each connection); repeatable. Seven by default.
    #[arg(long)]
    pub(crate) case: Vec<Case>,
    /// Only these contestants; repeatable. `tideover-early` is tideover before a backend that answers pings ahead of
    /// messages.
    #[arg(long)]
    pub(crate) peer: Vec<String>,
    /// One more contestant, or another program for one: NAME=PATH, where NAME begins with haproxy, nginx or tideover.
    #[arg(long)]
    pub(crate) program: Vec<Program>,
    /// Sessions on the backend that is killed in the failover part.
    #[arg(long, default_value_t = 2000)]
    pub(crate) failovers: usize,
    /// Sessions of the idle part.
    #[arg(long, default_value_t = 3000)]
    pub(crate) idle: usize,
    /// Sessions opened in a turn of the opening part.
    #[arg(long, default_value_t = 2000)]
    pub(crate) openings: usize,
    /// Leave it to the system which core runs what.
    #[arg(long)]
    pub(crate) no_pin: bool,
    /// Write all results here, as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Put the tables between the markers of this Markdown file, or make the file.
    #[arg(long)]
    pub(crate) markdown: Option<PathBuf>,
}

/// A process of the benchmark other than the one that measures.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// The echo server behind the proxies; it prints its port and serves until it is killed.
    #[command(hide = true)]
    Backend {
        #[arg(long, value_enum)]
        pongs: Pongs,
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
}

/// When the backend answers a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pongs {
    /// Behind the answers to the messages before it.
    InOrder,
    /// As soon as it is read, ahead of the answers to messages read with it.
    Early,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Messages to and fro.
    Relay,
    /// Sessions a second.
    Opening,
    /// Memory of an idle session.
    Idle,
    /// A backend is killed.
    Failover,
    /// How the cost of a message grows with sessions, its size, and messages that are retained; and two workers.
    Scaling,
}

/// One load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Case {
    pub(crate) connections: usize,
    pub(crate) drive: Drive,
    /// Payload of a message in bytes.
    pub(crate) bytes: usize,
}

/// What makes a connection send its next message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Drive {
    /// An answer: so many are always on their way.
    Window(usize),
    /// The clock: so many a second.
    Pace(f64),
}

impl Case {
    /// The seven cases of the comparison.
    pub(crate) fn all() -> Vec<Self> {
        ["1x1x64", "50x1x64", "50x32x64", "50x1x1024", "50x32x1024", "10x4x65536", "2000x1/sx64"]
            .map(|case| case.parse().expect("a case"))
            .to_vec()
    }

    /// Those that show how cost grows: with sessions, with the size of a message, with messages on their way, which are
    /// the retained ones.
    pub(crate) fn scaling() -> Vec<Self> {
        let sessions = ["10x1x64", "100x1x64", "1000x1x64", "9000x1x64"];
        let sizes = ["10x1x1024", "10x1x16384", "10x1x262144", "10x1x4194304"];
        let retained = ["10x8x64", "10x64x64", "10x256x64", "10x1024x64"];
        let all = [sessions, sizes, retained].concat();
        all.into_iter().map(|case| case.parse().expect("a case")).collect()
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split('x').collect();
        let [connections, drive, bytes] = parts[..] else { return Err("wanted: CONNECTIONSxIN-FLIGHTxBYTES".into()) };
        let number = |text: &str| text.parse::<usize>().map_err(|error| format!("{text}: {error}"));
        let drive = match drive.strip_suffix("/s") {
            Some(rate) => Drive::Pace(rate.parse().map_err(|error| format!("{rate}: {error}"))?),
            None => Drive::Window(number(drive)?),
        };
        let case = Self { connections: number(connections)?, drive, bytes: number(bytes)? };
        let moves = match drive {
            Drive::Window(window) => window > 0,
            Drive::Pace(rate) => rate > 0.0,
        };
        match case {
            Self { connections: 0, .. } => Err("there must be a connection".into()),
            Self { bytes: ..crate::wire::LEAST, .. } => {
                Err(format!("a message has at least {} bytes", crate::wire::LEAST))
            }
            _ if !moves => Err("nothing would be sent".into()),
            _ => Ok(case),
        }
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.drive {
            Drive::Window(window) => write!(f, "{}x{window}x{}", self.connections, self.bytes),
            Drive::Pace(rate) => write!(f, "{}x{rate}/sx{}", self.connections, self.bytes),
        }
    }
}

/// A named program.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl FromStr for Program {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = text.split_once('=').ok_or("wanted: NAME=PATH")?;
        Ok(Self { name: name.into(), path: path.into() })
    }
}

impl Options {
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.part.is_empty() || self.part.contains(&part)
    }

    pub(crate) fn scaling_cases(&self) -> Vec<Case> {
        if self.case.is_empty() { Case::scaling() } else { self.case.clone() }
    }

    pub(crate) fn cases(&self) -> Vec<Case> {
        if self.case.is_empty() { Case::all() } else { self.case.clone() }
    }
}

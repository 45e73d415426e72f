//! The backends of `examples/session-protocol`, and what they wrote into their database.

use std::{
    collections::BTreeMap,
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    deadline::wait_for,
    environment,
    ports::{self, ReservedPort},
    scratch::Scratch,
};

/// Which of the examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// `ledger.py`: acknowledges by Pong.
    Python,
    /// `ledger.cjs`: acknowledges by messages.
    Node,
}

/// The database that a pool of examples shares.
#[derive(Debug)]
pub struct Ledger {
    scratch: Scratch,
}

/// A running example on a port of its own, which it keeps over restarts. Dropping it kills it.
#[derive(Debug)]
pub struct Example {
    language: Language,
    port: ReservedPort,
    database: PathBuf,
    log: PathBuf,
    child: Child,
}

const READY_WITHIN: Duration = Duration::from_secs(30);

impl Language {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Python, Self::Node];

    /// The name on the command line and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "session-python",
            Self::Node => "session-node",
        }
    }

    /// What it is, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Python => "`ledger.py`: Python `websockets`, acknowledges by Pong",
            Self::Node => "`ledger.cjs`: Node `ws`, acknowledges by messages",
        }
    }
}

impl Ledger {
    /// A fresh one.
    pub fn create() -> Self {
        Self { scratch: Scratch::new("ledger") }
    }

    /// Starts an example on it and waits until it accepts connections.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&self, language: Language) -> Example {
        let port = ports::reserve();
        let database = self.scratch.path("ledger.db");
        let log = self.scratch.path(&format!("{}.log", port.number));
        let child = spawn(language, port.number, &database, &log);
        let mut example = Example { language, port, database, log, child };
        example.wait_until_ready();
        example
    }

    /// The amounts booked for each session, in the order of booking.
    ///
    /// # Panics
    /// When the database cannot be read.
    pub fn amounts(&self) -> BTreeMap<String, Vec<u64>> {
        let mut amounts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for line in self.select("session, amount FROM ledger ORDER BY rowid").lines() {
            let (session, amount) = line.split_once(' ').expect("a session and an amount");
            amounts.entry(session.to_owned()).or_default().push(amount.parse().expect("a number"));
        }
        amounts
    }

    /// Legs of all sessions after their first.
    ///
    /// # Panics
    /// When the database cannot be read.
    pub fn reattachments(&self) -> usize {
        self.select("coalesce(sum(epoch - 1), 0) FROM session").trim().parse().expect("a number")
    }

    /// A line a row.
    fn select(&self, what: &str) -> String {
        const DUMP: &str = "import sqlite3, sys\n\
            for row in sqlite3.connect(sys.argv[1]).execute('SELECT ' + sys.argv[2]):\n    \
            print(*row)";
        let mut python = Command::new(environment::python());
        let output = python.args(["-c", DUMP]).arg(self.scratch.path("ledger.db")).arg(what).output();
        let output = output.expect("python starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Example {
    /// Its address, also while it is away.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number).into()
    }

    /// Whether it accepts connections.
    pub fn is_ready(&self) -> bool {
        TcpStream::connect(self.address()).is_ok()
    }

    /// SIGKILL, and waits for the process's end.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("the killed example's end");
    }

    /// Starts it again after [`Example::kill`], without waiting for it.
    ///
    /// # Panics
    /// When the process cannot be started.
    pub fn spawn(&mut self) {
        self.child = spawn(self.language, self.port.number, &self.database, &self.log);
    }

    /// Waits until it accepts connections.
    ///
    /// # Panics
    /// When it has ended or does not within 30 seconds.
    pub fn wait_until_ready(&mut self) {
        let language = self.language;
        wait_for(READY_WITHIN, format_args!("the {language:?} example is ready"), || {
            let ended = self.child.try_wait().expect("try_wait");
            assert!(ended.is_none(), "{language:?} ended with {ended:?}:\n{}", self.log_text());
            self.is_ready().then_some(())
        });
    }

    /// What its processes have written to standard error.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(language: Language, port: u16, database: &Path, log: &Path) -> Child {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/session-protocol");
    let mut command = match language {
        Language::Python => Command::new(environment::python()),
        Language::Node => Command::new("node"),
    };
    match language {
        Language::Python => command.arg(examples.join("ledger.py")).env("PYTHONDONTWRITEBYTECODE", "1"),
        Language::Node => command.arg(examples.join("ledger.cjs")).env("NODE_PATH", environment::node_modules()),
    };
    let log = File::options().create(true).append(true).open(log).expect("a log file");
    command.arg(port.to_string()).arg(database).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{command:?} did not start: {error}"))
}

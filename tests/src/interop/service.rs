//! A server's process, that is killed and comes back on its port.

use std::{
    fmt,
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    deadline::wait_for,
    ports::{self, ReservedPort},
    scratch::Scratch,
};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// How a server is started on a port, with its files in a folder.
type Start = dyn Fn(&Path, u16) -> Command;

/// A running server. Dropping it kills it.
pub(super) struct Service {
    name: &'static str,
    command: Box<Start>,
    port: ReservedPort,
    scratch: Scratch,
    child: Option<Child>,
}

impl fmt::Debug for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Service").field("name", &self.name).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Service {
    /// Starts what `command` makes of a directory of its own and a port, and waits until it accepts connections.
    ///
    /// # Panics
    /// When it does not start; the text has what it wrote to standard error.
    pub(super) fn start(name: &'static str, command: impl Fn(&Path, u16) -> Command + 'static) -> Self {
        let (port, scratch) = (ports::reserve(), Scratch::new(name));
        let mut service = Self { name, command: Box::new(command), port, scratch, child: None };
        service.spawn();
        service.wait_until_ready();
        service
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number).into()
    }

    /// The journal of all processes that ran here.
    pub(super) fn journal(&self) -> PathBuf {
        self.scratch.path(JOURNAL)
    }

    /// SIGKILL, and waits for the process's end. Gives its id.
    ///
    /// # Panics
    /// When it does not run.
    pub(super) fn kill(&mut self) -> u32 {
        let mut child = self.child.take().expect("the server runs");
        child.kill().expect("SIGKILL");
        child.wait().expect("the killed server's end");
        child.id()
    }

    /// Starts it again after [`Service::kill`].
    ///
    /// # Panics
    /// When the process cannot be started.
    pub(super) fn spawn(&mut self) {
        let stderr = File::options().create(true).append(true).open(self.scratch.path("stderr.log"));
        let mut command = (self.command)(self.scratch.directory(), self.port.number);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(stderr.expect("a log file"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} did not start: {error}"));
        self.child = Some(child);
    }

    /// Waits until it accepts connections.
    ///
    /// # Panics
    /// When it has ended, or does not within a minute.
    pub(super) fn wait_until_ready(&mut self) {
        let (name, address) = (self.name, self.address());
        wait_for(READY_WITHIN, format_args!("{name} is ready"), || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("try_wait"));
            assert!(ended.is_none(), "{name} ended with {ended:?}:\n{}", self.said());
            TcpStream::connect(address).ok()
        });
    }

    /// What it wrote to standard error.
    fn said(&self) -> String {
        std::fs::read_to_string(self.scratch.path("stderr.log")).unwrap_or_default()
    }
}

/// The name of a server's journal in its directory.
pub(super) const JOURNAL: &str = "journal.jsonl";

impl Drop for Service {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

//! A backend's process.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    Event, Kind,
    log::{What, cut_torn_line, log_has_open, read_log, read_log_from},
};
use crate::{
    clock::now_ns,
    deadline::wait_for,
    ports::{self, ReservedPort},
    scratch::Scratch,
    tls::Pair,
};

/// Node and Python take their time on a loaded machine.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A backend on a port of its own, which it keeps over restarts. Dropping it kills it.
#[derive(Debug)]
pub struct Backend {
    kind: Kind,
    tls: Option<Pair>,
    port: ReservedPort,
    scratch: Scratch,
    child: Option<Child>,
    /// The log's length when the process was started: its own lines are behind this.
    log_start: u64,
}

/// When a backend was killed, and which process it was.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    /// The killed process, as in [`Event::pid`].
    pub pid: u32,
    /// Just before the SIGKILL, in nanoseconds of [`now_ns`].
    pub at: u64,
}

impl Backend {
    /// Starts a backend and waits until it accepts connections.
    ///
    /// # Panics
    /// When it does not start; the text has what it wrote to standard error.
    pub fn start(kind: Kind) -> Self {
        Self::start_with(kind, None)
    }

    /// As [`Backend::start`], speaking TLS with this certificate. Only `Kind::Rust` does.
    ///
    /// # Panics
    /// As [`Backend::start`].
    pub fn start_tls(kind: Kind, pair: &Pair) -> Self {
        Self::start_with(kind, Some(pair.clone()))
    }

    fn start_with(kind: Kind, tls: Option<Pair>) -> Self {
        let scratch = Scratch::new(kind.name());
        let mut backend = Self { kind, tls, port: ports::reserve(), scratch, child: None, log_start: 0 };
        backend.restart();
        backend
    }

    /// Which server it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its address, also while it is away.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number).into()
    }

    /// Its `ws://` URL with `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address())
    }

    /// Its event log, which all processes on this port have written.
    pub fn log_path(&self) -> PathBuf {
        self.scratch.path("events.log")
    }

    /// What it has logged up to now.
    pub fn events(&self) -> Vec<Event> {
        read_log(&self.log_path())
    }

    /// Whether the running process has taken a connection.
    pub fn has_served(&self) -> bool {
        log_has_open(&self.log_path(), self.log_start)
    }

    /// Connections that its port has, as the kernel tells: those established, and those that only the client has ended.
    ///
    /// # Panics
    /// When the kernel does not tell.
    pub fn connections(&self) -> usize {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
        let local = format!(":{:04X}", self.port.number);
        let is_one = |line: &&str| {
            let mut columns = line.split_whitespace().skip(1);
            let [here, _there, state] = [(); 3].map(|()| columns.next().unwrap_or_default());
            here.ends_with(&local) && ["01", "08"].contains(&state)
        };
        table.lines().filter(is_one).count()
    }

    /// The running process.
    ///
    /// # Panics
    /// When it is away.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the backend runs").id()
    }

    /// Whether its process is there: not killed, terminated, or dead by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("try_wait").is_none())
    }

    /// SIGKILL, and waits for the process's end.
    ///
    /// # Panics
    /// When it is away.
    pub fn kill(&mut self) -> Kill {
        let mut child = self.child.take().expect("the backend runs");
        let kill = Kill { pid: child.id(), at: now_ns() };
        child.kill().expect("SIGKILL");
        child.wait().expect("the killed backend's end");
        kill
    }

    /// From now on it answers `GET /health` with this status, over restarts too; before that with 200. `Kind::Rust` only.
    ///
    /// # Panics
    /// When the file that says so cannot be written.
    pub fn set_health(&self, status: u16) {
        let (file, new) = (self.scratch.path("health"), self.scratch.path("health.new"));
        std::fs::write(&new, status.to_string()).and_then(|()| std::fs::rename(new, file)).expect("the health file");
    }

    /// SIGSTOP: it neither reads nor writes, but its kernel still accepts connections and bytes.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: goes on, with all that lay in its sockets.
    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, and waits for the end that this framework makes of it.
    ///
    /// # Panics
    /// When it does not end within 30 seconds.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let mut child = self.child.take().expect("the backend runs");
        wait_for(Duration::from_secs(30), "the backend ends after SIGTERM", || child.try_wait().expect("try_wait"));
    }

    /// Starts it again on the same port, killing it first if it runs, and waits until it accepts connections.
    ///
    /// # Panics
    /// As [`Backend::start`].
    pub fn restart(&mut self) {
        self.spawn();
        self.wait_until_ready();
    }

    /// As [`Backend::restart`], without the wait.
    ///
    /// # Panics
    /// When the process cannot be started.
    pub fn spawn(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        self.log_start = cut_torn_line(&self.log_path()).unwrap_or_else(|error| panic!("the log: {error}"));
        let stderr = File::options().create(true).append(true).open(self.stderr_path()).expect("a log file");
        let mut command = self.kind.command();
        command.arg("--port").arg(self.port.number.to_string()).arg("--log").arg(self.log_path());
        if let Some(Pair { certificate, key }) = &self.tls {
            command.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key);
        }
        // The backend ends with its standard input, which ends with this process, however that ends.
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(stderr).spawn();
        self.child = Some(spawned.unwrap_or_else(|error| panic!("{command:?} did not start: {error}")));
    }

    /// Waits until the running process has logged `ready` and its port accepts.
    ///
    /// # Panics
    /// When it has ended or is not ready within 30 seconds.
    pub fn wait_until_ready(&mut self) {
        let pid = self.pid();
        let name = self.kind.name();
        wait_for(READY_WITHIN, format_args!("{name} is ready"), || {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().expect("try_wait")) {
                panic!("{name} ended at its start with {status}:\n{}", read_text(&self.stderr_path()));
            }
            self.is_ready(pid).then_some(())
        });
    }

    fn is_ready(&self, pid: u32) -> bool {
        let logged = |event: &Event| matches!(event.what, What::Ready(_)) && event.pid() == pid;
        let written = || read_log_from(&self.log_path(), self.log_start).0;
        self.log_path().exists() && written().iter().any(logged) && TcpStream::connect(self.address()).is_ok()
    }

    fn stderr_path(&self) -> PathBuf {
        self.scratch.path("stderr.log")
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).expect("a process id is not zero");
        kill_process(pid, signal).expect("a running child can be signalled");
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

fn read_text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

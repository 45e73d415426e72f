//! The program under test as a process.

use std::{
    fs::File,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::Value;

use crate::{backend::Backend, deadline::wait_for, program, scratch::Scratch};

/// A running `tideover serve` on a free loopback port. Dropping it kills it.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    address: SocketAddr,
    scratch: Scratch,
}

impl Proxy {
    /// Starts the proxy before these backends, with more flags, and waits until it listens.
    ///
    /// # Panics
    /// When it does not start; the text has its log.
    pub fn start<'a>(backends: impl IntoIterator<Item = &'a Backend>, flags: &[&str]) -> Self {
        Self::before(backends.into_iter().map(Backend::address), flags)
    }

    /// As [`Proxy::start`], for backends that are only addresses, such as [`crate::raw::RawBackend`].
    ///
    /// # Panics
    /// As [`Proxy::start`].
    pub fn before(backends: impl IntoIterator<Item = SocketAddr>, flags: &[&str]) -> Self {
        Self::run(Command::new(program::tideover()), backends, flags)
    }

    /// As [`Proxy::before`], with no more than so many descriptors, which it cannot change.
    ///
    /// # Panics
    /// As [`Proxy::start`].
    pub fn with_descriptors(most: u64, backends: impl IntoIterator<Item = SocketAddr>, flags: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -n {most}; exec \"$0\" \"$@\"")).arg(program::tideover());
        Self::run(command, backends, flags)
    }

    fn run(mut command: Command, backends: impl IntoIterator<Item = SocketAddr>, flags: &[&str]) -> Self {
        let scratch = Scratch::new("tideover");
        let log = File::create(scratch.path("tideover.log")).expect("a log file");
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        for backend in backends {
            command.arg("--backend").arg(format!("ws://{backend}"));
        }
        let child = command.args(flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?} did not start: {error}"));
        let mut proxy = Self { child, address: ([127, 0, 0, 1], 0).into(), scratch };
        proxy.address = proxy.wait_until_listening();
        proxy
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its `ws://` URL with `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }

    /// The log up to now, a JSON object a line.
    pub fn log_lines(&self) -> Vec<Value> {
        self.log_text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The log up to now as it was written: also what is not JSON, such as a panic.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Resident memory in KiB, as /proc has it.
    ///
    /// # Panics
    /// When the proxy has ended.
    pub fn rss_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most resident memory that it ever had, in KiB.
    ///
    /// # Panics
    /// When the proxy has ended.
    pub fn peak_rss_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> u64 {
        self.proc_field("status", field)
    }

    fn proc_field(&self, file: &str, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("the proxy runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a running process has the field");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number of kB")
    }

    /// How many file descriptors it has open.
    ///
    /// # Panics
    /// When the proxy has ended.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("the proxy runs").count()
    }

    /// Sends SIGTERM and does not wait: clients are closed after `--drain-timeout`.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGHUP: the configuration, and the files that it names, are to be read again.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// From now on it may have so many descriptors, if they are fewer than it may have at most; gives how many it might
    /// have before.
    ///
    /// # Panics
    /// When the system does not let us.
    pub fn limit_descriptors(&self, most: Option<u64>) -> Option<u64> {
        let limits = |new| prlimit(Some(self.id()), Resource::Nofile, new).expect("the limit of a child can be set");
        // Only setting it says what it was.
        let before = limits(Rlimit { current: most, maximum: getrlimit(Resource::Nofile).maximum });
        before.current
    }

    /// Processor time that it has used.
    ///
    /// # Panics
    /// When the proxy has ended.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the proxy runs");
        let (_, fields) = stat.rsplit_once(')').expect("the name stands in brackets");
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
        // Linux counts hundredths of a second for its programs on all machines.
        Duration::from_millis(ticks * 10)
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed()).expect("a process id is not zero")
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).expect("a child that was not waited for can be signalled");
    }

    /// Its proportional share of resident memory in KiB: pages that it shares with other processes count in part.
    ///
    /// # Panics
    /// When the proxy has ended.
    pub fn pss_kib(&self) -> u64 {
        self.proc_field("smaps_rollup", "Pss:")
    }

    /// Waits for the process's end.
    ///
    /// # Panics
    /// When it still runs after `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        wait_for(deadline, "the proxy ends", || self.child.try_wait().expect("try_wait"))
    }

    /// Whether it has not ended: a panic of one of its threads shows in [`Proxy::log_text`] instead.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("try_wait").is_none()
    }

    fn log_path(&self) -> PathBuf {
        self.scratch.path("tideover.log")
    }

    fn wait_until_listening(&mut self) -> SocketAddr {
        wait_for(Duration::from_secs(30), "the proxy listens", || {
            if let Some(status) = self.child.try_wait().expect("try_wait") {
                panic!("the proxy ended at its start with {status}:\n{}", self.log_text());
            }
            self.log_lines().iter().find(|line| says(line, "listening")).and_then(address_in)
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the proxy's log is in {}", self.scratch.directory().display());
        }
    }
}

/// Whether a line of [`Proxy::log_lines`] has exactly this message.
pub fn says(line: &Value, message: &str) -> bool {
    line["fields"]["message"] == message || line["message"] == message
}

/// The text of a field of a log line; empty if it has none of that name.
pub fn field<'a>(line: &'a Value, name: &str) -> &'a str {
    line.get("fields").unwrap_or(line)[name].as_str().unwrap_or_default()
}

/// The first field of a log line that is a socket address.
fn address_in(line: &Value) -> Option<SocketAddr> {
    let fields = line.get("fields").unwrap_or(line).as_object()?;
    fields.values().find_map(|value| value.as_str()?.parse().ok())
}

//! The proxy under demonstration: `tideover serve` as a child process.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr};
use tokio::time::timeout;

use super::child;

/// Time that the proxy may take to listen.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// Time that the proxy may take to end once it is asked to.
const STOP_DEADLINE: Duration = Duration::from_secs(3);
/// Log lines kept for the case that the proxy ends by itself.
const LOG_LINES_KEPT: usize = 10;

/// A running proxy; killed when dropped.
pub(super) struct Proxy {
    child: Child,
    log: Log,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Its process id.
    pub(super) process: u32,
}

impl Proxy {
    /// Starts the proxy in front of `backends` and waits until it listens. `TIDEOVER_*` variables reach it as they
    /// reach any proxy, so that other settings can be tried.
    pub(super) async fn start(backends: impl IntoIterator<Item = SocketAddr>) -> io::Result<Self> {
        let mut arguments: Vec<String> =
            ["serve", "--listen", "127.0.0.1:0", "--log", "info", "--log-format", "json"].map(str::to_owned).to_vec();
        for backend in backends {
            arguments.extend(["--backend".to_owned(), format!("ws://{backend}")]);
        }
        let mut child = child::command(arguments)?.stdout(std::process::Stdio::null()).spawn()?;
        let stderr = child.stderr.take().expect("stderr is piped");
        let process = child.id().expect("it was not waited for");
        let mut log = Log { lines: BufReader::new(stderr).lines(), last: VecDeque::new() };
        match timeout(START_DEADLINE, log.listening()).await {
            Ok(Ok(Some(address))) => Ok(Self { child, log, address, process }),
            Ok(Ok(None)) => Err(log.complaint("the proxy ended at its start")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(log.complaint("the proxy did not say where it listens")),
        }
    }

    /// Reads the proxy's log, which would otherwise fill the pipe, until the proxy ends. Returns why that is wrong.
    pub(super) async fn watch(&mut self) -> io::Error {
        loop {
            match self.log.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return self.log.complaint("the proxy ended"),
                Err(error) => return error,
            }
        }
    }

    /// Asks the proxy to end, and kills it if it does not.
    pub(super) async fn stop(mut self) {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id as i32)) {
            // It may have ended by itself; then there is nothing to ask.
            let _ = kill_process(pid, Signal::TERM);
        }
        let ended = async {
            tokio::select! {
                _ = self.child.wait() => {}
                _ = async { while let Ok(Some(_)) = self.log.next().await {} std::future::pending::<()>().await } => {}
            }
        };
        if timeout(STOP_DEADLINE, ended).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// The proxy's stderr: a JSON object a line.
struct Log {
    lines: Lines<BufReader<ChildStderr>>,
    last: VecDeque<String>,
}

impl Log {
    /// The next line; `None` at the end.
    async fn next(&mut self) -> io::Result<Option<&str>> {
        let Some(line) = self.lines.next_line().await? else { return Ok(None) };
        if self.last.len() == LOG_LINES_KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
        Ok(self.last.back().map(String::as_str))
    }

    /// Reads up to the line that says where the proxy listens; `None` if the log ends without one.
    async fn listening(&mut self) -> io::Result<Option<SocketAddr>> {
        while let Some(line) = self.next().await? {
            if let Some(address) = listening_address(line) {
                return Ok(Some(address));
            }
        }
        Ok(None)
    }

    fn complaint(&self, what: &str) -> io::Error {
        if self.last.is_empty() {
            return io::Error::other(format!("{what}; its log is empty"));
        }
        let lines: String = self.last.iter().map(|line| format!("\n  {line}")).collect();
        io::Error::other(format!("{what}; the end of its log:{lines}"))
    }
}

fn listening_address(line: &str) -> Option<SocketAddr> {
    let event: Value = serde_json::from_str(line).ok()?;
    // Flattened or not, as the log's formatter has it.
    let fields = event.get("fields").unwrap_or(&event);
    (fields.get("message")? == "listening").then(|| fields.get("addr")?.as_str()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_listening_line_only() {
        let line = r#"{"level":"INFO","fields":{"message":"listening","addr":"127.0.0.1:4711"},"target":"t"}"#;
        assert_eq!(listening_address(line), Some(SocketAddr::from(([127, 0, 0, 1], 4711))));
        let flat = r#"{"level":"INFO","message":"listening","addr":"127.0.0.1:4711","target":"t"}"#;
        assert_eq!(listening_address(flat), Some(SocketAddr::from(([127, 0, 0, 1], 4711))));
        assert_eq!(listening_address(&line.replace("listening", "draining")), None);
        assert_eq!(listening_address(&line.replace("127.0.0.1:4711", "here")), None);
        assert_eq!(listening_address("not JSON"), None);
    }
}

//! Processes under observation: what they use, and that they end with the run.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::{Error, Result};
use crate::options::Pongs;

/// How long a process may take to end when asked to.
const END_WITHIN: Duration = Duration::from_secs(3);

/// Which core is whose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) load: usize,
    pub(crate) proxy: usize,
}

impl Cores {
    /// The first core for the load and the backends, the last for the proxies; `None` with only one.
    pub(crate) fn of_this_machine() -> Option<Self> {
        let allowed = sched_getaffinity(None).ok()?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let load = cores.next()?;
        Some(Self { load, proxy: cores.next_back()? })
    }
}

/// Keeps this thread, and processes and threads that it starts from now on, on a core.
pub(crate) fn pin(core: usize) -> Result<()> {
    pin_to(&[core])
}

fn pin_to(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    sched_setaffinity(None, &set).map_err(|error| Error::Other(format!("cannot stay on cores {cores:?}: {error}")))
}

/// A started process. Dropping it ends it and its children.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a command on the proxies' core; with `spread`, on the load's too.
    pub(crate) fn start_proxy(command: &mut Command, cores: Option<Cores>, spread: bool) -> Result<Self> {
        if let Some(cores) = cores {
            if spread { pin_to(&[cores.load, cores.proxy])? } else { pin(cores.proxy)? }
        }
        let started = Self::start(command);
        if let Some(cores) = cores {
            pin(cores.load)?;
        }
        started
    }

    fn start(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).spawn();
        let child = child.map_err(|error| Error::Other(format!("{command:?}: {error}")))?;
        Ok(Self { child })
    }

    /// Starts a backend on a port, or a free one for 0; returns it with its port.
    pub(crate) fn start_backend(pongs: Pongs, port: u16) -> Result<(Self, u16)> {
        let pongs = match pongs {
            Pongs::InOrder => "in-order",
            Pongs::Early => "early",
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["backend", "--pongs", pongs, "--port", &port.to_string()]);
        let mut process = Self::start(command.stdout(Stdio::piped()))?;
        let out = process.child.stdout.take().ok_or_else(|| Error::Other("no standard output".into()))?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let port = line.trim().parse().map_err(|_| Error::Other("the backend did not start".into()))?;
        Ok((process, port))
    }

    /// SIGKILL; returns when it was sent.
    pub(crate) fn kill(&mut self) -> Result<Instant> {
        let at = Instant::now();
        self.child.kill()?;
        self.child.wait()?;
        Ok(at)
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// User and system time of the process and its children up to now.
    pub(crate) fn cpu(&self) -> Duration {
        tree(self.child.id()).into_iter().map(cpu_of).sum()
    }

    /// Memory of the process and its children: proportional set size, in bytes.
    pub(crate) fn pss(&self) -> u64 {
        tree(self.child.id()).into_iter().map(pss_of).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // nginx's workers outlive a master that is killed.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, if tree(self.child.id()).len() > 1 { Signal::TERM } else { Signal::KILL });
        }
        let begin = Instant::now();
        while self.is_running() && begin.elapsed() < END_WITHIN {
            std::thread::yield_now();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of this process up to now.
pub(crate) fn own_cpu() -> Duration {
    cpu_of(std::process::id())
}

fn tree(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok()).flat_map(tree);
    std::iter::once(pid).chain(children).collect()
}

/// The scheduler counts in nanoseconds, where `stat` has hundredths of a second. Threads that ended are left out; a
/// worker does not.
fn cpu_of(pid: u32) -> Duration {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let nanos = threads.flatten().filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn pss_of(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

/// The first line that a program prints when asked for its version.
pub(crate) fn version(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let text = String::from_utf8_lossy(&text);
    Some(text.lines().find(|line| !line.trim().is_empty())?.trim().to_owned())
}

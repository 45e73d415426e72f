//! What runs while contestants take turns: the backends, and each contestant before its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::peers::{Contestant, Proxy};
use crate::process::{Cores, Process};

/// A process that used less than this in a [`PAUSE`] is quiet.
const QUIET: Duration = Duration::from_millis(1);
const PAUSE: Duration = Duration::from_millis(50);
/// How long a proxy may take to clean up before the next turn begins regardless.
const CLEAN_WITHIN: Duration = Duration::from_secs(5);

/// Where processes keep their configurations and logs; removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("tideover-relay-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A contestant, running, with the backend that it relays to.
pub(crate) struct Running<'a> {
    pub(crate) contestant: &'a Contestant,
    pub(crate) proxy: Proxy,
    pub(crate) backend: Process,
}

impl<'a> Running<'a> {
    /// Starts a backend and the contestant before it; `None` if it is not installed.
    pub(crate) fn start(contestant: &'a Contestant, cores: Option<Cores>, scratch: &Scratch) -> Result<Option<Self>> {
        let (backend, port) = Process::start_backend(contestant.pongs, 0)?;
        let proxy = contestant.start(&[port], cores, scratch.path())?;
        Ok(proxy.map(|proxy| Self { contestant, proxy, backend }))
    }

    /// Waits until the proxy has cleaned up behind the sessions of a turn.
    pub(crate) fn settle(&self) {
        let begin = Instant::now();
        let mut before = self.proxy.cpu();
        while begin.elapsed() < CLEAN_WITHIN {
            pause(PAUSE);
            let now = self.proxy.cpu();
            if now - before < QUIET {
                return;
            }
            before = now;
        }
    }
}

/// Lets time pass.
pub(crate) fn pause(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::thread::park_timeout(time.saturating_sub(begin.elapsed()));
    }
}

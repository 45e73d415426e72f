//! Reading the files of TLS again when they change.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::{Server, Upstream};

/// How long nothing may have changed before files are read: a certificate and its key are two files.
const QUIET: Duration = Duration::from_millis(250);
/// How long a file that keeps changing is waited for.
const AT_MOST: Duration = Duration::from_secs(2);

/// All of the process's TLS, to be read again.
#[derive(Debug)]
pub struct Reload {
    server: Option<Arc<Server>>,
    upstreams: Vec<Arc<Upstream>>,
    /// What was in the files when they were last read.
    seen: Mutex<HashMap<PathBuf, u64>>,
}

impl Reload {
    /// For what has just been read.
    #[must_use]
    pub fn new(server: Option<Arc<Server>>, upstreams: Vec<Arc<Upstream>>) -> Self {
        let reload = Self { server, upstreams, seen: Mutex::default() };
        let _first = reload.have_changed();
        reload
    }

    /// Whether there is anything to be read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths().is_empty()
    }

    /// Reads everything again and says so in the log. What is bad stays as it was, and the log says why.
    pub fn now(&self) {
        let _read_now = self.have_changed();
        if let Some(server) = &self.server {
            match server.reload() {
                Ok(()) => log_certificates(server, "certificates loaded again"),
                Err(problems) => log_problems("the certificates stay as they were", &problems),
            }
        }
        for upstream in self.upstreams.iter().filter(|upstream| upstream.paths().next().is_some()) {
            match upstream.reload() {
                Ok(()) => tracing::info!("what backends are trusted by was loaded again"),
                Err(problems) => log_problems("what backends are trusted by stays as it was", &problems),
            }
        }
    }

    /// Watches the files and reads them again when they change. The watching ends when the result is dropped.
    ///
    /// # Errors
    /// The system cannot watch, or a directory is not there.
    pub fn watch(self: &Arc<Self>) -> notify::Result<Watch> {
        let changed = Arc::new(Notify::new());
        let waker = changed.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_change(event.kind)) {
                waker.notify_one();
            }
        })?;
        for directory in self.directories() {
            watcher.watch(&directory, RecursiveMode::NonRecursive)?;
        }
        Ok(Watch { _watcher: watcher, changed, reload: self.clone() })
    }

    /// The files' directories: a file that is replaced is another one, and so is what a link points to. A mounted
    /// Kubernetes secret is changed by renaming a link beside its files.
    fn directories(&self) -> BTreeSet<PathBuf> {
        let parent = |path: &PathBuf| match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        self.paths().iter().map(parent).collect()
    }

    fn paths(&self) -> BTreeSet<PathBuf> {
        let server = self.server.iter().flat_map(|server| server.paths().map(Path::to_owned));
        server.chain(self.upstreams.iter().flat_map(|upstream| upstream.paths().map(Path::to_owned))).collect()
    }

    /// Whether what is in the files is not what it was the last time.
    fn have_changed(&self) -> bool {
        let hash = |path: PathBuf| {
            let mut hasher = DefaultHasher::new();
            std::fs::read(&path).ok().hash(&mut hasher);
            (path, hasher.finish())
        };
        let now: HashMap<_, _> = self.paths().into_iter().map(hash).collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *seen != now;
        *seen = now;
        changed
    }
}

/// Reading a file is an event, too; it must not lead to another reading.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

fn log_problems(what: &str, problems: &[String]) {
    for problem in problems {
        tracing::error!(%problem, "{what}");
    }
}

/// A line of the log for each certificate.
pub(super) fn log_certificates(server: &Server, what: &str) {
    for certificate in server.describe() {
        tracing::info!(%certificate, "{what}");
    }
}

/// Files that are being watched.
#[derive(Debug)]
pub struct Watch {
    _watcher: RecommendedWatcher,
    changed: Arc<Notify>,
    reload: Arc<Reload>,
}

impl Watch {
    /// Reads files again each time that they have changed. Never ends.
    pub async fn run(self) {
        loop {
            self.changed.notified().await;
            let quiet = async { while tokio::time::timeout(QUIET, self.changed.notified()).await.is_ok() {} };
            // A file that changes all the time is read all the same.
            let _ = tokio::time::timeout(AT_MOST, quiet).await;
            if self.reload.have_changed() {
                self.reload.now();
            }
        }
    }
}

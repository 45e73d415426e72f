//! Waiting for files to change.
//!
//! Folders are watched, not files: an editor, a deployment tool and Kubernetes replace a file, or a link on the way to
//! it, by renaming. Who waits looks for himself what has changed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// How long nothing may happen before it is told: whoever writes a file may do it in several steps.
const QUIET: Duration = Duration::from_millis(100);
/// How long it is told at the latest, however much happens in the folders.
const AT_LATEST: Duration = Duration::from_secs(1);
/// Links on the way to a file, at most: as many as Linux follows.
const LINKS: usize = 40;

/// Folders that are watched.
#[derive(Debug)]
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    event: Arc<Notify>,
}

impl Watch {
    pub(super) fn new() -> Self {
        let event = Arc::new(Notify::new());
        let sender = event.clone();
        let watcher = notify::recommended_watcher(move |seen: notify::Result<Event>| {
            // Reading is no change, and looking reads.
            if !matches!(seen, Ok(Event { kind: EventKind::Access(_), .. })) {
                sender.notify_one();
            }
        });
        let watcher = watcher.map_err(|error| tracing::warn!(%error, "files cannot be watched: SIGHUP reloads")).ok();
        Self { watcher, folders: BTreeSet::new(), event }
    }

    /// Watches the way to these files, and nothing else. A folder that was replaced by another one of its name is
    /// watched anew.
    pub(super) fn follow(&mut self, files: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else { return };
        for folder in std::mem::take(&mut self.folders) {
            // It may be gone, and its watch with it.
            let _ = watcher.unwatch(&folder);
        }
        for folder in files.iter().flat_map(|file| folders(file)).collect::<BTreeSet<_>>() {
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.folders.insert(folder)),
                Err(error) => tracing::debug!(folder = %folder.display(), %error, "the folder cannot be watched"),
            }
        }
    }

    /// Waits until something happened in the folders, and then nothing for a moment.
    pub(super) async fn changed(&self) {
        self.event.notified().await;
        let quiet = async { while tokio::time::timeout(QUIET, self.event.notified()).await.is_ok() {} };
        // Whichever comes first.
        let _ = tokio::time::timeout(AT_LATEST, quiet).await;
    }
}

/// The folders in which a change can make `file` another one: its own, and those of the links on the way to it.
fn folders(file: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let Ok(mut at) = std::path::absolute(file) else { return found };
    for _ in 0..LINKS {
        found.extend(at.parent().map(Path::to_owned));
        let links = at.ancestors().filter(|folder| folder.is_symlink());
        found.extend(links.filter_map(|link| link.parent().map(Path::to_owned)));
        match (std::fs::read_link(&at), at.parent()) {
            (Ok(target), Some(folder)) => at = folder.join(target),
            _ => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_with_a_link_on_the_way_is_watched() {
        let root = std::env::temp_dir().join(format!("tideover-watch-{}", std::process::id()));
        std::fs::create_dir_all(root.join("mount/..2026")).unwrap();
        std::fs::write(root.join("mount/..2026/file"), "").unwrap();
        std::os::unix::fs::symlink("..2026", root.join("mount/..data")).unwrap();
        std::os::unix::fs::symlink("..data/file", root.join("mount/file")).unwrap();
        std::os::unix::fs::symlink("mount/file", root.join("link")).unwrap();
        let found = folders(&root.join("link"));
        std::fs::remove_dir_all(&root).unwrap();
        for folder in ["", "mount", "mount/..data"] {
            let folder = root.join(folder).components().collect::<PathBuf>();
            assert!(found.contains(&folder), "{} is not in {found:?}", folder.display());
        }
    }
}

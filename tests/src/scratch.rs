//! A directory for what a process of a test writes.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::program;

/// Keeps the directories of tests that pass, too.
const KEEP_VARIABLE: &str = "TIDEOVER_TEST_KEEP_LOGS";

/// A fresh directory under `target/test-logs`; removed when dropped, unless the test is failing then
/// or `TIDEOVER_TEST_KEEP_LOGS` is set.
#[derive(Debug)]
pub struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    /// A fresh one, with `name` in its name.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{}-{number}-{name}", std::process::id());
        let directory = program::target_directory().join("test-logs").join(unique);
        // A directory of that name can only be of a process long gone that had our id.
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).expect("target/test-logs");
        Self { directory }
    }

    /// A file in it.
    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// Its path.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os(KEEP_VARIABLE).is_some() {
            eprintln!("kept: {}", self.directory.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

//! Locks between test processes, held as long as the returned value lives.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// A held lock; dropping it, or the end of the process, releases it.
#[must_use = "the lock is released when this is dropped"]
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// For a test that loads the machine or measures time: waits until no other test runs, and keeps others waiting.
pub fn machine_alone() -> Lock {
    machine(FlockOperation::LockExclusive)
}

/// For every other test that starts processes: runs beside its like, but not beside a test that wants the machine.
pub fn machine_shared() -> Lock {
    machine(FlockOperation::LockShared)
}

fn machine(operation: FlockOperation) -> Lock {
    let directory = shared_directory();
    // Waiting happens inside the gate, so that a stream of sharers cannot keep the one who wants it alone waiting.
    let _gate = acquire(&directory.join("gate.lock"), FlockOperation::LockExclusive);
    acquire(&directory.join("machine.lock"), operation)
}

/// Waits for the exclusive lock on `path`; the file is made if it is missing.
///
/// # Panics
/// When the file cannot be made or locked.
pub fn exclusive(path: &Path) -> Lock {
    acquire(path, FlockOperation::LockExclusive)
}

/// The exclusive lock on `path`, or `None` if someone has it.
pub(crate) fn try_exclusive(path: &Path) -> Option<Lock> {
    let file = open(path);
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(Lock { _file: file })
}

/// A directory that all test processes of this user share, whatever their target directory.
pub(crate) fn shared_directory() -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    let directory = std::env::temp_dir().join(format!("tideover-tests-{user}"));
    fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("cannot make {}: {error}", directory.display()));
    directory
}

fn acquire(path: &Path, operation: FlockOperation) -> Lock {
    let file = open(path);
    flock(&file, operation).unwrap_or_else(|error| panic!("cannot lock {}: {error}", path.display()));
    Lock { _file: file }
}

fn open(path: &Path) -> File {
    let opened = File::options().create(true).append(true).open(path);
    opened.unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
}

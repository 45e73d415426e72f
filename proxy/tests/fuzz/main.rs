//! The fuzz targets of what strangers send before a session begins, on the inputs that were found worth keeping. `fuzz/` has
//! the programs that look for more with libFuzzer; CONTRIBUTING says how.

mod answer;
mod handshake;
mod proxy_header;
mod requests;

use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// The committed inputs of a target.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")));
    paths.into_iter().map(read).collect()
}

/// Runs a target on its corpus; `taken` says of how many inputs something good must have come.
fn replay(target: &str, taken: usize, check: fn(&[u8]) -> bool) {
    let mut good = 0;
    for (path, input) in corpus(target) {
        match catch_unwind(|| check(&input)) {
            Ok(taken) => good += usize::from(taken),
            Err(panic) => {
                eprintln!("it fails on {}", path.display());
                resume_unwind(panic);
            }
        }
    }
    assert!(good >= taken, "{target}: only {good} inputs were taken for good");
}

#[test]
fn requests_end_where_another_reader_sees_their_ends() {
    replay("requests", 6, requests::check);
}

#[test]
fn backends_are_told_of_a_handshake_what_is_the_clients_to_say() {
    replay("handshake", 3, handshake::check);
}

#[test]
fn only_a_good_101_makes_a_leg() {
    replay("answer", 3, answer::check);
}

#[test]
fn proxy_headers_say_what_another_reader_reads() {
    replay("proxy_header", 5, proxy_header::check);
}

//! The fuzz targets, on the inputs that were found worth keeping. `fuzz/` has the programs that look for more with
//! libFuzzer; CONTRIBUTING says how.

mod frames;
mod reference;
mod rules;
mod session;

use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use tideover_protocol::sabotage::{self, Sabotage};

/// The committed inputs of a target.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")));
    paths.into_iter().map(read).collect()
}

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = corpus(target);
    assert!(corpus.len() > 20, "{target}: {} inputs", corpus.len());
    for (path, input) in corpus {
        if let Err(panic) = catch_unwind(|| check(&input)) {
            eprintln!("it fails on {}", path.display());
            resume_unwind(panic);
        }
    }
}

#[test]
fn the_scanner_agrees_with_the_reference_on_the_corpus() {
    replay("frames", frames::check);
}

#[test]
fn rules_find_what_stands_in_the_messages_of_the_corpus() {
    replay("rules", rules::check);
}

#[test]
fn sessions_keep_the_laws_on_the_corpus() {
    replay("session", session::check);
}

/// The target knows what may never be, not what the engine should have decided; what can be seen of that, it sees.
#[test]
fn the_corpus_shows_a_broken_engine() {
    const SEEN: [Sabotage; 6] = [
        Sabotage::NoRewind,
        Sabotage::DeadEpochAccepted,
        Sabotage::HeldNotDropped,
        Sabotage::HalfMessageForwarded,
        Sabotage::BarrierInsideFrame,
        Sabotage::NeighbourPoisoned,
    ];
    let corpus = corpus("session");
    for broken in SEEN {
        sabotage::choose(Some(broken));
        let seen = corpus.iter().any(|(_, input)| catch_unwind(|| session::check(input)).is_err());
        sabotage::choose(None);
        assert!(seen, "{broken:?} goes unnoticed");
    }
}

//! Reply de-duplication: what was passed to the client while the messages that may have led to it are retained, so
//! that what a new leg says again can be swallowed.

use std::collections::VecDeque;

use twox_hash::xxhash3_64;

use crate::frame::Opcode;
use crate::sabotage::{self, Sabotage};

/// A message of the backend, as far as it is remembered. Equal contents have equal digests; different ones have not,
/// but for a chance of 2^-64 and for who knows the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    hash: u64,
    /// Payload bytes, capped.
    len: u32,
    text: bool,
}

/// Computes the digest of a message that comes in pieces.
pub(super) struct Digester {
    hasher: xxhash3_64::Hasher,
    len: u64,
}

impl Digester {
    pub(super) fn new(seed: u64) -> Self {
        Self { hasher: xxhash3_64::Hasher::with_seed(seed), len: 0 }
    }

    pub(super) fn write(&mut self, payload: &[u8]) {
        std::hash::Hasher::write(&mut self.hasher, payload);
        self.len += payload.len() as u64;
    }

    pub(super) fn finish(&self, opcode: Opcode) -> Digest {
        Digest::new(std::hash::Hasher::finish(&self.hasher), self.len, opcode)
    }
}

impl Digest {
    /// The digest of a whole payload.
    pub(super) fn of(seed: u64, opcode: Opcode, payload: &[u8]) -> Self {
        Self::new(xxhash3_64::Hasher::oneshot_with_seed(seed, payload), payload.len() as u64, opcode)
    }

    fn new(hash: u64, len: u64, opcode: Opcode) -> Self {
        Self { hash, len: u32::try_from(len).unwrap_or(u32::MAX), text: opcode == Opcode::Text }
    }
}

#[derive(Clone, Copy, Debug)]
struct Echo {
    digest: Digest,
    /// The lowest barrier whose answer came behind it on any leg: once everything up to this seq is forgotten, nothing
    /// can bring this message again. `OPEN` until a barrier is answered.
    interval: u64,
}

const OPEN: u64 = u64::MAX;

/// What a client was told that it may be told again.
///
/// At most `limit` messages of 24 bytes are remembered, the oldest ones: what comes behind is forgotten and may be
/// repeated. Empty and without memory while nothing is retained.
#[derive(Debug)]
pub(super) struct Echoes {
    entries: VecDeque<Echo>,
    limit: usize,
    /// The entry that the next message of the current leg is compared with; `None` once the window is closed.
    cursor: Option<usize>,
    /// More was said than could be remembered.
    overflowed: bool,
}

impl Echoes {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), limit, cursor: None, overflowed: false }
    }

    /// Bytes of memory held.
    pub(super) fn allocated(&self) -> usize {
        self.entries.capacity() * size_of::<Echo>()
    }

    /// Whether messages of the current leg are compared with what the client was told.
    pub(super) fn is_window_open(&self) -> bool {
        self.cursor.is_some()
    }

    /// A new leg: it may say everything again from the first entry on.
    pub(super) fn begin_leg(&mut self) {
        if sabotage::is(Sabotage::CursorNotReset) && self.cursor.is_some() {
            return;
        }
        self.cursor = (!self.entries.is_empty()).then_some(0);
    }

    /// Whether the client was told this already. The first message that it was not told closes the window.
    pub(super) fn swallows(&mut self, digest: Digest) -> bool {
        let Some(cursor) = self.cursor else { return false };
        let same = self.entries.get(cursor).is_some_and(|echo| echo.digest == digest);
        if !same && sabotage::is(Sabotage::WindowNeverClosed) {
            return false;
        }
        self.cursor = (same && cursor + 1 < self.entries.len()).then_some(cursor + 1);
        same
    }

    /// The client is told this.
    pub(super) fn record(&mut self, digest: Digest) {
        if self.entries.len() >= self.limit {
            self.overflowed = true;
        }
        if !self.overflowed {
            self.entries.push_back(Echo { digest, interval: OPEN });
        }
    }

    /// The barrier behind `seq` was answered: what this leg said until now, or said again, answers nothing behind it.
    /// What it may still say again does.
    pub(super) fn handle_barrier(&mut self, seq: u64) {
        let said = self.cursor.unwrap_or(self.entries.len());
        for echo in self.entries.range_mut(..said).rev().take_while(|echo| echo.interval > seq) {
            echo.interval = seq;
        }
    }

    /// The messages up to `seq` are forgotten; `all` says that no other is retained.
    pub(super) fn forget(&mut self, seq: u64, all: bool) {
        let Some(first) = self.entries.front().filter(|_| !all) else { return self.clear() };
        // The usual case: this is asked with every read, and the entries of a busy session are not at hand.
        if first.interval > seq {
            return;
        }
        let gone = self.entries.partition_point(|echo| echo.interval <= seq);
        self.entries.drain(..gone);
        self.cursor = self.cursor.map(|cursor| cursor.saturating_sub(gone)).filter(|next| *next < self.entries.len());
        if self.entries.is_empty() {
            self.clear();
        }
    }

    /// Nothing is remembered.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(7, Opcode::Text, text.as_bytes())
    }

    fn told(texts: &[&str]) -> Echoes {
        let mut echoes = Echoes::new(100);
        texts.iter().for_each(|text| echoes.record(digest(text)));
        echoes
    }

    #[test]
    fn a_message_in_pieces_has_the_digest_of_the_whole() {
        let mut digester = Digester::new(7);
        digester.write(b"he");
        digester.write(b"llo");
        assert_eq!(digester.finish(Opcode::Text), digest("hello"));
        assert_ne!(Digest::of(7, Opcode::Binary, b"hello"), digest("hello"));
        assert_ne!(Digest::of(8, Opcode::Text, b"hello"), digest("hello"));
    }

    #[test]
    fn the_first_difference_closes_the_window_for_the_leg_and_a_second_death_opens_it_again() {
        let mut echoes = told(&["a", "b", "c"]);
        assert!(!echoes.swallows(digest("a")), "no leg has died yet");
        for _ in 0..2 {
            echoes.begin_leg();
            assert!(echoes.swallows(digest("a")));
            assert!(!echoes.swallows(digest("c")));
            assert!(!echoes.swallows(digest("b")), "the window is closed");
        }
        echoes.begin_leg();
        assert!(["a", "b", "c"].into_iter().all(|text| echoes.swallows(digest(text))));
        assert!(!echoes.swallows(digest("a")) && !echoes.is_window_open());
    }

    #[test]
    fn an_intervals_entries_go_when_its_inputs_are_forgotten() {
        let mut echoes = told(&["a", "b"]);
        echoes.handle_barrier(2);
        echoes.record(digest("c"));
        echoes.forget(1, false);
        echoes.begin_leg();
        assert!(echoes.swallows(digest("a")), "input 2 is retained");
        echoes.forget(2, false);
        echoes.begin_leg();
        assert!(echoes.swallows(digest("c")));
        echoes.forget(3, true);
        assert_eq!(echoes.allocated(), 0);
    }

    #[test]
    fn a_barrier_inside_a_replay_says_nothing_of_what_is_still_to_be_said_again() {
        let mut echoes = told(&["a", "b"]);
        echoes.handle_barrier(2);
        echoes.record(digest("c"));
        echoes.begin_leg();
        assert!(echoes.swallows(digest("a")));
        echoes.handle_barrier(1);
        echoes.forget(1, false);
        assert!(echoes.swallows(digest("b")) && echoes.swallows(digest("c")));
        echoes.begin_leg();
        assert!(echoes.swallows(digest("b")), "input 2 is retained, input 1 is not");
    }

    #[test]
    fn beyond_the_limit_the_oldest_are_kept_so_that_the_window_still_fits() {
        let mut echoes = Echoes::new(2);
        ["a", "b", "c"].iter().for_each(|text| echoes.record(digest(text)));
        echoes.begin_leg();
        assert!(echoes.swallows(digest("a")) && echoes.swallows(digest("b")));
        assert!(!echoes.swallows(digest("c")));
    }
}

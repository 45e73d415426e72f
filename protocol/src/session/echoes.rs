//! Reply de-duplication: what was passed to the client while the messages that may have led to it are retained, so
//! that what a new leg says again can be swallowed.

//!
//! Messages are compared as they are relayed. Two backends may compress the same content differently, so the payloads
//! of compressed messages are kept beside their digests, as far as there is room, and where digests differ the contents
//! are compared. Only then is anything inflated.

use std::collections::VecDeque;

use tideover_replay_store::ByteLog;
use twox_hash::xxhash3_64;

use crate::frame::{FrameHeader, Opcode};
use crate::sabotage::{self, Sabotage};

use super::inflate::inflate;

/// Longest content that is inflated to be compared, in bytes: what that takes delays the other sessions of a worker.
const MAX_CONTENT: usize = 4 << 20;

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) text: bool,
    /// Its payload is compressed (RFC 7692).
    pub(super) compressed: bool,
}

impl Kind {
    /// What the first frame of a message says.
    pub(super) fn of(first: &FrameHeader) -> Self {
        Self { text: first.opcode == Opcode::Text, compressed: first.compressed }
    }
}

/// A message of the backend, as far as it is remembered. Equal payloads have equal digests; different ones have not,
/// but for a chance of 2^-64 and for who knows the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    hash: u64,
    /// Payload bytes, capped.
    len: u32,
    kind: Kind,
}

/// Gives a payload to whom it is called with, in pieces.
pub(super) type Payload<'a> = &'a dyn Fn(&mut dyn FnMut(&[u8]));

/// A message that the backend says.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) digest: Digest,
    pub(super) seed: u64,
    pub(super) payload: Payload<'a>,
}

impl Said<'_> {
    /// The digest of what it says; `None` if that cannot be told.
    fn content(&self) -> Option<Digest> {
        if self.digest.kind.compressed {
            inflated(self.seed, self.digest.kind, self.payload)
        } else {
            Some(self.digest)
        }
    }
}

fn inflated(seed: u64, kind: Kind, payload: Payload<'_>) -> Option<Digest> {
    let mut digester = Digester::new(seed);
    let whole = inflate(MAX_CONTENT, payload, |piece| digester.write(piece));
    whole.then(|| digester.finish(Kind { compressed: false, ..kind }))
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

    pub(super) fn finish(&self, kind: Kind) -> Digest {
        Digest::new(std::hash::Hasher::finish(&self.hasher), self.len, kind)
    }
}

impl Digest {
    /// The digest of a whole payload.
    pub(super) fn of(seed: u64, kind: Kind, payload: &[u8]) -> Self {
        Self::new(xxhash3_64::Hasher::oneshot_with_seed(seed, payload), payload.len() as u64, kind)
    }

    fn new(hash: u64, len: u64, kind: Kind) -> Self {
        Self { hash, len: u32::try_from(len).unwrap_or(u32::MAX), kind }
    }
}

/// A digest, spelled out so that an entry stays at 24 bytes, and what belongs to it.
#[derive(Clone, Copy, Debug)]
struct Echo {
    hash: u64,
    len: u32,
    kind: Kind,
    /// Its payload is kept.
    kept: bool,
    /// The lowest barrier whose answer came behind it on any leg: once everything up to this seq is forgotten, nothing
    /// can bring this message again. `OPEN` until a barrier is answered.
    interval: u64,
}

const OPEN: u64 = u64::MAX;

impl Echo {
    fn digest(&self) -> Digest {
        Digest { hash: self.hash, len: self.len, kind: self.kind }
    }

    /// Bytes that it takes among what is kept.
    fn kept(&self) -> u64 {
        if self.kept { self.len.into() } else { 0 }
    }
}

/// The payloads of compressed messages, one behind the other as their entries are.
#[derive(Debug, Default)]
struct Kept {
    log: ByteLog,
    /// Where that of the first entry begins.
    first: u64,
    /// Where that of the entry at the cursor begins.
    at: u64,
}

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Messages.
    pub(super) entries: u32,
    /// Bytes of payload, of compressed messages only.
    pub(super) bytes: u32,
}

/// What a client was told that it may be told again.
///
/// At most so many messages of 24 bytes as `bounds` say are remembered, the oldest ones: what comes behind is forgotten
/// and may be repeated. Empty and without memory while nothing is retained.
#[derive(Debug)]
pub(super) struct Echoes {
    entries: VecDeque<Echo>,
    bounds: Bounds,
    /// The entry that the next message of the current leg is compared with; `None` once the window is closed.
    cursor: Option<u32>,
    /// More was said than could be remembered.
    overflowed: bool,
    kept: Option<Box<Kept>>,
}

impl Echoes {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { entries: VecDeque::new(), bounds, cursor: None, overflowed: false, kept: None }
    }

    /// Bytes of memory held.
    pub(super) fn allocated(&self) -> usize {
        self.entries.capacity() * size_of::<Echo>() + self.kept.as_ref().map_or(0, |kept| kept.log.allocated())
    }

    /// Whether messages of the current leg are compared with what the client was told.
    pub(super) fn is_window_open(&self) -> bool {
        self.cursor.is_some()
    }

    fn has(&self, entry: u32) -> bool {
        (entry as usize) < self.entries.len()
    }

    /// A new leg: it may say everything again from the first entry on.
    pub(super) fn begin_leg(&mut self) {
        if sabotage::is(Sabotage::CursorNotReset) && self.cursor.is_some() {
            return;
        }
        self.cursor = (!self.entries.is_empty()).then_some(0);
        if let Some(kept) = &mut self.kept {
            kept.at = kept.first;
        }
    }

    /// Whether the client was told this already. The first message that it was not told closes the window.
    pub(super) fn swallows(&mut self, said: &Said<'_>) -> bool {
        let Some(cursor) = self.cursor else { return false };
        let Some(echo) = self.entries.get(cursor as usize).copied() else { return false };
        let same = echo.digest() == said.digest || self.is_same_content(&echo, said);
        if !same && sabotage::is(Sabotage::WindowNeverClosed) {
            return false;
        }
        if let Some(kept) = &mut self.kept {
            kept.at += echo.kept();
        }
        self.cursor = Some(cursor + 1).filter(|next| same && self.has(*next));
        same
    }

    /// Whether the entry at the cursor says the same, however it is compressed, if at all. If that cannot be told, it
    /// does not.
    fn is_same_content(&self, echo: &Echo, said: &Said<'_>) -> bool {
        let compressed = echo.kind.compressed || said.digest.kind.compressed;
        if !compressed || echo.kind.text != said.digest.kind.text {
            return false;
        }
        let told = if echo.kind.compressed { self.told_content(echo, said.seed) } else { Some(echo.digest()) };
        told.is_some_and(|told| said.content() == Some(told))
    }

    /// The digest of what the entry at the cursor says, if its payload is kept.
    fn told_content(&self, echo: &Echo, seed: u64) -> Option<Digest> {
        let kept = self.kept.as_deref().filter(|_| echo.kept)?;
        inflated(seed, echo.kind, &|take| kept.log.slices(kept.at, kept.at + echo.kept()).for_each(take))
    }

    /// The client is told this. If it is compressed, and `ample` says that memory is, its payload is kept.
    pub(super) fn record(&mut self, said: &Said<'_>, ample: impl FnOnce() -> bool) {
        if self.has_room() {
            let kept = said.digest.kind.compressed && ample() && self.keep(said);
            self.push(said.digest, kept);
        }
    }

    /// The client is told this, which is not compressed.
    #[inline]
    pub(super) fn record_plain(&mut self, digest: Digest) {
        if self.has_room() {
            self.push(digest, false);
        }
    }

    fn has_room(&mut self) -> bool {
        self.overflowed |= self.entries.len() >= self.bounds.entries as usize;
        !self.overflowed
    }

    fn push(&mut self, Digest { hash, len, kind }: Digest, kept: bool) {
        self.entries.push_back(Echo { hash, len, kind, kept, interval: OPEN });
    }

    fn keep(&mut self, said: &Said<'_>) -> bool {
        let held = self.kept.as_ref().map_or(0, |kept| kept.log.end() - kept.first);
        let fits = held + u64::from(said.digest.len) <= u64::from(self.bounds.bytes);
        if fits {
            let kept = self.kept.get_or_insert_default();
            (said.payload)(&mut |piece| kept.log.append(piece, 0));
        }
        fits
    }

    /// The barrier behind `seq` was answered: what this leg said until now, or said again, answers nothing behind it.
    /// What it may still say again does.
    pub(super) fn handle_barrier(&mut self, seq: u64) {
        let said = self.cursor.map_or(self.entries.len(), |cursor| cursor as usize);
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
        if let Some(kept) = &mut self.kept {
            kept.first += self.entries.range(..gone).map(Echo::kept).sum::<u64>();
            kept.at = kept.at.max(kept.first);
            kept.log.release_before(kept.first);
        }
        self.entries.drain(..gone);
        self.cursor = self.cursor.map(|cursor| cursor.saturating_sub(gone as u32)).filter(|next| self.has(*next));
        if self.entries.is_empty() {
            self.clear();
        }
    }

    /// Nothing is remembered.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.bounds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { entries: 100, bytes: 1000 };
    const TEXT: Kind = Kind { text: true, compressed: false };
    const COMPRESSED: Kind = Kind { text: true, compressed: true };

    fn digest(text: &str) -> Digest {
        Digest::of(7, TEXT, text.as_bytes())
    }

    fn with<T>(kind: Kind, payload: &[u8], then: impl FnOnce(&Said<'_>) -> T) -> T {
        let walk = |take: &mut dyn FnMut(&[u8])| payload.chunks(3).for_each(take);
        then(&Said { digest: Digest::of(7, kind, payload), seed: 7, payload: &walk })
    }

    fn tell(echoes: &mut Echoes, text: &str) {
        with(TEXT, text.as_bytes(), |said| echoes.record(said, || true));
    }

    fn swallows(echoes: &mut Echoes, text: &str) -> bool {
        with(TEXT, text.as_bytes(), |said| echoes.swallows(said))
    }

    fn told(texts: &[&str]) -> Echoes {
        let mut echoes = Echoes::new(BOUNDS);
        texts.iter().for_each(|text| tell(&mut echoes, text));
        echoes
    }

    fn tell_compressed(echoes: &mut Echoes, text: &str, level: u32) {
        with(COMPRESSED, &deflated(text, level), |said| echoes.record(said, || true));
    }

    fn swallows_compressed(echoes: &mut Echoes, text: &str, level: u32) -> bool {
        with(COMPRESSED, &deflated(text, level), |said| echoes.swallows(said))
    }

    /// Level 0 stores, which no other level does with these texts.
    fn deflated(text: &str, level: u32) -> Vec<u8> {
        let mut state = flate2::Compress::new(flate2::Compression::new(level), false);
        let mut out = Vec::with_capacity(1000);
        state.compress_vec(text.as_bytes(), &mut out, flate2::FlushCompress::Sync).unwrap();
        out.truncate(out.len() - 4);
        out
    }

    #[test]
    fn a_message_in_pieces_has_the_digest_of_the_whole() {
        let mut digester = Digester::new(7);
        digester.write(b"he");
        digester.write(b"llo");
        assert_eq!(digester.finish(TEXT), digest("hello"));
        assert_ne!(Digest::of(7, Kind { text: false, ..TEXT }, b"hello"), digest("hello"));
        assert_ne!(Digest::of(8, TEXT, b"hello"), digest("hello"));
    }

    #[test]
    fn the_first_difference_closes_the_window_for_the_leg_and_a_second_death_opens_it_again() {
        let mut echoes = told(&["a", "b", "c"]);
        assert!(!swallows(&mut echoes, "a"), "no leg has died yet");
        for _ in 0..2 {
            echoes.begin_leg();
            assert!(swallows(&mut echoes, "a"));
            assert!(!swallows(&mut echoes, "c"));
            assert!(!swallows(&mut echoes, "b"), "the window is closed");
        }
        echoes.begin_leg();
        assert!(["a", "b", "c"].into_iter().all(|text| swallows(&mut echoes, text)));
        assert!(!swallows(&mut echoes, "a") && !echoes.is_window_open());
    }

    #[test]
    fn an_intervals_entries_go_when_its_inputs_are_forgotten() {
        let mut echoes = told(&["a", "b"]);
        echoes.handle_barrier(2);
        tell(&mut echoes, "c");
        echoes.forget(1, false);
        echoes.begin_leg();
        assert!(swallows(&mut echoes, "a"), "input 2 is retained");
        echoes.forget(2, false);
        echoes.begin_leg();
        assert!(swallows(&mut echoes, "c"));
        echoes.forget(3, true);
        assert_eq!(echoes.allocated(), 0);
    }

    #[test]
    fn a_barrier_inside_a_replay_says_nothing_of_what_is_still_to_be_said_again() {
        let mut echoes = told(&["a", "b"]);
        echoes.handle_barrier(2);
        tell(&mut echoes, "c");
        echoes.begin_leg();
        assert!(swallows(&mut echoes, "a"));
        echoes.handle_barrier(1);
        echoes.forget(1, false);
        assert!(swallows(&mut echoes, "b") && swallows(&mut echoes, "c"));
        echoes.begin_leg();
        assert!(swallows(&mut echoes, "b"), "input 2 is retained, input 1 is not");
    }

    #[test]
    fn beyond_the_limit_the_oldest_are_kept_so_that_the_window_still_fits() {
        let mut echoes = Echoes::new(Bounds { entries: 2, ..BOUNDS });
        ["a", "b", "c"].iter().for_each(|text| tell(&mut echoes, text));
        echoes.begin_leg();
        assert!(swallows(&mut echoes, "a") && swallows(&mut echoes, "b"));
        assert!(!swallows(&mut echoes, "c"));
    }

    #[test]
    fn however_it_is_compressed_the_same_content_is_swallowed() {
        let texts = ["the same, the same, the same", "and another", ""];
        for (told_at, said_at) in [(6, 6), (6, 0), (0, 9)] {
            let mut echoes = Echoes::new(BOUNDS);
            texts.iter().for_each(|text| tell_compressed(&mut echoes, text, told_at));
            for _ in 0..2 {
                echoes.begin_leg();
                assert!(
                    texts.iter().all(|text| swallows_compressed(&mut echoes, text, said_at)),
                    "{told_at} {said_at}"
                );
            }
            echoes.begin_leg();
            assert!(texts.iter().all(|text| swallows(&mut echoes, text)), "not compressed at all");
        }
        let mut echoes = told(&texts);
        echoes.begin_leg();
        assert!(texts.iter().all(|text| swallows_compressed(&mut echoes, text, 6)), "only compressed when said again");
    }

    #[test]
    fn compressed_content_that_differs_is_not_swallowed() {
        let mut echoes = Echoes::new(BOUNDS);
        tell_compressed(&mut echoes, "one", 6);
        let binary = Kind { text: false, ..COMPRESSED };
        echoes.begin_leg();
        assert!(!with(binary, &deflated("one", 6), |said| echoes.swallows(said)), "binary, not text");
        echoes.begin_leg();
        assert!(!with(TEXT, &deflated("one", 6), |said| echoes.swallows(said)), "the same bytes, not compressed");
        for other in [&deflated("other", 6)[..], b"no DEFLATE"] {
            echoes.begin_leg();
            assert!(!with(COMPRESSED, other, |said| echoes.swallows(said)));
        }
    }

    #[test]
    fn what_is_kept_goes_with_its_entry() {
        let mut echoes = Echoes::new(BOUNDS);
        for (seq, text) in ["a", "b", "c"].iter().enumerate() {
            tell_compressed(&mut echoes, text, 6);
            tell(&mut echoes, "plain");
            echoes.handle_barrier(seq as u64 + 1);
        }
        echoes.begin_leg();
        assert!(swallows_compressed(&mut echoes, "a", 0));
        echoes.forget(2, false);
        assert!(swallows_compressed(&mut echoes, "c", 0) && swallows(&mut echoes, "plain"));
        echoes.begin_leg();
        assert!(swallows_compressed(&mut echoes, "c", 0));
        echoes.forget(3, true);
        assert!(echoes.allocated() == 0 && echoes.kept.is_none());
    }

    #[test]
    fn without_room_compressed_messages_are_compared_as_they_came() {
        for (bytes, ample) in [(10, true), (1000, false)] {
            let mut echoes = Echoes::new(Bounds { bytes, ..BOUNDS });
            let texts = ["short", "much too long to be kept", "next"];
            for text in texts {
                with(COMPRESSED, &deflated(text, 6), |said| echoes.record(said, || ample));
            }
            echoes.begin_leg();
            assert!(texts.iter().all(|text| swallows_compressed(&mut echoes, text, 6)));
            echoes.begin_leg();
            assert_eq!(swallows_compressed(&mut echoes, "short", 0), ample);
            assert!(!swallows_compressed(&mut echoes, texts[1], 0));
        }
    }

    #[test]
    fn an_entry_takes_24_bytes() {
        assert_eq!(size_of::<Echo>(), 24);
    }
}

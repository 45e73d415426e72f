//! What the client must be told, byte for byte, and what the shadow remembers of it.

use std::collections::VecDeque;

use crate::codec;

/// A message of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
    /// Its frames as they came.
    pub(crate) raw: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    opcode: u8,
    payload: Vec<u8>,
    /// What is retained behind this seq cannot bring it again; `None` while no barrier behind it is answered.
    through: Option<u64>,
}

/// What was passed while messages were retained, in order.
#[derive(Debug, Default)]
pub(crate) struct Window {
    entries: VecDeque<Entry>,
    /// The next entry to compare with; `None` once closed.
    at: Option<usize>,
    /// No more was remembered, for there was no room.
    pub(crate) overflowed: bool,
}

/// What a message of a backend is to the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    Swallow,
    /// The first that differs.
    Differs,
    New,
}

impl Window {
    pub(crate) fn begin_leg(&mut self) {
        self.at = if self.entries.is_empty() { None } else { Some(0) };
    }

    pub(crate) fn judge(&mut self, opcode: u8, payload: &[u8]) -> Repeat {
        let Some(at) = self.at else { return Repeat::New };
        let entry = &self.entries[at];
        if entry.opcode != opcode || entry.payload != payload {
            self.at = None;
            return Repeat::Differs;
        }
        self.at = Some(at + 1).filter(|next| *next < self.entries.len());
        Repeat::Swallow
    }

    pub(crate) fn record(&mut self, opcode: u8, payload: &[u8], limit: usize) {
        self.overflowed |= self.entries.len() >= limit;
        if !self.overflowed {
            self.entries.push_back(Entry { opcode, payload: payload.to_vec(), through: None });
        }
    }

    /// A barrier behind `seq` was answered. What this leg has said, or said again, until now answers nothing behind
    /// it; of what it has not said again yet, that is not known.
    pub(crate) fn barrier(&mut self, seq: u64) {
        let said = self.at.unwrap_or(self.entries.len());
        for entry in self.entries.iter_mut().take(said) {
            entry.through = Some(entry.through.map_or(seq, |through| through.min(seq)));
        }
    }

    /// All up to `seq` is forgotten, and if `all`, there is nothing else.
    pub(crate) fn forget(&mut self, seq: u64, all: bool) {
        if all {
            *self = Self::default();
        }
        while self.entries.front().is_some_and(|entry| entry.through.is_some_and(|through| through <= seq)) {
            self.entries.pop_front();
            self.at = self.at.map(|at| at.saturating_sub(1));
        }
        if self.entries.is_empty() {
            *self = Self::default();
        }
    }
}

/// The tape of what goes to the client, of which every byte it gets is read off.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    raw: VecDeque<u8>,
    /// Lengths of the messages of which the client has not got all.
    lengths: VecDeque<usize>,
    /// Messages that were put on it.
    pub(crate) passed: u64,
    /// Messages that the client has got whole.
    pub(crate) heard: u64,
    /// Payloads of all that was put on it, for who judges the whole.
    pub(crate) transcript: Vec<(u8, Vec<u8>)>,
}

impl Tape {
    pub(crate) fn put(&mut self, said: Said) {
        self.raw.extend(&said.raw);
        self.lengths.push_back(said.raw.len());
        self.passed += 1;
        self.transcript.push((said.opcode, said.payload));
    }

    /// Laws 3 and 7: what the client gets is what comes next.
    pub(crate) fn read_off(&mut self, raw: &[u8]) {
        assert!(raw.len() <= self.raw.len(), "law 3: the client gets what no backend has said whole: {raw:?}");
        assert!(self.raw.iter().zip(raw).all(|(next, byte)| next == byte), "law 3: the client gets something else");
        self.raw.drain(..raw.len());
        let mut left = raw.len();
        while let Some(length) = self.lengths.front_mut().filter(|_| left > 0) {
            let step = left.min(*length);
            (left, *length) = (left - step, *length - step);
            if *length == 0 {
                self.lengths.pop_front();
                self.heard += 1;
            }
        }
    }

    pub(crate) fn is_read_off(&self) -> bool {
        self.raw.is_empty()
    }
}

/// The seq that an acknowledgement of the session protocol names.
pub(crate) fn explicit_ack(payload: &[u8]) -> Option<u64> {
    let digits = payload.strip_prefix(b"tideover:ack:")?;
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if valid { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

/// What a Close says, as far as it decides.
pub(crate) fn close_code(payload: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(payload.get(..2)?.try_into().ok()?))
}

/// Collects the messages of one leg from its pieces.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) splitter: codec::Splitter,
    pub(crate) said: Said,
}

impl Collector {
    pub(crate) fn new() -> Self {
        Self {
            splitter: codec::Splitter::new(false),
            said: Said { opcode: codec::BINARY, payload: Vec::new(), raw: Vec::new() },
        }
    }
}

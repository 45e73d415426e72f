//! The prelude of a leg: the pinned messages that it is written first, in order, each once.

use std::sync::Arc;

use tideover_replay_store::{Pins, Ring};

use crate::rules::Key;
use crate::sabotage::{self, Sabotage};
use crate::session::outlet::{Gather, Outlet, frame_border};
use crate::time::Instant;

use super::Pinned;

/// One pinned message on its way.
#[derive(Debug)]
pub(super) struct Item {
    /// Its number among the pins.
    pub(super) pin: u64,
    pub(super) seq: u64,
    frames: Arc<[u8]>,
    /// Offset behind it.
    end: u64,
    expects: Option<Key>,
    /// What comes behind it waits for its answer.
    pub(super) hold: bool,
    /// Its answer brings an id, without which what is in the ring cannot be written.
    learns: bool,
    /// The client had an answer to it before the leg.
    pub(super) had: bool,
    answered: bool,
}

impl Item {
    fn start(&self) -> u64 {
        self.end - self.frames.len() as u64
    }
}

/// Pinned messages, in order, as they were when the handshake of a leg was made.
#[derive(Debug, Default)]
pub(super) struct Prelude {
    items: Vec<Item>,
    /// Next byte to write.
    cursor: u64,
    /// It is on a leg, and not through yet.
    active: bool,
    /// Since when the session has been without a leg, if a leg with this prelude ends that only once it is through.
    pub(super) waiting_since: Option<Instant>,
    /// When the leg began, or the last answer came that something waited for.
    moved: Option<Instant>,
    /// Answers that will come to messages of which it is not said what answers them.
    unmatched: u64,
}

impl Prelude {
    /// Where backends count the messages of a leg (`gapless`), what is retained has its place in the ring.
    pub(super) fn freeze(pins: &Pins<Pinned>, ring: &Ring, gapless: bool) -> Self {
        let mut end = 0;
        let pins = pins.iter().filter(|pin| !gapless || !ring.retains(pin.seq()));
        let mut items: Vec<_> = pins
            .map(|pin| {
                let state = &pin.state;
                Item {
                    pin: pin.id(),
                    seq: pin.seq(),
                    frames: pin.frames().clone(),
                    end: 0,
                    expects: state.expects,
                    hold: state.hold && state.expects.is_some() && !sabotage::is(Sabotage::HoldIgnored),
                    learns: state.learns && state.expects.is_some(),
                    had: state.had,
                    answered: false,
                }
            })
            .collect();
        if sabotage::is(Sabotage::PinsOutOfOrder) {
            items.reverse();
        }
        for item in &mut items {
            end += item.frames.len() as u64;
            item.end = end;
        }
        let unmatched = items.iter().filter(|item| item.expects.is_none()).count() as u64;
        Self { items, unmatched, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the pin of this number is in it.
    pub(super) fn has(&self, pin: u64) -> bool {
        self.items.iter().any(|item| item.pin == pin)
    }

    /// Seqs of its messages.
    pub(super) fn seqs(&self) -> impl Iterator<Item = u64> {
        self.items.iter().map(|item| item.seq)
    }

    /// A leg begins with it.
    pub(super) fn begin(&mut self, now: Instant, waiting_since: Instant) {
        (self.waiting_since, self.moved) = (self.waits().then_some(waiting_since), Some(now));
        self.active = !self.items.is_empty();
    }

    /// Whether it is written, or waited for.
    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// Whether all is written and nothing is waited for any more.
    pub(super) fn is_through(&self) -> bool {
        self.cursor == self.total() && !self.waits()
    }

    /// Whether an answer is waited for, now or further on.
    pub(super) fn waits(&self) -> bool {
        self.items.iter().any(|item| (item.hold || item.learns) && !item.answered)
    }

    pub(super) fn finish(&mut self) {
        self.active = false;
    }

    /// Since when the answer is waited for that is next.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.moved.filter(|_| self.active && self.waits())
    }

    /// An answer came that expects this key. The first message that it can be for is answered.
    pub(super) fn answer(&mut self, now: Instant, key: Key) -> Option<&Item> {
        let cursor = self.cursor;
        let open = |item: &&mut Item| item.expects == Some(key) && !item.answered && item.start() < cursor;
        let item = self.items.iter_mut().find(open)?;
        item.answered = true;
        if item.hold || item.learns {
            self.moved = Some(now);
        }
        Some(item)
    }

    /// Of so many replies, how many are to messages of the prelude.
    pub(super) fn take_unmatched(&mut self, replies: u64) -> u64 {
        let taken = replies.min(self.unmatched);
        self.unmatched -= taken;
        taken
    }

    // Writing.

    fn total(&self) -> u64 {
        self.items.last().map_or(0, |item| item.end)
    }

    /// Up to where it may be written now.
    fn limit(&self) -> u64 {
        self.items.iter().find(|item| item.hold && !item.answered).map_or(self.total(), |item| item.end)
    }

    fn pieces(&self, from: u64, to: u64) -> impl Iterator<Item = &[u8]> {
        self.items.iter().filter(move |item| item.end > from && item.start() < to).map(move |item| {
            let start = from.saturating_sub(item.start()) as usize;
            let end = (to.min(item.end) - item.start()) as usize;
            &item.frames[start..end]
        })
    }

    fn peek(&self, from: u64, out: &mut [u8]) -> usize {
        let mut filled = 0;
        for piece in self.pieces(from, from + out.len() as u64) {
            out[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        }
        filled
    }

    /// The first frame border at or behind what is written.
    pub(super) fn border(&self) -> u64 {
        let item = self.items.iter().find(|item| item.end >= self.cursor);
        let from = item.map_or(self.cursor, |item| if item.end == self.cursor { item.end } else { item.start() });
        frame_border(from, self.cursor, self.total(), |at, out| self.peek(at, out)).unwrap_or(self.cursor)
    }

    pub(super) fn is_at_border(&self) -> bool {
        self.border() == self.cursor
    }

    pub(super) fn gather<'a>(&'a self, outlet: &'a Outlet, out: &mut Gather<'a>) {
        let end = self.limit().max(outlet.place_of_control().unwrap_or(0));
        outlet.gather(self.cursor, end, |from, to| self.pieces(from, to), out);
    }

    /// Bytes to write before the control frame that is placed.
    pub(super) fn before_control(&self, outlet: &Outlet) -> usize {
        outlet.place_of_control().map_or(0, |at| at.saturating_sub(self.cursor) as usize)
    }

    /// `len` more bytes of it were written; returns how many messages are whole by that.
    pub(super) fn advance(&mut self, len: usize) -> u64 {
        let before = self.cursor;
        self.cursor += len as u64;
        self.items.iter().filter(|item| item.end > before && item.end <= self.cursor).count() as u64
    }
}

//! The replay ring: the client's messages in the order of their sequence numbers, as the bytes that go on the wire.

use std::collections::VecDeque;

use crate::log::ByteLog;

mod ruled;

use ruled::{Flags, Ruled};
pub use ruled::{Replay, Standing};

/// Bounds of a ring. A message begins only while neither is reached, and may then overshoot.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Unacknowledged messages.
    pub messages: usize,
    /// Bytes of unacknowledged messages, headers included.
    pub bytes: usize,
}

/// A whole message.
#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u64,
    start: u64,
    end: u64,
    /// When it was whole, in milliseconds of the session.
    received: u32,
    /// How much the deaths below weigh, in all.
    weight: u16,
    /// Backends that died while they had it, or part of it, and no other message, where that weighs anything.
    deaths: u8,
    flags: Flags,
}

impl Entry {
    fn new(seq: u64, start: u64, end: u64, received: u32) -> Self {
        Self { seq, start, end, received, weight: 0, deaths: 0, flags: Flags::default() }
    }

    fn len(&self) -> usize {
        (self.end - self.start) as usize
    }
}

/// The retained messages of one session and how far the current backend leg has been written.
///
/// ```text
///  forgotten | acknowledged (lingering) | unacknowledged            | being received
///            ^ first entry              ^ unacked                   ^ complete_end   ^ end
///                                            ^ cursor: written to the leg so far
/// ```
///
/// Memory: the bytes themselves, 32 bytes a message, at most two partly used chunks ([`crate::CHUNK_MAX`]); nothing
/// when empty.
#[derive(Debug)]
pub struct Ring {
    log: ByteLog,
    /// Whole retained messages, by rising seq and offset.
    entries: VecDeque<Entry>,
    limits: Limits,
    /// Entries at the front that are acknowledged.
    acked: usize,
    /// Bytes of the acknowledged entries.
    acked_bytes: usize,
    /// Entries at the front that are wholly written to the current leg.
    written: usize,
    /// Next byte to write to the current leg.
    cursor: u64,
    /// Where the message being received starts; the end of the log if there is none.
    tail: u64,
    /// Bytes of the retained entries and the tail.
    bytes: usize,
    /// Seq of the next message to be completed.
    next_seq: u64,
    /// The highest seq that was ever written, wholly or in part, to any leg; that of the message being received too.
    touched: u64,
    /// Messages of the current leg that are forgotten.
    left: u64,
    /// Ranges of offsets that dropping messages left behind and those of messages left out, in order, none touching the
    /// next. Nearly always empty.
    holes: VecDeque<(u64, u64)>,
    /// What only rules bring about.
    ruled: Ruled,
}

impl Ring {
    /// An empty ring; its first message gets seq 1.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            log: ByteLog::default(),
            entries: VecDeque::new(),
            limits,
            acked: 0,
            acked_bytes: 0,
            written: 0,
            cursor: 0,
            tail: 0,
            bytes: 0,
            next_seq: 1,
            touched: 0,
            left: 0,
            holes: VecDeque::new(),
            ruled: Ruled::default(),
        }
    }

    // Getters.

    /// Its bounds.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Seq of the last whole message, 0 before the first.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    /// Seq of the first retained message, if there is one.
    #[must_use]
    pub fn first_retained(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.seq)
    }

    /// Retained whole messages.
    #[must_use]
    pub fn retained(&self) -> usize {
        self.entries.len()
    }

    /// Whole messages that are not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.entries.len() - self.acked - self.ruled.loose
    }

    /// Bytes of messages, whole or not, that are not acknowledged.
    #[must_use]
    pub fn unacknowledged_bytes(&self) -> usize {
        self.bytes - self.acked_bytes
    }

    /// Bytes retained, headers included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn allocated(&self) -> usize {
        self.log.allocated() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Whether no message may begin now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.unacknowledged() >= self.limits.messages || self.unacknowledged_bytes() >= self.limits.bytes
    }

    /// Whether so many messages of so many bytes more would reach neither bound, with what lingers counted in.
    #[must_use]
    pub fn has_room(&self, messages: usize, bytes: usize) -> bool {
        self.entries.len() + messages < self.limits.messages && self.bytes + bytes < self.limits.bytes
    }

    /// Whether half of either bound is unacknowledged.
    #[must_use]
    pub fn is_half_full(&self) -> bool {
        self.unacknowledged() * 2 >= self.limits.messages || self.unacknowledged_bytes() * 2 >= self.limits.bytes
    }

    /// Whether a frame of `len` bytes alone is larger than half the ring.
    #[must_use]
    pub fn is_large(&self, len: u64) -> bool {
        len > self.limits.bytes as u64 / 2
    }

    /// Whether a message is being received.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        self.tail < self.log.end()
    }

    /// Whether the current leg was written any retained message wholly.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.written > 0
    }

    /// Whether there is a whole message of which no byte was ever written to any leg.
    #[must_use]
    pub fn has_unwritten(&self) -> bool {
        let unwritten = self.entries.back().is_some_and(|last| last.seq > self.touched);
        unwritten && (self.ruled.left_out == 0 || self.oldest_unwritten().is_some())
    }

    /// Retained messages that were written, wholly or in part, to some leg.
    #[must_use]
    pub fn touched(&self) -> usize {
        self.entries.partition_point(|entry| entry.seq <= self.touched)
    }

    /// Seq of the oldest message that is not acknowledged.
    #[must_use]
    pub fn first_unacknowledged(&self) -> Option<u64> {
        self.entries.get(self.acked).map(|entry| entry.seq)
    }

    /// Whole messages for the current leg so far, written or not.
    #[must_use]
    pub fn leg_messages(&self) -> u64 {
        self.left + (self.entries.len() - self.ruled.left_out) as u64
    }

    /// Retained messages that were written, wholly or in part, to the current leg.
    #[must_use]
    pub fn on_leg(&self) -> usize {
        let partly = self.entries.get(self.written).is_some_and(|entry| entry.start < self.cursor);
        self.written + usize::from(partly)
    }

    /// Of these, how many are not acknowledged.
    #[must_use]
    pub fn on_leg_unacknowledged(&self) -> usize {
        self.on_leg() - self.acked - self.ruled.loose
    }

    /// Messages wholly written to the current leg, forgotten ones included.
    #[must_use]
    pub fn leg_written(&self) -> u64 {
        self.left + (self.written - self.left_out_before(self.written)) as u64
    }

    /// The end of the message that the cursor stands in, or the cursor's own place where it stands between two: the
    /// offset, the seq of the message before it, and how many messages of the leg end there or before. `None` inside
    /// the message that is being received.
    #[must_use]
    pub fn message_end(&self) -> Option<(u64, u64, u64)> {
        match self.entries.get(self.written) {
            Some(entry) if entry.start < self.cursor => Some((entry.end, entry.seq, self.leg_written() + 1)),
            Some(_) => Some((self.cursor, self.written_seq(), self.leg_written())),
            None if self.cursor > self.tail => None,
            None => Some((self.cursor, self.written_seq(), self.leg_written())),
        }
    }

    /// Offset of the next byte to write to the current leg.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Offset behind the last byte received.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.log.end()
    }

    /// Offset behind the last whole message, where what is being received starts.
    #[must_use]
    pub fn complete_end(&self) -> u64 {
        self.tail
    }

    /// Whether everything received is written to the current leg.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.cursor == self.log.end()
    }

    /// Seq of the last message wholly written to the current leg, or before the first retained one.
    #[must_use]
    pub fn written_seq(&self) -> u64 {
        match self.written.checked_sub(1) {
            Some(last) => self.entries[last].seq,
            None => self.first_retained().map_or(self.last_seq(), |first| first - 1),
        }
    }

    /// The start of the message that the cursor stands in, or the cursor itself where it stands between two.
    #[must_use]
    pub fn message_start(&self) -> u64 {
        self.entries.get(self.written).map_or(self.tail, |entry| entry.start).min(self.cursor)
    }

    /// What is not yet written to the current leg, up to `until`, as the pieces it is stored in.
    pub fn unwritten(&self, until: u64) -> impl Iterator<Item = &[u8]> {
        self.pieces(self.cursor, until)
    }

    /// What is received from `from` up to `until`, without the holes.
    pub fn pieces(&self, from: u64, until: u64) -> impl Iterator<Item = &[u8]> {
        let past = self.holes_before(from);
        let holes = || self.holes.iter().skip(past);
        let starts = std::iter::once(from).chain(holes().map(move |hole| hole.1.max(from)));
        let ends = holes().map(move |hole| hole.0.min(until)).chain(std::iter::once(until));
        starts.zip(ends).filter(|(start, end)| start < end).flat_map(|(start, end)| self.log.slices(start, end))
    }

    /// Copies received bytes from `from` on into `out`; returns how many there were.
    pub fn peek(&self, from: u64, out: &mut [u8]) -> usize {
        self.log.peek(from, out)
    }

    // Receiving.

    /// Appends bytes of the message being received. `expected` more are announced to follow.
    pub fn append(&mut self, bytes: &[u8], expected: usize) {
        self.log.append(bytes, expected);
        self.bytes += bytes.len();
    }

    /// The message being received is whole: it gets the next seq, which is returned. `received` is the time in
    /// milliseconds of the session.
    pub fn complete(&mut self, received: u32) -> u64 {
        let entry = Entry::new(self.next_seq, self.tail, self.log.end(), received);
        self.next_seq += 1;
        self.tail = entry.end;
        if self.cursor >= entry.end {
            self.written += 1;
        }
        self.entries.push_back(entry);
        entry.seq
    }

    /// Appends whole messages that lie one behind the other; `ends` are the offsets behind each of them in `bytes`. As
    /// [`Self::append`] and [`Self::complete`] for each, where no message is being received.
    pub fn append_run(&mut self, bytes: &[u8], ends: &[u32], received: u32) {
        debug_assert!(self.tail == self.log.end(), "a message is being received");
        let start = self.tail;
        self.append(bytes, 0);
        for end in ends {
            let entry = Entry::new(self.next_seq, self.tail, start + u64::from(*end), received);
            self.next_seq += 1;
            self.tail = entry.end;
            self.entries.push_back(entry);
        }
    }

    /// Takes back the message being received: it will never be whole. Only where the cursor is not inside it.
    pub fn abandon_tail(&mut self) {
        debug_assert!(self.cursor <= self.tail, "a message that is partly written cannot be taken back from this leg");
        self.bytes -= (self.log.end() - self.tail) as usize;
        self.log.truncate(self.tail);
        self.cursor = self.cursor.min(self.tail);
        self.touched = self.touched.min(self.last_seq());
        self.release();
    }

    // Writing.

    /// `len` more bytes were written to the current leg.
    pub fn advance(&mut self, mut len: usize) {
        while len > 0 {
            let stop = self.next_hole().map_or(self.log.end(), |hole| hole.0.max(self.cursor));
            let step = len.min((stop - self.cursor) as usize);
            self.cursor += step as u64;
            len -= step;
            let skipped = self.skip_holes();
            debug_assert!(step > 0 || skipped, "wrote more than there was");
            if step == 0 && !skipped {
                break;
            }
        }
        self.count_written();
        if self.cursor > self.tail {
            // What is being received gets this seq.
            self.touched = self.next_seq;
        }
    }

    fn count_written(&mut self) {
        while let Some(entry) = self.entries.get(self.written) {
            if entry.start < self.cursor {
                self.touched = self.touched.max(entry.seq);
            }
            if entry.end > self.cursor {
                break;
            }
            self.written += 1;
        }
    }

    /// Holes that lie wholly before the offset. Nearly always there is none at all.
    #[inline]
    fn holes_before(&self, offset: u64) -> usize {
        if self.holes.is_empty() { 0 } else { self.holes.partition_point(|hole| hole.1 <= offset) }
    }

    /// The first hole that does not lie wholly before the cursor.
    #[inline]
    fn next_hole(&self) -> Option<(u64, u64)> {
        if self.holes.is_empty() { None } else { self.holes.get(self.holes_before(self.cursor)).copied() }
    }

    fn skip_holes(&mut self) -> bool {
        // A hole grows behind a cursor that has skipped it, so the cursor may also stand within.
        let hole = self.next_hole().filter(|hole| hole.0 <= self.cursor);
        self.cursor = hole.map_or(self.cursor, |hole| hole.1);
        hole.is_some()
    }

    /// A new leg: everything retained is unacknowledged again and written again from the first byte.
    pub fn rewind(&mut self) {
        self.rewind_ruled();
        self.cursor = self.entries.front().map_or(self.tail, |first| first.start);
        self.written = 0;
        self.acked = 0;
        self.acked_bytes = 0;
        self.left = 0;
        self.skip_holes();
    }

    // Acknowledging and forgetting.

    /// Everything up to `seq` is acknowledged. What the current leg has not been written wholly is not.
    pub fn acknowledge(&mut self, seq: u64) {
        while self.acked < self.written {
            let entry = self.entries[self.acked];
            if entry.seq > seq {
                break;
            }
            self.acked += 1;
            let counted = self.ruled.loose > 0 && self.take_loose(self.acked - 1);
            self.acked_bytes += if counted { 0 } else { entry.len() };
        }
        if self.ruled.loose > 0 {
            self.absorb_loose();
        }
    }

    /// The oldest message that the current leg was written wholly and that is not acknowledged is; returns its seq.
    ///
    /// With it, messages before it that were left out of the leg are.
    pub fn acknowledge_next(&mut self) -> Option<u64> {
        let written = self.entries.range(self.acked..self.written);
        let ahead = written.take_while(|entry| entry.flags.has(Flags::LEFT_OUT)).count();
        let seq = self.entries.get(self.acked + ahead).filter(|_| self.acked + ahead < self.written)?.seq;
        self.acknowledge(seq);
        Some(seq)
    }

    /// Forgets the acknowledged messages up to `seq`; returns how many.
    pub fn forget(&mut self, seq: u64) -> usize {
        let count = self.entries.iter().take(self.acked).take_while(|entry| entry.seq <= seq).count();
        self.forget_first(count);
        if self.ruled.loose == 0 { count } else { count + self.forget_loose(seq) }
    }

    /// Forgets the oldest message if the current leg was written it wholly, acknowledged or not; returns its seq.
    pub fn evict_written(&mut self) -> Option<u64> {
        let seq = self.first_retained().filter(|_| self.written > 0)?;
        self.forget_first(1);
        self.absorb_loose();
        Some(seq)
    }

    /// Whether lingering messages and the rest together reach a bound, so that lingering ones must make room.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.acked + self.ruled.loose > 0
            && (self.entries.len() >= self.limits.messages || self.bytes >= self.limits.bytes)
    }

    fn forget_first(&mut self, count: usize) {
        self.left += count as u64;
        for entry in self.entries.drain(..count) {
            self.bytes -= entry.len();
            if self.acked > 0 {
                self.acked -= 1;
                self.acked_bytes -= entry.len();
            }
            self.written = self.written.saturating_sub(1);
            if !entry.flags.is_empty() {
                self.left -= u64::from(entry.flags.has(Flags::LEFT_OUT));
                self.ruled.note_gone(entry.flags);
            }
        }
        self.release();
    }

    fn release(&mut self) {
        let first = self.entries.front().map_or(self.tail, |entry| entry.start);
        self.log.release_before(first);
        while self.holes.front().is_some_and(|hole| hole.1 <= first) {
            self.holes.pop_front();
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        } else if self.entries.capacity() > 64 && self.entries.len() * 4 < self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }

    /// Drops the oldest whole message of which no byte was ever written to any leg; returns its seq.
    pub fn drop_oldest_unwritten(&mut self) -> Option<u64> {
        let index = self.oldest_unwritten()?;
        let entry = self.entries[index];
        self.ruled.pinned_gone += u64::from(entry.flags.has(Flags::PINNED));
        self.remove(index);
        Some(entry.seq)
    }

    fn oldest_unwritten(&self) -> Option<usize> {
        let touched = self.touched();
        let behind = self.entries.range(touched..).position(|entry| !entry.flags.has(Flags::LEFT_OUT))?;
        Some(touched + behind)
    }

    /// Takes a message out of the middle. The current leg must not have been written part of it only.
    fn remove(&mut self, index: usize) {
        let Some(entry) = self.entries.remove(index) else { return };
        self.bytes -= entry.len();
        if index < self.acked {
            self.acked -= 1;
            self.acked_bytes -= entry.len();
        }
        if entry.flags.has(Flags::LOOSE) {
            self.ruled.loose -= 1;
            self.acked_bytes -= entry.len();
        }
        self.ruled.left_out -= usize::from(entry.flags.has(Flags::LEFT_OUT));
        self.written -= usize::from(index < self.written);
        self.punch(entry.start, entry.end);
        // What is left out of the leg has a hole too, and its bytes.
        let from = index.checked_sub(1).map_or(entry.start, |before| self.entries[before].end);
        let to = self.entries.get(index).map_or(self.tail, |behind| behind.start);
        self.log.release_within(from, to);
        if self.skip_holes() && self.ruled.left_out > 0 {
            self.count_written();
        }
        self.release();
        self.absorb_loose();
    }

    fn punch(&mut self, mut from: u64, mut to: u64) {
        let place = self.holes.partition_point(|hole| hole.1 < from);
        while let Some(hole) = self.holes.get(place).filter(|hole| hole.0 <= to).copied() {
            (from, to) = (from.min(hole.0), to.max(hole.1));
            self.holes.remove(place);
        }
        self.holes.insert(place, (from, to));
    }

    // Between two legs.

    /// A backend died: that weighs so much against a message that it had, or had part of, alone. Among several, none
    /// can be blamed. Call it before [`Self::rewind`].
    ///
    /// `shared`: what was left out of this leg had company there.
    pub fn count_death(&mut self, weight: u8, shared: bool) -> Death {
        let touched = self.on_leg();
        let blamed = |entry: &&mut Entry| touched == 1 && !(shared && entry.flags.has(Flags::LEFT_OUT));
        let alone = self.entries.front_mut().filter(blamed).map(|entry| {
            entry.deaths = entry.deaths.saturating_add(u8::from(weight > 0));
            entry.weight = entry.weight.saturating_add(weight.into());
            Alone { seq: entry.seq, deaths: entry.deaths, weight: entry.weight }
        });
        let through = touched.checked_sub(1).map_or(0, |last| self.entries[last].seq);
        Death { alone, through }
    }

    /// Takes a message out between two legs; returns its bytes as they came, frames and all.
    pub fn take(&mut self, seq: u64) -> Vec<u8> {
        let Some(index) = self.entries.iter().position(|entry| entry.seq == seq) else { return Vec::new() };
        let entry = self.entries[index];
        let bytes = self.log.slices(entry.start, entry.end).flatten().copied().collect();
        self.remove(index);
        bytes
    }

    /// When the oldest message was received, in milliseconds of the session.
    #[must_use]
    pub fn oldest_received(&self) -> Option<u32> {
        self.entries.front().map(|entry| entry.received)
    }

    /// Drops the messages received up to `until`, between two legs; returns how many.
    pub fn expire(&mut self, until: u32) -> usize {
        let count = self.entries.partition_point(|entry| entry.received <= until);
        for _ in 0..count {
            self.remove(0);
        }
        count
    }
}

/// What a backend that died had of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// The message that was alone at it.
    pub alone: Option<Alone>,
    /// The last message that it had, or had part of; 0 if none.
    pub through: u64,
}

/// A message that a backend had alone when it died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alone {
    /// Its seq.
    pub seq: u64,
    /// The deaths at which it was alone and that weigh anything, this one included.
    pub deaths: u8,
    /// How much they weigh.
    pub weight: u16,
}

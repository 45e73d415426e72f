//! What replay rules do to a ring: messages that are acknowledged out of order, that a leg is given from elsewhere, that
//! no later leg is given, or that say something else on each leg.

use crate::log::ByteLog;

use super::Ring;

/// Whether a later leg may be written a message that is retained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replay {
    /// It may.
    #[default]
    Normal,
    /// It may not.
    LegLocal,
    /// It may, unless any of it was written before.
    Ephemeral,
}

/// What is true of a message that rules see.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags(u8);

impl Flags {
    /// It is acknowledged by a key only.
    pub(super) const KEYED: u8 = 1;
    /// The current leg is given it from elsewhere.
    pub(super) const LEFT_OUT: u8 = 2;
    /// It is acknowledged while one before it is not.
    pub(super) const LOOSE: u8 = 4;
    /// It is or was pinned.
    pub(super) const PINNED: u8 = 8;
    /// No later leg is written it.
    const LEG_LOCAL: u8 = 16;
    /// No later leg is written it, if any of it was written before.
    const EPHEMERAL: u8 = 32;

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn set(&mut self, flag: u8, on: bool) {
        self.0 = if on { self.0 | flag } else { self.0 & !flag };
    }
}

/// What stands alone on a leg, see [`Ring::alone_behind`].
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Its first seq.
    pub first: u64,
    /// Its last seq.
    pub last: u64,
    /// The offset behind it.
    pub end: u64,
    /// Messages of the leg up to there.
    pub messages: u64,
}

/// What is counted of them. All zero where there are no rules.
#[derive(Debug, Default)]
pub(super) struct Ruled {
    /// Entries that are acknowledged behind one that is not.
    pub(super) loose: usize,
    /// Entries that the current leg is given from elsewhere.
    pub(super) left_out: usize,
    /// Messages forgotten or dropped that were pinned.
    pub(super) pinned_gone: u64,
    /// The last message that a barrier of the current leg proved read.
    proven: u64,
}

impl Ruled {
    pub(super) fn note_gone(&mut self, flags: Flags) {
        self.left_out -= usize::from(flags.has(Flags::LEFT_OUT));
        self.pinned_gone += u64::from(flags.has(Flags::PINNED));
    }
}

impl Ring {
    // What rules say.

    /// What rules say of the last message: whether only a key acknowledges it, whether it is pinned, and whether later
    /// legs are written it.
    pub fn mark_last(&mut self, keyed: bool, pinned: bool, replay: Replay) {
        if let Some(last) = self.entries.back_mut() {
            last.flags.set(Flags::KEYED, keyed);
            last.flags.set(Flags::PINNED, pinned);
            last.flags.set(Flags::LEG_LOCAL, replay == Replay::LegLocal);
            last.flags.set(Flags::EPHEMERAL, replay == Replay::Ephemeral);
        }
    }

    fn index_of(&self, seq: u64) -> Option<usize> {
        let index = self.entries.partition_point(|entry| entry.seq < seq);
        self.entries.get(index).filter(|entry| entry.seq == seq).map(|_| index)
    }

    /// Whether the message is retained.
    #[must_use]
    pub fn retains(&self, seq: u64) -> bool {
        self.index_of(seq).is_some()
    }

    /// Whether the message is acknowledged, or not retained any more.
    #[must_use]
    pub fn is_acknowledged(&self, seq: u64) -> bool {
        self.index_of(seq).is_none_or(|index| index < self.acked || self.entries[index].flags.has(Flags::LOOSE))
    }

    /// Whether the current leg was given the message: wholly written, or from elsewhere.
    #[must_use]
    pub fn is_given(&self, seq: u64) -> bool {
        let index = self.index_of(seq);
        index.is_some_and(|index| index < self.written || self.entries[index].flags.has(Flags::LEFT_OUT))
    }

    /// When a retained message was received, in milliseconds of the session.
    #[must_use]
    pub fn received(&self, seq: u64) -> Option<u32> {
        self.index_of(seq).map(|index| self.entries[index].received)
    }

    /// Messages forgotten or dropped that were pinned.
    #[must_use]
    pub fn pinned_gone(&self) -> u64 {
        self.ruled.pinned_gone
    }

    /// The bytes of a retained message, frames and all, as the pieces they are stored in.
    pub fn message(&self, seq: u64) -> impl Iterator<Item = &[u8]> {
        let entry = self.index_of(seq).map(|index| self.entries[index]);
        entry.into_iter().flat_map(|entry| self.log.slices(entry.start, entry.end))
    }

    /// Where the message lies: the offsets of its first byte and behind its last.
    #[must_use]
    pub fn place_of(&self, seq: u64) -> Option<(u64, u64)> {
        self.index_of(seq).map(|index| (self.entries[index].start, self.entries[index].end))
    }

    /// The bytes of `from..to`, messages that are left out of the leg included.
    pub fn slices(&self, from: u64, to: u64) -> impl Iterator<Item = &[u8]> {
        self.log.slices(from, to)
    }

    // Out of order.

    /// A barrier behind `seq` was answered: what the leg was wholly written up to it is proven read, and acknowledged
    /// unless only a key does that.
    pub fn acknowledge_unkeyed(&mut self, seq: u64) {
        self.ruled.proven = self.ruled.proven.max(seq);
        let through = self.entries.partition_point(|entry| entry.seq <= seq).min(self.written);
        for entry in self.entries.range_mut(self.acked..through.max(self.acked)) {
            if !entry.flags.has(Flags::KEYED | Flags::LOOSE) {
                entry.flags.set(Flags::LOOSE, true);
                self.ruled.loose += 1;
                self.acked_bytes += entry.len();
            }
        }
        self.absorb_loose();
    }

    /// The messages at the front that were left out of the leg are acknowledged, up to `seq`; returns whether any is.
    pub fn acknowledge_left_out(&mut self, seq: u64) -> bool {
        let next = self.entries.range(self.acked..self.written);
        let last = next.take_while(|entry| entry.seq <= seq && entry.flags.has(Flags::LEFT_OUT)).last();
        let last = last.map(|entry| entry.seq);
        last.map(|seq| self.acknowledge(seq)).is_some()
    }

    /// A message that only a key acknowledges is acknowledged as others are from now on.
    pub fn unkey(&mut self, seq: u64) {
        if let Some(index) = self.index_of(seq) {
            self.entries[index].flags.set(Flags::KEYED, false);
        }
    }

    /// Forgets one message, wherever it stands; returns whether it was retained.
    pub fn forget_one(&mut self, seq: u64) -> bool {
        let Some(index) = self.index_of(seq) else { return false };
        self.forget_at(index);
        true
    }

    fn forget_at(&mut self, index: usize) {
        let flags = self.entries[index].flags;
        self.left += u64::from(index < self.written && !flags.has(Flags::LEFT_OUT));
        self.ruled.pinned_gone += u64::from(flags.has(Flags::PINNED));
        self.remove(index);
    }

    /// Whether [`Self::evict_keyed`] would forget one.
    #[must_use]
    pub fn has_evictable(&self) -> bool {
        self.ruled.proven > 0 && self.evictable().is_some()
    }

    fn evictable(&self) -> Option<usize> {
        let proven = self.ruled.proven;
        let written = self.entries.range(..self.written);
        let mut read = written.take_while(|entry| entry.seq <= proven);
        read.position(|entry| entry.flags.has(Flags::KEYED))
    }

    /// Forgets the oldest message that only a key acknowledges and that a barrier proved read; returns its seq.
    pub fn evict_keyed(&mut self) -> Option<u64> {
        let index = self.evictable()?;
        let seq = self.entries[index].seq;
        self.forget_at(index);
        Some(seq)
    }

    /// Whether the entry was acknowledged ahead of its turn; it no longer counts as that.
    pub(super) fn take_loose(&mut self, index: usize) -> bool {
        if self.ruled.loose == 0 {
            return false;
        }
        let flags = &mut self.entries[index].flags;
        let loose = flags.has(Flags::LOOSE);
        flags.set(Flags::LOOSE, false);
        self.ruled.loose -= usize::from(loose);
        loose
    }

    /// What is acknowledged right behind the acknowledged front belongs to it.
    pub(super) fn absorb_loose(&mut self) {
        while self.ruled.loose > 0 && self.acked < self.entries.len() && self.take_loose(self.acked) {
            self.acked += 1;
        }
    }

    pub(super) fn forget_loose(&mut self, seq: u64) -> usize {
        let mut index = self.acked;
        let mut count = 0;
        while self.ruled.loose > 0
            && let Some(entry) = self.entries.get(index).filter(|entry| entry.seq <= seq)
        {
            if entry.flags.has(Flags::LOOSE) {
                self.forget_at(index);
                count += 1;
            } else {
                index += 1;
            }
        }
        count
    }

    // From elsewhere.

    /// The current leg, which was written nothing yet, is given these messages from elsewhere: their bytes are left out.
    pub fn leave_out(&mut self, seqs: impl Iterator<Item = u64>) {
        for seq in seqs {
            let Some(index) = self.index_of(seq) else { continue };
            let entry = &mut self.entries[index];
            if !entry.flags.has(Flags::LEFT_OUT) {
                entry.flags.set(Flags::LEFT_OUT, true);
                self.ruled.left_out += 1;
                let (start, end) = (entry.start, entry.end);
                self.punch(start, end);
            }
        }
        self.skip_holes();
        self.count_written();
    }

    pub(super) fn left_out_before(&self, index: usize) -> usize {
        if self.ruled.left_out == 0 {
            return 0;
        }
        self.entries.range(..index).filter(|entry| entry.flags.has(Flags::LEFT_OUT)).count()
    }

    /// Retained messages that were written to some leg and are written to the current one again.
    #[must_use]
    pub fn replayed(&self) -> usize {
        let touched = self.touched();
        touched - self.left_out_before(touched)
    }

    /// What stands alone on a leg that is written one message at a time, behind `past`: the oldest retained message, with
    /// those left out right behind it, which the leg has already.
    #[must_use]
    pub fn alone_behind(&self, past: u64) -> Option<Standing> {
        let index = self.entries.partition_point(|entry| entry.seq <= past);
        let first = self.entries.get(index)?.seq;
        let left_out = |entry: &&super::Entry| entry.flags.has(Flags::LEFT_OUT);
        let behind = index + 1 + self.entries.range(index + 1..).take_while(left_out).count();
        let last = self.entries[behind - 1];
        let messages = self.left + (behind - self.left_out_before(behind)) as u64;
        Some(Standing { first, last: last.seq, end: last.end, messages })
    }

    pub(super) fn rewind_ruled(&mut self) {
        self.ruled.proven = 0;
        if self.ruled.loose + self.ruled.left_out == 0 {
            return;
        }
        for entry in &mut self.entries {
            entry.flags.set(Flags::LOOSE | Flags::LEFT_OUT, false);
        }
        (self.ruled.loose, self.ruled.left_out) = (0, 0);
        self.holes.clear();
        let starts = self.entries.iter().map(|entry| entry.start).skip(1).chain(std::iter::once(self.tail));
        let gaps = self.entries.iter().map(|entry| entry.end).zip(starts).filter(|(from, to)| from < to);
        self.holes = gaps.collect();
    }

    // Between two legs.

    /// Takes out the messages that no later leg is written: those of the leg that is lost, and those that must not be
    /// written twice. `gapless`: none may be missing behind one that stays. Returns how many.
    pub fn drop_leg_local(&mut self, gapless: bool) -> usize {
        let (mut index, mut count) = (0, 0);
        while let Some(entry) = self.entries.get(index) {
            let said = entry.flags.has(Flags::EPHEMERAL) && entry.seq <= self.touched;
            let goes = said || entry.flags.has(Flags::LEG_LOCAL);
            match (goes, gapless) {
                (true, _) => {
                    self.remove(index);
                    count += 1;
                }
                (false, true) => break,
                (false, false) => index += 1,
            }
        }
        count
    }

    /// Takes one message out between two legs; returns whether it was retained.
    pub fn drop_one(&mut self, seq: u64) -> bool {
        self.index_of(seq).map(|index| self.remove(index)).is_some()
    }

    // Other bytes.

    /// The bytes of the message being received.
    pub fn tail(&self) -> impl Iterator<Item = &[u8]> {
        self.log.slices(self.tail, self.log.end())
    }

    /// The message being received, of which nothing is written, is to have these bytes.
    pub fn replace_tail(&mut self, bytes: &[u8]) {
        self.bytes -= (self.log.end() - self.tail) as usize;
        self.log.truncate(self.tail);
        self.append(bytes, 0);
    }

    /// Messages of a leg that was written nothing yet are to have other bytes; `changes` is by rising seq.
    pub fn replace(&mut self, changes: &[(u64, Vec<u8>)]) {
        debug_assert!(self.leg_written() == 0, "what is written cannot be replaced");
        let mut log = ByteLog::default();
        for entry in &mut self.entries {
            let start = log.end();
            match changes.binary_search_by_key(&entry.seq, |(seq, _)| *seq) {
                Ok(found) => log.append(&changes[found].1, 0),
                Err(_) => self.log.slices(entry.start, entry.end).for_each(|piece| log.append(piece, 0)),
            }
            (entry.start, entry.end) = (start, log.end());
        }
        let tail = log.end();
        self.log.slices(self.tail, self.log.end()).for_each(|piece| log.append(piece, 0));
        (self.log, self.tail) = (log, tail);
        self.recount();
    }

    /// The offsets are others now, and no message is missing between two.
    fn recount(&mut self) {
        self.bytes = self.log.end() as usize;
        let acked = |(index, entry): &(usize, &super::Entry)| *index < self.acked || entry.flags.has(Flags::LOOSE);
        self.acked_bytes = self.entries.iter().enumerate().filter(acked).map(|(_, entry)| entry.len()).sum();
        self.holes.clear();
        (self.cursor, self.written) = (0, 0);
        let left_out = self.entries.iter().filter(|entry| entry.flags.has(Flags::LEFT_OUT));
        for (start, end) in left_out.map(|entry| (entry.start, entry.end)).collect::<Vec<_>>() {
            self.punch(start, end);
        }
        self.skip_holes();
        self.count_written();
    }
}

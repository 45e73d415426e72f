//! The client's messages as the shadow keeps them, and how far the current leg was written.

use std::collections::{BTreeMap, VecDeque};

use tideover_protocol::time::Instant;

/// What became of a message that is neither retained nor forgotten after it was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Slid,
    Dropped,
    Expired,
    Poisoned,
    Abandoned,
}

#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) seq: u64,
    /// Its frames as they came.
    pub(crate) raw: Vec<u8>,
    /// When it was whole, in whole milliseconds of the session.
    pub(crate) received: u64,
    /// Deaths that say something against it, and how much.
    pub(crate) deaths: u8,
    pub(crate) weight: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) kept: VecDeque<Kept>,
    /// Of these, so many at the front are acknowledged.
    pub(crate) acked: usize,
    /// The frames of the message that is being received.
    pub(crate) tail: Vec<u8>,
    /// Seq of the last whole message.
    pub(crate) last: u64,
    /// Bytes retained and, of these, acknowledged.
    pub(crate) bytes: usize,
    pub(crate) acked_bytes: usize,
    /// Acknowledged up to which seq, forgotten when.
    pub(crate) lingering: VecDeque<(u64, Instant)>,
    pub(crate) forgotten: u64,
    pub(crate) fates: BTreeMap<u64, Fate>,
    /// The highest seq of which any leg was written a byte.
    pub(crate) touched: u64,
    // The current leg.
    /// The message that comes next on it, and how much of it was written.
    at: u64,
    offset: usize,
    /// Some bytes of a frame's header are written, and not all.
    in_header: bool,
    /// The last message wholly written, or the one before the first.
    pub(crate) whole: u64,
    /// Messages wholly written.
    pub(crate) count: u64,
    /// Up to here, messages go out one by one.
    pub(crate) isolated: u64,
}

impl Ledger {
    pub(crate) fn first(&self) -> Option<u64> {
        self.kept.front().map(|kept| kept.seq)
    }

    /// Everything up to here is forgotten or gone.
    pub(crate) fn gone(&self) -> u64 {
        self.first().map_or(self.last, |first| first - 1)
    }

    pub(crate) fn unacked(&self) -> usize {
        self.kept.len() - self.acked
    }

    pub(crate) fn unacked_bytes(&self) -> usize {
        self.bytes + self.tail.len() - self.acked_bytes
    }

    pub(crate) fn is_isolated(&self) -> bool {
        self.first().is_some_and(|first| first <= self.isolated)
    }

    /// Whether the leg stands inside a message.
    pub(crate) fn is_inside(&self) -> bool {
        self.offset > 0 || self.in_header
    }

    /// The message that comes next on the leg, or goes on.
    fn coming(&self) -> u64 {
        let index = self.kept.partition_point(|kept| kept.seq < self.at);
        self.kept.get(index).map_or(self.last + 1, |kept| kept.seq)
    }

    /// What follows `written`: whether some bytes of a header are on the wire too.
    pub(crate) fn set_in_header(&mut self, in_header: bool) {
        self.in_header = in_header;
        if in_header {
            self.touched = self.touched.max(self.coming());
            assert!(self.offset > 0 || !self.is_isolated() || Some(self.coming()) == self.first(), "isolation");
        }
    }

    /// Whether the client's unfinished message stands on the leg in part.
    pub(crate) fn is_tail_written(&self) -> bool {
        self.is_inside() && self.coming() > self.last
    }

    /// Whether all that is retained stands on the leg.
    pub(crate) fn is_written(&self) -> bool {
        self.kept.back().is_none_or(|last| last.seq <= self.whole)
    }

    pub(crate) fn complete(&mut self, received: u64) {
        self.last += 1;
        let raw = std::mem::take(&mut self.tail);
        self.bytes += raw.len();
        self.kept.push_back(Kept { seq: self.last, raw, received, deaths: 0, weight: 0 });
    }

    // Writing.

    /// Law 2: data on the leg is what comes next, byte for byte. Returns the message that is whole by it.
    pub(crate) fn written(&mut self, raw: &[u8]) -> Option<u64> {
        if raw.is_empty() {
            return None;
        }
        let index = self.kept.partition_point(|kept| kept.seq < self.at);
        let next = self.kept.get(index);
        let seq = next.map_or(self.last + 1, |kept| kept.seq);
        assert!(self.offset == 0 || seq == self.at, "law 2: message {} has gone from under the leg", self.at);
        if self.offset == 0 && self.is_isolated() {
            assert_eq!(index, 0, "isolation: {seq} is written before the message ahead of it is forgotten");
        }
        let bytes = next.map_or(&self.tail, |kept| &kept.raw);
        let expected = bytes.get(self.offset..self.offset + raw.len());
        assert!(expected == Some(raw), "law 2: the leg reads something else than message {seq} from {}", self.offset);
        self.touched = self.touched.max(seq);
        (self.at, self.offset) = (seq, self.offset + raw.len());
        if next.is_none() || self.offset < bytes.len() {
            return None;
        }
        (self.at, self.offset, self.whole) = (seq + 1, 0, seq);
        self.count += 1;
        Some(seq)
    }

    pub(crate) fn rewind(&mut self) {
        (self.acked, self.acked_bytes, self.count) = (0, 0, 0);
        (self.at, self.offset, self.in_header, self.whole) = (0, 0, false, self.gone());
        self.lingering.clear();
    }

    /// Messages of which this leg was written a byte.
    pub(crate) fn on_leg(&self) -> usize {
        let through = if self.is_inside() { self.coming() } else { self.whole };
        self.kept.partition_point(|kept| kept.seq <= through)
    }

    /// The leg is left on purpose: what it was written is done with. Returns how many messages nothing had
    /// acknowledged.
    pub(crate) fn leave(&mut self) -> usize {
        let written = self.kept.partition_point(|kept| kept.seq <= self.whole);
        let unacknowledged = written - self.acked;
        for index in 0..written {
            let kept = self.kept.pop_front().expect("counted above");
            self.bytes -= kept.raw.len();
            if index < self.acked {
                self.acked_bytes -= kept.raw.len();
                self.forgotten += 1;
            } else {
                self.fates.insert(kept.seq, Fate::Slid);
            }
        }
        self.acked = 0;
        self.lingering.clear();
        unacknowledged
    }

    // Acknowledging.

    /// Up to `seq`, what was written to this leg is acknowledged; it is forgotten at `until`, or now.
    pub(crate) fn acknowledge(&mut self, seq: u64, until: Option<Instant>) {
        let before = self.acked;
        let written = self.kept.partition_point(|kept| kept.seq <= self.whole.min(seq));
        for kept in self.kept.iter().take(written).skip(before) {
            self.acked_bytes += kept.raw.len();
        }
        self.acked = before.max(written);
        match until {
            Some(until) => self.lingering.push_back((seq, until)),
            None => {
                self.forget(seq);
            }
        }
    }

    pub(crate) fn forget(&mut self, seq: u64) -> usize {
        let mut count = 0;
        while self.acked > 0 && self.kept.front().is_some_and(|kept| kept.seq <= seq) {
            let Some(kept) = self.kept.pop_front() else { break };
            self.acked -= 1;
            self.acked_bytes -= kept.raw.len();
            self.bytes -= kept.raw.len();
            count += 1;
        }
        self.forgotten += count as u64;
        count
    }

    pub(crate) fn expire_lingering(&mut self, now: Instant) -> usize {
        let mut count = 0;
        while let Some((seq, _)) = self.lingering.front().filter(|(_, until)| *until <= now).copied() {
            self.lingering.pop_front();
            count += self.forget(seq);
        }
        count
    }

    /// Takes the `index`-th retained message out.
    pub(crate) fn remove(&mut self, index: usize, fate: Fate) {
        let Some(kept) = self.kept.remove(index) else { return };
        self.bytes -= kept.raw.len();
        if index < self.acked {
            self.acked -= 1;
            self.acked_bytes -= kept.raw.len();
        }
        self.fates.insert(kept.seq, fate);
    }
}

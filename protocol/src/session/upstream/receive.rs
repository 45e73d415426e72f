//! The client's bytes into the ring: what is taken, what has to wait, and what makes room.

use crate::frame::FrameError;
use crate::sabotage::{self, Sabotage};
use crate::scan::{DataHeader, Step};
use crate::session::config::OnFull;
use crate::session::event::Counters;

use tideover_replay_store::Reservation;

use super::{Incoming, Taking, Upstream};

/// Most messages that are taken at once.
const RUN: usize = 32;

/// Whether the next message may begin.
enum Admission {
    Yes,
    Wait,
    Refused,
}

impl Upstream {
    /// Takes bytes of the client until they are used up, a message may not begin, or something else than data comes.
    pub(in crate::session) fn receive(
        &mut self,
        data: &mut &[u8],
        taking: Taking,
        counters: &mut Counters,
    ) -> Option<Incoming> {
        loop {
            match self.continue_frame(data, taking, counters) {
                Ok(None) => {}
                Ok(Some(incoming)) => return Some(incoming),
                Err(error) => return Some(Incoming::Error(error)),
            }
            match self.receive_whole(data, taking, counters) {
                Admission::Yes => {}
                Admission::Wait => return None,
                Admission::Refused => return Some(Incoming::Full),
            }
            match self.scanner.step(data) {
                Ok(Step::Starved) => return None,
                Ok(Step::Announced(header)) => match self.admit(header.begins, header.frame_len(), taking, counters) {
                    Admission::Yes => self.begin_frame(&header),
                    Admission::Wait => return None,
                    Admission::Refused => return Some(Incoming::Full),
                },
                Ok(Step::Payload { .. }) => debug_assert!(false, "continue_frame takes the payload"),
                Ok(Step::Ping(payload)) => return Some(Incoming::Ping(payload)),
                Ok(Step::Pong(payload)) => return Some(Incoming::Pong(payload)),
                Ok(Step::Close(payload)) => return Some(Incoming::Close(payload)),
                Err(error) => return Some(Incoming::Error(error)),
            }
        }
    }

    /// The common case: whole messages one after the other, each copied once.
    fn receive_whole(&mut self, data: &mut &[u8], taking: Taking, counters: &mut Counters) -> Admission {
        if self.looked_at {
            return Admission::Yes;
        }
        loop {
            self.receive_run(data, taking, counters);
            // Not even its header, which would have to wait somewhere.
            if counters.received >= taking.through && !self.scanner.is_in_message() {
                return Admission::Wait;
            }
            let Some(header) = self.scanner.whole_message(data) else { return Admission::Yes };
            match self.admit(true, header.frame_len(), taking, counters) {
                Admission::Yes => {}
                other => return other,
            }
            let (message, rest) = data.split_at(header.frame_len() as usize);
            self.ring.append(message, 0);
            self.complete(taking, counters);
            *data = rest;
        }
    }

    /// Takes as many whole messages at once as there is plenty of room for, so that each may begin, as
    /// [`Self::admit`] would find one by one.
    fn receive_run(&mut self, data: &mut &[u8], taking: Taking, counters: &mut Counters) {
        if taking.mute || !self.memory.is_ample() {
            return;
        }
        let (mut ends, mut count, mut end) = ([0_u32; RUN], 0, 0);
        let most = taking.through.saturating_sub(counters.received).min(RUN as u64) as usize;
        while count < most
            && let Some(header) = self.scanner.whole_message(&data[end..])
        {
            let next = end + header.frame_len() as usize;
            let Some(offset) = u32::try_from(next).ok().filter(|_| self.ring.has_room(count + 1, next)) else { break };
            (ends[count], end, count) = (offset, next, count + 1);
        }
        if count == 0 || !self.memory.try_cover(self.ring.allocated() + end) {
            return;
        }
        let (run, rest) = data.split_at(end);
        self.ring.append_run(run, &ends[..count], taking.millis);
        self.memory.cover(self.ring.allocated());
        counters.received += count as u64;
        *data = rest;
    }

    fn begin_frame(&mut self, header: &DataHeader) {
        self.scanner.admit();
        self.tiny = header.is_tiny_fragment();
        self.before_large |= self.ring.is_large(header.frame_len()) && self.ring.unacknowledged() > 0;
        self.ring.append(header.as_bytes(), usize::try_from(header.payload).unwrap_or(usize::MAX));
    }

    /// Takes payload of the frame that has begun, and says what is to be known at its end.
    fn continue_frame(
        &mut self,
        data: &mut &[u8],
        taking: Taking,
        counters: &mut Counters,
    ) -> Result<Option<Incoming>, FrameError> {
        if !self.scanner.is_in_payload() {
            return Ok(None);
        }
        let before = *data;
        let Step::Payload { len, ends_message, to_come } = self.scanner.step(data)? else { return Ok(None) };
        self.ring.append(&before[..len], usize::try_from(to_come).unwrap_or(usize::MAX));
        if to_come > 0 {
            return Ok(None);
        }
        match (ends_message, self.looked_at) {
            (true, true) => return Ok(Some(Incoming::Whole)),
            (true, false) => _ = self.complete(taking, counters),
            (false, _) => {}
        }
        Ok(self.tiny.then_some(Incoming::TinyFragment))
    }

    /// The message in the tail is whole; returns its seq.
    pub(in crate::session) fn complete(&mut self, taking: Taking, counters: &mut Counters) -> u64 {
        let seq = self.ring.complete(taking.millis);
        self.memory.cover(self.ring.allocated());
        counters.received += 1;
        seq
    }

    /// The message in the tail is not taken on.
    pub(in crate::session) fn refuse_tail(&mut self) {
        self.ring.abandon_tail();
        self.walked.set(0);
        self.memory.shrink(self.ring.allocated());
    }

    /// A message begins only if the ring is not full and its first frame fits the budget; what has begun may overshoot.
    fn admit(&mut self, begins: bool, frame_len: u64, taking: Taking, counters: &mut Counters) -> Admission {
        let need = self.ring.allocated().saturating_add(usize::try_from(frame_len).unwrap_or(usize::MAX));
        if !begins {
            self.memory.cover(need);
            return Admission::Yes;
        }
        if self.ring.is_crowded() {
            self.evict_lingering(counters);
        }
        if taking.mute {
            self.slide(counters);
        }
        if self.ring.is_full() && !self.make_room(counters) {
            return if self.on_full == OnFull::Close { Admission::Refused } else { Admission::Wait };
        }
        if self.is_pressed() {
            return Admission::Wait;
        }
        self.wanted = need;
        if self.memory.try_cover(need) { Admission::Yes } else { Admission::Wait }
    }

    /// Whether a message has begun and is not whole.
    pub(in crate::session) fn is_in_message(&self) -> bool {
        self.scanner.is_in_message()
    }

    /// Near the end of the process's memory, those who hold the most are slowed first.
    pub(in crate::session) fn is_pressed(&self) -> bool {
        let bound = self.ring.limits().bytes;
        let share = self.memory.share(bound);
        share < bound && self.ring.unacknowledged_bytes() >= share
    }

    /// What lingers goes a barrier interval at a time, as what was answered to it does.
    fn evict_lingering(&mut self, counters: &mut Counters) {
        while self.ring.is_crowded()
            && let Some((seq, _)) = self.lingering.pop_front()
        {
            let count = self.ring.forget(seq) as u64;
            counters.forgotten += count;
            counters.evicted += count;
        }
    }

    /// What a backend that answers no pings was written is never acknowledged: it must not hold up what follows.
    fn slide(&mut self, counters: &mut Counters) {
        while (self.ring.is_full() || self.is_pressed()) && self.ring.evict_written().is_some() {
            counters.slid += 1;
            self.memory.shrink(self.ring.allocated());
        }
    }

    fn make_room(&mut self, counters: &mut Counters) -> bool {
        while self.ring.is_full() && self.ring.evict_keyed().is_some() {
            counters.forgotten += 1;
            counters.evicted_keyed += 1;
        }
        while self.ring.is_full() && self.may_drop() && self.ring.drop_oldest_unwritten().is_some() {
            counters.dropped += 1;
        }
        !self.ring.is_full()
    }

    /// No message is wanted any more. Where a frame has come in part and was written in part, or will be as the leg is
    /// `open`, its rest is.
    pub(in crate::session) fn finish_frame(&mut self, open: bool) {
        let is_written = (open && !self.looked_at) || self.border().is_none();
        self.finishes_frame = self.scanner.is_in_payload() && is_written;
    }

    /// Takes bytes of a client whose messages are no longer wanted; only what is not data comes out.
    pub(in crate::session) fn ignore(&mut self, data: &mut &[u8]) -> Option<Incoming> {
        loop {
            let before = *data;
            match self.scanner.step(data) {
                Ok(Step::Starved) => return None,
                Ok(Step::Announced(_)) => self.scanner.admit(),
                Ok(Step::Payload { len, to_come, .. }) if self.finishes_frame => {
                    self.ring.append(&before[..len], 0);
                    self.memory.cover(self.ring.allocated());
                    self.finishes_frame = to_come > 0;
                }
                Ok(Step::Payload { .. }) => {}
                Ok(Step::Ping(payload)) => return Some(Incoming::Ping(payload)),
                Ok(Step::Pong(payload)) => return Some(Incoming::Pong(payload)),
                Ok(Step::Close(payload)) => return Some(Incoming::Close(payload)),
                Err(error) => return Some(Incoming::Error(error)),
            }
        }
    }

    /// Whether a byte of the client could be taken now. A message that has begun may always go on.
    pub(in crate::session) fn wants_read(&self, mute: bool) -> bool {
        let slides = mute && self.ring.has_written();
        let room = slides || (self.could_have_room() && !self.is_pressed());
        self.scanner.is_in_message() || (room && !self.memory.is_waiting())
    }

    fn could_have_room(&self) -> bool {
        if sabotage::is(Sabotage::LingeringCounted) && self.ring.retained() >= self.ring.limits().messages {
            return false;
        }
        !self.ring.is_full()
            || self.ring.has_evictable()
            || match self.on_full {
                OnFull::Block => false,
                OnFull::Close => true,
                OnFull::DropOldest => self.may_drop(),
            }
    }

    /// Whether there is a message that no backend has had any of, and that no backend will miss.
    fn may_drop(&self) -> bool {
        let seen = self.gapless && self.ring.touched() > 0;
        self.on_full == OnFull::DropOldest && !self.frozen && !seen && self.ring.has_unwritten()
    }

    /// The share of the process's memory that the ring holds.
    pub(in crate::session) fn memory(&self) -> &Reservation {
        &self.memory
    }

    /// Asks again for memory that was refused; returns whether it is there now.
    pub(in crate::session) fn retry_memory(&mut self) -> bool {
        self.memory.try_cover(self.wanted)
    }

    /// Whether a frame larger than half the ring has begun since the last call: what is before it should be
    /// acknowledged first.
    pub(in crate::session) fn take_before_large(&mut self) -> bool {
        std::mem::take(&mut self.before_large)
    }
}

//! From the client: its frames into the ring, and the ring onto the backend leg.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use tideover_replay_store::{Budget, Limits, Reservation, Ring};

use crate::frame::{ControlPayload, FrameError};
use crate::sabotage::{self, Sabotage};
use crate::scan::{DataHeader, Scanner, Sender, Step};
use crate::time::Instant;

use super::config::{Config, OnFull};
use super::event::Counters;
use super::outlet::{Gather, Outlet, frame_around};
use super::poison::{Isolation, Turn};

/// Most messages that are taken at once.
const RUN: usize = 32;

/// What the client sent that is not just data.
#[derive(Debug)]
pub(super) enum Incoming {
    Ping(ControlPayload),
    Pong(ControlPayload),
    Close(ControlPayload),
    Error(FrameError),
    /// The ring is full and `--on-full close`.
    Full,
    /// Data after all: a tiny fragment ([`DataHeader::is_tiny_fragment`]) is whole, and taken. Floods are made of them.
    TinyFragment,
    /// A message is whole, and to be looked at before it counts. It is the ring's tail.
    Whole,
}

/// In what circumstances messages of the client are taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taking {
    /// The backend answers no pings, so that what it was written makes room.
    pub(super) mute: bool,
    /// The time in milliseconds of the session.
    pub(super) millis: u32,
    /// No further message begins when so many were received.
    pub(super) through: u64,
}

/// A place in the stream behind a whole message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    pub(super) at: u64,
    /// The message before it.
    pub(super) seq: u64,
    /// Messages of the leg up to there.
    pub(super) messages: u64,
}

/// Whether the next message may begin.
enum Admission {
    Yes,
    Wait,
    Refused,
}

#[derive(Debug)]
pub(super) struct Upstream {
    scanner: Scanner,
    pub(super) ring: Ring,
    memory: Reservation,
    /// Acknowledged messages that linger: up to which seq, until when.
    lingering: VecDeque<(u64, Instant)>,
    on_full: OnFull,
    /// What `memory` was last asked to cover in vain.
    wanted: usize,
    /// A handshake tells a backend with which message its leg begins: none may be dropped.
    pub(super) frozen: bool,
    /// Backends count the messages of a leg from the first (session protocol): there may be no gap behind it.
    pub(super) gapless: bool,
    /// In isolation after deaths of backends: up to which seq messages go out one by one.
    isolated: Option<u64>,
    /// Whether the next of them may go out.
    turn: Turn,
    /// The frame that has begun is a tiny fragment.
    tiny: bool,
    /// A frame larger than half the ring has begun behind unacknowledged messages.
    before_large: bool,
    /// The leg is to be left: no further message begins on it.
    pub(super) halted: bool,
    /// Messages are looked at when they are whole, before any of them is written.
    looked_at: bool,
    /// In isolation: up to which seq nothing is waited for any more.
    past: u64,
    /// The session ends, and the leg stands, or will, inside the frame that the client is sending: only behind it may the
    /// leg be told so.
    finishes_frame: bool,
    /// A frame of the client's begins here, at or before what is written.
    walked: Cell<u64>,
}

impl Upstream {
    /// `deflate`: messages may be compressed.
    pub(super) fn new(config: &Config, budget: Arc<Budget>, deflate: bool) -> Self {
        let limits = Limits { messages: config.buffer_messages as usize, bytes: config.buffer_bytes };
        Self {
            scanner: Scanner::new(Sender::Client, config.max_message).with_deflate(deflate),
            ring: Ring::new(limits),
            memory: Reservation::new(budget),
            lingering: VecDeque::new(),
            on_full: config.on_full,
            wanted: 0,
            frozen: false,
            gapless: false,
            isolated: None,
            turn: Turn::Awaited,
            tiny: false,
            before_large: false,
            halted: false,
            looked_at: config.rules.as_deref().is_some_and(|rules| rules.looks_at(true) || rules.packets().is_some()),
            past: 0,
            finishes_frame: false,
            walked: Cell::new(0),
        }
    }

    // Receiving.

    /// Takes bytes of the client until they are used up, a message may not begin, or something else than data comes.
    pub(super) fn receive(&mut self, data: &mut &[u8], taking: Taking, counters: &mut Counters) -> Option<Incoming> {
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
    pub(super) fn complete(&mut self, taking: Taking, counters: &mut Counters) -> u64 {
        let seq = self.ring.complete(taking.millis);
        self.memory.cover(self.ring.allocated());
        counters.received += 1;
        seq
    }

    /// The message in the tail is not taken on.
    pub(super) fn refuse_tail(&mut self) {
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
    pub(super) fn is_in_message(&self) -> bool {
        self.scanner.is_in_message()
    }

    /// Near the end of the process's memory, those who hold the most are slowed first.
    pub(super) fn is_pressed(&self) -> bool {
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
    pub(super) fn finish_frame(&mut self, open: bool) {
        let is_written = (open && !self.looked_at) || self.border().is_none();
        self.finishes_frame = self.scanner.is_in_payload() && is_written;
    }

    /// Takes bytes of a client whose messages are no longer wanted; only what is not data comes out.
    pub(super) fn ignore(&mut self, data: &mut &[u8]) -> Option<Incoming> {
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
    pub(super) fn wants_read(&self, mute: bool) -> bool {
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
    pub(super) fn memory(&self) -> &Reservation {
        &self.memory
    }

    /// Asks again for memory that was refused; returns whether it is there now.
    pub(super) fn retry_memory(&mut self) -> bool {
        self.memory.try_cover(self.wanted)
    }

    /// Whether a frame larger than half the ring has begun since the last call: what is before it should be
    /// acknowledged first.
    pub(super) fn take_before_large(&mut self) -> bool {
        std::mem::take(&mut self.before_large)
    }

    // Acknowledging.

    /// Everything up to `seq` is acknowledged; it is forgotten at `until`, or at once.
    pub(super) fn acknowledge(&mut self, seq: u64, until: Option<Instant>, counters: &mut Counters) {
        self.ring.acknowledge(seq);
        match until {
            None if sabotage::is(Sabotage::NeverForgets) => {}
            None => self.forget(seq, counters),
            Some(until) => self.lingering.push_back((seq, until)),
        }
    }

    /// The same for a barrier where some messages are acknowledged only by a key.
    pub(super) fn acknowledge_unkeyed(&mut self, seq: u64, until: Option<Instant>, counters: &mut Counters) {
        self.ring.acknowledge_unkeyed(seq);
        match until {
            None => self.forget(seq, counters),
            Some(until) => self.lingering.push_back((seq, until)),
        }
    }

    /// One message is done with, whatever stands before it. Returns whether it was retained.
    pub(super) fn forget_one(&mut self, seq: u64, counters: &mut Counters) -> bool {
        let forgotten = self.ring.forget_one(seq);
        counters.forgotten += u64::from(forgotten);
        self.memory.shrink(self.ring.allocated());
        forgotten
    }

    /// A barrier was answered where only answers acknowledge: they do not count for messages that were left out.
    pub(super) fn acknowledge_left_out(&mut self, seq: u64, counters: &mut Counters) {
        if self.ring.acknowledge_left_out(seq) {
            self.forget(seq, counters);
        }
    }

    fn forget(&mut self, seq: u64, counters: &mut Counters) {
        counters.forgotten += self.ring.forget(seq) as u64;
        self.memory.shrink(self.ring.allocated());
    }

    /// So many replies came: the oldest messages written are acknowledged and forgotten. Returns how many replies were
    /// for none.
    pub(super) fn acknowledge_replies(&mut self, replies: u64, counters: &mut Counters) -> u64 {
        let mut left = replies;
        let mut last = None;
        while left > 0
            && let Some(seq) = self.ring.acknowledge_next()
        {
            last = Some(seq);
            left -= 1;
        }
        if let Some(seq) = last {
            self.forget(seq, counters);
        }
        left
    }

    /// When the first lingering message is to be forgotten.
    pub(super) fn linger_at(&self) -> Option<Instant> {
        self.lingering.front().map(|(_, until)| *until)
    }

    pub(super) fn expire_lingering(&mut self, now: Instant, counters: &mut Counters) {
        while let Some(&(seq, _)) = self.lingering.front().filter(|(_, until)| *until <= now) {
            self.lingering.pop_front();
            self.forget(seq, counters);
        }
        if self.lingering.is_empty() {
            self.lingering = VecDeque::new();
        }
    }

    /// Nothing more is taken from the client.
    pub(super) fn stop(&mut self) {
        self.memory.leave_line();
    }

    /// The session is over: all memory goes back.
    pub(super) fn close(&mut self) {
        self.ring = Ring::new(self.ring.limits());
        self.lingering = VecDeque::new();
        self.memory.leave_line();
        self.memory.shrink(0);
    }

    /// A new leg: write everything retained again.
    pub(super) fn rewind(&mut self) {
        self.turn = Turn::Awaited;
        if sabotage::is(Sabotage::NoRewind) {
            return;
        }
        self.ring.rewind();
        self.walked.set(0);
        self.lingering = VecDeque::new();
        self.past = 0;
    }

    /// The client is gone: what it had begun to send will never be whole. Whether it stands half-written on the leg,
    /// where it must stay, is returned.
    pub(super) fn abandon_tail(&mut self) -> bool {
        let stuck = self.ring.cursor() > self.ring.complete_end();
        if !stuck {
            self.ring.abandon_tail();
            self.walked.set(0);
        }
        stuck
    }

    // Writing.

    /// The first frame border at or behind what is written, if it is received.
    pub(super) fn border(&self) -> Option<u64> {
        let (message, cursor) = (self.ring.message_start(), self.ring.cursor());
        // A message may have a hundred thousand frames: those that were walked over are not again.
        let known = self.walked.get();
        let from = if (message..=cursor).contains(&known) { known } else { message };
        let (frame, border) = frame_around(from, cursor, |from, out| self.ring.peek(from, out))?;
        self.walked.set(frame);
        (border <= self.ring.end()).then_some(border)
    }

    /// So much more is written. Where the leg stands is then looked for at once if a message is long, not at the end of
    /// the session for all its frames together.
    pub(super) fn advance(&mut self, count: usize) {
        const LONG: u64 = 4096;
        self.ring.advance(count);
        if self.ring.cursor().saturating_sub(self.ring.message_start()) >= LONG {
            let _walks_on = self.border();
        }
    }

    /// Whether the leg stands at a frame border, so that a farewell may be written.
    pub(super) fn is_at_border(&self) -> bool {
        self.border() == Some(self.ring.cursor())
    }

    pub(super) fn gather<'a>(&'a self, outlet: &'a Outlet, out: &mut Gather<'a>) {
        let all = if self.looked_at { self.ring.complete_end() } else { self.ring.end() };
        let end = match self.isolation() {
            Isolation::Waiting => self.ring.cursor(),
            Isolation::None | Isolation::Alone | Isolation::InCompany => self.next_stop().map_or(all, |stop| stop.at),
        };
        let end = end.min(self.halt(outlet));
        outlet.gather(self.ring.cursor(), end, |from, to| self.ring.pieces(from, to), out);
    }

    /// What is left of the frame in which the leg stands.
    pub(super) fn gather_frame<'a>(&'a self, outlet: &'a Outlet, out: &mut Gather<'a>) {
        let end = self.border().unwrap_or(self.ring.end());
        outlet.gather_before(self.ring.cursor(), end, |from, to| self.ring.pieces(from, to), out);
    }

    /// Messages of a leg that was written nothing yet are to have other bytes.
    pub(super) fn replace(&mut self, changes: &[(u64, Vec<u8>)]) {
        self.ring.replace(changes);
        self.walked.set(0);
        self.memory.cover(self.ring.allocated());
    }

    /// Where a leg that is to be left ends: behind the message that it stands in, or behind a control frame that has its
    /// place already.
    fn halt(&self, outlet: &Outlet) -> u64 {
        if !self.halted {
            return u64::MAX;
        }
        let end = self.ring.message_end().map_or(self.ring.end(), |(at, ..)| at);
        end.max(outlet.place_of_control().unwrap_or(0))
    }

    /// Whether the leg stands between two messages, with everything on it that is to be: all there is, or if it is to be
    /// left, the message that was begun.
    pub(super) fn is_at_rest(&self) -> bool {
        let between = self.ring.message_end().is_some_and(|(at, ..)| at == self.ring.cursor());
        between && (self.halted || self.ring.is_written())
    }

    /// Whether everything wholly written to the leg is acknowledged.
    pub(super) fn is_written_acknowledged(&self) -> bool {
        self.ring.first_unacknowledged().is_none_or(|first| first > self.ring.written_seq())
    }

    /// The leg is left and nothing of it is to be written again: what it was written is forgotten. Where the backend
    /// answers no pings, nothing acknowledged it.
    pub(super) fn settle(&mut self, mute: bool, counters: &mut Counters) {
        if sabotage::is(Sabotage::ReplayedAfterMigration) {
            return;
        }
        let seq = self.ring.written_seq();
        let acknowledged = (self.ring.retained() - self.ring.unacknowledged()) as u64;
        self.ring.acknowledge(seq);
        let count = self.ring.forget(seq) as u64;
        counters.slid += if mute { count - acknowledged } else { 0 };
        counters.forgotten += if mute { acknowledged } else { count };
        self.lingering = VecDeque::new();
        self.memory.shrink(self.ring.allocated());
    }

    /// In isolation: where the leg waits until the message before is forgotten.
    pub(super) fn next_stop(&self) -> Option<Stop> {
        let through = self.isolated?;
        self.ring.first_retained().filter(|seq| *seq <= through)?;
        let alone = self.ring.alone_behind(self.past).filter(|alone| alone.first <= through)?;
        Some(Stop { at: alone.end, seq: alone.last, messages: alone.messages })
    }

    /// In isolation: the message that stands alone was read, and its answer is not waited for any longer.
    pub(super) fn pass_stop(&mut self) {
        if let Some(stop) = self.next_stop() {
            self.past = stop.seq;
        }
    }

    /// In isolation: forgets the message that stands alone if it is acknowledged and the leg has given so many
    /// `replies` that its own is among them. Returns whether it did.
    pub(super) fn forget_isolated(&mut self, replies: u64, counters: &mut Counters) -> bool {
        let Some(stop) = self.next_stop() else { return false };
        let acknowledged = self.ring.retained() > self.ring.unacknowledged();
        if !acknowledged || replies < stop.messages {
            return false;
        }
        self.forget(stop.seq, counters);
        self.lingering.retain(|(seq, _)| *seq > stop.seq);
        true
    }

    /// Where a barrier goes: behind the last whole message, or at the next stop.
    pub(super) fn barrier_place(&self) -> Option<Stop> {
        if self.isolation() == Isolation::Waiting {
            return self.ring.message_end().map(|(at, seq, messages)| Stop { at, seq, messages });
        }
        if let Some(stop) = self.next_stop() {
            // The cursor may have skipped a hole behind the stop.
            let at = stop.at.max(self.ring.cursor());
            return (at == stop.at || self.ring.written_seq() == stop.seq).then_some(Stop { at, ..stop });
        }
        let ring = &self.ring;
        if self.halted {
            return ring.message_end().map(|(at, seq, messages)| Stop { at, seq, messages });
        }
        if sabotage::is(Sabotage::BarrierInsideFrame) {
            return Some(Stop { at: ring.cursor(), seq: ring.written_seq(), messages: ring.leg_messages() });
        }
        let at = if ring.cursor() <= ring.complete_end() { Some(ring.complete_end()) } else { self.border() };
        Some(Stop { at: at?, seq: ring.last_seq(), messages: ring.leg_messages() })
    }

    /// From now on, messages up to `through` go out one by one.
    pub(super) fn isolate(&mut self, through: u64) {
        if sabotage::is(Sabotage::NoIsolation) {
            return;
        }
        self.isolated = self.isolated.max(Some(through));
    }

    /// Whether messages go out one by one, and whether the next may.
    pub(super) fn isolation(&self) -> Isolation {
        let Some(stop) = self.next_stop() else { return Isolation::None };
        match self.turn {
            Turn::Awaited if sabotage::is(Sabotage::TurnNotAwaited) => Isolation::InCompany,
            Turn::Had(seq) if seq == stop.seq => Isolation::Alone,
            Turn::Awaited | Turn::Had(_) => Isolation::Waiting,
            Turn::Waived => Isolation::InCompany,
        }
    }

    /// It is the turn of the next message, if it waits for that.
    pub(super) fn give_turn(&mut self) {
        if self.isolation() == Isolation::Waiting
            && let Some(stop) = self.next_stop()
        {
            self.turn = Turn::Had(stop.seq);
        }
    }

    /// Until the next leg, nothing waits for its turn.
    pub(super) fn waive_turns(&mut self) {
        self.turn = Turn::Waived;
    }

    /// Messages go out as they come.
    pub(super) fn end_isolation(&mut self) {
        self.isolated = None;
    }

    /// Whether messages go out one by one. Ends by itself when all of them are forgotten.
    pub(super) fn is_isolated(&self) -> bool {
        self.next_stop().is_some()
    }

    /// Bytes to write before the control frame that is placed.
    pub(super) fn before_control(&self, outlet: &Outlet) -> usize {
        let Some(at) = outlet.place_of_control() else { return 0 };
        self.ring.pieces(self.ring.cursor(), at).map(<[u8]>::len).sum()
    }
}

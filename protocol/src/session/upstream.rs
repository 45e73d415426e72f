//! From the client: its frames into the ring ([`receive`]), and the ring onto the backend leg.

mod receive;

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use tideover_replay_store::{Budget, Limits, Reservation, Ring};

use crate::frame::{ControlPayload, FrameError};
use crate::sabotage::{self, Sabotage};
use crate::scan::{Scanner, Sender};
use crate::time::Instant;

use super::config::{Config, OnFull};
use super::event::Counters;
use super::outlet::{Gather, Outlet, frame_around};
use super::poison::{Isolation, Turn};

/// What the client sent that is not just data.
#[derive(Debug)]
pub(super) enum Incoming {
    Ping(ControlPayload),
    Pong(ControlPayload),
    Close(ControlPayload),
    Error(FrameError),
    /// The ring is full and `--on-full close`.
    Full,
    /// Data after all: a tiny fragment ([`is_tiny_fragment`](crate::scan::DataHeader::is_tiny_fragment)) is whole, and
    /// taken. Floods are made of them.
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

//! From the backend: whole messages to the client, and what waits for it.

use std::ops::Range;
use std::sync::Arc;

use tideover_replay_store::{Budget, ByteLog, Reservation};

use crate::frame::{ControlPayload, FrameError, FrameHeader, MAX_CONTROL_PAYLOAD, MAX_HEADER};
use crate::sabotage::{self, Sabotage};
use crate::scan::{Scanner, Sender, Step};

use super::ack::parse_ack;
use super::config::Config;
use super::echoes::{Bounds, Digest, Digester, Echoes, Kind, Said};
use super::inflate::inflate;
use super::outlet::{Gather, Outlet, frame_border};

mod judged;

/// The largest message in pieces that may be an acknowledgement: one byte a frame would be enough to hide it.
const MAX_COLLECTED_ACK: u64 = 512;

/// What became of bytes from the backend.
#[derive(Debug, Default)]
pub struct Passed {
    /// How many bytes were used up.
    pub consumed: usize,
    /// Which of them are to be written to the client as they are, behind what
    /// [`poll_transmit`](super::Session::poll_transmit) gives.
    pub direct: Range<usize>,
}

/// What the backend sent that is not a message for the client.
#[derive(Debug)]
pub(super) enum Incoming {
    Ping(ControlPayload),
    Pong(ControlPayload),
    Close(ControlPayload),
    Error(FrameError),
    /// An acknowledgement of the session protocol in a text message.
    Ack(ControlPayload),
}

/// How the messages of the current leg are treated, besides what the leg itself decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Treatment {
    /// Messages of the client are retained: what the backend says may be said again.
    pub(super) record: bool,
    /// Output is held back until a pong has come behind it.
    pub(super) hold: bool,
    /// Short text messages may be acknowledgements.
    pub(super) acks: bool,
}

/// Counts of the backend's messages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Passed to the client, or held for it.
    pub(super) passed: u64,
    /// Not passed, because the client was told before.
    pub(super) swallowed: u64,
    /// Answers to messages: all but greetings and acknowledgements.
    pub(super) replies: u64,
}

/// How far a message is that is copied.
enum Collected {
    Starved,
    /// It lies behind `whole`.
    Whole,
    Other(Incoming),
}

/// What becomes of one message.
enum Fate {
    Pass,
    Greet,
    Swallow,
    Ack(ControlPayload),
}

#[derive(Debug)]
pub(super) struct Downstream {
    scanner: Scanner,
    /// What waits for the client, what is held back, and behind it the message that is not whole yet.
    log: ByteLog,
    /// Next byte to write to the client.
    cursor: u64,
    /// A frame border at or before the first one that is not written.
    border: u64,
    /// Offset behind the last message that may be written.
    ready: u64,
    /// Offset behind the last whole message; what is between is held.
    whole: u64,
    /// Messages held.
    held: u64,
    echoes: Echoes,
    /// Seed of the digests; `None` where nothing is remembered.
    seed: Option<u64>,
    /// Greetings still to come on this leg.
    greetings: u32,
    /// The backend is not read while so many bytes of whole messages wait for the client.
    most_waiting: u32,
    /// Greetings of a leg that the client has not had from an earlier one.
    ungreeted: u32,
    memory: Reservation,
    /// What `memory` was last asked to cover in vain.
    wanted: usize,
}

impl Downstream {
    /// `deflate`: messages may be compressed. `explicit`: the backend speaks the session protocol.
    pub(super) fn new(config: &Config, budget: Arc<Budget>, seed: u64, deflate: bool, explicit: bool) -> Self {
        Self {
            scanner: Scanner::new(Sender::Server, config.max_message).with_deflate(deflate),
            log: ByteLog::default(),
            cursor: 0,
            border: 0,
            ready: 0,
            whole: 0,
            held: 0,
            echoes: Echoes::new(Bounds { entries: config.dedupe_entries, bytes: config.dedupe_bytes }),
            // A backend that speaks the session protocol says again just what is missing.
            seed: (config.dedupe_replies && !explicit).then_some(seed),
            greetings: config.greeting,
            most_waiting: config.limits.slow_client_bytes,
            ungreeted: config.greeting,
            memory: Reservation::new(budget),
            wanted: 0,
        }
    }

    // Receiving.

    /// Takes bytes of the backend until they are used up, enough waits for the client, or something else than data
    /// comes.
    pub(super) fn receive(
        &mut self,
        data: &[u8],
        treatment: Treatment,
        tally: &mut Tally,
    ) -> (Passed, Option<Incoming>) {
        let special = self.greetings > 0 || self.echoes.is_window_open() || treatment.hold || treatment.acks;
        if special {
            return self.receive_one(data, treatment, tally);
        }
        let (direct, messages) = match self.seed.filter(|_| treatment.record) {
            None => self.scanner.whole_messages(data, usize::MAX),
            Some(seed) => self.record_whole(data, seed),
        };
        if direct > 0 {
            tally.passed += messages as u64;
            tally.replies += messages as u64;
            return (Passed { consumed: direct, direct: 0..direct }, None);
        }
        self.collect(data, treatment, tally)
    }

    /// The run of whole messages at the start of `data`, each remembered.
    fn record_whole(&mut self, data: &[u8], seed: u64) -> (usize, usize) {
        let (mut end, mut count) = (0, 0);
        while let Some(header) = self.scanner.whole_message(&data[end..]) {
            let next = end + header.frame_len() as usize;
            let payload = &data[end + header.len..next];
            let digest = Digest::of(seed, Kind::of(&header), payload);
            if header.compressed {
                let said = Said { digest, seed, payload: &|take| take(payload) };
                self.echoes.record(&said, || self.memory.is_ample());
            } else {
                self.echoes.record_plain(digest);
            }
            (end, count) = (next, count + 1);
        }
        self.cover_kept();
        (end, count)
    }

    /// Takes one message at most, and decides what becomes of it.
    fn receive_one(&mut self, data: &[u8], treatment: Treatment, tally: &mut Tally) -> (Passed, Option<Incoming>) {
        let Some(header) = self.scanner.whole_message(data) else { return self.collect(data, treatment, tally) };
        let len = header.frame_len() as usize;
        let message = &data[..len];
        let fate = self.decide(Kind::of(&header), &message[header.len..], treatment, tally);
        let consumed = Passed { consumed: len, direct: 0..0 };
        match fate {
            Fate::Pass if treatment.hold => {
                self.log.append(message, 0);
                self.keep_whole(true);
                (consumed, None)
            }
            Fate::Pass | Fate::Greet => (Passed { consumed: len, direct: 0..len }, None),
            Fate::Swallow => (consumed, None),
            Fate::Ack(payload) => (consumed, Some(Incoming::Ack(payload))),
        }
    }

    fn decide(&mut self, kind: Kind, payload: &[u8], treatment: Treatment, tally: &mut Tally) -> Fate {
        if treatment.acks
            && let Some(ack) = read_ack(kind, payload)
        {
            return Fate::Ack(ack);
        }
        let digest = self.seed.map(|seed| (seed, Digest::of(seed, kind, payload)));
        self.decide_digest(digest, Some(payload), treatment, tally)
    }

    /// `payload` is `None` for the message behind `whole`.
    fn decide_digest(
        &mut self,
        digest: Option<(u64, Digest)>,
        payload: Option<&[u8]>,
        treatment: Treatment,
        tally: &mut Tally,
    ) -> Fate {
        if self.greetings > 0 {
            self.greetings -= 1;
            return self.decide_greeting(tally);
        }
        tally.replies += 1;
        if let Some((seed, digest)) = digest {
            let (log, from) = (&self.log, self.whole);
            let walk = |take: &mut dyn FnMut(&[u8])| match payload {
                Some(payload) => take(payload),
                None => {
                    for_payload(log, from, take);
                }
            };
            let said = Said { digest, seed, payload: &walk };
            if self.echoes.swallows(&said) {
                tally.swallowed += 1;
                return Fate::Swallow;
            }
            if treatment.record {
                self.echoes.record(&said, || self.memory.is_ample());
                self.cover_kept();
            }
        }
        tally.passed += u64::from(!treatment.hold);
        self.held += u64::from(treatment.hold);
        Fate::Pass
    }

    /// The client is greeted once, if not by the first leg then by the next. A greeting answers nothing, so it is not
    /// held, and nothing is held that could come before it.
    fn decide_greeting(&mut self, tally: &mut Tally) -> Fate {
        if self.greetings >= self.ungreeted && !sabotage::is(Sabotage::GreetedAgain) {
            return Fate::Swallow;
        }
        self.ungreeted = self.ungreeted.saturating_sub(1);
        tally.passed += 1;
        Fate::Greet
    }

    /// Copies a message that is not all there yet, or that is in fragments, until it is whole.
    fn collect(&mut self, data: &[u8], treatment: Treatment, tally: &mut Tally) -> (Passed, Option<Incoming>) {
        let mut rest = data;
        let incoming = match self.collect_from(&mut rest) {
            Collected::Whole => self.finish_collected(treatment, tally),
            Collected::Starved => None,
            Collected::Other(incoming) => Some(incoming),
        };
        (Passed { consumed: data.len() - rest.len(), direct: 0..0 }, incoming)
    }

    fn collect_from(&mut self, data: &mut &[u8]) -> Collected {
        loop {
            let before = *data;
            match self.scanner.step(data) {
                Ok(Step::Starved) => return Collected::Starved,
                Ok(Step::Announced(header)) => {
                    if !self.reserve(header.begins, header.frame_len()) {
                        return Collected::Starved;
                    }
                    self.scanner.admit();
                    self.log.append(header.as_bytes(), usize::try_from(header.payload).unwrap_or(usize::MAX));
                }
                Ok(Step::Payload { len, ends_message, to_come }) => {
                    self.log.append(&before[..len], usize::try_from(to_come).unwrap_or(usize::MAX));
                    if ends_message {
                        return Collected::Whole;
                    }
                }
                Ok(Step::Ping(payload)) => return Collected::Other(Incoming::Ping(payload)),
                Ok(Step::Pong(payload)) => return Collected::Other(Incoming::Pong(payload)),
                Ok(Step::Close(payload)) => return Collected::Other(Incoming::Close(payload)),
                Err(error) => return Collected::Other(Incoming::Error(error)),
            }
        }
    }

    /// The message behind `whole` is complete.
    fn finish_collected(&mut self, treatment: Treatment, tally: &mut Tally) -> Option<Incoming> {
        self.memory.cover(self.allocated());
        let fate = if treatment.acks && self.log.end() - self.whole <= MAX_COLLECTED_ACK {
            let (kind, payload) = self.collected_payload();
            self.decide(kind, &payload, treatment, tally)
        } else {
            let digest = self.seed.map(|seed| (seed, self.collected_digest(seed)));
            self.decide_digest(digest, None, treatment, tally)
        };
        match fate {
            Fate::Pass | Fate::Greet => {
                self.keep_whole(treatment.hold && matches!(fate, Fate::Pass));
                None
            }
            Fate::Swallow => {
                self.log.truncate(self.whole);
                None
            }
            Fate::Ack(payload) => {
                self.log.truncate(self.whole);
                Some(Incoming::Ack(payload))
            }
        }
    }

    fn collected_digest(&self, seed: u64) -> Digest {
        let mut digester = Digester::new(seed);
        let kind = for_payload(&self.log, self.whole, &mut |piece| digester.write(piece));
        digester.finish(kind)
    }

    fn collected_payload(&self) -> (Kind, Vec<u8>) {
        let mut payload = Vec::new();
        let kind = for_payload(&self.log, self.whole, &mut |piece| payload.extend_from_slice(piece));
        (kind, payload)
    }

    fn keep_whole(&mut self, hold: bool) {
        self.whole = self.log.end();
        if !hold && self.held == 0 {
            self.ready = self.whole;
        }
        self.memory.cover(self.allocated());
    }

    fn reserve(&mut self, begins: bool, frame_len: u64) -> bool {
        let need = self.allocated().saturating_add(usize::try_from(frame_len).unwrap_or(usize::MAX));
        if begins {
            self.wanted = need;
            return self.memory.try_cover(need);
        }
        self.memory.cover(need);
        true
    }

    // Holding back, and remembering.

    /// Whether output is held back.
    pub(super) fn is_holding(&self) -> bool {
        self.held > 0
    }

    /// Bytes held back.
    pub(super) fn held_bytes(&self) -> u64 {
        self.whole - self.ready
    }

    /// What is held may be written; returns how many messages that are.
    pub(super) fn release(&mut self) -> u64 {
        self.ready = self.whole;
        std::mem::take(&mut self.held)
    }

    /// The barrier behind `seq` was answered.
    pub(super) fn handle_barrier(&mut self, seq: u64) {
        self.echoes.handle_barrier(seq);
    }

    /// The client's messages up to `seq` are forgotten; `all` says that no other is retained.
    pub(super) fn forget(&mut self, seq: u64, all: bool) {
        let held = self.echoes.allocated();
        self.echoes.forget(seq, all);
        if self.echoes.allocated() < held {
            self.memory.shrink(self.allocated());
        }
    }

    /// What is remembered for comparison counts, as what waits for the client does.
    fn cover_kept(&mut self) {
        self.memory.cover(self.allocated());
    }

    /// Nothing that the client was told can be said again.
    pub(super) fn forget_all(&mut self) {
        self.forget(0, true);
    }

    /// A scanner for another leg of this session.
    pub(super) fn fresh_scanner(&self) -> Scanner {
        self.scanner.afresh()
    }

    /// Whether all that came of the leg is whole.
    pub(super) fn is_between_messages(&self) -> bool {
        self.scanner.is_between_messages()
    }

    /// Takes bytes of a backend whose messages the client must not get; only what is not data comes out.
    pub(super) fn ignore(&mut self, data: &[u8]) -> (Passed, Option<Incoming>) {
        let mut rest = data;
        let incoming = loop {
            match self.scanner.step(&mut rest) {
                Ok(Step::Starved) => break None,
                Ok(Step::Announced(_)) => self.scanner.admit(),
                Ok(Step::Payload { .. }) => {}
                Ok(Step::Ping(payload)) => break Some(Incoming::Ping(payload)),
                Ok(Step::Pong(payload)) => break Some(Incoming::Pong(payload)),
                Ok(Step::Close(payload)) => break Some(Incoming::Close(payload)),
                Err(error) => break Some(Incoming::Error(error)),
            }
        };
        (Passed { consumed: data.len() - rest.len(), direct: 0..0 }, incoming)
    }

    pub(super) fn wants_read(&self) -> bool {
        self.ready - self.cursor < u64::from(self.most_waiting) && !self.memory.is_waiting()
    }

    pub(super) fn memory(&self) -> &Reservation {
        &self.memory
    }

    /// Asks again for memory that was refused; returns whether it is there now.
    pub(super) fn retry_memory(&mut self) -> bool {
        self.memory.try_cover(self.wanted)
    }

    /// The leg ended: the message that was not whole will never be, what is held will be said again, and the next leg
    /// starts between two messages.
    pub(super) fn end_leg(&mut self) {
        self.scanner = self.scanner.afresh();
        if sabotage::is(Sabotage::HeldNotDropped) {
            self.ready = self.whole;
        }
        if sabotage::is(Sabotage::HalfMessageForwarded) {
            self.ready = self.log.end();
        }
        self.log.truncate(self.ready);
        self.whole = self.ready;
        self.held = 0;
        self.memory.leave_line();
        self.settle();
    }

    /// A new leg: it may greet, and say again what the client was told.
    pub(super) fn begin_leg(&mut self, greetings: u32) {
        self.greetings = greetings;
        self.echoes.begin_leg();
    }

    /// Nothing more of the backend is passed on, whatever still comes; what is held is released.
    pub(super) fn stop(&mut self) {
        self.release();
        self.log.truncate(self.whole);
        self.memory.leave_line();
        self.settle();
    }

    /// Nothing can reach the client. What is not whole yet may still be an acknowledgement.
    pub(super) fn discard(&mut self) {
        self.release();
        self.cursor = self.ready;
        self.border = self.ready;
        self.settle();
    }

    /// The session is over: all memory goes back.
    pub(super) fn close(&mut self) {
        self.stop();
        self.echoes.clear();
        self.discard();
    }

    // Writing.

    /// Whether everything whole is written.
    pub(super) fn is_written(&self) -> bool {
        self.cursor == self.ready
    }

    /// Bytes of whole messages that wait for the client.
    pub(super) fn waiting(&self) -> usize {
        (self.ready - self.cursor) as usize
    }

    /// Bytes of memory held for the client.
    pub(super) fn allocated(&self) -> usize {
        self.log.allocated() + self.echoes.allocated()
    }

    /// Offset behind the last whole message.
    pub(super) fn ready(&self) -> u64 {
        self.ready
    }

    /// The first frame border at or behind what is written.
    pub(super) fn next_border(&mut self) -> u64 {
        let walked = frame_border(self.border, self.cursor, self.ready, |from, out| self.log.peek(from, out));
        self.border = walked.unwrap_or(self.ready);
        self.border
    }

    pub(super) fn gather<'a>(&'a self, outlet: &'a Outlet, out: &mut Gather<'a>) {
        outlet.gather(self.cursor, self.ready, |from, to| self.log.slices(from, to), out);
    }

    /// Bytes to write before the control frame that is placed.
    pub(super) fn before_control(&self, outlet: &Outlet) -> usize {
        outlet.place_of_control().map_or(0, |at| at.saturating_sub(self.cursor) as usize)
    }

    /// `len` bytes of the log were written.
    pub(super) fn advance(&mut self, len: usize) {
        // The border must not point into what is released, so it is walked first.
        self.cursor += len as u64;
        self.next_border();
        self.settle();
    }

    /// Of `direct`, whole messages of the backend, all but the first `written` bytes must wait.
    pub(super) fn keep_direct(&mut self, direct: &[u8], written: usize) {
        let rest = &direct[written..];
        if rest.is_empty() {
            return;
        }
        debug_assert!(self.log.end() == self.ready, "whole messages came behind one that is not whole");
        if self.is_written() {
            self.border = self.ready + border_behind(direct, written) as u64;
        }
        self.log.append(rest, 0);
        self.ready = self.log.end();
        self.whole = self.ready;
        self.memory.cover(self.allocated());
    }

    fn settle(&mut self) {
        self.log.release_before(self.cursor);
        self.memory.shrink(self.allocated());
    }
}

/// Gives the payload of the message that begins at `from` to `take`, in pieces; returns what kind of message it is.
fn for_payload(log: &ByteLog, from: u64, take: &mut dyn FnMut(&[u8])) -> Kind {
    let (mut at, mut kind) = (from, None);
    while at < log.end() {
        let mut head = [0; MAX_HEADER];
        let have = log.peek(at, &mut head);
        let Ok(Some(header)) = FrameHeader::parse(&head[..have]) else { break };
        kind.get_or_insert(Kind::of(&header));
        let end = at + header.frame_len();
        log.slices(at + header.len as u64, end).for_each(&mut *take);
        at = end;
    }
    kind.unwrap_or(Kind { text: false, compressed: false })
}

/// The acknowledgement of the session protocol that a message is, if it is one. A framework that compresses compresses
/// these too, so what is short enough to be one is inflated.
fn read_ack(kind: Kind, payload: &[u8]) -> Option<ControlPayload> {
    if !kind.text || payload.len() > MAX_CONTROL_PAYLOAD {
        return None;
    }
    let ack = |content: &[u8]| parse_ack(content).map(|_| ControlPayload::new(content, None));
    if !kind.compressed {
        return ack(payload);
    }
    let mut content = Vec::new();
    let whole = inflate(MAX_CONTROL_PAYLOAD, |take| take(payload), |piece| content.extend_from_slice(piece));
    ack(&content).filter(|_| whole)
}

/// How many bytes behind `written` the next frame of `frames` starts.
fn border_behind(frames: &[u8], written: usize) -> usize {
    let mut border = 0;
    while border < written {
        let Ok(Some(header)) = FrameHeader::parse(&frames[border..]) else { break };
        border += header.frame_len() as usize;
    }
    border.saturating_sub(written)
}

//! Barriers: pings whose answer proves that the messages before them were read.

use crate::frame::{ControlFrame, Opcode};
use crate::sabotage::{self, Sabotage};
use crate::time::Instant;

/// Every ping of ours starts with this, so that a pong is known as an answer to one.
const MAGIC: [u8; 4] = *b"tide";

/// A ping of ours that waits for its pong.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    /// Its rising number.
    pub(super) number: u64,
    /// The last message before it.
    pub(super) seq: u64,
    /// Messages of the leg before it.
    pub(super) messages: u64,
    /// Whether messages wait for it, or it only keeps the leg alive.
    pub(super) for_messages: bool,
    /// When its last byte was written.
    pub(super) written: Option<Instant>,
}

/// The pings of one leg. At most one is in flight.
#[derive(Debug, Default)]
pub(super) struct Pings {
    /// Number of the last ping.
    number: u64,
    in_flight: Option<InFlight>,
    /// When the last one was sent.
    pub(super) sent: Option<Instant>,
    /// Whether any was ever answered.
    pub(super) answered: bool,
    /// A ping is to go out as soon as it can be placed.
    pub(super) due: bool,
}

impl Pings {
    pub(super) fn in_flight(&self) -> Option<&InFlight> {
        self.in_flight.as_ref()
    }

    /// The next ping, which names `seq` as the message before it, the leg's `messages`-th.
    pub(super) fn next(
        &mut self,
        now: Instant,
        (seq, messages): (u64, u64),
        for_messages: bool,
        mask: Option<[u8; 4]>,
    ) -> ControlFrame {
        self.number += 1;
        self.sent = Some(now);
        self.due = false;
        self.in_flight = Some(InFlight { number: self.number, seq, messages, for_messages, written: None });
        let mut payload = [0; 20];
        payload[..4].copy_from_slice(&MAGIC);
        payload[4..12].copy_from_slice(&self.number.to_be_bytes());
        payload[12..].copy_from_slice(&seq.to_be_bytes());
        ControlFrame::new(Opcode::Ping, &payload, mask)
    }

    pub(super) fn handle_written(&mut self, now: Instant) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.written = Some(now);
        }
    }

    /// A pong came. A pong for a number answers all pings up to it (RFC 6455 5.5.3); one that we did not ask for, or
    /// not yet, is ignored.
    pub(super) fn handle_pong(&mut self, payload: &[u8]) -> Option<InFlight> {
        let (magic, rest) = payload.split_first_chunk()?;
        let (number, seq) = rest.split_first_chunk()?;
        let (number, seq) = (u64::from_be_bytes(*number), u64::from_be_bytes(seq.try_into().ok()?));
        if sabotage::is(Sabotage::AnyPongAccepted) {
            self.answered = true;
            return self.in_flight.take();
        }
        let answered = self
            .in_flight
            .filter(|ping| *magic == MAGIC && number == ping.number && seq == ping.seq && ping.written.is_some())?;
        self.in_flight = None;
        self.answered = true;
        Some(answered)
    }
}

/// How a backend that speaks the session protocol acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckCarrier {
    /// With an unsolicited Pong.
    Pong,
    /// With a text message, for frameworks that cannot send pongs.
    Message,
}

/// An acknowledgement of the session protocol starts with this; the seq follows in decimal.
const ACK_PREFIX: &[u8] = b"tideover:ack:";

/// The seq of an acknowledgement of the session protocol; `None` if it is something else.
pub(super) fn parse_ack(payload: &[u8]) -> Option<u64> {
    let digits = payload.strip_prefix(ACK_PREFIX)?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether pongs of a backend come before or after the answers to the messages before the ping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PongOrder {
    /// Not known yet.
    #[default]
    Unknown,
    /// Behind the answers: what a pong follows is done.
    Late,
    /// Before them, at least once: what a pong follows is only read.
    Early,
}

/// So many barriers in a row must have exactly one answer a message before them until pongs count as late.
const LATE_AFTER: u8 = 8;

/// Finds out the order of pongs and answers on one leg.
#[derive(Debug, Default)]
pub(super) struct OrderWatch {
    /// Answers of the leg, greetings left out.
    replies: u64,
    /// Messages before the last barrier answered.
    proven: u64,
    streak: u8,
}

impl OrderWatch {
    /// Answers of the leg so far, greetings left out.
    pub(super) fn replies(&self) -> u64 {
        self.replies
    }

    /// Answers came; `idle` says that no message is behind the last barrier answered. Returns whether that shows
    /// that the pong came early.
    pub(super) fn handle_replies(&mut self, replies: u64, idle: bool) -> bool {
        let early = idle && self.replies < self.proven;
        self.replies += replies;
        early
    }

    /// A barrier behind the leg's `messages`-th message was answered. Returns whether pongs are shown to come late.
    pub(super) fn handle_barrier(&mut self, messages: u64) -> bool {
        let exact = messages > self.proven && self.replies == messages;
        self.streak = if exact { self.streak.saturating_add(1) } else { 0 };
        self.proven = messages;
        self.streak >= LATE_AFTER
    }
}

//! From the backend: what the client is told of it, and what it acknowledges.

use tideover_protocol::session::{AckCarrier, AckMode, Commit, OnFull, PongOrder};
use tideover_protocol::time::Instant;

use super::told::{Repeat, Said, explicit_ack};
use super::{Collector, Expected, LegEnd, Link, Shadow};
use crate::codec::{self, Piece};
use crate::coverage::Met;

/// So many barriers in a row with exactly one answer a message show that pongs come late.
const LATE_AFTER: u32 = 8;
/// A text message of more bytes is no acknowledgement.
const LONGEST_ACK: usize = 125;

/// What one call of the engine must do all at once.
#[derive(Debug)]
struct Call {
    replies: u64,
    /// As it was when the call began.
    retained: bool,
    unacked: usize,
    /// Of these, messages that are on the leg.
    unanswered: usize,
}

impl Shadow {
    /// The engine took these bytes of the current leg, of which all are well-formed.
    pub(crate) fn leg_took(&mut self, now: Instant, bytes: &[u8]) {
        self.now = now;
        self.leg.moved = now;
        self.leg.heard = true;
        self.leg.suspect = false;
        let on_leg = self.ledger.on_leg();
        let unacked = self.ledger.unacked();
        let unanswered = on_leg.saturating_sub(self.ledger.acked);
        let mut call = Call { replies: 0, retained: on_leg > 0, unacked, unanswered };
        let mut collector = std::mem::replace(&mut self.leg.collector, Collector::new());
        let mut said = Vec::new();
        let Collector { splitter, said: partial } = &mut collector;
        splitter.feed(bytes, |piece| {
            collect(&piece, partial, &mut said);
        });
        self.leg.collector = collector;
        for item in said {
            match item {
                Item::Said(message) => self.said(message, &mut call),
                Item::Pong(payload) => self.pong(&payload),
                Item::Close(payload) => self.leg_ended(LegEnd::Close(payload)),
            }
        }
        self.replies(&call);
        self.settle();
    }

    fn is_muffled(&self) -> bool {
        self.is_over()
    }

    // Messages.

    fn said(&mut self, said: Said, call: &mut Call) {
        if self.is_muffled() || self.leg.closed {
            return;
        }
        if let Some(seq) = explicit_ack(&said.payload)
            && self.leg.carrier == Some(AckCarrier::Message)
            && said.opcode == codec::TEXT
            && said.payload.len() <= LONGEST_ACK
        {
            return self.explicit(seq);
        }
        self.leg.spoke = Some(self.now);
        if self.leg.greetings < self.config.greeting {
            self.leg.greetings += 1;
            if self.leg.greetings > self.greeted {
                self.greeted += 1;
                if !self.deaf {
                    self.tape.put(said);
                }
            } else {
                self.meet(Met::GreetingSwallowed);
            }
            return;
        }
        call.replies += 1;
        if !self.deaf {
            self.pass(said, call);
        }
    }

    fn pass(&mut self, said: Said, call: &Call) {
        let commit = self.config.commit == Commit::Barrier && self.mode == AckMode::Pong;
        let remembers = self.config.dedupe_replies && self.mode == AckMode::Pong && !commit;
        if remembers {
            match self.window.judge(said.opcode, &said.payload) {
                Repeat::Swallow => {
                    self.swallowed += 1;
                    return self.meet(Met::Swallowed);
                }
                Repeat::Differs => self.meet(Met::WindowClosed),
                Repeat::New => {}
            }
            if call.retained {
                self.window.record(said.opcode, &said.payload, self.config.dedupe_entries as usize);
                if self.window.overflowed {
                    self.blurred = true;
                    self.meet(Met::EntriesOverflow);
                }
            }
        }
        if commit && !self.leg.mute && (call.unanswered > 0 || !self.held.is_empty()) {
            self.held.push(said);
            let held: usize = self.held.iter().map(|said| said.raw.len()).sum();
            if held > self.config.commit_bytes {
                self.meet(Met::HoldFull);
                self.blurred = true;
                self.release();
            }
            return;
        }
        self.tape.put(said);
    }

    pub(super) fn release(&mut self) {
        if !self.held.is_empty() {
            self.meet(Met::HeldReleased);
        }
        for said in std::mem::take(&mut self.held) {
            self.tape.put(said);
        }
    }

    pub(super) fn drop_held(&mut self) {
        if !self.held.is_empty() {
            self.meet(Met::HeldDropped);
        }
        self.held.clear();
    }

    /// What the replies of one call acknowledge and show.
    fn replies(&mut self, call: &Call) {
        if call.replies == 0 {
            return;
        }
        self.leg.answered = self.now;
        let vague = self.is_order_vague();
        if !vague && call.unacked == 0 && self.leg.replies < self.leg.proven_count && self.order != PongOrder::Early {
            self.order = PongOrder::Early;
            self.meet(Met::EarlyPong);
            self.expected.push(Expected::Order(PongOrder::Early));
        }
        self.leg.replies += call.replies;
        if self.mode != AckMode::Reply {
            return self.isolated_one_done();
        }
        let mut surplus = 0;
        for _ in 0..call.replies {
            let next = self.ledger.kept.get(self.ledger.acked).map(|kept| kept.seq);
            match next.filter(|seq| *seq <= self.ledger.whole) {
                Some(seq) => self.acknowledge(seq),
                None => surplus += 1,
            }
        }
        if surplus > 0 {
            self.expected.push(Expected::FellBack);
            self.fall_back();
        }
    }

    pub(super) fn fall_back(&mut self) {
        self.meet(Met::Fallback);
        self.mode = AckMode::Pong;
        let proven = self.leg.proven;
        self.acknowledge(proven);
        self.blurred = true;
        self.settle();
    }

    /// A message may be dropped behind which a barrier is placed already: then the engine counts one more before that
    /// barrier than the leg gets, and what it learns of the order cannot be computed from the wires.
    pub(super) fn is_order_vague(&self) -> bool {
        self.config.on_full == OnFull::DropOldest
    }

    /// Whether messages that a barrier has proven read have waited too long for their answers.
    pub(super) fn is_unanswered(&self) -> bool {
        let first = self.ledger.kept.get(self.ledger.acked).map(|kept| kept.seq);
        self.mode == AckMode::Reply
            && self.link == Link::Attached
            && first.is_some_and(|first| first <= self.leg.proven)
            && self.now >= self.leg.answered + self.config.ack_timeout
    }

    // Pongs and acknowledgements.

    fn pong(&mut self, payload: &[u8]) {
        if self.mode == AckMode::Explicit
            && let Some(seq) = explicit_ack(payload)
        {
            return self.explicit(seq);
        }
        let Some(ping) = self.leg.ping.take_if(|ping| ping.payload == payload) else { return };
        self.leg.mute = false;
        self.leg.answered_any = true;
        if ping.seq > self.leg.proven {
            (self.leg.proven, self.leg.answered) = (ping.seq, self.now);
        }
        let exact = ping.count > self.leg.proven_count && self.leg.replies == ping.count;
        self.leg.streak = if exact { self.leg.streak + 1 } else { 0 };
        self.leg.proven_count = ping.count;
        if !self.is_order_vague() && self.leg.streak >= LATE_AFTER && self.order == PongOrder::Unknown {
            self.order = PongOrder::Late;
            self.meet(Met::LatePongs);
            self.expected.push(Expected::Order(PongOrder::Late));
        }
        if self.mode == AckMode::Pong {
            self.release();
            self.window.barrier(ping.seq);
            self.acknowledge(ping.seq);
            self.isolated_one_done();
        }
    }

    /// Alone on the leg, read and answered: nothing is waited for before the next.
    fn isolated_one_done(&mut self) {
        let ledger = &mut self.ledger;
        if self.mode == AckMode::Pong && ledger.is_isolated() && ledger.acked > 0 && self.leg.replies >= ledger.count {
            let seq = ledger.first().expect("isolated");
            ledger.forget(seq);
            ledger.lingering.retain(|(until, _)| *until > seq);
            self.settle();
        }
    }

    fn explicit(&mut self, seq: u64) {
        if seq > self.ledger.whole {
            self.meet(Met::AckAhead);
            return self.lose();
        }
        self.acknowledge(seq);
    }
}

enum Item {
    Said(Said),
    Pong(Vec<u8>),
    Close(Vec<u8>),
}

fn collect(piece: &Piece<'_>, partial: &mut Said, out: &mut Vec<Item>) {
    match *piece {
        Piece::Header { raw, opcode } => {
            partial.raw.extend_from_slice(raw);
            if opcode != codec::CONTINUATION {
                partial.opcode = opcode;
            }
        }
        Piece::Payload { plain, ends_message, .. } => {
            partial.raw.extend_from_slice(plain);
            partial.payload.extend_from_slice(plain);
            if ends_message {
                let empty = Said { opcode: codec::BINARY, payload: Vec::new(), raw: Vec::new() };
                out.push(Item::Said(std::mem::replace(partial, empty)));
            }
        }
        Piece::Control { opcode: codec::PONG, payload } => out.push(Item::Pong(payload.to_vec())),
        Piece::Control { opcode: codec::CLOSE, payload } => out.push(Item::Close(payload.to_vec())),
        Piece::Control { .. } => {}
    }
}

//! What acknowledges the client's messages, and what becomes of the backend's output by it.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::sabotage::{self, Sabotage};
use crate::time::Instant;

use super::ack::{PongOrder, parse_ack};
use super::config::{AckMode, Commit, Linger};
use super::downstream;
use super::ending::Phase;
use super::event::{Action, Event, Loss};
use super::leg::{Attachment, BackendLeg};
use super::poison::Isolation;
use super::ruled::{Judge, Ruled};
use super::{Epoch, Passed, Session, Tally, Treatment};

/// What `--ack-linger auto` is where pongs come early, or may.
const AUTO_LINGER: Duration = Duration::from_millis(250);
/// Where barriers acknowledge nothing, they only find hung backends: this is often enough.
const LIVENESS_INTERVAL: Duration = Duration::from_secs(1);

impl PongOrder {
    /// This if it is known, else `other`.
    pub(super) fn or(self, other: Self) -> Self {
        if self == Self::Unknown { other } else { self }
    }
}

impl Session {
    // Pongs and acknowledgements.

    pub(super) fn handle_backend_pong(&mut self, now: Instant, payload: &[u8]) {
        if self.ack == AckMode::Explicit && parse_ack(payload).is_some() {
            return self.handle_explicit_ack(now, payload);
        }
        let epoch = self.epoch;
        let Some(leg) = self.leg_mut() else { return };
        let first = !leg.pings.answered;
        let Some(barrier) = leg.pings.handle_pong(payload) else { return };
        leg.mute = false;
        if barrier.seq > leg.proven {
            (leg.proven, leg.proven_at, leg.answered) = (barrier.seq, now, now);
        }
        let late = leg.order.handle_barrier(barrier.messages);
        self.round_trip = barrier.written.and_then(|written| {
            let micros = now.since(written).as_micros().max(1);
            NonZeroU32::new(u32::try_from(micros).unwrap_or(u32::MAX))
        });
        if first {
            self.actions.push_back(Action::AnswersPings(epoch));
        }
        if late && self.order == PongOrder::Unknown {
            self.learn_order(PongOrder::Late);
        }
        if self.ack == AckMode::Reply {
            self.upstream.acknowledge_left_out(barrier.seq, &mut self.counters);
        }
        if matches!(self.ack, AckMode::Pong | AckMode::Rules) {
            self.counters.barriers += 1;
            self.counters.passed += self.downstream.release();
            self.downstream.handle_barrier(barrier.seq);
            let one_more = u64::from(sabotage::is(Sabotage::AckOffByOne));
            self.acknowledge(now, barrier.seq + one_more);
            self.settle_isolated();
        }
        self.check_done(now);
    }

    /// An acknowledgement of the session protocol, cumulative.
    pub(super) fn handle_explicit_ack(&mut self, now: Instant, payload: &[u8]) {
        let Some(seq) = parse_ack(payload) else { return };
        if seq > self.upstream.ring.written_seq() && !sabotage::is(Sabotage::AckAheadAccepted) {
            return self.lose_leg(now, Loss::AckAhead(seq));
        }
        self.acknowledge(now, seq);
        self.check_done(now);
    }

    fn acknowledge(&mut self, now: Instant, seq: u64) {
        let linger = self.linger();
        let until = (!linger.is_zero()).then(|| now + linger);
        if self.ack == AckMode::Rules {
            self.upstream.acknowledge_unkeyed(seq, until, &mut self.counters);
        } else {
            self.upstream.acknowledge(seq, until, &mut self.counters);
        }
        self.settle_forgotten();
    }

    /// What the client was told need not be remembered longer than what led to it.
    pub(super) fn settle_forgotten(&mut self) {
        let gone = self.gone();
        let ring = &self.upstream.ring;
        let empty = ring.retained() == 0;
        if let Some(ruled) = self.ruled.as_deref_mut() {
            ruled.settle(ring);
        }
        self.note_progress();
        if !sabotage::is(Sabotage::MemoryOutlivesInputs) {
            self.downstream.forget(gone, empty);
        }
    }

    /// Every message up to this one is forgotten.
    fn gone(&self) -> u64 {
        let ring = &self.upstream.ring;
        ring.first_retained().map_or(ring.last_seq(), |first| first - 1)
    }

    /// Messages may have been forgotten. If the leg brought the session so far, what killed backends before is past, and
    /// what was waited for them does not count. That a message was acknowledged again is no progress: a backend may die
    /// of it each time after its pong.
    pub(super) fn note_progress(&mut self) {
        let gone = self.gone();
        let further = gone > self.settled;
        self.settled = gone;
        if further && self.leg_mut().is_some_and(|leg| leg.heard) {
            self.deaths = 0;
            self.patience.reset();
        }
    }

    fn linger(&self) -> Duration {
        match (self.ack, self.config.ack_linger) {
            (AckMode::None | AckMode::Reply | AckMode::Explicit, _) => Duration::ZERO,
            (AckMode::Pong, _) if self.config.commit == Commit::Barrier => Duration::ZERO,
            (AckMode::Pong | AckMode::Rules, Linger::For(linger)) => linger,
            (AckMode::Pong | AckMode::Rules, Linger::Auto) if self.order == PongOrder::Late => Duration::ZERO,
            (AckMode::Pong | AckMode::Rules, Linger::Auto) => AUTO_LINGER,
        }
    }

    fn learn_order(&mut self, order: PongOrder) {
        self.order = order;
        self.actions.push_back(Action::Order(self.epoch, order));
    }

    // Barriers.

    /// Whether messages wait for a barrier.
    pub(super) fn wants_barrier(&self, leg: &BackendLeg) -> bool {
        let ring = &self.upstream.ring;
        if self.is_in_prelude() {
            return false;
        }
        if self.is_settling() && !self.is_proven(leg) {
            return true;
        }
        if self.upstream.halted {
            return self.ack == AckMode::Pong && self.downstream.is_holding();
        }
        if self.isolation() == Isolation::Waiting {
            return self.ack == AckMode::Pong && self.downstream.is_holding();
        }
        if let Some(stop) = self.upstream.next_stop() {
            return self.ack != AckMode::None && stop.seq > leg.proven;
        }
        match self.ack {
            AckMode::None => false,
            AckMode::Pong => ring.unacknowledged() > 0 || self.downstream.is_holding(),
            // What a barrier has proven read waits for something else.
            AckMode::Reply | AckMode::Explicit | AckMode::Rules => {
                ring.unacknowledged() > 0 && ring.last_seq() > leg.proven
            }
        }
    }

    /// The least time between two barriers.
    pub(super) fn barrier_interval(&self) -> Duration {
        match self.ack {
            AckMode::None | AckMode::Pong | AckMode::Reply | AckMode::Rules => self.config.ack_interval,
            AckMode::Explicit => self.config.ack_interval.max(LIVENESS_INTERVAL),
        }
    }

    // Output.

    /// Takes bytes of the backend that are for the client.
    pub(super) fn receive_output(
        &mut self,
        now: Instant,
        data: &[u8],
        acks: bool,
    ) -> (Passed, Option<downstream::Incoming>) {
        let (mut run, epoch) = (0, self.epoch);
        loop {
            let (passed, incoming) = self.receive_some_output(now, data.split_at(run), acks);
            let consumed = run + passed.consumed;
            if passed.direct.len() < passed.consumed || incoming.is_some() || passed.consumed == 0 {
                // What was there before it is kept, if anything was.
                return (Passed { consumed, direct: passed.direct }, incoming);
            }
            run = consumed;
            if !self.may_run_on(epoch, &data[run..]) {
                return (Passed { consumed: run, direct: 0..run }, None);
            }
        }
    }

    /// Whether rules are asked about the next message before those are written that they let pass: each of them took its
    /// effect, and one write is enough for all.
    fn may_run_on(&self, epoch: Epoch, rest: &[u8]) -> bool {
        let Attachment::Attached(leg) = &self.backend else { return false };
        let goes_on = matches!(self.phase, Phase::Relaying) && epoch == self.epoch && !leg.closed;
        goes_on && self.ruled.as_deref().is_some_and(Ruled::looks_whole) && self.downstream.begins_whole(rest)
    }

    /// As [`Self::receive_output`] of what is behind the first part, which is a run of messages that nobody has written.
    fn receive_some_output(
        &mut self,
        now: Instant,
        (run, data): (&[u8], &[u8]),
        acks: bool,
    ) -> (Passed, Option<downstream::Incoming>) {
        let ruled = self.ruled.as_deref().is_some_and(Ruled::looks_at_backends);
        let ring = &self.upstream.ring;
        // What is not on the leg yet is not what it answers.
        let (retained, unacknowledged) = (ring.on_leg() > 0, ring.on_leg_unacknowledged() > 0);
        let commit = self.config.commit == Commit::Barrier && self.ack == AckMode::Pong;
        // What a message that rules looked at has changed could not be undone if it were held and dropped.
        let commit = commit && !ruled && !sabotage::is(Sabotage::NothingHeld);
        let treatment = Treatment {
            // With `reply`, what was answered is forgotten; with commit, what was not is not passed: a new leg
            // repeats nothing that the client was told.
            record: self.ack == AckMode::Pong && !commit && !self.is_deaf() && retained,
            hold: commit && !self.is_mute() && !self.is_deaf() && (unacknowledged || self.downstream.is_holding()),
            acks,
        };
        let mut tally = Tally::default();
        let judge = self.ruled.as_deref_mut().filter(|_| ruled);
        let mut outcome = match judge.map(|ruled| Judge { ruled, ring: &self.upstream.ring, now }) {
            Some(mut judge) => self.downstream.receive_judged((run, data), treatment, &mut tally, &mut judge),
            None => self.downstream.receive(data, treatment, &mut tally),
        };
        if self.is_deaf() {
            outcome.0.direct = 0..0;
            self.downstream.discard();
        } else {
            self.counters.passed += tally.passed;
            self.counters.swallowed += tally.swallowed;
        }
        if self.downstream.held_bytes() > self.config.commit_bytes as u64 {
            self.release_output();
        }
        if outcome.0.consumed > 0 && outcome.1.is_none() {
            self.answers.handle_data(now);
            self.limits.handle_data(now);
        }
        if let Some(ruled) = self.ruled.as_deref_mut() {
            tally.replies -= ruled.take_unmatched(tally.replies);
        }
        if tally.replies > 0 {
            self.handle_replies(now, tally.replies);
        }
        if ruled {
            self.follow_rules(now);
        }
        outcome
    }

    /// Held output goes out without a barrier.
    pub(super) fn release_output(&mut self) {
        let released = self.downstream.release();
        self.counters.passed += released;
        self.counters.released += u64::from(released > 0);
    }

    fn handle_replies(&mut self, now: Instant, replies: u64) {
        let unacknowledged = self.upstream.ring.unacknowledged();
        self.answers.handle_replies(now, replies);
        let Some(leg) = self.leg_mut() else { return };
        leg.answered = now;
        let early = leg.order.handle_replies(replies, unacknowledged == 0);
        if early && self.order != PongOrder::Early {
            self.learn_order(PongOrder::Early);
        }
        if self.ack == AckMode::Reply {
            let surplus = self.upstream.acknowledge_replies(replies, &mut self.counters);
            self.settle_forgotten();
            if surplus > 0 {
                self.fall_back(now);
            }
        }
        self.settle_isolated();
    }

    /// In isolation, a message that has its pong and its answer is done with: it need not linger while the next waits.
    /// The longer it stood alone, the more deaths that others cause would be laid to its charge.
    fn settle_isolated(&mut self) {
        let Attachment::Attached(leg) = &self.backend else { return };
        if self.ack == AckMode::Pong && self.upstream.forget_isolated(leg.order.replies(), &mut self.counters) {
            self.settle_forgotten();
        }
    }

    // `reply` that is not one a message.

    /// When messages that a barrier has proven read count as never to be answered.
    pub(super) fn unanswered_at(&self) -> Option<Instant> {
        let Attachment::Attached(leg) = &self.backend else { return None };
        let first = match self.ack {
            AckMode::Reply => self.upstream.ring.first_unacknowledged()?,
            AckMode::Rules => self.upstream.next_stop()?.seq,
            AckMode::None | AckMode::Pong | AckMode::Explicit => return None,
        };
        (first <= leg.proven).then(|| leg.answered + self.config.ack_timeout)
    }

    /// What a barrier has proven read was not answered for too long.
    pub(super) fn handle_unanswered(&mut self, now: Instant) {
        match self.ack {
            AckMode::Reply => self.fall_back(now),
            // In isolation: the next need not wait for it.
            AckMode::Rules => self.upstream.pass_stop(),
            AckMode::None | AckMode::Pong | AckMode::Explicit => {}
        }
    }

    /// Pongs and replies contradict each other: from here on, pongs acknowledge.
    pub(super) fn fall_back(&mut self, now: Instant) {
        self.ack = AckMode::Pong;
        self.counters.fallbacks += 1;
        self.tell(Event::FellBack);
        let proven = self.leg_mut().map_or(0, |leg| leg.proven);
        self.acknowledge(now, proven);
    }
}

//! Ends of legs and of the session: what they must lead to, and whether what the engine says of itself was justified.

use std::time::Duration;

use tideover_protocol::session::{
    AckMode, AttachRequest, BackendTraits, EndReason, Event, Loss, OnAmbiguous, OnExpired, OnPoison, Poisoned,
    PongOrder, Reattach, Verdict, Weight,
};
use tideover_protocol::time::Instant;

use super::told::close_code;
use super::{Fate, Leg, Link, Phase, Shadow};
use crate::coverage::Met;

/// How a leg ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LegEnd {
    Close(Vec<u8>),
    Eof,
}

/// What the engine has yet to say about what it was just told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Ask,
    Lost,
    End,
    FellBack,
    RingFull,
    Order(PongOrder),
    Poisoned(u64, u8),
}

/// The last that the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// A Close with this payload.
    Exactly(Vec<u8>),
    /// A Close with this code.
    Code(u16),
    /// The stream just ends.
    Eof,
    /// There is no client to tell.
    Nobody,
}

/// Halvings of the probability that a death came by chance: six are a whole death.
fn bits_of(weight: Weight) -> u32 {
    let of = |bits| weight == Weight::of_chance(1.0 / f64::from(1_u32 << bits));
    (0..=6).find(|bits| of(*bits)).expect("a weight of up to six bits")
}

impl Shadow {
    // The end of a leg.

    pub(crate) fn end_of_stream(&mut self, now: Instant) {
        self.now = now;
        if self.link == Link::Attached && !self.leg.closed {
            self.leg_ended(LegEnd::Eof);
        }
    }

    /// The backend broke the protocol.
    pub(crate) fn breached(&mut self, now: Instant) {
        self.now = now;
        if !self.leg.closed {
            self.meet(Met::ProtocolError);
            self.lose();
        }
    }

    pub(crate) fn leg_ended(&mut self, end: LegEnd) {
        self.leg.closed = true;
        let code = if let LegEnd::Close(payload) = &end { Some(close_code(payload)) } else { None };
        match self.phase.clone() {
            Phase::Ending | Phase::Ended => {}
            Phase::Closing(close, _) if self.leg.close_written && code == Some(close_code(&close)) => {
                self.meet(Met::EchoedClose);
                let seq = self.ledger.whole;
                self.ledger.acknowledge(seq, None);
                self.forward(end);
            }
            Phase::Closing(close, _) if self.leg.close_written && self.ledger.unacked() == 0 => {
                // The stream's end is told as the Close that it answers, and the leg is left as it is.
                self.leg.closed = end != LegEnd::Eof;
                let end = if end == LegEnd::Eof { LegEnd::Close(close) } else { end };
                self.forward(end);
            }
            Phase::Orphaned(_) if self.ledger.unacked() == 0 => self.end(Goodbye::Nobody),
            Phase::Relaying | Phase::Closing(..) | Phase::Orphaned(_) => self.judge(end, code),
        }
    }

    /// DESIGN, "When a backend leg ends".
    fn judge(&mut self, end: LegEnd, code: Option<Option<u16>>) {
        if self.config.reattach == Reattach::Never {
            return self.forward(end);
        }
        match code {
            Some(Some(1001 | 1012 | 1013 | 1014)) => self.lose(),
            Some(Some(1011) | None) | None => match self.config.on_ambiguous {
                OnAmbiguous::Failover => self.death(end, Weight::WHOLE),
                OnAmbiguous::End => self.forward(end),
                OnAmbiguous::Probe => {
                    self.expected.push(Expected::Ask);
                    self.link = Link::Asking(end);
                }
            },
            Some(Some(_)) => self.forward(end),
        }
    }

    pub(crate) fn answered(&mut self, now: Instant, verdict: Verdict, weight: Weight) {
        self.now = now;
        match (self.link.clone(), verdict) {
            (Link::Asking(end), Verdict::Dying) => {
                self.link = Link::Attached;
                self.death(end, weight);
            }
            (Link::Asking(end), Verdict::Healthy) => {
                self.meet(Met::HealthyEnd);
                self.link = Link::Attached;
                self.forward(end);
            }
            (Link::Attached, Verdict::Dying) if self.leg.suspect => {
                self.meet(Met::Hung);
                self.lose();
            }
            _ => {}
        }
    }

    /// The client sees this end.
    fn forward(&mut self, end: LegEnd) {
        let goodbye = match (&self.phase, end) {
            (Phase::Orphaned(_), _) => Goodbye::Nobody,
            (_, LegEnd::Close(payload)) => Goodbye::Exactly(payload),
            (Phase::Closing(..), LegEnd::Eof) => self.own_answer(),
            (_, LegEnd::Eof) => Goodbye::Eof,
        };
        self.end(goodbye);
    }

    /// What answers the client's Close without a backend.
    fn own_answer(&mut self) -> Goodbye {
        let Phase::Closing(close, _) = self.phase.clone() else { return Goodbye::Nobody };
        if self.ledger.unacked() == 0 {
            return Goodbye::Exactly(close);
        }
        self.meet(Met::Close1012);
        Goodbye::Code(1012)
    }

    fn end(&mut self, goodbye: Goodbye) {
        self.expected.push(Expected::End);
        self.settle_end(goodbye);
    }

    pub(super) fn settle_end(&mut self, goodbye: Goodbye) {
        self.goodbye.get_or_insert(goodbye);
        if !self.deaf {
            self.release();
        }
        if self.link != Link::Attached {
            self.link = Link::None;
        }
        self.phase = Phase::Ending;
    }

    // Deaths.

    fn death(&mut self, end: LegEnd, weight: Weight) {
        if self.mode == AckMode::None || self.leg.mute {
            return self.lose();
        }
        let had = self.ledger.on_leg();
        if had == 0 {
            return self.lose();
        }
        let isolated = self.ledger.is_isolated();
        let against = if !isolated || self.leg.turn == self.ledger.first() { bits_of(weight) } else { 0 };
        let bits = if had == 1 && isolated { against } else { 0 };
        if against < bits_of(Weight::WHOLE) {
            self.meet(Met::DeathInDoubt);
        }
        let kept = &mut self.ledger.kept[0];
        kept.weight += bits;
        kept.deaths = kept.deaths.saturating_add(u8::from(bits > 0));
        let (seq, deaths) = (kept.seq, kept.deaths);
        if had == 1 && kept.weight >= bits_of(Weight::WHOLE) * u32::from(self.config.max_replays) {
            return self.poison(seq, deaths, end);
        }
        self.deaths += against;
        if self.deaths >= 2 * bits_of(Weight::WHOLE) {
            self.meet(Met::Isolation);
            self.ledger.isolated = self.ledger.isolated.max(self.ledger.kept[had - 1].seq);
        }
        self.lose();
    }

    fn poison(&mut self, seq: u64, deaths: u8, end: LegEnd) {
        self.meet(Met::Poison);
        self.expected.push(Expected::Poisoned(seq, deaths));
        self.deaths = 0;
        self.ledger.rewind();
        self.ledger.remove(0, Fate::Poisoned);
        self.settle();
        match self.config.on_poison {
            OnPoison::Drop => self.lose(),
            OnPoison::Close => self.forward(end),
        }
    }

    /// The leg is given up.
    pub(crate) fn lose(&mut self) {
        self.leg.closed = true;
        if self.is_over() {
            return;
        }
        if matches!(self.phase, Phase::Orphaned(_)) && self.ledger.unacked() == 0 {
            return self.end(Goodbye::Nobody);
        }
        let taken = !self.ledger.fates.values().all(|fate| matches!(fate, Fate::Poisoned | Fate::Expired));
        let whole = self.ledger.forgotten == 0 && !taken;
        let refused = match self.config.reattach {
            Reattach::Never => Some(1014),
            Reattach::Whole if !whole => Some(1012),
            Reattach::Whole | Reattach::Always => None,
        };
        let Some(code) = refused else {
            self.expected.push(Expected::Lost);
            return;
        };
        self.meet(Met::NotWhole);
        self.end_detached(code);
        self.expected.push(Expected::End);
    }

    fn end_detached(&mut self, code: u16) {
        let goodbye = match self.phase {
            Phase::Closing(..) => self.own_answer(),
            Phase::Orphaned(_) => Goodbye::Nobody,
            _ => Goodbye::Code(code),
        };
        self.link = Link::None;
        self.settle_end(goodbye);
    }

    // What the engine says.

    fn was_expected(&mut self, what: &Expected) -> bool {
        let found = self.expected.iter().position(|expected| expected == what);
        found.map(|index| self.expected.remove(index)).is_some()
    }

    pub(crate) fn told(&mut self, event: Event) {
        match event {
            Event::LegLost { loss, .. } => self.leg_lost(loss),
            Event::Attached { replayed, .. } => {
                let touched = self.ledger.touched;
                let again = self.ledger.kept.partition_point(|kept| kept.seq <= touched);
                assert_eq!(replayed, again, "law 8: replayed");
                self.coverage.replayed += replayed as u64;
            }
            Event::Migrated(epoch) => self.migrated(epoch),
            Event::MigrationFailed(why) => self.not_migrated(why),
            Event::Suspect(_) => self.suspect(),
            Event::Cleared(_) => self.leg.suspect = false,
            Event::FellBack if self.was_expected(&Expected::FellBack) => {}
            Event::FellBack => {
                assert!(self.is_unanswered(), "law 10: it falls back without a contradiction");
                self.meet(Met::Unanswered);
                self.fall_back();
            }
            Event::HoldFailed { .. } | Event::PinRefused => panic!("rules: there are none"),
            // When a client's bytes are taken is the engine's choice; what becomes of them is judged.
            Event::Slowed(_) => {}
            Event::ClientVanished => assert!(matches!(self.phase, Phase::Orphaned(_)), "law 10: the client is there"),
            Event::Ending(reason) => self.ending(reason),
        }
    }

    fn leg_lost(&mut self, loss: Loss) {
        if !self.was_expected(&Expected::Lost) {
            let hung = loss == Loss::Hung && self.is_hung();
            let unsettled = loss == Loss::Unsettled && self.is_unsettled();
            assert!(hung || unsettled, "law 10: a leg is given up ({loss}) without proof");
            self.meet(if hung { Met::HangTimeout } else { Met::MigrationUnsettled });
        }
        self.meet(Met::Failover);
        if self.ledger.is_inside() {
            self.meet(Met::HalfFrameReplayed);
        }
        if self.epoch > 1
            && self.ledger.kept.iter().any(|kept| kept.seq > self.ledger.whole && kept.seq <= self.ledger.touched)
        {
            self.meet(Met::DeathInsideReplay);
        }
        if !self.leg.collector.splitter.is_between_messages() {
            self.meet(Met::HalfMessageCut);
        }
        self.drop_held();
        self.ledger.rewind();
        self.leg.closed = true;
        self.link = Link::Waiting;
        if matches!(loss, Loss::Hung | Loss::Unsettled) {
            // Time has passed, and what is too old goes in the same step.
            self.expire();
        }
    }

    /// Whether the leg has been suspect for `--hang-timeout`.
    fn is_hung(&self) -> bool {
        let timeout = self.config.hang_timeout.unwrap_or(Duration::MAX);
        self.leg.suspect && self.now.since(self.leg.moved) >= timeout
    }

    /// A leg is suspect only after a deadline, and not if it never answered a ping.
    fn suspect(&mut self) {
        let least = self.config.ack_timeout.min(self.config.ping_timeout);
        assert!(self.now.since(self.leg.moved) >= least, "law 10: slow is taken for suspect");
        self.leg.suspect = true;
    }

    pub(crate) fn asked(&mut self, ended: bool) {
        if ended {
            assert!(self.was_expected(&Expected::Ask), "law 10: asked about a leg that has not ended");
        } else {
            assert!(self.leg.suspect, "law 10: asked about a leg that is not suspect");
        }
    }

    pub(crate) fn learned(&mut self, order: PongOrder) {
        if self.is_order_vague() {
            self.order = order;
        } else {
            assert!(self.was_expected(&Expected::Order(order)), "linger: it learned {order:?} from nothing");
        }
    }

    pub(crate) fn poisoned(&mut self, poisoned: &Poisoned) {
        let expected = Expected::Poisoned(poisoned.seq, poisoned.deaths);
        assert!(self.was_expected(&expected), "poison: {} is set aside", poisoned.seq);
    }

    fn ending(&mut self, reason: EndReason) {
        if self.was_expected(&Expected::End) {
            return;
        }
        if self.was_expected(&Expected::RingFull) {
            assert_eq!(reason, EndReason::RingFull, "law 10");
            self.meet(Met::FullRing);
            return;
        }
        match reason {
            EndReason::ClientVanished => {
                assert!(matches!(self.phase, Phase::Orphaned(_)), "law 10: the client is there");
                self.settle_end(Goodbye::Nobody);
            }
            EndReason::ClientClosed => {
                let Phase::Closing(_, since) = self.phase else { panic!("law 10: the client has not closed") };
                let late = self.now >= since + self.config.close_timeout;
                let alone = matches!(self.link, Link::Waiting | Link::Dialling);
                assert!(late || alone, "law 10: the backend had more time to close");
                let goodbye = self.own_answer();
                self.settle_end(goodbye);
            }
            EndReason::NoBackend => {
                assert!(matches!(self.link, Link::Waiting | Link::Dialling), "law 10: there is a leg");
                self.meet(Met::NoBackend);
                self.end_detached(1013);
            }
            EndReason::Expired => {
                assert_eq!(self.config.on_expired, OnExpired::Close, "law 1: expired");
                assert!(self.is_expired(), "law 10: no message is too old");
                self.meet(Met::Expired);
                self.end_detached(1013);
            }
            EndReason::NotWhole if self.is_hung() => {
                self.lose();
                assert!(self.was_expected(&Expected::End), "law 10: it can be attached again");
            }
            other => panic!("law 10: it ends: {other}"),
        }
    }

    pub(crate) fn denied(&mut self) {
        self.meet(Met::Denied);
        self.end_detached(1008);
        self.expected.push(Expected::End);
    }

    /// The leg is left to the driver. While the session goes on, an event says why.
    pub(crate) fn retired(&mut self) {
        self.leg.closed |= self.is_over();
    }

    pub(crate) fn over(&mut self) {
        assert!(self.is_over(), "law 10: the session is over without a reason");
        if self.ledger.unacked() > 0 {
            self.meet(Met::Abandoned);
        }
        for kept in self.ledger.kept.iter().skip(self.ledger.acked) {
            self.ledger.fates.insert(kept.seq, Fate::Abandoned);
        }
        self.phase = Phase::Ended;
    }

    // Between two legs.

    fn is_expired(&self) -> bool {
        let (Some(age), Some(oldest)) = (self.config.replay_max_age, self.ledger.kept.front()) else { return false };
        oldest.received + age.as_millis() as u64 <= self.now.since(self.began).as_millis() as u64
    }

    /// Messages too old are not replayed; judged whenever there is no leg and none is being dialled.
    pub(crate) fn expire(&mut self) {
        if self.config.on_expired != OnExpired::DropPrefix {
            return;
        }
        while self.is_expired() {
            self.meet(Met::Expired);
            self.ledger.remove(0, Fate::Expired);
        }
        self.ledger.rewind();
        self.settle();
    }

    pub(crate) fn dials(&mut self, request: &AttachRequest) {
        assert_eq!(self.link, Link::Waiting, "law 6: it dials while it is {:?}", self.link);
        self.expire();
        assert!(!self.is_expired(), "law 1: a message that is too old will be replayed");
        let expected = AttachRequest {
            pinned: Some(0),
            epoch: self.epoch + 1,
            next_seq: Some(self.ledger.first().unwrap_or(self.ledger.last + 1)),
            delivered: if self.deaf { request.delivered } else { Some(self.tape.passed) },
            explicit: self.mode == AckMode::Explicit,
            // How long is the story's to tell.
            spare_last: request.spare_last && self.ledger.is_isolated(),
        };
        assert_eq!(*request, expected, "session protocol: what the handshake says");
        self.link = Link::Dialling;
    }

    pub(crate) fn dial_failed(&mut self, now: Instant) {
        self.now = now;
        self.meet(Met::LostDial);
        self.link = Link::Waiting;
    }

    pub(crate) fn attached(&mut self, now: Instant, traits: BackendTraits) {
        self.now = now;
        assert_eq!(self.link, Link::Dialling, "law 6: nobody dialled");
        self.epoch += 1;
        self.link = Link::Attached;
        self.ledger.rewind();
        if matches!(self.phase, Phase::Orphaned(_)) {
            self.ledger.tail.clear();
        }
        if self.mode == AckMode::Explicit && !self.ledger.kept.is_empty() {
            self.meet(Met::ExplicitReplay);
        }
        self.leg = Leg::new(now, traits);
        if traits.order != PongOrder::Unknown {
            self.order = traits.order;
        }
        self.window.begin_leg();
        if traits.mute {
            self.muted();
        }
    }
}

//! The session while a new leg is written its prelude, and when that fails.

use crate::frame::{ControlFrame, ControlPayload, Opcode};
use crate::sabotage::{self, Sabotage};
use crate::session::Session;
use crate::session::config::AckMode;
use crate::session::ending::{Phase, going_away};
use crate::session::event::{EndReason, Event, HoldFailure};
use crate::session::leg::{Attachment, LegEnd};
use crate::session::outlet::{Control, Gather};
use crate::session::poison::Isolation;
use crate::time::Instant;

impl Session {
    // Where it stands.

    /// Whether the leg is written its prelude, or an answer to that is waited for, before anything else.
    #[inline(always)]
    pub(in crate::session) fn is_in_prelude(&self) -> bool {
        self.ruled.is_some() && self.has_active_prelude()
    }

    fn has_active_prelude(&self) -> bool {
        let active = self.ruled.as_deref().is_some_and(|ruled| ruled.prelude.is_active());
        active && matches!(self.backend, Attachment::Attached(_))
    }

    /// Whether what the client says can be on the leg: there is one, and it is past its prelude.
    pub(super) fn is_past_prelude(&self) -> bool {
        matches!(self.backend, Attachment::Attached(_)) && !self.is_in_prelude()
    }

    /// Whether the leg counts as an attempt still: an answer is waited for without which nothing goes on.
    pub(in crate::session) fn is_in_hold(&self) -> bool {
        self.is_in_prelude() && self.ruled.as_deref().is_some_and(|ruled| ruled.prelude.waits())
    }

    /// When the answer that is waited for is late.
    #[inline(always)]
    pub(in crate::session) fn hold_over_at(&self) -> Option<Instant> {
        if self.ruled.is_none() { None } else { self.answer_late_at() }
    }

    fn answer_late_at(&self) -> Option<Instant> {
        let since = self.ruled.as_deref()?.prelude.waits_since()?;
        let waits = !matches!(self.phase, Phase::Ending(_) | Phase::Ended) && self.open_leg().is_some();
        waits.then(|| since + self.config.hold_timeout)
    }

    // Its way.

    /// A handshake is about to say how many pinned messages come first.
    pub(in crate::session) fn freeze_prelude(&mut self) -> u32 {
        let ring = &self.upstream.ring;
        self.ruled.as_deref_mut().map_or(0, |ruled| ruled.freeze(ring, self.upstream.gapless))
    }

    /// A new leg is there, after a wait since `since`; it has been rewound.
    pub(in crate::session) fn begin_prelude(&mut self, now: Instant, since: Instant) {
        let waits = self.ruled.as_deref().is_some_and(|ruled| ruled.prelude.waits());
        if !waits {
            self.patience.handle_attached(since, now);
        }
        let Some(ruled) = self.ruled.as_deref_mut() else { return };
        ruled.begin_leg(now, since);
        if !sabotage::is(Sabotage::PinSentTwice) {
            self.upstream.ring.leave_out(ruled.prelude.seqs());
        }
    }

    /// Goes on to the ring where the prelude is through.
    pub(in crate::session) fn pass_prelude(&mut self, now: Instant) {
        let (Some(ruled), Attachment::Attached(leg)) = (self.ruled.as_deref_mut(), &self.backend) else { return };
        if !ruled.prelude.is_through() || !leg.outlet.is_free() {
            return;
        }
        ruled.prelude.finish();
        ruled.closed_in_hold = false;
        if let Some(since) = ruled.prelude.waiting_since.take() {
            self.patience.handle_attached(since, now);
        }
        let changes = ruled.translate_retained(&self.upstream.ring, &mut self.keys);
        if !changes.is_empty() {
            self.counters.translated += changes.len() as u64;
            self.upstream.replace(&changes);
        }
        if self.ack == AckMode::None {
            self.upstream.acknowledge(self.upstream.ring.written_seq(), None, &mut self.counters);
        }
    }

    /// In isolation, a pinned message that may be what kills waits for its turn as any other does.
    fn is_prelude_awaiting_turn(&self) -> bool {
        let stop = self.upstream.next_stop().filter(|_| self.upstream.isolation() == Isolation::Waiting);
        let has = |seq| self.ruled.as_deref().is_some_and(|ruled| ruled.prelude.seqs().any(|pinned| pinned == seq));
        stop.is_some_and(|stop| has(stop.seq))
    }

    pub(in crate::session) fn gather_prelude<'a>(&'a self, out: &mut Gather<'a>) {
        if self.is_prelude_awaiting_turn() {
            return;
        }
        if let (Some(ruled), Attachment::Attached(leg)) = (self.ruled.as_deref(), &self.backend) {
            ruled.prelude.gather(&leg.outlet, out);
        }
    }

    /// Inside a prelude only pings are answered, and sent that keep the leg alive.
    pub(in crate::session) fn place_in_prelude(&mut self, now: Instant) {
        let (Some(ruled), Attachment::Attached(leg)) = (self.ruled.as_deref(), &mut self.backend) else { return };
        if leg.closed || leg.outlet.is_dead() || !leg.outlet.is_free() {
            return;
        }
        let at = ruled.prelude.border();
        if let Some(ping) = leg.outlet.take_pong() {
            let frame = ControlFrame::new(Opcode::Pong, ping.as_bytes(), Some(self.keys.mask()));
            leg.outlet.place(Control::Pong, frame, at);
        } else if leg.pings.due && leg.pings.in_flight().is_none() {
            let frame = leg.pings.next(now, (0, 0), false, Some(self.keys.mask()));
            leg.outlet.place(Control::Ping, frame, at);
        }
    }

    pub(in crate::session) fn handle_prelude_written(&mut self, now: Instant, len: usize) {
        let (Some(ruled), Attachment::Attached(leg)) = (self.ruled.as_deref_mut(), &mut self.backend) else { return };
        if leg.outlet.is_dead() || len == 0 {
            return;
        }
        let before = ruled.prelude.before_control(&leg.outlet);
        let written = leg.outlet.written(len, before);
        let cleared = leg.live.handle_written(now);
        if written.control == Some(Control::Ping) {
            leg.pings.handle_written(now);
        }
        self.counters.pins_sent += ruled.prelude.advance(written.data);
        self.note_reading(now);
        if cleared {
            self.tell(Event::Cleared(self.epoch));
        }
        self.check_done(now);
    }

    /// Whether the leg stands between two frames, so that a farewell may be written.
    pub(in crate::session) fn is_at_border(&self) -> bool {
        match self.ruled.as_deref() {
            Some(ruled) if ruled.prelude.is_active() => ruled.prelude.is_at_border(),
            _ => self.upstream.is_at_border(),
        }
    }

    // Its failure.

    /// The leg ended while an answer was waited for. If that was the application's word twice, it is for the client.
    pub(in crate::session) fn handle_end_in_hold(&mut self, now: Instant, end: LegEnd) {
        let said = matches!(end, LegEnd::Close(_)) && self.is_final(&end);
        let Some(ruled) = self.ruled.as_deref_mut() else { return };
        let again = std::mem::replace(&mut ruled.closed_in_hold, said);
        if said && again {
            return self.forward(now, end);
        }
        let farewell = if let LegEnd::Close(payload) = end { Some(*payload) } else { None };
        self.fail_hold(now, farewell, HoldFailure::Ended);
    }

    /// The leg did not end by the application's word while an answer was waited for.
    pub(in crate::session) fn note_no_close_in_hold(&mut self) {
        if let Some(ruled) = self.ruled.as_deref_mut() {
            ruled.closed_in_hold = false;
        }
    }

    pub(in crate::session) fn time_out_hold(&mut self, now: Instant) {
        self.fail_hold(now, Some(going_away()), HoldFailure::TimedOut);
    }

    /// The leg is given up as an attempt that failed, not as one that died.
    pub(in crate::session) fn fail_hold(&mut self, now: Instant, farewell: Option<ControlPayload>, why: HoldFailure) {
        let since = self.ruled.as_deref_mut().and_then(|ruled| ruled.prelude.waiting_since.take());
        let epoch = self.epoch;
        self.retire(farewell);
        match self.phase {
            Phase::Ending(_) | Phase::Ended => return self.check_done(now),
            Phase::Orphaned { .. } if self.upstream.ring.unacknowledged() == 0 => {
                return self.finish(EndReason::ClientVanished);
            }
            Phase::Orphaned { .. } | Phase::Relaying | Phase::Closing(_) => {}
        }
        self.counters.holds_failed += 1;
        if why != HoldFailure::Ended {
            self.note_no_close_in_hold();
        }
        self.leave_leg();
        self.tell(Event::HoldFailed { epoch, why });
        if let Some((code, text)) = self.cannot_attach_again() {
            return self.end_not_whole(now, code, text);
        }
        let delay = self.patience.next_delay();
        self.backend = Attachment::Waiting { since: since.unwrap_or(now), until: now + delay };
        if delay.is_zero() {
            self.dial(now);
        }
    }
}

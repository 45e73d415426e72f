//! What the end of a backend leg means, and how a session comes to its end.

use std::time::Duration;

use crate::close::{CloseCode, ClosePayload};
use crate::frame::{ControlFrame, ControlPayload, FrameError, Opcode};
use crate::sabotage::{self, Sabotage};
use crate::time::Instant;

use super::config::{AckMode, OnAmbiguous, Reattach};
use super::event::{Action, AttachRequest, EndReason, Event, Hindrance, HoldFailure, Loss, Side};
use super::leg::{Attachment, BackendLeg, LegEnd};
use super::limits::Limit;
use super::poison::Weight;
use super::{Session, Verdict};

/// Where a session is in its life.
///
/// ```text
///   Relaying --client Close--> Closing --+--> Ending --> Ended
///      |  \--client vanished--> Orphaned-|------------>
///      +------ any reason to end --------+
/// ```
#[derive(Debug)]
pub(super) enum Phase {
    Relaying,
    /// The client's Close waits for its turn behind the messages, or for the backend's answer.
    Closing(Box<Closing>),
    /// The client vanished; what it sent is still delivered.
    Orphaned {
        deadline: Instant,
    },
    /// The client is told that it is over, after what was already passed to it.
    Ending(Box<Ending>),
    Ended,
}

#[derive(Debug)]
pub(super) struct Closing {
    pub(super) payload: ControlPayload,
    deadline: Instant,
    /// The client did not close: it broke the protocol or a rule, or went beyond a limit, and is told so at the end.
    broken: Option<EndReason>,
}

#[derive(Debug)]
pub(super) struct Ending {
    /// The Close for the client; `None` where it sees an end of stream.
    close: Option<ControlPayload>,
    placed: bool,
    written: bool,
    deadline: Instant,
    /// The Close for the backend: the client's answer or, without one, our own word.
    farewell: Option<ControlPayload>,
}

impl Phase {
    pub(super) fn close_was_placed(&self) -> bool {
        matches!(self, Self::Ending(ending) if ending.placed)
    }

    /// The Close to write to the client now.
    pub(super) fn close_to_place(&mut self) -> Option<ControlPayload> {
        let Self::Ending(ending) = self else { return None };
        ending.placed |= ending.close.is_some();
        ending.close
    }

    pub(super) fn handle_close_written(&mut self) {
        if let Self::Ending(ending) = self {
            ending.written = true;
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Closing(closing) => Some(closing.deadline),
            Self::Orphaned { deadline } => Some(*deadline),
            Self::Ending(ending) => Some(ending.deadline),
            Self::Relaying | Self::Ended => None,
        }
    }
}

/// What the end of a leg says (DESIGN, "When a backend leg ends").
enum Meaning {
    GoesAway(CloseCode),
    Ambiguous,
    Final,
}

/// How long a session that replays one by one waits for another backend than the last healthy one.
const SPARE_FOR: Duration = Duration::from_secs(5);

/// Longest reason of a Close (RFC 6455 5.5: 125 bytes less the code).
const MAX_REASON: usize = 123;

fn close_payload(code: CloseCode, reason: &str) -> ControlPayload {
    let mut payload = code.get().to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(MAX_REASON)]);
    ControlPayload::new(&payload, None)
}

/// What a backend is told whose leg is left though nothing is wrong with it.
pub(super) fn going_away() -> ControlPayload {
    close_payload(CloseCode::GOING_AWAY, "")
}

fn code_of(payload: &ControlPayload) -> Option<CloseCode> {
    ClosePayload::parse(payload.as_bytes()).ok().and_then(|close| close.code)
}

impl Session {
    // The client.

    pub(super) fn handle_client_close(&mut self, now: Instant, payload: ControlPayload) {
        self.client.closed = true;
        self.give_up_migration(Hindrance::Ending);
        match &mut self.phase {
            Phase::Relaying => {
                self.upstream.stop();
                let deadline = now + self.config.close_timeout;
                self.phase = Phase::Closing(Box::new(Closing { payload, deadline, broken: None }));
            }
            Phase::Ending(ending) => ending.farewell = Some(payload),
            Phase::Closing(_) | Phase::Orphaned { .. } | Phase::Ended => {}
        }
        self.check_done(now);
    }

    /// The client's stream ended.
    pub(super) fn handle_client_end(&mut self, now: Instant) {
        self.client.ended = true;
        self.client.outlet.kill();
        self.downstream.discard();
        self.give_up_migration(Hindrance::Ending);
        if matches!(self.phase, Phase::Relaying) {
            self.upstream.stop();
            self.upstream.abandon_tail();
            self.phase = Phase::Orphaned { deadline: now + self.config.orphan_timeout };
            self.tell(Event::ClientVanished);
        }
        self.check_done(now);
    }

    /// The client broke the protocol: nothing more is taken from it, and it is told so (RFC 6455 7.1.7). As on a direct
    /// connection, what it said before is handled and answered first: the error takes the place of its Close.
    pub(super) fn fail_client(&mut self, now: Instant, error: FrameError) {
        self.cut_off(now, close_payload(error.close_code(), &error.to_string()), EndReason::ClientError(error));
    }

    fn cut_off(&mut self, now: Instant, payload: ControlPayload, reason: EndReason) {
        self.client.closed = true;
        if matches!(self.phase, Phase::Relaying) {
            self.give_up_migration(Hindrance::Ending);
            self.upstream.stop();
            let deadline = now + self.config.close_timeout;
            self.phase = Phase::Closing(Box::new(Closing { payload, deadline, broken: Some(reason) }));
        }
        self.check_done(now);
    }

    /// A rule allows no session with a message that came from `side`. One of the client takes the place of its Close, as
    /// if it had broken the protocol; behind one of the backend nothing counts.
    pub(super) fn close_for_rule(&mut self, now: Instant, side: Side) {
        let close = close_payload(CloseCode::POLICY, "closed by a rule");
        self.counters.rule_closes += 1;
        match side {
            Side::Client => self.cut_off(now, close, EndReason::ClosedByRule(side)),
            Side::Backend => self.end_for_backend(now, close, EndReason::ClosedByRule(side)),
        }
    }

    /// The client went beyond a limit. What it said before is handled first, as where it breaks the protocol; but not if
    /// it is in the middle of a message, which may take any time, or takes nothing of what it is told.
    pub(super) fn end_beyond(&mut self, now: Instant, limit: Limit) {
        let reason = EndReason::OverLimit(limit);
        let close = close_payload(limit.close_code(), &reason.to_string());
        if limit == Limit::SlowClient {
            return self.begin_ending(now, Some(close), Some(going_away()), reason);
        }
        if self.upstream.is_in_message() {
            return self.begin_ending(now, Some(close), Some(close), reason);
        }
        self.cut_off(now, close, reason);
    }

    pub(super) fn end_for_full_ring(&mut self, now: Instant) {
        let close = close_payload(CloseCode::TRY_AGAIN_LATER, "replay buffer full");
        self.begin_ending(now, Some(close), None, EndReason::RingFull);
    }

    // The end of a leg.

    pub(super) fn handle_leg_end(&mut self, now: Instant, end: LegEnd) {
        if self.is_in_hold() && !matches!(self.phase, Phase::Ending(_) | Phase::Ended) {
            return self.handle_end_in_hold(now, end);
        }
        let unacknowledged = self.upstream.ring.unacknowledged();
        let close_written = matches!(&self.backend, Attachment::Attached(leg) if leg.close_written);
        match &self.phase {
            Phase::Ended => {}
            Phase::Ending(_) => {
                if matches!(end, LegEnd::EndOfStream) {
                    self.retire(None);
                }
                self.check_done(now);
            }
            Phase::Closing(_) if self.is_echo(&end) => {
                let seq = self.upstream.ring.written_seq();
                self.upstream.acknowledge(seq, None, &mut self.counters);
                self.forward(now, end);
            }
            Phase::Closing(closing) if close_written && unacknowledged == 0 => {
                let payload = closing.payload;
                self.forward(now, or_echo(end, payload));
            }
            Phase::Orphaned { .. } if unacknowledged == 0 => self.finish(EndReason::ClientVanished),
            Phase::Relaying | Phase::Closing(_) | Phase::Orphaned { .. } => self.judge_end(now, end),
        }
    }

    fn judge_end(&mut self, now: Instant, end: LegEnd) {
        if self.config.reattach == Reattach::Never {
            return self.forward(now, end);
        }
        match (self.meaning(&end), self.config.on_ambiguous) {
            (Meaning::GoesAway(code), _) => self.lose_leg(now, Loss::GoingAway(code)),
            (Meaning::Ambiguous, OnAmbiguous::Failover) => {
                self.handle_death(now, end, self.is_mute(), Weight::WHOLE);
            }
            (Meaning::Ambiguous, OnAmbiguous::Probe) if sabotage::is(Sabotage::NoProof) => {
                self.handle_death(now, end, false, Weight::WHOLE);
            }
            (Meaning::Ambiguous, OnAmbiguous::Probe) => self.ask(end),
            (Meaning::Ambiguous, OnAmbiguous::End) | (Meaning::Final, _) => self.forward(now, end),
        }
    }

    /// Whether the end is the application's decision.
    pub(super) fn is_final(&self, end: &LegEnd) -> bool {
        matches!(self.meaning(end), Meaning::Final)
    }

    fn meaning(&self, end: &LegEnd) -> Meaning {
        let codes = &self.config.end_codes;
        let ambiguous = match end {
            LegEnd::EndOfStream => codes.eof_ambiguous,
            LegEnd::Close(payload) => match code_of(payload) {
                Some(code) if codes.failover.contains(&code) => return Meaning::GoesAway(code),
                Some(code) => codes.ambiguous.contains(&code),
                None => codes.codeless_ambiguous,
            },
        };
        if ambiguous { Meaning::Ambiguous } else { Meaning::Final }
    }

    /// The leg is over, but it is not known yet what that means.
    fn ask(&mut self, end: LegEnd) {
        self.actions.push_back(Action::Ask { epoch: self.epoch, ended: true });
        let mute = self.is_mute();
        if matches!(end, LegEnd::EndOfStream) {
            self.retire(None);
        }
        let leg = match std::mem::replace(&mut self.backend, Attachment::None) {
            Attachment::Attached(leg) => Some(leg),
            _ => None,
        };
        self.backend = Attachment::Asking { end, leg, mute };
    }

    pub(super) fn handle_asked(&mut self, now: Instant, verdict: Verdict, weight: Weight) {
        let Attachment::Asking { end, leg, mute } = std::mem::replace(&mut self.backend, Attachment::None) else {
            return;
        };
        if let Some(leg) = leg {
            self.backend = Attachment::Attached(leg);
        }
        match verdict {
            Verdict::Dying => self.handle_death(now, end, mute, weight),
            Verdict::Healthy => self.forward(now, end),
        }
    }

    /// The client sees the same end that it would have seen without a proxy.
    pub(super) fn forward(&mut self, now: Instant, end: LegEnd) {
        if let Phase::Closing(closing) = &self.phase
            && closing.broken.is_some()
        {
            return self.answer_close(now);
        }
        let reason = match &end {
            _ if self.is_echo(&end) => EndReason::ClientClosed,
            LegEnd::Close(payload) => EndReason::BackendClosed(code_of(payload)),
            LegEnd::EndOfStream => EndReason::BackendEndedStream,
        };
        match (&self.phase, end) {
            (Phase::Orphaned { .. }, _) => self.finish(EndReason::ClientVanished),
            (_, LegEnd::Close(payload)) => self.begin_ending(now, Some(*payload), Some(*payload), reason),
            (Phase::Closing(_), LegEnd::EndOfStream) => {
                self.retire(None);
                self.answer_close(now);
            }
            (_, LegEnd::EndOfStream) => {
                self.retire(None);
                self.begin_ending(now, None, None, reason);
            }
        }
    }

    /// Gives the leg up and looks for another one.
    pub(super) fn lose_leg(&mut self, now: Instant, loss: Loss) {
        let farewell = match loss {
            Loss::GoingAway(code) => Some(close_payload(code, "")),
            Loss::Protocol(error) => Some(close_payload(error.close_code(), &error.to_string())),
            Loss::AckAhead(_) => Some(close_payload(CloseCode::PROTOCOL_ERROR, "acknowledged what was not sent")),
            Loss::Operator | Loss::Unsettled => Some(going_away()),
            Loss::Died | Loss::Hung => None,
        };
        self.note_no_close_in_hold();
        if self.is_in_hold() {
            return self.fail_hold(now, farewell, HoldFailure::Ended);
        }
        self.retire(farewell);
        let unacknowledged = self.upstream.ring.unacknowledged();
        match self.phase {
            Phase::Ending(_) | Phase::Ended => return self.check_done(now),
            Phase::Orphaned { .. } if unacknowledged == 0 => return self.finish(EndReason::ClientVanished),
            Phase::Orphaned { .. } | Phase::Relaying | Phase::Closing(_) => {}
        }
        if let Some((code, text)) = self.cannot_attach_again() {
            return self.end_not_whole(now, code, text);
        }
        self.counters.failovers += 1;
        self.leave_leg();
        self.tell(Event::LegLost { epoch: self.epoch, loss, retained: self.upstream.ring.retained() });
        let delay = self.patience.next_delay();
        if self.fall_to_prepared(now, loss) {
            return;
        }
        self.backend = Attachment::Waiting { since: now, until: now + delay };
        if delay.is_zero() {
            self.dial(now);
        }
    }

    /// With what a session ends that may not have another leg.
    pub(super) fn cannot_attach_again(&self) -> Option<(CloseCode, &'static str)> {
        let c = &self.counters;
        let gone = c.forgotten + c.slid + c.dropped;
        match self.config.reattach {
            Reattach::Never => Some((CloseCode::BAD_GATEWAY, "backend lost")),
            // What is or was pinned is not missing on another leg.
            Reattach::Whole if gone > self.upstream.ring.pinned_gone() => {
                Some((CloseCode::SERVICE_RESTART, "backend lost"))
            }
            Reattach::Whole | Reattach::Always => self
                .ruled
                .as_deref()
                .filter(|ruled| ruled.is_incomplete())
                .map(|_| (CloseCode::SERVICE_RESTART, "backend lost, and too much to tell another one")),
        }
    }

    /// What the leg was written is written again, and what it said in part, or that is held, is dropped.
    pub(super) fn leave_leg(&mut self) {
        self.downstream.end_leg();
        self.upstream.frozen = false;
        self.upstream.rewind();
        if let Some(ruled) = self.ruled.as_deref_mut() {
            ruled.end_leg();
            self.drop_leg_local();
        }
    }

    pub(super) fn dial(&mut self, now: Instant) {
        if let Attachment::Waiting { since, until } = self.backend
            && until <= now
        {
            if !self.expire_messages(now) {
                return;
            }
            self.drop_aged(now);
            self.backend = Attachment::Dialling { since };
            // What the handshake says of the leg must stay true until it is there.
            self.upstream.frozen = true;
            // Where the others stay away, sparing the last one would end sessions that killed nobody.
            let spare_last = self.upstream.is_isolated() && now < since + SPARE_FOR;
            let pinned = Some(self.freeze_prelude());
            let request = AttachRequest { spare_last, pinned, ..self.attach_request() };
            self.actions.push_back(Action::Attach(request));
        }
    }

    /// What the next leg must be if nothing more happens to this one.
    pub(super) fn attach_request(&self) -> AttachRequest {
        let ring = &self.upstream.ring;
        AttachRequest {
            epoch: self.epoch + 1,
            next_seq: Some(ring.first_retained().unwrap_or(ring.last_seq() + 1)),
            delivered: Some(self.counters.passed),
            pinned: Some(0),
            explicit: self.ack == AckMode::Explicit,
            spare_last: false,
        }
    }

    /// Leaves the backend leg, if there is one, to the driver.
    pub(super) fn retire(&mut self, farewell: Option<ControlPayload>) {
        let Attachment::Attached(leg) = std::mem::replace(&mut self.backend, Attachment::None) else { return };
        let farewell = self.farewell_frame(&leg, farewell);
        self.actions.push_back(Action::Retire { farewell });
    }

    /// The last frame for a leg, if one may still be written there.
    fn farewell_frame(&mut self, leg: &BackendLeg, payload: Option<ControlPayload>) -> Option<ControlFrame> {
        let payload = payload?;
        let open = !leg.outlet.is_dead() && !leg.outlet.is_mid_control() && !leg.close_placed;
        (open && self.is_at_border())
            .then(|| ControlFrame::new(Opcode::Close, payload.as_bytes(), Some(self.keys.mask())))
    }

    // The end of the session.

    pub(super) fn end_denied(&mut self, now: Instant) {
        let close = close_payload(CloseCode::POLICY, "denied");
        self.end_detached(now, close, EndReason::Denied);
    }

    /// No backend within `--failover-timeout`.
    pub(super) fn end_without_backend(&mut self, now: Instant) {
        let close = close_payload(CloseCode::TRY_AGAIN_LATER, "no backend available");
        self.end_detached(now, close, EndReason::NoBackend);
    }

    pub(super) fn end_expired(&mut self, now: Instant, reason: EndReason) {
        let close = close_payload(CloseCode::TRY_AGAIN_LATER, "a message has become too old to be replayed");
        self.end_detached(now, close, reason);
    }

    pub(super) fn end_not_whole(&mut self, now: Instant, code: CloseCode, text: &str) {
        self.end_detached(now, close_payload(code, text), EndReason::NotWhole);
    }

    fn end_detached(&mut self, now: Instant, close: ControlPayload, reason: EndReason) {
        self.backend = Attachment::None;
        match self.phase {
            Phase::Closing(_) => self.answer_close(now),
            Phase::Orphaned { .. } => self.finish(reason),
            Phase::Relaying | Phase::Ending(_) | Phase::Ended => self.begin_ending(now, Some(close), None, reason),
        }
    }

    pub(super) fn end_over_limit(&mut self, now: Instant, error: FrameError) {
        let reason = EndReason::BackendOverLimit(error);
        self.end_for_backend(now, close_payload(error.close_code(), &reason.to_string()), reason);
    }

    fn end_for_backend(&mut self, now: Instant, close: ControlPayload, reason: EndReason) {
        if let Some(leg) = self.leg_mut() {
            leg.closed = true;
        }
        match self.phase {
            Phase::Orphaned { .. } => self.finish(reason),
            _ => self.begin_ending(now, Some(close), Some(close), reason),
        }
    }

    /// The proxy shuts down: a client that is not about to leave gets Close 1001.
    pub fn shutdown(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Relaying) {
            let close = close_payload(CloseCode::GOING_AWAY, "proxy shutting down");
            self.begin_ending(now, Some(close), Some(close), EndReason::Shutdown);
        }
    }

    /// The operator ends the session: both sides get this Close.
    pub fn close(&mut self, now: Instant, code: CloseCode, reason: &str) {
        let close = close_payload(code, reason);
        self.begin_ending(now, Some(close), Some(close), EndReason::Operator(code));
    }

    /// The operator moves the session: its leg is given up as if it had died, and what is retained is replayed.
    pub fn fail_over(&mut self, now: Instant) {
        if self.leg_mut().is_some_and(|leg| !leg.closed) {
            self.lose_leg(now, Loss::Operator);
        }
    }

    /// Answers the client's Close without the backend: as it came, or 1012 if something before it may be lost. Tells a
    /// client that broke the protocol so.
    pub(super) fn answer_close(&mut self, now: Instant) {
        let Phase::Closing(closing) = &self.phase else { return };
        let close = if closing.broken.is_some() || self.upstream.ring.unacknowledged() == 0 {
            closing.payload
        } else {
            close_payload(CloseCode::SERVICE_RESTART, "messages before this Close may be lost")
        };
        let reason = closing.broken.unwrap_or(EndReason::ClientClosed);
        let farewell = closing.broken.map(|_| close);
        self.begin_ending(now, Some(close), farewell, reason);
    }

    fn begin_ending(
        &mut self,
        now: Instant,
        close: Option<ControlPayload>,
        farewell: Option<ControlPayload>,
        reason: EndReason,
    ) {
        match self.phase {
            Phase::Ending(_) | Phase::Ended => return,
            Phase::Relaying | Phase::Closing(_) | Phase::Orphaned { .. } => {}
        }
        if !matches!(self.backend, Attachment::Attached(_)) {
            self.backend = Attachment::None;
        }
        self.give_up_migration(Hindrance::Ending);
        self.upstream.stop();
        self.release_output();
        self.downstream.stop();
        self.tell(Event::Ending(reason));
        // Of a client that is to say no more, nothing more is taken.
        let client_goes_on =
            !matches!(reason, EndReason::OverLimit(_) | EndReason::ClientError(_) | EndReason::ClosedByRule(_));
        if client_goes_on && let Attachment::Attached(leg) = &self.backend {
            self.upstream.finish_frame(!leg.closed);
        }
        let deadline = now + self.config.close_timeout;
        self.phase = Phase::Ending(Box::new(Ending { close, placed: false, written: false, deadline, farewell }));
        self.check_done(now);
    }

    /// Ends the session if all that it waits for has happened.
    pub(super) fn check_done(&mut self, _now: Instant) {
        let dead = self.client.outlet.is_dead();
        let over = self.client.closed || self.client.ended;
        let done = match &self.phase {
            Phase::Ending(ending) if ending.close.is_some() => {
                (ending.written || dead) && over && !(ending.farewell.is_some() && self.is_inside_frame())
            }
            Phase::Ending(_) => dead || (self.downstream.is_written() && self.client.outlet.is_free()),
            Phase::Orphaned { .. } => self.is_orphan_done(),
            Phase::Relaying | Phase::Closing(_) | Phase::Ended => false,
        };
        if done {
            self.finish(EndReason::ClientVanished);
        }
    }

    /// Whether the leg stands inside a frame all of which is there: behind it there may be a farewell.
    fn is_inside_frame(&self) -> bool {
        let Attachment::Attached(leg) = &self.backend else { return false };
        let inside = leg.outlet.is_mid_control() || (self.upstream.border().is_some() && !self.is_at_border());
        inside && !leg.outlet.is_dead() && !leg.close_placed
    }

    /// Whether nothing more can be done for a client that vanished.
    fn is_orphan_done(&self) -> bool {
        let ring = &self.upstream.ring;
        let given_up = match &self.backend {
            Attachment::Attached(leg) => {
                // Behind half a message no barrier can be written.
                let stuck = ring.is_written() && ring.cursor() > ring.complete_end() && leg.pings.in_flight().is_none();
                stuck || ((leg.mute || leg.unheard) && ring.is_written())
            }
            Attachment::Asking { .. } | Attachment::Waiting { .. } | Attachment::Dialling { .. } | Attachment::None => {
                false
            }
        };
        ring.unacknowledged() == 0 || given_up
    }

    /// Closes the books. `reason` is told unless one was told before.
    pub(super) fn finish(&mut self, reason: EndReason) {
        self.give_up_migration(Hindrance::Ending);
        let farewell = match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Ended => return,
            Phase::Ending(ending) => ending.farewell,
            Phase::Relaying | Phase::Closing(_) | Phase::Orphaned { .. } => {
                self.tell(Event::Ending(reason));
                None
            }
        };
        let farewell = match std::mem::replace(&mut self.backend, Attachment::None) {
            Attachment::Attached(leg) => self.farewell_frame(&leg, farewell),
            _ => None,
        };
        self.counters.abandoned += self.upstream.ring.unacknowledged() as u64;
        self.counters.forgotten += (self.upstream.ring.retained() - self.upstream.ring.unacknowledged()) as u64;
        self.upstream.close();
        self.ruled = None;
        self.downstream.close();
        self.actions.push_back(Action::End { farewell });
    }

    /// Whether this end answers the client's Close: it came behind it and says the same.
    fn is_echo(&self, end: &LegEnd) -> bool {
        match (&self.phase, &self.backend, end) {
            (Phase::Closing(closing), Attachment::Attached(leg), LegEnd::Close(reply)) => {
                leg.close_written && code_of(reply) == code_of(&closing.payload)
            }
            _ => false,
        }
    }
}

/// A Close of the backend as it came; for an end of stream behind the client's Close, that Close back.
fn or_echo(end: LegEnd, client: ControlPayload) -> LegEnd {
    match end {
        LegEnd::Close(payload) => LegEnd::Close(payload),
        LegEnd::EndOfStream => LegEnd::Close(Box::new(client)),
    }
}

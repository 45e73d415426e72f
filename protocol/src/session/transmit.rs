//! What is written to the legs, and what follows from its being written.

use crate::frame::{ControlFrame, Opcode};
use crate::sabotage::{self, Sabotage};
use crate::time::Instant;

use super::config::AckMode;
use super::ending::Phase;
use super::leg::Attachment;
use super::outlet::{Control, Gather};
use super::{Event, Session, Side};

impl Session {
    /// Collects what can be written to a leg now, at most one control frame of ours included. Report what was written
    /// with [`Self::handle_written`] before anything else.
    pub fn poll_transmit<'a>(&'a mut self, now: Instant, side: Side, out: &mut Gather<'a>) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        match side {
            Side::Client => {
                self.place_downstream(now);
                self.downstream.gather(&self.client.outlet, out);
            }
            Side::Backend => {
                if self.is_in_prelude() {
                    self.pass_prelude(now);
                }
                if self.is_in_prelude() {
                    self.place_in_prelude(now);
                    return self.gather_prelude(out);
                }
                self.place_upstream(now);
                let Attachment::Attached(leg) = &self.backend else { return };
                // What only a farewell is waited for to follow ends with the frame in which the leg stands.
                if leg.closed || (matches!(self.phase, Phase::Ending(_)) && self.client.closed) {
                    self.upstream.gather_frame(&leg.outlet, out);
                } else {
                    self.upstream.gather(&leg.outlet, out);
                }
            }
        }
    }

    /// `len` bytes of what was collected are written; if it was less than all, the leg cannot take more now. For the
    /// client, `direct` is what was written behind it, as it came from the backend.
    pub fn handle_written(&mut self, now: Instant, side: Side, len: usize, direct: &[u8]) {
        match side {
            Side::Client => self.handle_client_written(now, len, direct),
            Side::Backend => self.handle_backend_written(now, len),
        }
    }

    /// A write found no room on the leg.
    pub fn handle_blocked(&mut self, now: Instant, side: Side) {
        match side {
            Side::Client => self.client.live.handle_blocked(now),
            Side::Backend => {
                if let Some(leg) = self.leg_mut() {
                    leg.live.handle_blocked(now);
                }
            }
        }
    }

    fn place_downstream(&mut self, now: Instant) {
        let outlet = &mut self.client.outlet;
        if outlet.is_dead() || !outlet.is_free() || self.phase.close_was_placed() {
            return;
        }
        if let Some(ping) = outlet.take_pong() {
            let frame = ControlFrame::new(Opcode::Pong, ping.as_bytes(), None);
            outlet.place(Control::Pong, frame, self.downstream.next_border());
        } else if let Some(payload) = self.phase.close_to_place() {
            let frame = ControlFrame::new(Opcode::Close, payload.as_bytes(), None);
            outlet.place(Control::Close, frame, self.downstream.ready());
        } else if self.client.pings.due && self.client.pings.in_flight().is_none() {
            let frame = self.client.pings.next(now, (0, 0), false, None);
            outlet.place(Control::Ping, frame, self.downstream.next_border());
        }
    }

    fn handle_client_written(&mut self, now: Instant, len: usize, direct: &[u8]) {
        if self.client.outlet.is_dead() {
            return;
        }
        let pending = self.pending_downstream();
        self.note_reading(now);
        let before = self.downstream.before_control(&self.client.outlet);
        let written = self.client.outlet.written(len.min(pending), before);
        self.downstream.advance(written.data);
        self.downstream.keep_direct(direct, len.saturating_sub(pending));
        if len > 0 {
            self.client.live.handle_written(now);
        }
        match written.control {
            Some(Control::Ping) => self.client.pings.handle_written(now),
            Some(Control::Close) => self.phase.handle_close_written(),
            Some(Control::Pong) | None => {}
        }
        self.check_done(now);
    }

    /// Bytes that [`Self::poll_transmit`] could give for the client.
    fn pending_downstream(&self) -> usize {
        self.downstream.waiting() + self.client.outlet.waiting()
    }

    fn place_upstream(&mut self, now: Instant) {
        let Attachment::Attached(leg) = &self.backend else { return };
        let waits = self.wants_barrier(leg);
        let late = leg.pings.sent.is_none_or(|sent| now >= sent + self.barrier_interval());
        let closing = matches!(self.phase, Phase::Closing(_));
        let leaving = self.upstream.halted && !self.is_proven(leg);
        let full = self.upstream.ring.is_half_full() && !self.upstream.halted;
        let barrier = waits && (late || closing || full || leaving || self.upstream.is_isolated());
        let Attachment::Attached(leg) = &mut self.backend else { return };
        if leg.closed || leg.close_placed || leg.outlet.is_dead() || !leg.outlet.is_free() {
            return;
        }
        let ring = &self.upstream.ring;
        if leg.outlet.owes_pong() {
            if let Some(at) = self.upstream.border()
                && let Some(ping) = leg.outlet.take_pong()
            {
                let frame = ControlFrame::new(Opcode::Pong, ping.as_bytes(), Some(self.keys.mask()));
                leg.outlet.place(Control::Pong, frame, at);
            }
            return;
        }
        if leg.pings.in_flight().is_none() && (barrier || leg.pings.due) {
            if let Some(stop) = self.upstream.barrier_place() {
                let mask = self.keys.mask();
                let frame = leg.pings.next(now, (stop.seq, stop.messages), waits, Some(mask));
                leg.outlet.place(Control::Ping, frame, stop.at);
            }
            return;
        }
        if let Phase::Closing(closing) = &self.phase
            && !self.upstream.is_isolated()
        {
            let frame = ControlFrame::new(Opcode::Close, closing.payload.as_bytes(), Some(self.keys.mask()));
            let early = sabotage::is(Sabotage::CloseBeforeMessages);
            leg.outlet.place(Control::Close, frame, if early { ring.message_start() } else { ring.end() });
            leg.close_placed = true;
        }
    }

    fn handle_backend_written(&mut self, now: Instant, len: usize) {
        if self.is_in_prelude() {
            return self.handle_prelude_written(now, len);
        }
        let Attachment::Attached(leg) = &mut self.backend else { return };
        if leg.outlet.is_dead() || len == 0 {
            return;
        }
        let before = self.upstream.before_control(&leg.outlet);
        let written = leg.outlet.written(len, before);
        let cleared = leg.live.handle_written(now);
        match written.control {
            Some(Control::Ping) => leg.pings.handle_written(now),
            Some(Control::Close) => leg.close_written = true,
            Some(Control::Pong) | None => {}
        }
        self.upstream.advance(written.data);
        self.note_reading(now);
        self.answers.handle_written(now, self.upstream.ring.leg_written());
        if cleared {
            self.tell(Event::Cleared(self.epoch));
        }
        if self.ack == AckMode::None {
            self.upstream.acknowledge(self.upstream.ring.written_seq(), None, &mut self.counters);
        }
        self.check_done(now);
    }
}

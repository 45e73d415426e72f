//! All deadlines of a session. Each is computed from the state that it guards, so none can be forgotten or go stale.

use std::time::Duration;

use crate::sabotage::{self, Sabotage};
use crate::time::Instant;

use super::config::AckMode;
use super::ending::Phase;
use super::event::{Action, EndReason, Event, Loss};
use super::leg::{Attachment, BackendLeg};
use super::liveness::Liveness;
use super::{LOOK_AGAIN, Session, Side};

/// How long the messages of a vanished client wait for the first pong of a leg that never answered a ping.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(1);

/// What a deadline is for, in the order in which expired ones are handled.
#[derive(Clone, Copy, Debug)]
enum Timer {
    /// Lingering messages are forgotten. Not while there is no leg: they are kept for the next one.
    Linger,
    /// Messages that were read are not answered. Ahead of what pongs, which acknowledge from then on, make due.
    Unanswered,
    /// A leg that is to be left may have come to rest, or had its time. Ahead of what a leg makes due that is not left
    /// after all, and of what is for sessions without one.
    Migration,
    /// Messages that go out one by one have waited long enough for their turns.
    Turn,
    /// Messages wait for a barrier that was sent too recently to send another.
    Barrier,
    /// Nothing moved on the backend leg: ping it.
    BackendKeepalive,
    /// The backend owes an answer, or does not read.
    BackendOverdue,
    /// A suspect backend leg has had its time.
    BackendHang,
    /// A new leg has not answered a pinned message that holds back the rest.
    Hold,
    /// The backend leg never answered a ping.
    Mute,
    /// The backend leg has lived long enough.
    Stable,
    /// Nothing moved on the client leg: ping it.
    ClientKeepalive,
    /// The client owes an answer.
    ClientOverdue,
    /// A suspect client leg has had its time.
    ClientHang,
    /// The back-off is over.
    Backoff,
    /// A message becomes too old while the session waits for a backend.
    Expiry,
    /// The session waited too long for a backend.
    Failover,
    /// The process may have memory again.
    Pressure,
    /// The client has had its time, or may be read again.
    Limits,
    /// The closing handshake or the delivery for a vanished client takes too long.
    Phase,
}

const TIMERS: [Timer; 20] = [
    Timer::Linger,
    Timer::Unanswered,
    Timer::Migration,
    Timer::Turn,
    Timer::Barrier,
    Timer::BackendKeepalive,
    Timer::BackendOverdue,
    Timer::BackendHang,
    Timer::Hold,
    Timer::Mute,
    Timer::Stable,
    Timer::ClientKeepalive,
    Timer::ClientOverdue,
    Timer::ClientHang,
    Timer::Expiry,
    Timer::Backoff,
    Timer::Failover,
    Timer::Pressure,
    Timer::Limits,
    Timer::Phase,
];

impl Session {
    /// When [`Self::handle_timeout`] is to be called, if nothing happens before. May change with every input, command
    /// and write.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if matches!(self.phase, Phase::Ended) {
            return None;
        }
        TIMERS.iter().filter_map(|timer| self.deadline(*timer)).min()
    }

    /// Time has passed. Afterwards the next deadline is later than `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        for timer in TIMERS {
            if !matches!(self.phase, Phase::Ended) && self.deadline(timer).is_some_and(|deadline| deadline <= now) {
                self.expire(timer, now);
            }
        }
        debug_assert!(self.poll_timeout().is_none_or(|next| next > now), "a deadline expired and did not move");
    }

    fn deadline(&self, timer: Timer) -> Option<Instant> {
        let config = &self.config;
        match timer {
            Timer::Linger => self.open_leg().and_then(|_| self.upstream.linger_at()),
            Timer::Turn => self.turn_at(),
            Timer::Barrier => self.writable_leg().and_then(|leg| self.barrier_at(leg)),
            Timer::BackendKeepalive => {
                self.writable_leg().and_then(|leg| leg.live.keepalive_at(&leg.pings, config.ping_interval?))
            }
            Timer::BackendOverdue => {
                self.open_leg().and_then(|leg| leg.live.overdue_at(&leg.pings, config.ack_timeout, config.ping_timeout))
            }
            Timer::BackendHang => self.open_leg().and_then(|leg| leg.live.hang_at(config.hang_timeout)),
            Timer::Mute => self
                .open_leg()
                .filter(|leg| {
                    !leg.mute && !leg.unheard && (!leg.mute_asked || matches!(self.phase, Phase::Orphaned { .. }))
                })
                .and_then(|leg| Liveness::mute_at(&leg.pings, self.patience_with_mute())),
            Timer::Stable => self
                .open_leg()
                .filter(|leg| {
                    !leg.stable && !self.is_in_prelude() && (leg.heard || leg.mute || config.ack == AckMode::None)
                })
                .map(|leg| leg.since + config.stable_after),
            Timer::ClientKeepalive => {
                self.client_deadline(|live, pings| live.keepalive_at(pings, config.ping_interval?))
            }
            Timer::ClientOverdue => self
                .client_deadline(|live, pings| live.ping_overdue_at(pings, config.ping_timeout, config.ping_timeout)),
            Timer::ClientHang => self.client_deadline(|live, _| live.hang_at(config.hang_timeout)),
            Timer::Backoff => match self.backend {
                Attachment::Waiting { until, .. } => Some(until),
                _ => None,
            },
            Timer::Expiry => match self.backend {
                Attachment::Waiting { .. } => self.expires_at(),
                _ => None,
            },
            Timer::Unanswered => self.unanswered_at(),
            Timer::Hold => self.hold_over_at(),
            Timer::Pressure => self.pressed,
            Timer::Migration => self.open_leg().and_then(|leg| self.migration_at(leg)),
            Timer::Failover => match self.backend {
                Attachment::Waiting { since, .. } | Attachment::Dialling { since } => {
                    Some(self.patience.over_at(since, config))
                }
                Attachment::Attached(_) | Attachment::Asking { .. } | Attachment::None => None,
            },
            Timer::Limits if matches!(self.phase, Phase::Relaying) => {
                self.limits.deadline(self.client.live.blocked(), &config.limits)
            }
            Timer::Limits => None,
            Timer::Phase => self.phase.deadline(),
        }
    }

    pub(super) fn open_leg(&self) -> Option<&BackendLeg> {
        match &self.backend {
            Attachment::Attached(leg) if !leg.closed => Some(leg),
            _ => None,
        }
    }

    /// The backend leg, if a ping may still be written to it.
    fn writable_leg(&self) -> Option<&BackendLeg> {
        self.open_leg().filter(|leg| !leg.close_placed && !leg.outlet.is_dead())
    }

    /// A deadline of the client leg, while anything is expected of the client but its Close.
    fn client_deadline(
        &self,
        deadline: impl FnOnce(&Liveness, &super::ack::Pings) -> Option<Instant>,
    ) -> Option<Instant> {
        let expected = !self.client.closed && !self.client.ended && !self.client.outlet.is_dead();
        if expected && matches!(self.phase, Phase::Relaying) {
            deadline(&self.client.live, &self.client.pings)
        } else {
            None
        }
    }

    fn barrier_at(&self, leg: &BackendLeg) -> Option<Instant> {
        let possible = leg.pings.in_flight().is_none() && !leg.pings.due;
        (possible && self.wants_barrier(leg)).then(|| Some(leg.pings.sent? + self.barrier_interval())).flatten()
    }

    fn expire(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::Linger => {
                self.upstream.expire_lingering(now, &mut self.counters);
                self.settle_forgotten();
            }
            Timer::Turn => self.upstream.waive_turns(),
            Timer::Barrier | Timer::BackendKeepalive => {
                if let Some(leg) = self.leg_mut() {
                    leg.pings.due = true;
                }
            }
            Timer::BackendOverdue => self.suspect_backend(now),
            Timer::BackendHang => self.lose_leg(now, Loss::Hung),
            Timer::Mute => self.suspect_mute(now),
            Timer::Stable => {
                self.patience.reset();
                if let Some(leg) = self.leg_mut() {
                    leg.stable = true;
                }
            }
            Timer::ClientKeepalive => self.client.pings.due = true,
            Timer::ClientOverdue => self.suspect_client(now),
            Timer::ClientHang => self.handle_client_end(now),
            Timer::Expiry => drop(self.expire_messages(now)),
            Timer::Backoff => self.dial(now),
            Timer::Unanswered => self.handle_unanswered(now),
            Timer::Hold => self.time_out_hold(now),
            Timer::Migration => self.advance_migration(now),
            Timer::Pressure => self.pressed = self.upstream.is_pressed().then(|| now + LOOK_AGAIN),
            Timer::Limits => {
                let slow = (self.client.live.blocked(), self.downstream.memory().is_contended());
                if let Some(limit) = self.limits.handle_timeout(now, slow, &self.config.limits) {
                    self.end_beyond(now, limit);
                }
            }
            Timer::Failover => self.end_without_backend(now),
            Timer::Phase => match self.phase {
                Phase::Closing(_) => self.answer_close(now),
                Phase::Orphaned { .. } | Phase::Ending(_) => self.finish(EndReason::ClientVanished),
                Phase::Relaying | Phase::Ended => {}
            },
        }
    }

    /// How long a leg that never answered a ping is waited for. For a vanished client there is little to wait for:
    /// without a proxy the backend would have seen it vanish at once.
    fn patience_with_mute(&self) -> Duration {
        match self.phase {
            Phase::Orphaned { .. } => self.config.ack_timeout.min(ORPHAN_PATIENCE),
            Phase::Relaying | Phase::Closing(_) | Phase::Ending(_) | Phase::Ended => self.config.ack_timeout,
        }
    }

    fn suspect_mute(&mut self, now: Instant) {
        let orphaned = matches!(self.phase, Phase::Orphaned { .. });
        let epoch = self.epoch;
        let Some(leg) = self.leg_mut() else { return };
        if orphaned {
            leg.unheard = true;
            self.check_done(now);
        } else {
            leg.mute_asked = true;
            self.actions.push_back(Action::Mute(epoch));
        }
    }

    fn suspect_backend(&mut self, now: Instant) {
        let reading = self.wants_read(Side::Backend);
        let epoch = self.epoch;
        let again = now + self.config.ack_timeout;
        let Some(leg) = self.leg_mut() else { return };
        if !reading {
            leg.live.handle_not_reading(now);
            return leg.live.handle_healthy(again);
        }
        if leg.live.suspect(now) {
            self.tell(Event::Suspect(epoch));
        }
        if sabotage::is(Sabotage::SlowTakenForDead) {
            return self.lose_leg(now, Loss::Hung);
        }
        self.actions.push_back(Action::Ask { epoch, ended: false });
    }

    /// A client that does not read answers no pings and may be as healthy as any: only `--hang-timeout` ends it.
    fn suspect_client(&mut self, now: Instant) {
        if self.wants_read(Side::Client) {
            self.client.live.suspect(now);
        } else {
            self.client.live.handle_not_reading(now);
        }
    }
}

//! What the engine wants done: legs dialled, backends asked about, things remembered and told.

use std::task::{Context as Cx, Poll};

use tideover_protocol::frame::ControlFrame;
use tideover_protocol::session::{
    Action, AttachFailure, AttachRequest, BackendTraits, EndReason, Epoch, Event, Poisoned, Verdict, Weight,
};
use tideover_protocol::time::Instant;

use super::{Driver, traits};
use crate::pool::{self, Attached, Denials, Lease, Reattach, ReattachError, SessionHeaders, Target};
use crate::session::farewell;
use crate::session::limited::Cause;
use crate::session::poisons::Poison;
use crate::session::wire::Wire;

impl Driver {
    // Dialling and asking.

    pub(super) fn poll_dial(&mut self, cx: &mut Cx<'_>, now: Instant) -> bool {
        let Some(Poll::Ready(result)) = self.dial.as_mut().map(|dial| dial.as_mut().poll(cx)) else { return false };
        self.dial = None;
        match result {
            Ok(attached) => self.handle_attached(now, attached),
            Err(error) => {
                tracing::info!(session = %self.registered.handle.id, %error, "no backend this time");
                let failure = match error {
                    ReattachError::Denied(_) | ReattachError::Closed(_) => AttachFailure::Denied,
                    ReattachError::Failed { denials, .. } => {
                        self.denials = denials;
                        AttachFailure::Failed
                    }
                };
                self.engine.handle_attach_failed(now, failure);
            }
        }
        true
    }

    pub(super) fn handle_attached(&mut self, now: Instant, attached: Attached) {
        let traits = traits(&attached);
        let Attached { stream, leftover, lease, .. } = attached;
        self.begin_leg(now, traits, Wire::new(stream, leftover), lease);
    }

    /// Makes this the backend leg, if the engine still wants one.
    pub(super) fn begin_leg(&mut self, now: Instant, traits: BackendTraits, wire: Wire, lease: Lease) {
        if self.engine.handle_attached(now, traits).is_none() {
            return farewell::close(wire.into_stream(), None, lease);
        }
        self.denials = Denials::default();
        self.last = lease.backend().clone();
        self.registered.handle.attach(self.engine.epoch(), self.last.id);
        if let Some(lost) = self.lost.take() {
            self.registered.context.totals.failed_over(now.since(lost));
        }
        self.backend = Some((wire, lease));
    }

    pub(super) fn poll_probe(&mut self, cx: &mut Cx<'_>, now: Instant) -> bool {
        let Some(probe) = &mut self.probe else { return false };
        let Poll::Ready((epoch, (verdict, ended))) = probe.as_mut().poll(cx) else { return false };
        self.probe = None;
        let (verdict, weight) = match (verdict, ended) {
            (pool::Verdict::Dying, Some(leg)) => (Verdict::Dying, self.weigh_death(leg)),
            (pool::Verdict::Dying, None) => (Verdict::Dying, Weight::NONE),
            (pool::Verdict::Healthy, _) => (Verdict::Healthy, Weight::NONE),
        };
        self.engine.handle_verdict(now, epoch, verdict, weight);
        true
    }

    // Actions.

    pub(super) fn act(&mut self) -> bool {
        let mut acted = false;
        if let (Some(round_trip), Some((_, lease))) = (self.engine.poll_round_trip(), &self.backend) {
            self.route().pool.barrier_took(lease.backend(), round_trip);
        }
        while let Some(action) = self.engine.poll_action() {
            acted = true;
            match action {
                Action::Attach(request) => self.attach(request),
                Action::Ask { epoch, ended } => self.ask(epoch, ended),
                Action::Mute(epoch) => self.find_out_if_mute(epoch),
                Action::Order(_, order) => {
                    if let Some((_, lease)) = &self.backend {
                        lease.backend().set_order(order);
                    }
                }
                Action::Poisoned(poisoned) => self.set_aside(poisoned),
                Action::AnswersPings(_) => {
                    if let Some((_, lease)) = &self.backend {
                        lease.backend().set_answers_pings();
                    }
                }
                Action::Retire { farewell } => {
                    if let Some((wire, lease)) = self.backend.take() {
                        self.registered.handle.detach();
                        retire(wire, farewell, lease);
                    }
                }
                Action::Prepare(request) => self.prepare(request),
                Action::Adopt => self.adopt(self.registered.context.now()),
                Action::Discard => self.discard(),
                Action::Event(event) => {
                    self.answer_migration(&event);
                    if matches!(event, Event::LegLost { .. }) {
                        self.lost.get_or_insert(self.registered.context.now());
                    }
                    self.log(event);
                }
                Action::End { farewell } => {
                    self.end(farewell);
                    return false;
                }
            }
        }
        acted
    }

    pub(super) fn attach(&mut self, request: AttachRequest) {
        let (route, handshake) = (self.route().clone(), self.handshake.clone());
        let (headers, wanted) = self.wanted(request, Target::Any);
        self.dial = Some(Box::pin(async move { route.reattach(&handshake, &headers, wanted).await }));
    }

    /// What the next leg's handshake says, and where it may lead.
    pub(super) fn wanted(&self, request: AttachRequest, target: Target) -> (SessionHeaders, Reattach) {
        let AttachRequest { epoch, next_seq, delivered, pinned, explicit, spare_last } = request;
        let headers = SessionHeaders { session: self.registered.handle.id, epoch, next_seq, pinned, delivered };
        let last = Some(self.last.id);
        (headers, Reattach { last, explicit, spare_last, denials: self.denials, target })
    }

    pub(super) fn set_aside(&self, message: Poisoned) {
        let backend = self.last.url.to_string();
        let (session, Poisoned { seq, deaths, len, .. }) = (self.registered.handle.id, &message);
        tracing::warn!(%session, seq, deaths, len, %backend, "message set aside: backends die of it");
        self.registered.context.poisons.add(Poison { session, at: std::time::SystemTime::now(), backend, message });
    }

    pub(super) fn ask(&mut self, epoch: Epoch, ended: bool) {
        let Some((_, lease)) = &self.backend else { return };
        if ended {
            lease.ended_badly();
            self.lost = Some(self.registered.context.now());
        }
        let (route, handshake, backend) = (self.route().clone(), self.handshake.clone(), lease.backend().clone());
        let since = std::time::Instant::now();
        let leg = ended.then_some(lease.attached_at()..since);
        let probe = async move { (epoch, (route.pool.probe(&backend, since, &handshake).await, leg)) };
        self.probe = Some(Box::pin(probe));
    }

    pub(super) fn find_out_if_mute(&mut self, epoch: Epoch) {
        let Some((_, lease)) = &self.backend else { return };
        let (route, handshake, backend) = (self.route().clone(), self.handshake.clone(), lease.backend().clone());
        let pinging = async move {
            let patience = route.session.ack_timeout;
            let answers = route.pool.answers_pings(&backend, &handshake, patience).await;
            if !answers && backend.set_mute() {
                tracing::warn!(
                    backend = %backend.url,
                    "the backend answers no pings: the newest messages are kept as far as they fit, nothing waits for it"
                );
            }
            (epoch, answers)
        };
        self.pinging = Some(Box::pin(pinging));
    }

    pub(super) fn poll_pinging(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(pinging) = &mut self.pinging else { return false };
        let Poll::Ready((epoch, answers)) = pinging.as_mut().poll(cx) else { return false };
        self.pinging = None;
        if !answers {
            self.engine.handle_mute(epoch);
        }
        !answers
    }

    pub(super) fn end(&mut self, farewell: Option<ControlFrame>) {
        self.ended = true;
        self.registered.handle.end();
        if let Some((wire, lease)) = self.backend.take() {
            retire(wire, farewell, lease);
        }
        let counters = self.engine.counters();
        tracing::debug!(session = %self.registered.handle.id, ?counters, "session ended");
    }

    pub(super) fn log(&self, event: Event) {
        let session = self.registered.handle.id;
        let backend = self.backend.as_ref().map(|(_, lease)| tracing::field::display(&lease.backend().url));
        match event {
            Event::LegLost { epoch, loss, retained } => {
                tracing::info!(%session, epoch, %loss, retained, "backend leg lost");
            }
            Event::Attached { epoch, replayed } => {
                tracing::info!(%session, epoch, backend, replayed, "attached again");
            }
            Event::Migrated(epoch) => tracing::info!(%session, epoch, backend, "migrated"),
            Event::MigrationFailed(why) => tracing::info!(%session, backend, %why, "not migrated"),
            Event::Suspect(epoch) => tracing::info!(%session, epoch, backend, "backend leg is suspect"),
            Event::Slowed(limit) => {
                self.registered.context.totals.slowed(limit.into());
                tracing::debug!(%session, peer = %self.registered.handle.peer, %limit, "the client is slowed down");
            }
            Event::Cleared(epoch) => tracing::info!(%session, epoch, backend, "backend leg moves again"),
            Event::FellBack => {
                tracing::warn!(%session, epoch = self.engine.epoch(), backend, "replies are not one a message: pongs acknowledge");
            }
            Event::HoldFailed { epoch, why } => {
                tracing::info!(%session, epoch, backend, %why, "a new leg did not get through the pinned messages");
            }
            Event::PinRefused => {
                tracing::warn!(%session, "no room for another pinned message: the session will not be attached again");
            }
            Event::ClientVanished => tracing::debug!(%session, peer = %self.registered.handle.peer, "client vanished"),
            Event::Ending(reason) => {
                let epoch = self.engine.epoch();
                let peer = self.registered.handle.peer;
                if let Some(cause) = Cause::of_end(reason) {
                    self.registered.context.totals.limited(cause);
                }
                match reason {
                    EndReason::ClientClosed | EndReason::ClientVanished | EndReason::BackendClosed(_) => {
                        tracing::debug!(%session, epoch, %peer, backend, %reason, "session ends");
                    }
                    _ => tracing::info!(%session, epoch, %peer, backend, %reason, "session ends"),
                }
            }
        }
    }
}

/// Leaves a backend leg to be closed. One that is over and has nothing to be said is dropped at once.
fn retire(wire: Wire, farewell: Option<ControlFrame>, lease: Lease) {
    if wire.is_over() && farewell.is_none() {
        return;
    }
    farewell::close(wire.into_stream(), farewell, lease);
}

//! The way to another backend: the dial, and the new leg while the session is still on the old one.

use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use tideover_protocol::session::{AttachRequest, BackendTraits, Event, OnMigrateTimeout};
use tideover_protocol::time::Instant;
use tokio::sync::oneshot;

use super::{Dial, Driver, traits};
use crate::pool::{Attached, Backend, BackendId, Lease, Target};
use crate::session::buffer::with_buffer;
use crate::session::farewell;
use crate::session::registry::NotMigrated;
use crate::session::wire::{Read, Wire};

/// What a leg may say, in bytes, that the session is not on yet. More is left in its socket.
const MOST_HELD: usize = 16 * 1024;

type Answer = oneshot::Sender<Result<Arc<Backend>, NotMigrated>>;

/// A migration, as far as it is the driver's.
pub(super) struct Moving {
    target: Target,
    /// Who wants to know what comes of it.
    answer: Option<Answer>,
    leg: Leg,
}

/// The new leg.
enum Leg {
    None,
    Dialled(Dial),
    Ready(BackendTraits, Wire, Lease),
}

impl Moving {
    /// Bytes held of the new leg.
    pub(super) fn held_bytes(&self) -> usize {
        if let Leg::Ready(_, wire, _) = &self.leg { wire.held_bytes() } else { 0 }
    }
}

impl Driver {
    /// Moves the session, if the engine can.
    pub(super) fn migrate(
        &mut self,
        now: Instant,
        to: Option<BackendId>,
        on_timeout: Option<OnMigrateTimeout>,
        answer: Option<Answer>,
    ) {
        let refuse = |answer: Option<Answer>, why| {
            // Who asked may have left.
            let _ = answer.map(|answer| answer.send(Err(why)));
        };
        if to == Some(self.last.id) {
            return refuse(answer, NotMigrated::There);
        }
        let on_timeout = on_timeout.unwrap_or(self.route().session.on_migrate_timeout);
        match self.engine.migrate(now, on_timeout) {
            Ok(()) => {
                let target = to.map_or(Target::Elsewhere, Target::Backend);
                self.moving = Some(Box::new(Moving { target, answer, leg: Leg::None }));
            }
            Err(why) => refuse(answer, NotMigrated::Unmovable(why)),
        }
    }

    /// Looks for the other backend.
    pub(super) fn prepare(&mut self, request: AttachRequest) {
        let Some(target) = self.moving.as_ref().map(|moving| moving.target) else { return };
        let (route, handshake) = (self.route().clone(), self.handshake.clone());
        let (headers, wanted) = self.wanted(request, target);
        let dial: Dial = Box::pin(async move { route.reattach(&handshake, &headers, wanted).await });
        self.set_leg(Leg::Dialled(dial));
    }

    fn set_leg(&mut self, leg: Leg) {
        if let Some(moving) = &mut self.moving {
            moving.leg = leg;
        }
    }

    /// Looks after the new leg. Returns whether anything came of it.
    pub(super) fn poll_moving(&mut self, cx: &mut Cx<'_>, now: Instant) -> bool {
        let Some(moving) = &mut self.moving else { return false };
        match &mut moving.leg {
            Leg::None => false,
            Leg::Dialled(dial) => {
                let Poll::Ready(result) = dial.as_mut().poll(cx) else { return false };
                moving.leg = Leg::None;
                match result {
                    Ok(attached) => self.handle_prepared(now, attached),
                    Err(error) => {
                        tracing::info!(session = %self.registered.handle.id, %error, "no backend to move to");
                        self.engine.handle_prepare_failed();
                    }
                }
                true
            }
            Leg::Ready(_, wire, _) if wire.held_bytes() < MOST_HELD => {
                let heard = with_buffer(|buffer| match wire.read(cx, &mut buffer[..MOST_HELD]) {
                    Read::Bytes(len) => {
                        wire.hold_more(&buffer[..len]);
                        self.engine.handle_prepared_data(&buffer[..len]);
                        true
                    }
                    Read::End => {
                        self.engine.handle_prepared_end();
                        true
                    }
                    Read::Nothing => false,
                });
                if heard {
                    self.count_held();
                }
                heard
            }
            Leg::Ready(..) => false,
        }
    }

    fn handle_prepared(&mut self, now: Instant, attached: Attached) {
        let traits = traits(&attached);
        let Attached { stream, leftover, lease, .. } = attached;
        if !self.engine.handle_prepared(now, traits) {
            return farewell::close(stream, None, lease);
        }
        self.engine.handle_prepared_data(&leftover);
        self.set_leg(Leg::Ready(traits, Wire::new(stream, leftover), lease));
        self.count_held();
    }

    /// The new leg takes the place of the old one.
    pub(super) fn adopt(&mut self, now: Instant) {
        let Some(moving) = &mut self.moving else { return };
        if let Leg::Ready(traits, wire, lease) = std::mem::replace(&mut moving.leg, Leg::None) {
            self.begin_leg(now, traits, wire, lease);
        }
        // Else the answer is still to be given.
        self.moving.take_if(|moving| moving.answer.is_none());
    }

    /// The new leg is not wanted any more.
    pub(super) fn discard(&mut self) {
        let Some(moving) = &mut self.moving else { return };
        if let Leg::Ready(_, wire, lease) = std::mem::replace(&mut moving.leg, Leg::None) {
            farewell::close(wire.into_stream(), None, lease);
        }
        self.count_held();
    }

    /// Tells who asked what came of the migration.
    pub(super) fn answer_migration(&mut self, event: &Event) {
        let outcome = match event {
            Event::Migrated(_) => Ok(self.last.clone()),
            Event::MigrationFailed(why) => Err(NotMigrated::Failed(*why)),
            _ => return,
        };
        let answer = self.moving.as_mut().and_then(|moving| moving.answer.take());
        // Who asked may have left.
        let _ = answer.map(|answer| answer.send(outcome));
        if self.moving.as_ref().is_some_and(|moving| matches!(moving.leg, Leg::None)) {
            self.moving = None;
        }
    }
}

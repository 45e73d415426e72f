//! Migration: a session leaves a backend leg that is well, on purpose and without replay.
//!
//! ```text
//!   migrate --> Preparing --the new leg is there--> Settling --at rest--> on the new leg
//!      |  the old leg goes on as ever                  ^   \
//!      +--- session protocol --------------------------+    +--at rest--> Attaching --there--> on the new leg
//! ```
//!
//! A new leg is dialled while the old one goes on, so that the dial costs no time. Then no message begins on the old leg
//! any more (they collect in the ring), a barrier proves that what it was written was read, and its output goes to the
//! client until it was silent long enough. It is told 1001, and the rest of the ring is written to the new leg.
//!
//! Where the pong comes early, silence decides, and how long is long enough is learned (`answers`). Where it is not
//! known what belongs to what, a lull is waited for first, with the writing going on, for half of `--migrate-timeout`.
//!
//! With the session protocol, the handshake says which message the leg begins with and how much the client was given.
//! That must be true when it is made: so the old leg comes to rest first, and while the new one is dialled it is not read.
//!
//! Whatever fails before the new leg has the session leaves it on the old one, as if nothing had been tried.

use std::time::Duration;

use crate::sabotage::{self, Sabotage};
use crate::scan::{Scanner, Step};
use crate::time::Instant;

use super::config::{AckMode, OnFull, OnMigrateTimeout, Reattach};
use super::ending::{Phase, going_away};
use super::event::{Action, AttachRequest, Event, Hindrance, Loss, Unmovable};
use super::leg::{Attachment, BackendLeg, BackendTraits};
use super::ruled::Ruled;
use super::{Config, Session};

/// Between the end of the silence and the leaving, what came meanwhile is read once more.
const LAST_LOOK: Duration = Duration::from_millis(1);
/// How long the acknowledgement of what is done may come behind the answer (session protocol). What is not acknowledged
/// then is sent again, and the backend knows it.
const ACK_PATIENCE: Duration = Duration::from_secs(1);
/// A leg whose messages are all answered and that still talks is left after so many times `--migrate-quiet`.
const TALKATIVE: u32 = 4;

/// A session on its way to another backend.
#[derive(Debug)]
pub(super) struct Migration {
    since: Instant,
    on_timeout: OnMigrateTimeout,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The driver looks for a new leg.
    Preparing,
    /// The old leg comes to rest. Without a new leg, one is dialled at rest.
    Settling {
        /// Watches what the new leg says already for its end.
        prepared: Option<Box<Scanner>>,
        /// Since when no message begins on the old one.
        halted: Option<Instant>,
        look: Option<Look>,
    },
    /// At rest; the driver looks for a new leg.
    Attaching,
    /// The old leg is left; the driver puts the new one in its place.
    Adopting,
}

/// The last look before a leg is left.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// Since when the leg was at rest: if it moved since, the look was in vain.
    rest: Instant,
    until: Instant,
}

impl Migration {
    fn deadline(&self, config: &Config) -> Instant {
        self.since + config.migrate_timeout
    }

    /// Until when a lull is waited for with the writing going on.
    fn lull_until(&self, config: &Config) -> Instant {
        self.since + config.migrate_timeout / 2
    }
}

impl Session {
    // Commands and inputs.

    /// Moves the session to another backend without replay, while its leg is well. `on_timeout` is what follows if
    /// that takes longer than `--migrate-timeout`; what comes of it is told as an event.
    ///
    /// # Errors
    /// Why it cannot be moved now; nothing has changed then.
    pub fn migrate(&mut self, now: Instant, on_timeout: OnMigrateTimeout) -> Result<(), Unmovable> {
        if self.migration.is_some() {
            return Err(Unmovable::Busy);
        }
        if !matches!(self.phase, Phase::Relaying) {
            return Err(Unmovable::Ending);
        }
        if self.open_leg().is_none() || self.is_in_prelude() {
            return Err(Unmovable::Detached);
        }
        if self.upstream.is_isolated() {
            return Err(Unmovable::Isolated);
        }
        let incomplete = self.ruled.as_deref().is_some_and(Ruled::is_incomplete);
        if self.config.reattach != Reattach::Always || incomplete {
            return Err(Unmovable::Forbidden);
        }
        let stage = if self.ack == AckMode::Explicit { self.settling(now, None) } else { self.preparing() };
        self.migration = Some(Box::new(Migration { since: now, on_timeout, stage }));
        Ok(())
    }

    fn preparing(&mut self) -> Stage {
        let pinned = self.ruled.is_none().then_some(0);
        let request = AttachRequest { next_seq: None, delivered: None, pinned, ..self.attach_request() };
        self.actions.push_back(Action::Prepare(request));
        Stage::Preparing
    }

    fn settling(&mut self, now: Instant, prepared: Option<Box<Scanner>>) -> Stage {
        let halted = self.is_end_known().then_some(now);
        self.upstream.halted = halted.is_some();
        Stage::Settling { prepared, halted, look: None }
    }

    /// Whether it shows when the leg has answered all that it was written.
    fn is_end_known(&self) -> bool {
        self.ack == AckMode::Explicit || self.is_late() || self.has_keys() || self.answers.is_counted()
    }

    /// Whether answers say themselves what they answer.
    fn has_keys(&self) -> bool {
        self.ack == AckMode::Rules && self.counters.keyed > 0
    }

    /// The new leg is there (the answer to [`Action::Prepare`]). Returns whether the session wants it: then keep it
    /// until [`Action::Adopt`] or [`Action::Discard`], read no more than a little of it, and report that with
    /// [`Self::handle_prepared_data`] and [`Self::handle_prepared_end`]. Else close it.
    #[must_use]
    pub fn handle_prepared(&mut self, now: Instant, traits: BackendTraits) -> bool {
        let Some(migration) = self.migration.as_deref() else { return false };
        match migration.stage {
            // What its handshake says must be true: it is dialled again when it is.
            Stage::Preparing if traits.carrier.is_some() => {
                let stage = self.settling(now, None);
                self.set_stage(stage);
                false
            }
            Stage::Preparing => {
                let scanner = Box::new(self.downstream.fresh_scanner());
                let stage = self.settling(now, Some(scanner));
                self.set_stage(stage);
                true
            }
            Stage::Attaching => {
                self.complete_migration(now);
                true
            }
            Stage::Settling { .. } | Stage::Adopting => false,
        }
    }

    /// No new leg could be had.
    pub fn handle_prepare_failed(&mut self) {
        if let Some(Stage::Preparing | Stage::Attaching) = self.stage_mut() {
            self.abandon_migration(Hindrance::NoBackend);
        }
    }

    /// The new leg, which the session is not on yet, said this. It stays the driver's, to be offered as
    /// [`Self::handle_backend_data`] once the leg is adopted.
    pub fn handle_prepared_data(&mut self, data: &[u8]) {
        let Some(Stage::Settling { prepared: Some(scanner), .. }) = self.stage_mut() else { return };
        let mut rest = data;
        let ended = loop {
            match scanner.step(&mut rest) {
                Ok(Step::Starved) => break false,
                Ok(Step::Announced(_)) => scanner.admit(),
                Ok(Step::Payload { .. } | Step::Ping(_) | Step::Pong(_)) => {}
                Ok(Step::Close(_)) | Err(_) => break true,
            }
        };
        if ended {
            self.give_up_migration(Hindrance::NewLegEnded);
        }
    }

    /// The new leg ended before the session was on it.
    pub fn handle_prepared_end(&mut self) {
        if let Some(Stage::Settling { prepared: Some(_), .. }) = self.stage_mut() {
            self.give_up_migration(Hindrance::NewLegEnded);
        }
    }

    // Where it stands.

    fn stage_mut(&mut self) -> Option<&mut Stage> {
        self.migration.as_deref_mut().map(|migration| &mut migration.stage)
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(current) = self.stage_mut() {
            *current = stage;
        }
    }

    /// Whether the leg is to come to rest.
    pub(super) fn is_settling(&self) -> bool {
        self.migration.as_deref().is_some_and(|migration| matches!(migration.stage, Stage::Settling { .. }))
    }

    /// Whether the next leg is dialled with the old one at rest, which is not read meanwhile: what the handshake says
    /// the client was given must stay true.
    pub(super) fn is_dialled_at_rest(&self) -> bool {
        self.migration.as_deref().is_some_and(|migration| matches!(migration.stage, Stage::Attaching))
    }

    /// Whether a barrier has proven read what the leg was written.
    pub(super) fn is_proven(&self, leg: &BackendLeg) -> bool {
        let ring = &self.upstream.ring;
        leg.mute || leg.proven >= ring.written_seq() || ring.leg_written() == 0
    }

    fn is_late(&self) -> bool {
        self.order == super::PongOrder::Late && !self.answers.is_owed()
    }

    /// Called when that may change: while the backend is not listened to, its silence means nothing.
    pub(super) fn note_reading(&mut self, now: Instant) {
        if !self.downstream.wants_read() {
            self.answers.handle_not_reading(now);
        }
    }

    /// Since when the leg is at rest, which may lie ahead; `None` while something is missing that is no matter of time.
    fn rest_at(&self, leg: &BackendLeg, halted: Option<Instant>, since: Instant) -> Option<Instant> {
        if sabotage::is(Sabotage::MigratedBeforeQuiet) && self.upstream.is_at_rest() {
            return Some(since);
        }
        let proven = self.is_proven(leg) || sabotage::is(Sabotage::MigratedBeforePong);
        let by_answers = matches!(self.ack, AckMode::Reply | AckMode::Rules);
        let answered = !by_answers || self.upstream.is_written_acknowledged();
        let packets = self.ruled.as_deref().is_none_or(|ruled| !ruled.is_inside_packet());
        let whole = self.downstream.is_between_messages() && self.downstream.wants_read() && packets;
        if !self.upstream.is_at_rest() || !proven || !answered || !whole || !leg.outlet.is_free() {
            return None;
        }
        let quiet = self.config.migrate_quiet;
        let silent = self.answers.moved().map(|moved| moved + quiet);
        let rest = match self.ack {
            AckMode::Explicit if self.upstream.is_written_acknowledged() => silent,
            AckMode::Explicit => self.answers.moved().map(|moved| moved + ACK_PATIENCE.max(quiet)),
            _ if self.is_late() || self.has_keys() => silent,
            _ => self.answers.answered_at(quiet, self.config.migrate_timeout / 2),
        };
        let pong = (self.answers.moved().is_some() && !leg.mute).then(|| leg.answered + quiet);
        let rest = rest.max(pong).unwrap_or(since);
        // Who is owed nothing and talks all the same, talks unasked: that must end somewhere.
        let cut = halted.filter(|_| self.answers.is_uneven()).map(|halted| halted.max(leg.proven_at) + self.talk());
        Some(cut.map_or(rest, |cut| rest.min(cut)))
    }

    /// How long a leg may talk that has read all it was written, where talking proves nothing.
    fn talk(&self) -> Duration {
        let answers = if self.is_late() { Duration::ZERO } else { 2 * self.answers.longest() };
        answers + self.config.migrate_quiet * TALKATIVE
    }

    // Time.

    /// When [`Self::advance_migration`] has something to do.
    pub(super) fn migration_at(&self, leg: &BackendLeg) -> Option<Instant> {
        let migration = self.migration.as_deref()?;
        let deadline = migration.deadline(&self.config);
        let Stage::Settling { halted, look, .. } = migration.stage else { return Some(deadline) };
        let lull = migration.lull_until(&self.config);
        let rest = self.rest_at(leg, halted, migration.since).map(|rest| match look {
            Some(look) if look.rest == rest => look.until,
            Some(_) | None => rest,
        });
        Some(rest.into_iter().chain(halted.is_none().then_some(lull)).fold(deadline, Instant::min))
    }

    /// A time that [`Self::migration_at`] named has come.
    pub(super) fn advance_migration(&mut self, now: Instant) {
        let Some(migration) = self.migration.as_deref() else { return };
        let since = migration.since;
        if migration.deadline(&self.config) <= now {
            return self.time_out_migration(now);
        }
        let lull_over = migration.lull_until(&self.config) <= now;
        let Some(Stage::Settling { halted, look, .. }) = self.stage_mut() else { return };
        if halted.is_none() && lull_over {
            *halted = Some(now);
            self.upstream.halted = true;
            return self.advance_migration(now);
        }
        let (halted, look) = (*halted, *look);
        let rest = self.open_leg().and_then(|leg| self.rest_at(leg, halted, since)).filter(|rest| *rest <= now);
        match (rest, look) {
            (Some(rest), Some(look)) if look.rest == rest && look.until <= now => self.leave(now),
            (Some(rest), _) => self.look_once_more(rest, now + LAST_LOOK),
            (None, _) => {}
        }
    }

    fn look_once_more(&mut self, rest: Instant, until: Instant) {
        if let Some(Stage::Settling { look, .. }) = self.stage_mut() {
            *look = Some(Look { rest, until });
        }
    }

    fn time_out_migration(&mut self, now: Instant) {
        let Some(migration) = self.migration.as_deref() else { return };
        match (&migration.stage, migration.on_timeout) {
            (Stage::Preparing | Stage::Attaching, _) => self.give_up_migration(Hindrance::NoBackend),
            (Stage::Settling { .. }, OnMigrateTimeout::Stay) => self.give_up_migration(Hindrance::Unsettled),
            (Stage::Settling { .. }, OnMigrateTimeout::FailOver) => self.lose_leg(now, Loss::Unsettled),
            (Stage::Adopting, _) => {}
        }
    }

    // Its ends.

    /// The leg is at rest.
    fn leave(&mut self, now: Instant) {
        if let Some(Stage::Settling { prepared: Some(_), .. }) = self.stage_mut() {
            return self.complete_migration(now);
        }
        self.settle_leg();
        (self.upstream.halted, self.upstream.frozen) = (true, true);
        let pinned = Some(self.freeze_prelude());
        self.actions.push_back(Action::Prepare(AttachRequest { pinned, ..self.attach_request() }));
        self.set_stage(Stage::Attaching);
    }

    /// What the leg was written is done with: nothing of it is written again, and nothing it said can be said again.
    fn settle_leg(&mut self) {
        if self.ack != AckMode::Explicit {
            let mute = self.is_mute();
            self.upstream.settle(mute, &mut self.counters);
            // Not later: it would count for the next leg.
            self.note_progress();
        }
        self.counters.passed += self.downstream.release();
        if !sabotage::is(Sabotage::MemoryOutlivesMigration) {
            self.downstream.forget_all();
        }
    }

    fn complete_migration(&mut self, now: Instant) {
        let told = self.is_dialled_at_rest();
        self.settle_leg();
        self.downstream.end_leg();
        self.retire(Some(going_away()));
        if !told {
            self.begin_next_leg();
        }
        self.set_stage(Stage::Adopting);
        self.adopt(now);
    }

    /// What is pinned by now is for the next leg, and what concerns the last one is not. Where a handshake has said what
    /// comes first, that was settled then.
    fn begin_next_leg(&mut self) {
        if let Some(ruled) = self.ruled.as_deref_mut() {
            ruled.end_leg();
            self.drop_leg_local();
            self.freeze_prelude();
        }
    }

    fn adopt(&mut self, now: Instant) {
        self.upstream.frozen = true;
        self.backend = Attachment::Dialling { since: now };
        self.actions.push_back(Action::Adopt);
    }

    /// A new leg is there.
    pub(super) fn tell_attached(&mut self, replayed: usize) {
        let epoch = self.epoch;
        if self.migration.take().is_some() {
            self.counters.migrations += 1;
            return self.tell(Event::Migrated(epoch));
        }
        self.tell(Event::Attached { epoch, replayed });
    }

    /// The old leg is lost. If the new one is there, the session goes on with that; returns whether nothing more is to
    /// be done.
    pub(super) fn fall_to_prepared(&mut self, now: Instant, loss: Loss) -> bool {
        let hindrance = if loss == Loss::Unsettled { Hindrance::Unsettled } else { Hindrance::OldLegEnded };
        let isolated = self.upstream.is_isolated();
        let prepared = matches!(self.stage_mut(), Some(Stage::Settling { prepared: Some(_), .. }));
        // It may be the last healthy backend, and what is replayed then may kill it.
        if !prepared || isolated {
            self.give_up_migration(hindrance);
            return false;
        }
        if self.expire_messages(now) {
            self.abandon_migration(hindrance);
            self.drop_aged(now);
            self.freeze_prelude();
            self.adopt(now);
        }
        true
    }

    /// Nothing comes of the migration: the session stays where it is, and what was prepared is closed.
    pub(super) fn give_up_migration(&mut self, why: Hindrance) {
        match self.stage_mut() {
            None | Some(Stage::Adopting) => return,
            Some(Stage::Settling { prepared: None, .. }) => {}
            Some(Stage::Settling { .. } | Stage::Preparing | Stage::Attaching) => {
                self.actions.push_back(Action::Discard);
            }
        }
        self.abandon_migration(why);
    }

    fn abandon_migration(&mut self, why: Hindrance) {
        if self.is_dialled_at_rest() {
            if let Some(ruled) = self.ruled.as_deref_mut() {
                ruled.thaw();
            }
            self.upstream.frozen = self.upstream.gapless && matches!(self.backend, Attachment::Attached(_));
        }
        self.migration = None;
        self.upstream.halted = false;
        self.counters.migrations_failed += 1;
        self.tell(Event::MigrationFailed(why));
    }

    /// Where a full ring costs messages or the session, it must not fill up for a migration.
    pub(super) fn check_crowded(&mut self) {
        let costs = self.config.on_full != OnFull::Block;
        if costs && self.upstream.halted && self.upstream.ring.is_half_full() {
            self.give_up_migration(Hindrance::Crowded);
        }
    }
}

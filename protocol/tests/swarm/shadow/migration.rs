//! Sessions that are moved on purpose: whether a leg may be left, and what is left of it.

use tideover_protocol::session::{
    AckMode, AttachRequest, Hindrance, OnFull, OnMigrateTimeout, Reattach, Session, Side, Unmovable,
};
use tideover_protocol::time::Instant;

use super::{Link, Phase, Shadow};
use crate::coverage::Met;

/// How far a session has come on its way to another backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The new leg is looked for while the old one goes on.
    Preparing,
    /// The old leg comes to rest, with the new one there or, in the session protocol, without.
    Settling { prepared: bool },
    /// The old leg is left, and the new one is looked for.
    Left,
    /// The new leg is the session's.
    Adopted,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    since: Instant,
    on_timeout: OnMigrateTimeout,
    way: Way,
    /// No other backend was to be had, or it has ended.
    lost: bool,
}

impl Shadow {
    pub(crate) fn migrates(&mut self, now: Instant, on_timeout: OnMigrateTimeout, answer: Result<(), Unmovable>) {
        self.now = now;
        let refusal = if self.moving.is_some() {
            Some(Unmovable::Busy)
        } else if self.phase != Phase::Relaying {
            Some(Unmovable::Ending)
        } else if self.link != Link::Attached || self.leg.closed {
            Some(Unmovable::Detached)
        } else if self.ledger.is_isolated() {
            Some(Unmovable::Isolated)
        } else {
            (self.config.reattach != Reattach::Always).then_some(Unmovable::Forbidden)
        };
        assert_eq!(answer.err(), refusal, "migration: whether the session can be moved");
        if refusal.is_some() {
            return self.meet(Met::Unmovable);
        }
        let explicit = self.mode == AckMode::Explicit;
        let way = if explicit { Way::Settling { prepared: false } } else { Way::Preparing };
        self.moving = Some(Move { since: now, on_timeout, way, lost: false });
    }

    /// A leg is asked for, to which the session is to be moved.
    pub(crate) fn prepares(&mut self, request: &AttachRequest) {
        let moving = self.moving.expect("migration: nobody wants the session elsewhere");
        let explicit = self.mode == AckMode::Explicit;
        let (mut next_seq, mut delivered) = (None, None);
        match moving.way {
            Way::Preparing => assert!(!explicit, "session protocol: what the handshake says will not be true"),
            Way::Settling { prepared: false } => {
                self.leaves();
                self.way(Way::Left);
                next_seq = Some(self.ledger.first().unwrap_or(self.ledger.last + 1));
                delivered = Some(self.tape.passed);
            }
            other => panic!("migration: a leg is asked for when {other:?}"),
        }
        let expected =
            AttachRequest { epoch: self.epoch + 1, next_seq, delivered, pinned: Some(0), explicit, spare_last: false };
        let delivered = if self.deaf { expected.delivered } else { request.delivered };
        assert_eq!(AttachRequest { delivered, ..*request }, expected, "session protocol: what the handshake says");
    }

    fn way(&mut self, way: Way) {
        if let Some(moving) = &mut self.moving {
            moving.way = way;
        }
    }

    pub(crate) fn prepared(&mut self, now: Instant) {
        self.now = now;
        match self.moving.map(|moving| moving.way) {
            Some(Way::Preparing) => self.way(Way::Settling { prepared: true }),
            Some(Way::Left) => self.way(Way::Adopted),
            other => panic!("migration: prepared when {other:?}"),
        }
    }

    pub(crate) fn not_prepared(&mut self) {
        self.lose_prepared();
    }

    pub(crate) fn prepared_ended(&mut self) {
        self.lose_prepared();
    }

    fn lose_prepared(&mut self) {
        if let Some(moving) = &mut self.moving {
            moving.lost = true;
        }
    }

    /// Whether the old leg is left while the session waits for the new one.
    pub(crate) fn is_left(&self) -> bool {
        self.moving.is_some_and(|moving| moving.way == Way::Left)
    }

    /// The prepared leg is to be the session's. Returns whether the old one was left for it now.
    pub(crate) fn adopts(&mut self) -> bool {
        match self.moving.map(|moving| moving.way) {
            // The old leg was lost: the books are as after any loss, and what is too old goes now.
            None => {
                self.meet(Met::FellToPrepared);
                self.expire();
                self.link = Link::Dialling;
                false
            }
            Some(Way::Settling { prepared: true }) => {
                self.leaves();
                self.way(Way::Adopted);
                self.link = Link::Dialling;
                true
            }
            Some(Way::Adopted) => {
                self.meet(Met::MigratedAtRest);
                self.leg.closed = true;
                self.link = Link::Dialling;
                true
            }
            Some(other) => panic!("migration: adopted when {other:?}"),
        }
    }

    /// Law 10: the leg may be left, and nothing of it comes again.
    fn leaves(&mut self) {
        assert!(self.link == Link::Attached && !self.leg.closed, "migration: there is no leg to leave");
        assert!(!self.ledger.is_inside(), "law 2: a leg is left inside a message");
        let proven = self.leg.mute || self.leg.proven >= self.ledger.whole || self.ledger.count == 0;
        assert!(proven, "law 1: a leg is left that has not read what it was written");
        assert!(self.leg.collector.splitter.is_between_messages(), "law 3: a leg is left inside its message");
        if self.mode == AckMode::Reply {
            let on_leg = self.ledger.on_leg();
            assert!(on_leg <= self.ledger.acked, "law 10: a leg is left that owes a reply");
        }
        self.judge_silence();
        if self.mode != AckMode::Explicit && self.ledger.leave() > 0 {
            assert!(self.leg.mute, "law 1: what is not acknowledged is forgotten");
            self.meet(Met::MigratedMute);
        }
        self.progress();
        self.release();
        self.window.forget(0, true);
    }

    fn judge_silence(&self) {
        let quiet = self.config.migrate_quiet;
        let Some(moved) = self.leg.given.max(self.leg.spoke) else { return };
        // Who talks unasked is left all the same, but not at once.
        let talks = self.now.since(self.moving.map_or(self.began, |moving| moving.since)) >= 4 * quiet;
        assert!(self.now.since(moved) >= quiet || talks, "law 10: a leg is left that is not silent");
    }

    pub(super) fn is_unsettled(&self) -> bool {
        self.moving.is_some_and(|moving| {
            let late = self.now >= moving.since + self.config.migrate_timeout;
            late && moving.on_timeout == OnMigrateTimeout::FailOver && matches!(moving.way, Way::Settling { .. })
        })
    }

    pub(super) fn migrated(&mut self, epoch: u32) {
        let moving = self.moving.take().expect("migration: nobody wanted the session elsewhere");
        assert_eq!((moving.way, epoch), (Way::Adopted, self.epoch), "migration: the session is elsewhere");
        self.meet(Met::Migrated);
        self.moves += 1;
    }

    pub(super) fn not_migrated(&mut self, why: Hindrance) {
        let moving = self.moving.take().expect("migration: nobody wanted the session elsewhere");
        let late = self.now >= moving.since + self.config.migrate_timeout;
        let looks = matches!(moving.way, Way::Preparing | Way::Left);
        let (justified, met) = match why {
            Hindrance::NoBackend => (looks && (moving.lost || late), Met::NoOtherBackend),
            Hindrance::NewLegEnded => (moving.lost && !looks, Met::NewLegEnded),
            Hindrance::OldLegEnded => (self.link == Link::Waiting, Met::OldLegDiedPreparing),
            Hindrance::Ending => (self.phase != Phase::Relaying || self.link == Link::Waiting, Met::Unmovable),
            Hindrance::Crowded => (self.config.on_full != OnFull::Block, Met::MigrationCrowded),
            Hindrance::Unsettled => (late && !looks, Met::MigrationStayed),
        };
        assert!(justified, "migration: it fails ({why}) without a reason: {moving:?}");
        self.meet(met);
    }

    /// Law 6: a migration does not take longer than it may, and what a handshake says of the client stays true.
    pub(super) fn compare_move(&self, session: &Session) {
        let Some(moving) = self.moving.filter(|_| self.link == Link::Attached && !self.leg.closed) else { return };
        let deadline = moving.since + self.config.migrate_timeout;
        assert!(session.poll_timeout().is_some_and(|at| at <= deadline), "law 6: a migration without an end");
        assert!(moving.way != Way::Left || !session.wants_read(Side::Backend), "session protocol: Tideover-Delivered");
    }
}

//! Messages that backends die of, and messages that have become too old.

use std::time::Duration;

use crate::sabotage::{self, Sabotage};
use crate::time::Instant;

use super::config::{AckMode, OnExpired, OnPoison};
use super::event::{Action, EndReason, Loss, Poisoned};
use super::leg::{Attachment, LegEnd};
use super::{Epoch, Session};

/// How long a leg's messages wait, in all, until they go out one by one without their turn.
pub(super) const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// How much a death says against the session that the backend had, or in isolation against its one message there: in
/// binary orders of magnitude, how improbable it is that the backend would have died without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(u8);

impl Weight {
    /// Nothing: something else may as well be to blame.
    pub const NONE: Self = Self(0);
    /// A whole death: by chance it would have come in one case of 64, or fewer.
    pub const WHOLE: Self = Self(6);

    /// Of a death that would have come by chance with this probability, from 0 to 1.
    #[must_use]
    pub const fn of_chance(chance: f64) -> Self {
        let (mut weight, mut chance) = (0, chance);
        while weight < Self::WHOLE.0 && chance <= 0.5 {
            weight += 1;
            chance *= 2.0;
        }
        Self(weight)
    }
}

/// Whether messages go out one by one, and whether the next one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// They go out as they come.
    None,
    /// The next message waits for its turn: until no other session's in isolation is on the backend.
    Waiting,
    /// A message has its turn.
    Alone,
    /// It took too long: until this leg ends, messages go out one by one without their turn.
    InCompany,
}

/// In isolation: whose turn it is on the leg.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turn {
    Awaited,
    /// That of the message of this seq.
    Had(u64),
    /// Nobody asks any more.
    Waived,
}

impl Session {
    /// A backend is proven to have died while it had this session. A first death is followed by a replay at full
    /// speed; after deaths that weigh as much as two whole ones, before anything new was acknowledged, messages go out
    /// one by one, each in its turn. One that was alone at deaths which weigh as much as `--max-replays` whole ones is
    /// poison. Deaths that it shared, or that came without its turn, say nothing against it. On a `mute` leg nothing is
    /// ever acknowledged, so that what is retained at a death says nothing.
    pub(super) fn handle_death(&mut self, now: Instant, end: LegEnd, mute: bool, weight: Weight) {
        if self.ack == AckMode::None || mute {
            return self.lose_leg(now, Loss::Died);
        }
        let shared = self.ruled.as_deref().is_some_and(|ruled| ruled.prelude_len() > 1);
        let weight = self.weigh(weight);
        let alone = if self.upstream.is_isolated() { weight } else { Weight::NONE };
        let death = self.upstream.ring.count_death(alone.0, shared);
        if death.through == 0 {
            return self.lose_leg(now, Loss::Died);
        }
        let poison = u16::from(self.config.max_replays) * u16::from(Weight::WHOLE.0);
        if let Some(alone) = death.alone.filter(|alone| alone.weight >= poison) {
            return self.set_aside(now, alone.seq, alone.deaths, end);
        }
        self.deaths = self.deaths.saturating_add(weight.0.into());
        if self.deaths >= 2 * u32::from(Weight::WHOLE.0) {
            self.counters.isolations += u64::from(!self.upstream.is_isolated());
            self.upstream.isolate(death.through);
        }
        self.lose_leg(now, Loss::Died);
    }

    /// What a death weighs against the session: in isolation nothing, unless a message had its turn.
    fn weigh(&self, weight: Weight) -> Weight {
        if sabotage::is(Sabotage::DoubtIgnored) {
            return Weight::WHOLE;
        }
        match self.isolation() {
            Isolation::None | Isolation::Alone => weight,
            Isolation::Waiting | Isolation::InCompany => Weight::NONE,
        }
    }

    /// How messages go out, for a driver that gives turns ([`Self::handle_turn`]). Ask again after every input, and
    /// before writing.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        self.upstream.isolation()
    }

    /// It is the turn of the next message of the leg of `epoch`: no other session's in isolation is on its backend. The
    /// turn lasts as long as [`Self::isolation`] says so.
    pub fn handle_turn(&mut self, epoch: Epoch) {
        if epoch == self.epoch && matches!(self.backend, Attachment::Attached(_)) {
            self.upstream.give_turn();
        }
    }

    /// When the leg has waited long enough for turns.
    pub(super) fn turn_at(&self) -> Option<Instant> {
        let leg = self.open_leg()?;
        (self.isolation() == Isolation::Waiting).then(|| leg.since + TURN_PATIENCE)
    }

    fn set_aside(&mut self, now: Instant, seq: u64, deaths: u8, end: LegEnd) {
        self.retire(None);
        self.upstream.rewind();
        let seq = seq + u64::from(sabotage::is(Sabotage::NeighbourPoisoned));
        let frames = self.upstream.ring.take(seq);
        if let Some(ruled) = self.ruled.as_deref_mut() {
            ruled.remove(seq);
        }
        self.settle_forgotten();
        self.counters.poisoned += 1;
        self.deaths = 0;
        self.actions.push_back(Action::Poisoned(Poisoned {
            seq,
            epoch: self.epoch,
            deaths,
            len: frames.len(),
            frames: self.config.keep_poison_payload.then_some(frames),
        }));
        match self.config.on_poison {
            OnPoison::Drop => self.lose_leg(now, Loss::Died),
            OnPoison::Close => self.forward(now, end),
        }
    }

    // Age.

    /// When the oldest message becomes too old to be replayed.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        let received = self.upstream.ring.oldest_received()?;
        let age = self.config.replay_max_age?;
        Some(self.began + Duration::from_millis(received.into()) + age)
    }

    /// Before a leg is looked for: what is too old is not replayed. Returns whether the session goes on.
    pub(super) fn expire_messages(&mut self, now: Instant) -> bool {
        if self.expires_at().is_none_or(|at| at > now) {
            return true;
        }
        let Some(age) = self.config.replay_max_age else { return true };
        match self.config.on_expired {
            OnExpired::Close => {
                self.end_expired(now, EndReason::Expired);
                false
            }
            OnExpired::DropPrefix => {
                let until = self.millis(now - age);
                self.counters.expired += self.upstream.ring.expire(until) as u64;
                self.settle_forgotten();
                true
            }
        }
    }
}

//! Messages that backends die of, and messages that have become too old.

use crate::sabotage::{self, Sabotage};
use crate::time::Instant;

use super::Session;
use super::config::{AckMode, OnExpired, OnPoison};
use super::event::{Action, EndReason, Loss, Poisoned};
use super::leg::LegEnd;

impl Session {
    /// A backend is proven to have died while it had this session. A first death is followed by a replay at full
    /// speed; after a second one before anything new was acknowledged, messages go out one by one; one that was alone
    /// at `--max-replays` deaths is poison. Deaths that it shared prove nothing against it. On a `mute` leg nothing is ever acknowledged, so that what is
    /// retained at a death says nothing.
    pub(super) fn handle_death(&mut self, now: Instant, end: LegEnd, mute: bool) {
        if self.ack == AckMode::None || mute {
            return self.lose_leg(now, Loss::Died);
        }
        let shared = self.ruled.as_deref().is_some_and(|ruled| ruled.prelude_len() > 1);
        let death = self.upstream.ring.count_death(shared);
        if death.through == 0 {
            return self.lose_leg(now, Loss::Died);
        }
        if let Some((seq, deaths)) = death.alone.filter(|(_, deaths)| *deaths >= self.config.max_replays) {
            return self.set_aside(now, seq, deaths, end);
        }
        self.deaths = self.deaths.saturating_add(1);
        if self.deaths >= 2 {
            self.counters.isolations += u64::from(!self.upstream.is_isolated());
            self.upstream.isolate(death.through);
        }
        self.lose_leg(now, Loss::Died);
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
        Some(self.began + std::time::Duration::from_millis(received.into()) + age)
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

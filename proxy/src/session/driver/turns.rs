//! A session in isolation among the others of its backend: its turns, and what a death says against a message that had
//! one.

use std::pin::Pin;
use std::task::{Context as Cx, Poll};
use std::time::Instant;

use tideover_protocol::session::{Isolation, Weight};

use super::Driver;
use crate::pool::{self, Stray, Turn};

/// From when to when a leg lived.
pub(super) type Life = std::ops::Range<Instant>;

/// Deaths that a session remembers to have had a part in, at most: the latest. 16 bytes each.
const MOST_DEATHS: usize = 64;

/// What a session that has lost legs to deaths keeps.
#[derive(Default)]
pub(super) struct Troubles {
    /// The recent deaths of backends that had messages of this session.
    deaths: Vec<Instant>,
    place: Place,
}

/// Where the session stands on its backend.
#[derive(Default)]
enum Place {
    /// It is not in isolation, or it has no leg.
    #[default]
    None,
    Queued(Pin<Box<dyn Future<Output = Turn> + Send>>),
    Alone(Turn),
    /// It went without a turn, as it had waited long enough.
    InCompany {
        /// Tells those who have one.
        _stray: Stray,
    },
}

impl Troubles {
    fn remember(&mut self, death: Instant, now: Instant) {
        self.deaths.retain(|before| *before != death && pool::is_recent(*before, now));
        if self.deaths.len() == MOST_DEATHS {
            self.deaths.remove(0);
        }
        self.deaths.push(death);
    }
}

impl Driver {
    /// Takes the session's turn, waits for it, or gives it back, as the engine is in isolation. Before writing.
    pub(super) fn poll_turn(&mut self, cx: &mut Cx<'_>) -> bool {
        let isolation = self.engine.isolation();
        let lease = self.backend.as_ref().map(|(_, lease)| lease);
        if isolation == Isolation::None && self.troubles.is_none() {
            return false;
        }
        // Where no verdict is asked for (`--on-ambiguous failover`), nothing has noted a death before.
        let troubles = self.troubles.get_or_insert_default();
        match (isolation, lease) {
            (Isolation::None, _) | (Isolation::Waiting, None) => troubles.place = Place::None,
            (Isolation::Waiting, Some(lease)) => {
                if !matches!(troubles.place, Place::Queued(_)) {
                    // Who has had a turn queues again behind the others.
                    troubles.place = Place::None;
                    troubles.place = Place::Queued(Box::pin(lease.turn()));
                }
                if let Place::Queued(turn) = &mut troubles.place
                    && let Poll::Ready(turn) = turn.as_mut().poll(cx)
                {
                    troubles.place = Place::Alone(turn);
                    self.engine.handle_turn(self.engine.epoch());
                    // Not while a verdict about the leg is awaited: the engine takes no turn then.
                    return self.engine.isolation() == Isolation::Alone;
                }
            }
            (Isolation::InCompany, Some(lease)) => {
                if !matches!(troubles.place, Place::InCompany { .. }) {
                    troubles.place = Place::InCompany { _stray: lease.stray() };
                }
            }
            // Until the verdict about its backend.
            (Isolation::Alone | Isolation::InCompany, _) => {}
        }
        false
    }

    /// The leg ended because its backend died: how much that says against the session, or in isolation against the
    /// message that had its turn.
    pub(super) fn weigh_death(&mut self, leg: Life) -> Weight {
        let ended = leg.end;
        let route = self.registered.handle.route.clone();
        let death = route.pool.note_death(&self.last, ended);
        let troubles = self.troubles.get_or_insert_default();
        let isolation = self.engine.isolation();
        if self.engine.retained() > 0 && isolation != Isolation::Waiting {
            troubles.remember(death, ended);
        }
        let began = match (isolation, &troubles.place) {
            (Isolation::None, _) => leg.start,
            (_, Place::Alone(turn)) if turn.is_alone() => turn.began(),
            // Who else was there may be to blame.
            (Isolation::Waiting | Isolation::Alone | Isolation::InCompany, _) => return Weight::NONE,
        };
        let exposure = ended.saturating_duration_since(began);
        let chance = route.pool.chance_of_death(&troubles.deaths, exposure, ended);
        if isolation != Isolation::None {
            let (session, backend) = (self.registered.handle.id, &self.last.url);
            tracing::info!(%session, %backend, ?exposure, chance, "a backend died while a message had its turn");
        }
        Weight::of_chance(chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_death_is_remembered_once_for_a_minute_and_not_too_many() {
        let (mut troubles, start) = (Troubles::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in [0, 0, 30, 59] {
            troubles.remember(at(second), at(second));
        }
        assert_eq!(troubles.deaths, [0, 30, 59].map(at));
        troubles.remember(at(61), at(61));
        assert_eq!(troubles.deaths, [30, 59, 61].map(at));
        for nanos in 0..1000 {
            let death = at(61) + Duration::from_nanos(nanos);
            troubles.remember(death, death);
        }
        assert_eq!(troubles.deaths.len(), MOST_DEATHS);
    }
}

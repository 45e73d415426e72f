//! How often backends of a pool die, so that one death among many is not laid to somebody's charge.
//!
//! Pure but for its lock: time comes in as an argument. Touched when a backend is proven to have died.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Backend, BackendId, Pool, locked};

/// How far back deaths count.
const WINDOW: Duration = Duration::from_secs(60);
/// Deaths remembered, at most: the latest. 24 bytes each.
const MOST: usize = 256;
/// Ends of a backend's legs that are closer together are of one death.
const SAME: Duration = Duration::from_millis(500);
/// What a session is on a backend for, at least: a kill and what it meets are not measured finer than this.
const LEAST: Duration = Duration::from_millis(50);

/// The latest deaths of a pool's backends.
#[derive(Debug, Default)]
pub(super) struct Deaths(Mutex<VecDeque<(Instant, BackendId)>>);

impl Deaths {
    /// A leg of this backend ended at `at` because the backend died. Returns when that death is noted to have been:
    /// the same for all its legs, and no other death's.
    fn note(&self, backend: BackendId, at: Instant) -> Instant {
        let mut deaths = locked(&self.0);
        let same = |other: Instant| at.max(other) - at.min(other) < SAME;
        if let Some((noted, _)) = deaths.iter().rev().find(|(other, id)| *id == backend && same(*other)) {
            return *noted;
        }
        if deaths.len() == MOST {
            deaths.pop_front();
        }
        let taken = |at: Instant| deaths.iter().any(|(other, _)| *other == at);
        let mut free = at;
        while taken(free) {
            free += Duration::from_nanos(1);
        }
        deaths.push_back((free, backend));
        free
    }

    /// How probable it is that one of so many `backends` dies within `exposure`, going by the deaths of the last minute
    /// but for those in `own`: between 0, if there were none, and 1.
    fn chance(&self, own: &[Instant], backends: usize, exposure: Duration, now: Instant) -> f64 {
        let deaths = locked(&self.0);
        let recent = || deaths.iter().map(|(at, _)| *at).filter(|at| now.saturating_duration_since(*at) < WINDOW);
        let others = recent().filter(|at| !own.contains(at)).count();
        let Some(first) = recent().min().filter(|_| others > 0) else { return 0.0 };
        let span = now.saturating_duration_since(first).max(LEAST).as_secs_f64();
        let a_second = others as f64 / span / backends.max(1) as f64;
        1.0 - (-a_second * exposure.max(LEAST).as_secs_f64()).exp()
    }
}

impl Pool {
    /// A leg of `backend` ended at `at`, and the backend is proven to have died. Returns the time that names this death.
    pub fn note_death(&self, backend: &Backend, at: Instant) -> Instant {
        self.deaths.note(backend.id, at)
    }

    /// How probable it is that a backend dies by itself within `exposure`, going by how often backends of the pool died
    /// lately, apart from the deaths named in `own`.
    #[must_use]
    pub fn chance_of_death(&self, own: &[Instant], exposure: Duration, now: Instant) -> f64 {
        self.deaths.chance(own, self.backends().len(), exposure, now)
    }
}

/// How long deaths are worth remembering, for those who had a part in them.
pub(crate) fn is_recent(death: Instant, now: Instant) -> bool {
    now.saturating_duration_since(death) < WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    /// Kills of three backends in turn, one every `period`, the last of them `period` ago; those of the first apart.
    fn chaos(period: Duration, kills: u32) -> (Deaths, Vec<Instant>, Instant) {
        let (deaths, start) = (Deaths::default(), Instant::now());
        let note = |kill: u32| deaths.note(BackendId(kill % 3), start + kill * period);
        let own = (0..kills).map(|kill| (kill % 3, note(kill))).filter(|(id, _)| *id == 0).map(|(_, at)| at).collect();
        (deaths, own, start + kills * period)
    }

    #[test]
    fn a_pool_in_which_nothing_else_dies_leaves_nothing_to_chance() {
        let (deaths, now) = (Deaths::default(), Instant::now());
        let own = [now, now + SECOND].map(|at| deaths.note(BackendId(0), at));
        assert_eq!(deaths.chance(&own, 3, 100 * SECOND, now + 2 * SECOND), 0.0);
    }

    #[test]
    fn the_longer_on_a_backend_the_likelier_its_death_where_backends_are_killed() {
        let (deaths, own, now) = chaos(4 * SECOND, 12);
        let chance = |exposure| deaths.chance(&own, 3, exposure, now);
        // Two in three kills of one in 4 s, over three backends: one in 18 s.
        assert!((chance(18 * SECOND) - 0.632).abs() < 0.01, "{}", chance(18 * SECOND));
        assert!((0.1..0.2).contains(&chance(3 * SECOND)), "{}", chance(3 * SECOND));
        assert!(chance(5 * MS) < 1.0 / 64.0);
        assert_eq!(chance(MS), chance(50 * MS), "not measured finer");
    }

    #[test]
    fn the_legs_of_a_process_are_of_one_death() {
        let (deaths, now) = (Deaths::default(), Instant::now());
        let first = deaths.note(BackendId(0), now);
        assert_eq!([100, 499].map(|ms| deaths.note(BackendId(0), now + ms * MS)), [first; 2]);
        let other = deaths.note(BackendId(1), now);
        assert_ne!(other, first, "another backend, at the same time");
        assert_ne!(deaths.note(BackendId(0), now + SECOND), first);
        assert!(deaths.chance(&[first], 2, SECOND, now + SECOND) > 0.0);
    }

    #[test]
    fn deaths_are_forgotten_in_a_minute_and_so_many_are_kept() {
        let (deaths, own, now) = chaos(SECOND, 1000);
        assert_eq!(locked(&deaths.0).len(), MOST);
        assert!(deaths.chance(&own, 3, SECOND, now) > 0.1);
        assert_eq!(deaths.chance(&own, 3, SECOND, now + 60 * SECOND), 0.0);
    }
}

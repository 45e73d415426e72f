//! The task that makes the checks.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;

use super::super::{AdminState, Backend, BackendId, Fleet, Pool};
use super::check::check;
use super::handle::LastCheck;
use crate::config::{CheckProbe, HealthCheck, HealthConfig};

/// The part of its pause after which a backend is checked again that is about to change, or is out.
const HASTE: f64 = 0.25;
/// A pause is so much of the interval, at least and at most: checks of many proxies drift apart.
const PAUSES: Range<f64> = 0.9..1.1;
/// The first check comes within this part of the interval.
const FIRST_PAUSES: Range<f64> = 0.0..0.25;
/// How often it is looked for backends that came, left or began to change, and for other settings.
const TICK: Duration = Duration::from_millis(250);

impl Fleet {
    /// Checks all backends for ever, whichever there are and whatever the settings of their pools ask for.
    pub async fn watch_health(self: Arc<Self>) {
        let mut rounds = Rounds::default();
        loop {
            let pause = rounds.go(&self.pools(), Instant::now());
            tokio::select! {
                Some(over) = rounds.under_way.join_next() => rounds.over(over.ok()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// Whose turn it is to be checked.
#[derive(Default)]
struct Rounds {
    turns: BTreeMap<BackendId, Turn>,
    /// At most one check a backend.
    under_way: JoinSet<BackendId>,
}

/// When a backend is checked next.
struct Turn {
    backend: Weak<Backend>,
    /// When the latest check began, or since when the backend is watched.
    since: Instant,
    /// The pause after that, as a part of the interval.
    part: f64,
    under_way: bool,
}

impl Turn {
    /// The first check of a backend.
    fn first(backend: &Arc<Backend>, now: Instant) -> Self {
        Self { backend: Arc::downgrade(backend), since: now, part: within(FIRST_PAUSES, random()), under_way: false }
    }

    /// A check begins.
    fn begin(&mut self, now: Instant) {
        (self.since, self.part, self.under_way) = (now, within(PAUSES, random()), true);
    }

    fn due(&self, interval: Duration, soon: bool) -> Instant {
        self.since + interval.mul_f64(self.part * if soon { HASTE } else { 1.0 })
    }
}

impl Rounds {
    /// Begins the checks that are due; how long nothing is to be done then, unless a check ends.
    fn go(&mut self, pools: &[Arc<Pool>], now: Instant) -> Duration {
        let mut next = now + TICK;
        let mut watched = Vec::new();
        for pool in pools {
            let settings = pool.settings();
            let HealthConfig { check, .. } = &settings.health;
            let Some(probe) = &check.probe else { continue };
            // A disabled backend may be switched off: nobody wants to hear that it is. A removed one is of no use.
            let is_watched = |one: &&Arc<Backend>| one.admin_state() != AdminState::Disabled && !one.is_removed();
            for backend in pool.backends().iter().filter(is_watched) {
                watched.push(backend.id);
                let turn = self.turns.entry(backend.id).or_insert_with(|| Turn::first(backend, now));
                let due = turn.due(check.interval, backend.health.in_transition());
                if turn.under_way {
                    continue;
                }
                if due > now {
                    next = next.min(due);
                    continue;
                }
                turn.begin(now);
                self.under_way.spawn(check_once(pool.clone(), backend.clone(), probe.clone(), check.clone()));
            }
        }
        self.forget_all_but(&watched);
        next - now
    }

    /// Forgets the other backends. What their checks said is void.
    fn forget_all_but(&mut self, watched: &[BackendId]) {
        self.turns.retain(|id, turn| {
            let stays = watched.contains(id);
            if !stays && let Some(backend) = turn.backend.upgrade() {
                backend.health.uncheck();
            }
            stays
        });
    }

    fn over(&mut self, id: Option<BackendId>) {
        if let Some(turn) = id.and_then(|id| self.turns.get_mut(&id)) {
            turn.under_way = false;
        }
    }
}

async fn check_once(pool: Arc<Pool>, backend: Arc<Backend>, probe: CheckProbe, settings: HealthCheck) -> BackendId {
    let began = Instant::now();
    let outcome = check(&backend.url, &probe, &settings).await;
    if outcome.is_our_own() {
        tracing::warn!(pool = %pool.name, backend = %backend.name, reason = %outcome, "no health check can be made");
        return backend.id;
    }
    let (at, took, passed) = (SystemTime::now(), began.elapsed(), outcome.passed());
    pool.checked(&backend, LastCheck { at, took, passed, result: outcome.to_string().into() });
    backend.id
}

/// The point of the range that a random number stands for.
fn within(range: Range<f64>, random: u32) -> f64 {
    range.start + (range.end - range.start) * (f64::from(random) / f64::from(u32::MAX))
}

fn random() -> u32 {
    getrandom::u32().expect("the system has random numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(part: f64, now: Instant) -> Turn {
        Turn { backend: Weak::new(), since: now, part, under_way: false }
    }

    #[test]
    fn pauses_are_jittered_around_the_interval() {
        let now = Instant::now();
        let interval = Duration::from_secs(2);
        let mut turn = turn(0.0, now);
        let mut due = || {
            turn.begin(now);
            turn.due(interval, false) - now
        };
        let dues: Vec<_> = (0..100).map(|_| due()).collect();
        assert!(dues.iter().all(|due| (1800..=2200).contains(&due.as_millis())), "{dues:?}");
        assert!(dues.iter().any(|due| due != &dues[0]));
    }

    #[test]
    fn a_backend_in_transition_is_checked_four_times_as_often() {
        let now = Instant::now();
        let interval = Duration::from_secs(2);
        assert_eq!(turn(1.0, now).due(interval, false), now + interval);
        assert_eq!(turn(1.0, now).due(interval, true), now + interval / 4);
    }

    #[test]
    fn a_random_number_stands_for_a_point_of_the_range() {
        assert_eq!([0, u32::MAX].map(|random| within(0.9..1.1, random)), [0.9, 1.1]);
    }
}

//! The task that makes a pool's checks.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;

use super::super::{AdminState, Backend, BackendId, Pool};
use super::check::check;
use super::handle::LastCheck;
use crate::config::{CheckProbe, HealthCheck};

/// The part of its pause after which a backend is checked again that is about to change, or is out.
const HASTE: f64 = 0.25;
/// A pause is so much of the interval, at least and at most: checks of many proxies drift apart.
const PAUSES: std::ops::Range<f64> = 0.9..1.1;
/// The first check comes within this part of the interval.
const FIRST_PAUSES: std::ops::Range<f64> = 0.0..0.25;
/// How often it is looked for backends that came, left or began to change, and for other settings.
const TICK: Duration = Duration::from_millis(250);

/// Checks the backends of a pool for as long as it is there, whichever they are and whatever its settings ask for.
pub(in crate::pool) async fn watch(pool: Weak<Pool>) {
    let mut rounds = Rounds::default();
    loop {
        let Some(pool) = pool.upgrade() else { return };
        let pause = rounds.go(&pool, Instant::now());
        drop(pool);
        tokio::select! {
            Some(over) = rounds.under_way.join_next() => rounds.over(over.ok()),
            () = tokio::time::sleep(pause) => {}
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
    /// When the latest check began, or since when the backend is watched.
    since: Instant,
    /// The pause after that, as a part of the interval.
    part: f64,
    under_way: bool,
}

impl Turn {
    fn new(parts: std::ops::Range<f64>, now: Instant) -> Self {
        Self { since: now, part: within(parts, random()), under_way: false }
    }

    fn due(&self, interval: Duration, soon: bool) -> Instant {
        self.since + interval.mul_f64(self.part * if soon { HASTE } else { 1.0 })
    }
}

impl Rounds {
    /// Begins the checks that are due; how long nothing is to be done then, unless a check ends.
    fn go(&mut self, pool: &Arc<Pool>, now: Instant) -> Duration {
        let settings = pool.health.settings();
        let Some(probe) = &settings.check.probe else {
            self.keep_only(pool, &[]);
            return TICK;
        };
        let backends = pool.backends();
        // A disabled backend may be switched off: nobody wants to hear that it is.
        let checked: Vec<_> = backends.iter().filter(|one| one.admin_state() != AdminState::Disabled).collect();
        self.keep_only(pool, &checked);
        let mut next = now + TICK;
        for backend in checked {
            let turn = self.turns.entry(backend.id).or_insert_with(|| Turn::new(FIRST_PAUSES, now));
            if turn.under_way {
                continue;
            }
            let due = turn.due(settings.check.interval, backend.health.in_transition());
            if due > now {
                next = next.min(due);
                continue;
            }
            *turn = Turn { under_way: true, ..Turn::new(PAUSES, now) };
            self.under_way.spawn(check_once(pool.clone(), backend.clone(), probe.clone(), settings.check.clone()));
        }
        next - now
    }

    /// Forgets all other backends. What the checks of those that are still in the pool said is void.
    fn keep_only(&mut self, pool: &Pool, backends: &[&Arc<Backend>]) {
        self.turns.retain(|id, _| {
            let stays = backends.iter().any(|backend| backend.id == *id);
            if !stays && let Some(backend) = pool.backend(*id) {
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
fn within(range: std::ops::Range<f64>, random: u32) -> f64 {
    range.start + (range.end - range.start) * (f64::from(random) / f64::from(u32::MAX))
}

fn random() -> u32 {
    getrandom::u32().expect("the system has random numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_jittered_around_the_interval() {
        let now = Instant::now();
        let interval = Duration::from_secs(2);
        let dues: Vec<_> = (0..100).map(|_| Turn::new(PAUSES, now).due(interval, false) - now).collect();
        assert!(dues.iter().all(|due| (1800..=2200).contains(&due.as_millis())), "{dues:?}");
        assert!(dues.iter().any(|due| due != &dues[0]));
    }

    #[test]
    fn a_backend_in_transition_is_checked_four_times_as_often() {
        let now = Instant::now();
        let turn = Turn { since: now, part: 1.0, under_way: false };
        let interval = Duration::from_secs(2);
        assert_eq!(turn.due(interval, false), now + interval);
        assert_eq!(turn.due(interval, true), now + interval / 4);
    }

    #[test]
    fn a_random_number_stands_for_a_point_of_the_range() {
        assert_eq!([0, u32::MAX].map(|random| within(0.9..1.1, random)), [0.9, 1.1]);
    }
}

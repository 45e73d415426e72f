//! How many sessions a backend probably has of which the proxy sees nothing. Pure: time comes in as an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::pool::BackendId;

/// A count below this is nothing; its entry is forgotten. It takes 7 lifetimes to fall from 1 to this.
const NOTHING: f64 = 0.001;

/// Assignments of the past, by backend: each counts 1 at once, then fades as `e^(-age / lifetime)`.
///
/// If sessions last `lifetime` on average and end at random, that is how many of those assigned are still there, so no
/// report is needed from anybody. At most one entry for each backend that was assigned within 7 lifetimes.
#[derive(Debug)]
pub(super) struct Assigned {
    lifetime: Duration,
    counts: HashMap<BackendId, Count>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    value: f64,
    at: Instant,
}

impl Assigned {
    /// `lifetime`: how long a session lasts on average. Not zero.
    pub(super) fn new(lifetime: Duration) -> Self {
        Self { lifetime, counts: HashMap::new() }
    }

    /// Adds `share` of an assignment: an answer that names several backends is a part of one for each.
    pub(super) fn add(&mut self, backend: BackendId, share: f64, now: Instant) {
        let value = self.count(backend, now) + share;
        let lifetime = self.lifetime;
        self.counts.retain(|_, count| faded(*count, lifetime, now) >= NOTHING);
        self.counts.insert(backend, Count { value, at: now });
    }

    /// What is left of a backend's assignments.
    pub(super) fn count(&self, backend: BackendId, now: Instant) -> f64 {
        self.counts.get(&backend).map_or(0.0, |count| faded(*count, self.lifetime, now))
    }
}

fn faded(count: Count, lifetime: Duration, now: Instant) -> f64 {
    let age = now.saturating_duration_since(count.at);
    count.value * (-age.as_secs_f64() / lifetime.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn id(number: u8) -> BackendId {
        BackendId::new(number.into())
    }

    #[test]
    fn assignments_fade_with_the_lifetime_of_a_session() {
        let start = Instant::now();
        let mut assigned = Assigned::new(MINUTE);
        for _ in 0..100 {
            assigned.add(id(1), 1.0, start);
        }
        assert!((assigned.count(id(1), start) - 100.0).abs() < 1e-9);
        assert!((assigned.count(id(1), start + MINUTE) - 36.79).abs() < 0.01);
        assert_eq!(assigned.count(id(2), start), 0.0);
    }

    #[test]
    fn at_a_steady_rate_the_count_is_rate_times_lifetime() {
        let start = Instant::now();
        let mut assigned = Assigned::new(MINUTE);
        // Ten a second for ten lifetimes.
        for n in 0..6_000_u32 {
            assigned.add(id(1), 1.0, start + n * Duration::from_millis(100));
        }
        let count = assigned.count(id(1), start + 10 * MINUTE);
        assert!((count - 600.0).abs() < 1.0, "{count}");
    }

    #[test]
    fn backends_that_nobody_was_sent_to_lately_are_forgotten() {
        let start = Instant::now();
        let mut assigned = Assigned::new(MINUTE);
        for number in 0..50 {
            assigned.add(id(number), 1.0, start);
        }
        assert_eq!(assigned.counts.len(), 50);
        assigned.add(id(60), 0.5, start + 7 * MINUTE);
        assert_eq!(assigned.counts.len(), 1);
    }
}

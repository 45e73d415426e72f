//! So many a second, and no more. Pure: time comes in as an argument.

use std::time::{Duration, Instant};

/// What is left unused is kept for so long: twice as long as anybody lets pass between two questions.
const KEPT: Duration = Duration::from_millis(500);

/// A bucket of permissions that fills evenly.
#[derive(Debug)]
pub(super) struct Pace {
    saved: f64,
    filled: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { saved: 0.0, filled: now }
    }

    /// Fills it up to `now` at `rate` a second; how many may be taken.
    pub(super) fn fill(&mut self, rate: u32, now: Instant) -> usize {
        let rate = f64::from(rate);
        let most = 1.0 + rate * KEPT.as_secs_f64();
        let grown = rate * now.saturating_duration_since(self.filled).as_secs_f64();
        (self.saved, self.filled) = ((self.saved + grown).min(most), now);
        self.saved as usize
    }

    /// Takes one that [`Self::fill`] promised.
    pub(super) fn take(&mut self) {
        self.saved -= 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are taken over ten seconds by one who asks so often.
    fn taken(rate: u32, every: Duration) -> usize {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let turns = 10_000 / every.as_millis() as u32;
        let turn = |turn| {
            let free = pace.fill(rate, start + turn * every);
            (0..free).for_each(|_| pace.take());
            free
        };
        (1..=turns).map(turn).sum()
    }

    #[test]
    fn the_rate_is_kept_however_often_it_is_asked() {
        for every in [10, 50, 250].map(Duration::from_millis) {
            for rate in [1, 3, 10, 100] {
                let expected = 10 * rate as usize;
                assert!(
                    (expected - 1..=expected).contains(&taken(rate, every)),
                    "{rate} a second, asked each {every:?}"
                );
            }
        }
    }

    #[test]
    fn a_long_pause_is_not_made_up_for() {
        assert_eq!(taken(100, Duration::from_secs(5)), 2 * 51);
        assert_eq!(taken(1, Duration::from_secs(5)), 2);
    }
}

//! Averages over time that forget. Pure: time comes in as an argument.

use std::time::{Duration, Instant};

/// A moving average: what is older by `half_life` weighs half. It expires when nothing new has come for long enough.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Average(Option<(f64, Instant)>);

impl Average {
    /// Takes a new value in. The first one, and the first one after the average expired, is taken as it is.
    pub(super) fn add(&mut self, value: f64, now: Instant, half_life: Duration, max_age: Duration) {
        let mixed = self.get(now, max_age).map_or(value, |old| {
            let age = self.0.map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(at));
            value + (old - value) * remaining(age, half_life)
        });
        self.0 = Some((mixed, now));
    }

    /// The average; `None` if there is none, or its latest value is older than `max_age`.
    pub(super) fn get(&self, now: Instant, max_age: Duration) -> Option<f64> {
        self.0.filter(|(_, at)| now.saturating_duration_since(*at) <= max_age).map(|(value, _)| value)
    }
}

/// A moving average that believes a rise at once and a fall slowly; while nothing comes it fades, so that a backend that
/// was avoided for it is tried again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peak(Option<(f64, Instant)>);

impl Peak {
    /// Takes a new value in.
    pub(super) fn add(&mut self, value: f64, now: Instant, half_life: Duration) {
        let mixed = match self.0 {
            Some((old, at)) if value < old => {
                value + (old - value) * remaining(now.saturating_duration_since(at), half_life)
            }
            _ => value,
        };
        self.0 = Some((mixed, now));
    }

    /// The average, faded by the time since its latest value.
    pub(super) fn get(&self, now: Instant, half_life: Duration) -> Option<f64> {
        self.0.map(|(value, at)| value * remaining(now.saturating_duration_since(at), half_life))
    }
}

/// What is left of a weight of 1 after so long.
fn remaining(age: Duration, half_life: Duration) -> f64 {
    (-age.as_secs_f64() / half_life.as_secs_f64()).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_older_by_the_half_life_weighs_half() {
        let start = Instant::now();
        let mut average = Average::default();
        average.add(0.8, start, 10 * S, 60 * S);
        assert_eq!(average.get(start, 60 * S), Some(0.8), "the first value is taken as it is");
        average.add(0.4, start + 10 * S, 10 * S, 60 * S);
        assert!((average.get(start + 10 * S, 60 * S).unwrap() - 0.6).abs() < 1e-9);
        average.add(0.2, start + 30 * S, 10 * S, 60 * S);
        assert!((average.get(start + 30 * S, 60 * S).unwrap() - 0.3).abs() < 1e-9);
    }

    #[test]
    fn an_average_expires_and_begins_anew() {
        let start = Instant::now();
        let mut average = Average::default();
        average.add(0.8, start, 10 * S, 5 * S);
        assert_eq!(average.get(start + 5 * S, 5 * S), Some(0.8));
        assert_eq!(average.get(start + 6 * S, 5 * S), None);
        average.add(0.2, start + 6 * S, 10 * S, 5 * S);
        assert_eq!(average.get(start + 6 * S, 5 * S), Some(0.2));
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let start = Instant::now();
        let mut peak = Peak::default();
        peak.add(0.01, start, 10 * S);
        peak.add(1.0, start + S, 10 * S);
        assert_eq!(peak.get(start + S, 10 * S), Some(1.0));
        peak.add(0.0, start + 11 * S, 10 * S);
        assert!((peak.get(start + 11 * S, 10 * S).unwrap() - 0.5).abs() < 1e-9, "half of the way down");
        assert!((peak.get(start + 21 * S, 10 * S).unwrap() - 0.25).abs() < 1e-9, "it fades in silence");
    }
}

//! How many barriers are measured.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time between two samples of a backend, at least: a hundred a second say as much as all.
const SPACING: Duration = Duration::from_millis(10);

/// When the next sample is due, in microseconds of the process. Read for each barrier: a load keeps the line shared
/// between the workers.
#[derive(Debug, Default)]
pub(in super::super) struct Sampling(AtomicU64);

impl Sampling {
    /// Whether a sample is due; then the next one is not for a while.
    pub(in super::super) fn is_due(&self, now: Instant) -> bool {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        let now = now.saturating_duration_since(*ORIGIN.get_or_init(|| now)).as_micros() as u64;
        let due = self.0.load(Ordering::Relaxed);
        let next = now + SPACING.as_micros() as u64;
        now >= due && self.0.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_taken_each_ten_milliseconds_at_most() {
        let (sampling, start) = (Sampling::default(), Instant::now());
        let taken = (0..1000).filter(|ms| sampling.is_due(start + Duration::from_millis(*ms))).count();
        assert_eq!(taken, 100);
        let burst = start + Duration::from_secs(2);
        assert_eq!((0..1000).filter(|_| sampling.is_due(burst)).count(), 1);
    }
}

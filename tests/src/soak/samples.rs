//! What was seen of the proxy from time to time, and whether it is flat.

use std::time::Duration;

use super::metrics::Metrics;

/// One look at the proxy.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Resident memory.
    pub(super) rss_kib: u64,
    /// Open descriptors.
    pub(super) descriptors: usize,
    pub(super) metrics: Metrics,
}

impl Sample {
    /// Whether the proxy has given back what clients made it take since `empty`, and has no account open.
    pub(super) fn is_like(&self, empty: &Self) -> bool {
        let open = ["sessions_live", "messages_retained", "http_requests_live", "buffer_used_bytes"];
        open.iter().all(|gauge| self.metrics.value(gauge) == 0)
            && self.descriptors <= empty.descriptors
            && self.metrics.unaccounted() == 0
            && self.metrics.sessions_unaccounted() == 0
    }
}

/// Looks in their order, each with the time since the load began.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Vec<(Duration, Sample)>);

impl Samples {
    pub(super) fn add(&mut self, at: Duration, sample: Sample) {
        self.0.push((at, sample));
    }

    pub(super) fn all(&self) -> &[(Duration, Sample)] {
        &self.0
    }

    /// The median of something after the warm-up, which is the first fifth, and at the end: over the second fifth, and
    /// over the last.
    pub(super) fn warm_and_last(&self, of: impl Fn(&Sample) -> u64) -> (u64, u64) {
        let fifth = (self.0.len() / 5).max(1);
        let median = |part: &[(Duration, Sample)]| {
            let mut values: Vec<_> = part.iter().map(|(_, sample)| of(sample)).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        let warm = &self.0[fifth.min(self.0.len())..(2 * fifth).min(self.0.len())];
        (median(warm), median(&self.0[self.0.len().saturating_sub(fifth)..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: impl IntoIterator<Item = u64>) -> Samples {
        let sample = |rss_kib| Sample { rss_kib, descriptors: 0, metrics: Metrics::default() };
        Samples(values.into_iter().map(|value| (Duration::ZERO, sample(value))).collect())
    }

    #[test]
    fn the_warm_up_does_not_count_and_the_median_does_not_follow_one_spike() {
        let values = [1, 2, 3, 4, 10, 11, 900, 10, 0, 0, 0, 0, 0, 0, 0, 0, 20, 1, 20, 20];
        assert_eq!(samples(values).warm_and_last(|sample| sample.rss_kib), (11, 20));
        assert_eq!(samples([]).warm_and_last(|sample| sample.rss_kib), (0, 0));
        assert_eq!(samples([7]).warm_and_last(|sample| sample.rss_kib), (0, 7));
    }
}

//! What is known of one backend's load. Pure: time comes in as an argument.

use std::time::{Duration, Instant};

use super::agent::{Agent, Line};
use super::average::{Average, Peak};
use super::orca::LoadReport;
use crate::config::Balancing;

/// How reports and measurements are smoothed: settings of a pool.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Smoothing {
    /// `--load-half-life`: a report of utilisation that is older by this weighs half.
    pub(in super::super) load_half_life: Duration,
    /// `--load-max-age`: so long after the latest report, utilisation is not known any more.
    pub(in super::super) load_max_age: Duration,
    /// `--latency-half-life`: how fast a round trip time fades.
    pub(in super::super) latency_half_life: Duration,
    /// `--full-rps`: the request rate at which a backend of weight 100 is full. `None`: rates are not used.
    pub(in super::super) full_rps: Option<f64>,
}

impl Smoothing {
    pub(in super::super) fn new(by: &Balancing) -> Self {
        Self {
            load_half_life: by.load_half_life,
            load_max_age: by.load_max_age,
            latency_half_life: by.latency_half_life,
            full_rps: by.full_rps.map(f64::from),
        }
    }
}

/// What a backend reported and what was measured of it.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Reports {
    agent: Agent,
    utilisation: Average,
    latency: Peak,
}

impl Reports {
    /// What its agent has said so far.
    pub(in super::super) fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Its agent said something. Whether that changed anything.
    pub(in super::super) fn agent_says(&mut self, line: &Line) -> bool {
        self.agent.apply(line)
    }

    /// It reported its load; `weight` is its configured one.
    pub(in super::super) fn report(&mut self, report: &LoadReport, weight: f64, by: &Smoothing, now: Instant) {
        let full_rps = by.full_rps.map(|full| full * weight / 100.0).filter(|full| *full > 0.0);
        if let Some(utilisation) = report.utilisation(full_rps) {
            self.utilisation.add(utilisation, now, by.load_half_life, by.load_max_age);
        }
    }

    /// A handshake or a barrier took `round_trip`.
    pub(in super::super) fn measured(&mut self, round_trip: Duration, by: &Smoothing, now: Instant) {
        self.latency.add(round_trip.as_secs_f64(), now, by.latency_half_life);
    }

    /// The part of it that is in use, 0 to 1.
    pub(in super::super) fn utilisation(&self, by: &Smoothing, now: Instant) -> Option<f64> {
        self.utilisation.get(now, by.load_max_age)
    }

    /// Its round trip time in seconds.
    pub(in super::super) fn latency(&self, by: &Smoothing, now: Instant) -> Option<f64> {
        self.latency.get(now, by.latency_half_life)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: Smoothing = Smoothing {
        load_half_life: Duration::from_secs(10),
        load_max_age: Duration::from_secs(30),
        latency_half_life: Duration::from_secs(10),
        full_rps: Some(100.0),
    };

    #[test]
    fn a_backend_is_full_at_the_rate_that_its_weight_gives_it() {
        for (weight, utilisation) in [(100.0, 0.5), (200.0, 0.25), (50.0, 1.0)] {
            let mut reports = Reports::default();
            let now = Instant::now();
            reports.report(&LoadReport::parse("rps_fractional=50").unwrap(), weight, &BY, now);
            assert_eq!(reports.utilisation(&BY, now), Some(utilisation));
        }
    }

    #[test]
    fn an_old_report_says_nothing() {
        let mut reports = Reports::default();
        let now = Instant::now();
        reports.report(&LoadReport::parse("cpu_utilization=0.5").unwrap(), 100.0, &BY, now);
        assert_eq!(reports.utilisation(&BY, now + Duration::from_secs(30)), Some(0.5));
        assert_eq!(reports.utilisation(&BY, now + Duration::from_secs(31)), None);
    }
}

//! What backends say of themselves, and what is measured of them, as the choice needs it.
//!
//! `docs/balancing.md` has the formulas. [`agent`] and [`orca`] read what backends report, [`average`] smooths it,
//! [`reports`] keeps it for a backend, [`poll`] asks for it.

pub(super) mod agent;
mod average;
pub(super) mod orca;
pub(super) mod poll;
mod reports;
mod sampling;

pub(super) use agent::Line;
pub use agent::{Agent, AgentHealth, AgentMode};
pub(super) use orca::LoadReport;
pub(super) use reports::{Reports, Smoothing};
pub(super) use sampling::Sampling;

/// Round trip times below this, in seconds, count as this: they differ by chance.
pub(super) const LEAST_LATENCY: f64 = 0.000_1;

/// What is left of a backend, at least, whatever it reports: it never starves for good.
const LEAST_HEADROOM: f64 = 0.01;

/// What is left of a backend of which the part `utilisation` is in use: from 0.01 to 1.
pub(crate) fn headroom(utilisation: f64) -> f64 {
    (1.0 - utilisation).clamp(LEAST_HEADROOM, 1.0)
}

/// The mean of what is known; 0 if nothing is. A backend that reports nothing counts as the mean of those that do.
pub(super) fn mean(known: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = known.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

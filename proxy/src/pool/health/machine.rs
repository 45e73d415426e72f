//! The health of one backend: its checks, the trust in it, and its slow start. Pure: time comes in as an argument.

use std::time::{Duration, Instant};

use super::checks::{Checks, Turn};
use super::trust::{Failure, Trust};
use crate::config::HealthConfig;

/// The part of its weight that a backend has when it comes back.
const FIRST_WEIGHT: f32 = 0.1;

/// What is known of a backend's health.
#[derive(Debug, Default)]
pub(super) struct Machine {
    checks: Checks,
    trust: Trust,
    /// When it came back last. `None` before that: what is there when the process starts has its whole weight.
    came_up: Option<Instant>,
    /// Failed dials so far.
    failures: u64,
    /// When the latest dial failed, unless one was answered since.
    failed_at: Option<Instant>,
    ejections: u64,
}

/// What happened to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Its checks took it down.
    Down,
    /// Its checks brought it up.
    Up,
    /// It is ejected, for so long.
    Ejected(Duration),
    /// Its ejection is over.
    Back,
}

/// What became of a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool) enum Dial {
    /// It was answered: there is an application.
    Answered,
    /// It failed after that time.
    Failed(Failure, Duration),
}

/// Whether sessions are sent to a backend, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// They are.
    Up,
    /// A dial failed: for a moment it is tried last.
    Doubted,
    /// It is proven not to serve: it is tried last until a trial has found it well.
    Ejected,
    /// Its checks say that it is down: it is tried last.
    Down,
}

/// What is known of a backend's health, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether sessions are sent there. Checks that are not believed are shown none the less.
    pub state: HealthState,
    /// Until when nobody is sent there for a trial, if it is doubted or ejected. It may be over.
    pub out_until: Option<Instant>,
    /// Failed dials so far.
    pub failures: u64,
    /// Failed dials and proofs of death since a dial was answered.
    pub failures_in_a_row: u32,
    /// When the latest dial failed; `None` if none did, or one was answered since.
    pub failed_at: Option<Instant>,
    /// Ejections so far.
    pub ejections: u64,
}

impl Machine {
    /// One that joined while the process was running: it starts slowly.
    pub(super) fn joined(now: Instant) -> Self {
        Self { came_up: Some(now), ..Self::default() }
    }

    /// Whether a session may be sent there as to any other backend. Not out of the question otherwise: it is tried
    /// when nobody else is left. `believed`: the checks are.
    pub(super) fn is_eligible(&self, believed: bool, now: Instant) -> bool {
        !self.is_down(believed) && self.trust.admits(now)
    }

    /// Whether its checks, if they are believed, say that it is down.
    pub(super) fn is_down(&self, believed: bool) -> bool {
        believed && self.checks.is_down()
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.trust.is_ejected()
    }

    /// What part of its weight it has, from 0.1 to 1: that grows evenly over `slow_start` after it came back.
    pub(super) fn weight_factor(&self, slow_start: Option<Duration>, now: Instant) -> f32 {
        let (Some(came_up), Some(slow_start)) = (self.came_up, slow_start) else { return 1.0 };
        let grown = now.saturating_duration_since(came_up).as_secs_f32() / slow_start.as_secs_f32();
        (FIRST_WEIGHT + (1.0 - FIRST_WEIGHT) * grown).min(1.0)
    }

    /// Whether nothing needs to be asked any more: it is eligible and has its whole weight, until something happens.
    pub(super) fn is_settled(&self, slow_start: Option<Duration>, now: Instant) -> bool {
        let troubled = self.checks.is_down() || self.checks.in_transition() || self.trust.is_troubled();
        !troubled && self.failed_at.is_none() && self.weight_factor(slow_start, now) >= 1.0
    }

    /// Whether the next check may change something: it is worth being made soon.
    pub(super) fn in_transition(&self) -> bool {
        self.checks.in_transition() || self.trust.out_until().is_some()
    }

    /// A session is about to dial. If it is the trial of a half-open backend, the others stay away for up to
    /// `patience`.
    pub(super) fn picked(&mut self, patience: Duration, now: Instant) {
        self.trust.picked(patience, now);
    }

    /// A dial is over. `may_eject`: enough of the pool would be left.
    pub(super) fn dialled(
        &mut self,
        dial: Dial,
        may_eject: bool,
        settings: &HealthConfig,
        now: Instant,
    ) -> Option<Change> {
        match dial {
            Dial::Answered => self.answered(now),
            Dial::Failed(failure, took) => {
                self.failures += 1;
                self.failed_at = Some(now);
                self.failed(failure, took, may_eject, settings, now)
            }
        }
    }

    /// A probe was answered.
    pub(super) fn answered(&mut self, now: Instant) -> Option<Change> {
        self.failed_at = None;
        self.trust.answered(now).then(|| self.back(now))
    }

    /// A dial or a probe failed, or all legs were lost.
    pub(super) fn failed(
        &mut self,
        failure: Failure,
        took: Duration,
        may_eject: bool,
        settings: &HealthConfig,
        now: Instant,
    ) -> Option<Change> {
        let ejected = self.trust.failed(failure, took, may_eject, &settings.ejection, now);
        ejected.then(|| self.ejected(now))
    }

    /// A check was made.
    pub(super) fn checked(
        &mut self,
        passed: bool,
        may_eject: bool,
        settings: &HealthConfig,
        now: Instant,
    ) -> Option<Change> {
        match self.checks.checked(passed, &settings.check) {
            Some(Turn::Down) => return Some(Change::Down),
            // So many checks in a row say more than the time that an ejection had to last yet.
            Some(Turn::Up) => {
                self.trust.readmit(now);
                (self.came_up, self.failed_at) = (Some(now), None);
                return Some(Change::Up);
            }
            None => {}
        }
        if passed {
            return self.trust.check_passed(now).then(|| self.back(now));
        }
        self.trust.check_failed(may_eject, &settings.ejection, now).then(|| self.ejected(now))
    }

    fn back(&mut self, now: Instant) -> Change {
        (self.came_up, self.failed_at) = (Some(now), None);
        Change::Back
    }

    fn ejected(&mut self, now: Instant) -> Change {
        self.ejections += 1;
        let until = self.trust.out_until().expect("it was ejected just now");
        Change::Ejected(until.saturating_duration_since(now))
    }

    /// How many dials failed so far: a mark for [`Machine::failed_since`].
    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    /// Whether a dial failed since the mark was taken, and none was answered after it.
    pub(super) fn failed_since(&self, mark: u64, now: Instant) -> bool {
        self.failures != mark && !self.trust.admits(now)
    }

    /// As if nothing had ever happened; counters go on.
    pub(super) fn reset(&mut self) {
        let Self { failures, ejections, .. } = *self;
        *self = Self { failures, ejections, ..Self::default() };
    }

    /// It is not checked any more: what its checks said is void.
    pub(super) fn uncheck(&mut self) {
        self.checks = Checks::default();
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        Standing {
            state: self.state(now),
            out_until: self.trust.out_until(),
            failures: self.failures,
            failures_in_a_row: self.trust.streak(),
            failed_at: self.failed_at,
            ejections: self.ejections,
        }
    }

    fn state(&self, now: Instant) -> HealthState {
        if self.checks.is_down() {
            HealthState::Down
        } else if self.trust.is_ejected() {
            HealthState::Ejected
        } else if self.trust.admits(now) {
            HealthState::Up
        } else {
            HealthState::Doubted
        }
    }
}

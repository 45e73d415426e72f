//! What a pool does for the health of its backends: it counts before it ejects, and weighs what the checks say together.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::super::{AdminState, Backend, Pool, locked};
use super::handle::LastCheck;
use super::machine::{Change, Dial};
use super::panic;
use super::trust::Failure;

impl Pool {
    /// A dial is over.
    pub(in crate::pool) fn dialled(&self, backend: &Backend, dial: Dial) {
        self.judge(backend, dial != Dial::Answered, |may_eject, now| backend.health.dialled(dial, may_eject, now));
    }

    /// Something other than a dial has shown that the backend does not serve.
    pub(in crate::pool) fn failed(&self, backend: &Backend, failure: Failure) {
        self.judge(backend, true, |may_eject, now| backend.health.proven(failure, may_eject, now));
    }

    /// Something other than a dial has shown that it serves.
    pub(in crate::pool) fn answered(&self, backend: &Backend) {
        self.judge(backend, false, |_, now| backend.health.answered(now));
    }

    pub(super) fn checked(&self, backend: &Backend, check: LastCheck) {
        // It was disabled, or checks were turned off, while this one was under way.
        if backend.admin_state() == AdminState::Disabled || self.settings().health.check.probe.is_none() {
            return;
        }
        let (result, passed) = (check.result.clone(), check.passed);
        tracing::debug!(pool = %self.name, backend = %backend.name, passed, %result, "health check");
        let change = self.judge(backend, !passed, |may_eject, now| backend.health.checked(check, may_eject, now));
        match change {
            Some(Change::Down) => {
                tracing::warn!(pool = %self.name, backend = %backend.name, reason = %result, "backend is down by its checks");
            }
            Some(Change::Up) => {
                tracing::info!(pool = %self.name, backend = %backend.name, "backend is up by its checks");
            }
            Some(Change::Ejected(_) | Change::Back) | None => {}
        }
        self.weigh_checks();
    }

    /// Tells the backend's health of something, and whether that may eject it: one at a time, or two could each take
    /// the last place that is left for it.
    fn judge(
        &self,
        backend: &Backend,
        bad: bool,
        tell: impl FnOnce(bool, Instant) -> Option<Change>,
    ) -> Option<Change> {
        let change = if bad {
            let _one_at_a_time = locked(&self.health.ejecting);
            tell(self.may_eject(backend), Instant::now())
        } else {
            tell(false, Instant::now())
        };
        match change {
            Some(Change::Ejected(time)) => {
                tracing::warn!(pool = %self.name, backend = %backend.name, ?time, "backend ejected");
            }
            Some(Change::Back) => tracing::info!(pool = %self.name, backend = %backend.name, "ejection is over"),
            Some(Change::Down | Change::Up) | None => {}
        }
        change
    }

    fn may_eject(&self, backend: &Backend) -> bool {
        let backends = self.backends();
        let ready = || backends.iter().filter(|other| other.is_wanted());
        let is_left =
            |other: &&Arc<Backend>| other.id != backend.id && !other.health.is_ejected() && !other.health.is_down();
        panic::may_eject(ready().filter(is_left).count(), ready().count())
    }

    /// Decides anew whether the checks are believed.
    fn weigh_checks(&self) {
        let backends = self.backends();
        let ready = || backends.iter().filter(|other| other.is_wanted());
        let up = ready().filter(|other| !other.health.fails_checks()).count();
        let believed = panic::are_checks_believed(up, ready().count(), self.settings().health.panic);
        if self.health.disbelieved.swap(!believed, Ordering::Relaxed) == believed {
            match believed {
                true => tracing::info!(pool = %self.name, up, "the health checks are believed again"),
                false => {
                    tracing::warn!(pool = %self.name, up, "too few backends are up: health checks are disregarded")
                }
            }
        }
    }
}

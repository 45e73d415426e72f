//! What the ended sessions of a process counted, added up.

use std::sync::Mutex;
use std::sync::PoisonError;

use tideover_protocol::session::Counters;

/// Sums over sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Sessions that ended.
    pub ended: u64,
    /// Their counters.
    pub counters: Counters,
}

/// The sums of a process; touched once a session.
#[derive(Debug, Default)]
pub struct Totals(Mutex<Sums>);

impl Totals {
    pub(super) fn add(&self, counters: &Counters) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sums.ended += 1;
        sums.counters += *counters;
    }

    /// The sums so far.
    #[must_use]
    pub fn get(&self) -> Sums {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

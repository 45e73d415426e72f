//! What became of the sessions of a pool that were to be moved, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a session is moved without that anybody asked for that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its backend drains.
    Drain,
    /// Another backend has too few.
    Rebalance,
}

impl Cause {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Drain, Self::Rebalance];

    /// As metrics and logs call it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Rebalance => "rebalance",
        }
    }
}

/// Counts since the pool is there.
#[derive(Debug, Default)]
pub struct Moves([Tally; 2]);

#[derive(Debug, Default)]
struct Tally {
    moved: AtomicU64,
    failed: AtomicU64,
}

impl Moves {
    fn of(&self, cause: Cause) -> &Tally {
        &self.0[cause as usize]
    }

    /// A session was moved, or could not be.
    pub(crate) fn count(&self, cause: Cause, moved: bool) {
        let tally = self.of(cause);
        let counter = if moved { &tally.moved } else { &tally.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Sessions that were moved for this.
    #[must_use]
    pub fn moved(&self, cause: Cause) -> u64 {
        self.of(cause).moved.load(Ordering::Relaxed)
    }

    /// Times that one was to be and was not.
    #[must_use]
    pub fn failed(&self, cause: Cause) -> u64 {
        self.of(cause).failed.load(Ordering::Relaxed)
    }
}

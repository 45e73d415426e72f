//! Whose turn it is: what a balancer remembers of each backend.

use std::collections::HashMap;

use super::super::backend::BackendId;

/// As many entries as the pool has backends.
#[derive(Debug, Default)]
pub(super) struct Turns {
    count: u64,
    of: HashMap<BackendId, Turn>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// The number of its latest pick, from 1; 0 if never.
    last: u64,
    /// What round robin owes it, in parts of a session; less than 0 if it had more than its part.
    owed: i64,
}

impl Turns {
    /// Remembers that it was picked just now.
    pub(super) fn picked(&mut self, id: BackendId) {
        self.count += 1;
        self.of.entry(id).or_default().last = self.count;
    }

    /// When it was picked last; lower is longer ago.
    pub(super) fn last(&self, id: BackendId) -> u64 {
        self.of.get(&id).map_or(0, |turn| turn.last)
    }

    /// Adds to what round robin owes it; gives the sum.
    pub(super) fn owe(&mut self, id: BackendId, parts: i64) -> i64 {
        let owed = &mut self.of.entry(id).or_default().owed;
        *owed += parts;
        *owed
    }

    pub(super) fn forget(&mut self, id: BackendId) {
        self.of.remove(&id);
    }
}

//! Messages that were set aside because backends died of them, for the operator. Off the data path, and bounded.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tideover_protocol::session::Poisoned;
use uuid::Uuid;

/// A message set aside.
#[derive(Clone, Debug)]
pub struct Poison {
    /// The session that it came from.
    pub session: Uuid,
    /// When it was set aside.
    pub at: SystemTime,
    /// The backend that died of it last.
    pub backend: String,
    /// The message.
    pub message: Poisoned,
}

/// The latest poisoned messages, at most `--poison-entries`; older ones make room.
#[derive(Debug)]
pub struct Poisons {
    latest: Mutex<VecDeque<Poison>>,
    limit: usize,
}

impl Poisons {
    pub(super) fn new(limit: usize) -> Self {
        Self { latest: Mutex::default(), limit }
    }

    pub(super) fn add(&self, poison: Poison) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if self.limit == 0 {
            return;
        }
        while latest.len() >= self.limit {
            latest.pop_front();
        }
        latest.push_back(poison);
    }

    /// All that are kept, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Poison> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

//! Messages that were set aside because backends died of them, for the operator. Off the data path, and bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

impl Poison {
    fn is(&self, session: Uuid, seq: u64) -> bool {
        self.session == session && self.message.seq == seq
    }
}

/// The latest poisoned messages, at most `--poison-entries`; older ones make room.
#[derive(Debug)]
pub struct Poisons {
    latest: Mutex<VecDeque<Arc<Poison>>>,
    limit: usize,
}

impl Poisons {
    pub(super) fn new(limit: usize) -> Self {
        Self { latest: Mutex::default(), limit }
    }

    pub(super) fn add(&self, poison: Poison) {
        let mut latest = self.latest();
        if self.limit == 0 {
            return;
        }
        while latest.len() >= self.limit {
            latest.pop_front();
        }
        latest.push_back(Arc::new(poison));
    }

    /// All that are kept, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Poison>> {
        self.latest().iter().cloned().collect()
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.latest().len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.latest().is_empty()
    }

    /// The message of that session and seq.
    #[must_use]
    pub fn get(&self, session: Uuid, seq: u64) -> Option<Arc<Poison>> {
        self.latest().iter().find(|poison| poison.is(session, seq)).cloned()
    }

    /// Forgets a message. `false`: it was not there.
    pub fn remove(&self, session: Uuid, seq: u64) -> bool {
        let mut latest = self.latest();
        let before = latest.len();
        latest.retain(|poison| !poison.is(session, seq));
        latest.len() < before
    }

    fn latest(&self) -> MutexGuard<'_, VecDeque<Arc<Poison>>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

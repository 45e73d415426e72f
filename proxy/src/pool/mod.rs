//! The backends: which one a session goes to, the handshake with it, and the proof that one is dying.
//!
//! Touched when a leg begins and when it ends, never on the data path. Locks are held for a few instructions and
//! never across an await.

mod attach;
mod backend;
mod balance;
mod dial;
mod evidence;
mod handshake;
mod order;
mod probe;
mod round;
mod score;
mod session_headers;
mod spare;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use attach::{Attached, FirstAttachError, Reattach, ReattachError};
pub use backend::{Backend, BackendId, Lease};
pub use dial::AckCarrier;
pub(crate) use dial::has_token;
pub use handshake::{KeptHandshake, TooLarge};
pub use probe::Verdict;
pub use round::Denials;
pub use session_headers::SessionHeaders;

use hyper::header::HeaderName;
use tideover_protocol::session::AckMode;

use crate::config::{Config, ReattachOrder, SessionKey};
pub use order::Standing;
use order::Table;

/// The backends that sessions are spread over. Shared by all workers.
#[derive(Debug)]
pub struct Pool {
    backends: Box<[Arc<Backend>]>,
    table: Mutex<Table>,
    connect_timeout: Duration,
    reattach_order: ReattachOrder,
    reattach_header: Option<HeaderName>,
    session_key: Option<SessionKey>,
    /// Whether each backend must opt in to acknowledge explicitly.
    explicit: bool,
}

impl Pool {
    /// The pool that `config` describes. Nothing is dialled yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let urls = config.backends.iter().cloned().enumerate();
        Self {
            backends: urls
                .map(|(n, url)| Arc::new(Backend::new(BackendId(n), url, config.handshakes_per_backend)))
                .collect(),
            table: Mutex::new(Table::new(config.backends.len())),
            connect_timeout: config.connect_timeout,
            reattach_order: config.reattach_order,
            reattach_header: config.reattach_header.clone(),
            session_key: config.session_key.clone(),
            explicit: config.session.ack == AckMode::Explicit,
        }
    }

    /// All backends, in the order of the configuration.
    #[must_use]
    pub fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    /// A backend by its id.
    #[must_use]
    pub fn backend(&self, id: BackendId) -> Option<&Arc<Backend>> {
        self.backends.get(id.0)
    }

    /// What dials have shown of a backend. All zero for one that is not of this pool.
    #[must_use]
    pub fn standing(&self, id: BackendId) -> Standing {
        match self.backend(id) {
            Some(_) => locked(&self.table).standing(id, Instant::now()),
            None => Standing::default(),
        }
    }

    fn ids(&self) -> impl Iterator<Item = BackendId> + '_ {
        self.backends.iter().map(|backend| backend.id)
    }

    /// Picks the next backend and counts a leg on it at once, so that those who pick meanwhile see it.
    fn pick(&self, rank: impl Fn(BackendId) -> Option<u8>) -> Option<Lease> {
        let mut table = locked(&self.table);
        let id = table.pick(rank, |id| self.backends[id.0].live(), Instant::now())?;
        Some(Lease::new(self.backends[id.0].clone()))
    }
}

/// Locks what no panic can leave half-changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The backends: which one a session goes to, the handshake with it, and the proof that one is dying.
//!
//! The [`Fleet`] has the routes and the pools that they lead to. A session keeps its [`Route`], and with it its pool,
//! for life.
//!
//! Touched when a leg begins and when it ends, never on the data path. Locks are held for a few instructions and
//! never across an await.

mod attach;
mod backend;
mod dial;
mod discover;
mod evidence;
mod fleet;
mod handshake;
mod health;
mod members;
mod order;
mod polite;
mod probe;
mod round;
mod route;
mod session_headers;
mod spare;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;

pub use attach::{Attached, FirstAttachError, Reattach, ReattachError, Target};
pub use backend::{AdminState, Backend, BackendId, Lease};
pub use dial::AckCarrier;
pub(crate) use dial::has_token;
pub use discover::Discovery;
pub use fleet::Fleet;
pub use handshake::{KeptHandshake, TooLarge};
pub use health::{HealthState, LastCheck, Standing};
pub use members::{Changes, Source};
pub use probe::Verdict;
pub use round::Denials;
pub use route::Route;
pub use session_headers::SessionHeaders;

use crate::config::{PoolConfig, PoolSettings};
use health::{Health, PoolHealth};
use members::Listed;
use order::{Candidate, Table};

/// The backends of a pool, in the order of the configuration.
pub type Backends = Arc<Vec<Arc<Backend>>>;

/// Backends that sessions are spread over. Shared by all workers.
#[derive(Debug)]
pub struct Pool {
    /// Its name.
    pub name: Box<str>,
    settings: Arc<ArcSwap<PoolSettings>>,
    backends: ArcSwap<Vec<Arc<Backend>>>,
    table: Mutex<Table>,
    health: Arc<PoolHealth>,
    /// What its sources say. Held while the list of backends changes.
    listed: Mutex<Listed>,
}

impl Pool {
    /// The pool that `config` describes. Nothing is dialled yet.
    #[must_use]
    pub fn new(config: &PoolConfig) -> Self {
        let handshakes = config.settings.handshakes_per_backend;
        let settings = Arc::new(ArcSwap::from_pointee(config.settings.clone()));
        let health = PoolHealth::new(settings.clone());
        let listed = Listed::new(config);
        let backend = |backend| Arc::new(Backend::new(backend, handshakes, Health::new(health.clone(), None)));
        let backends = listed.merged().iter().map(backend).collect();
        Self {
            name: config.name.as_str().into(),
            settings,
            backends: ArcSwap::from_pointee(backends),
            table: Mutex::default(),
            health,
            listed: Mutex::new(listed),
        }
    }

    /// How it treats its backends, as of now.
    #[must_use]
    pub fn settings(&self) -> Arc<PoolSettings> {
        self.settings.load_full()
    }

    /// All its backends, as of now.
    #[must_use]
    pub fn backends(&self) -> Backends {
        self.backends.load_full()
    }

    /// A backend by its id.
    #[must_use]
    pub fn backend(&self, id: BackendId) -> Option<Arc<Backend>> {
        self.backends.load().iter().find(|backend| backend.id == id).cloned()
    }

    /// Those that may get a session.
    fn candidates(&self) -> Vec<BackendId> {
        let backends = self.backends.load();
        backends.iter().filter(|backend| backend.takes_sessions()).map(|backend| backend.id).collect()
    }

    /// Picks the next backend of those that may get a session, and counts a leg on it at once, so that those who pick
    /// meanwhile see it. `rank` tells which go first; one without a rank is no candidate.
    fn pick(&self, rank: impl Fn(BackendId) -> Option<u8>) -> Option<Lease> {
        let backends = self.backends.load();
        // Until the lease is taken, or two could take the last place on a backend.
        let mut table = locked(&self.table);
        let now = Instant::now();
        let candidates = backends.iter().filter(|backend| backend.takes_sessions()).filter_map(|backend| {
            let (id, rank) = (backend.id, rank(backend.id)?);
            let (priority, weight) = (backend.priority(), f32::from(backend.weight()) * backend.weight_factor(now));
            Some(Candidate { id, rank, eligible: backend.eligible(now), priority, live: backend.live(), weight })
        });
        let id = table.pick(candidates)?;
        let backend = backends.iter().find(|backend| backend.id == id)?;
        backend.health.picked(now);
        Some(Lease::new(backend.clone()))
    }
}

/// Locks what no panic can leave half-changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The backends: which one a session goes to, the handshake with it, and the proof that one is dying.
//!
//! The [`Fleet`] has the routes and the pools that they lead to. A session keeps its [`Route`], and with it its pool,
//! for life.
//!
//! Touched when a leg begins and when it ends, never on the data path. Locks are held for a few instructions and
//! never across an await.

mod affinity;
mod attach;
mod backend;
mod balance;
mod deaths;
mod dial;
mod discover;
mod evidence;
mod exchange;
mod fleet;
pub mod fuzzing;
mod handshake;
mod health;
mod hook;
mod knock;
mod members;
mod moves;
mod order;
mod orders;
mod pings;
mod polite;
mod probe;
mod renewals;
mod round;
mod route;
mod score;
mod session_headers;
mod shares;
mod spare;
mod survey;
mod turns;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;

pub use attach::{Attached, FirstAttachError, Reattach, ReattachError, Target};
pub use backend::{AdminState, Backend, BackendId, Lease};
pub use balance::Load;
pub(crate) use deaths::is_recent;
pub use dial::AckCarrier;
pub use discover::Discovery;
pub(crate) use exchange::{Connection, Exchange, ExchangeError, Sender};
pub use fleet::Fleet;
pub use handshake::{KeptHandshake, TooLarge};
pub use health::{HealthState, LastCheck, Standing};
pub use hook::{HOOK_RESULTS, HookResult};
pub(crate) use knock::{KnockError, knock};
pub use members::{Changes, Source};
pub use moves::{Cause, Moves};
pub use orders::{Adjustment, OrderError};
pub use probe::Verdict;
pub use round::Denials;
pub use route::Route;
pub(crate) use score::headroom;
pub use score::{Agent, AgentHealth, AgentMode};
pub use session_headers::SessionHeaders;
pub use shares::Share;
pub use survey::survey;
pub use turns::{Stray, Turn};

use crate::config::{PoolConfig, PoolSettings};
use balance::{Balancer, Policy, Wish};
use deaths::Deaths;
use health::{Health, PoolHealth};
use members::Listed;
use score::Smoothing;

/// The backends of a pool, in the order of the configuration.
pub type Backends = Arc<Vec<Arc<Backend>>>;

/// Backends that sessions are spread over. Shared by all workers.
#[derive(Debug)]
pub struct Pool {
    /// Its name.
    pub name: Box<str>,
    settings: Arc<ArcSwap<PoolSettings>>,
    backends: ArcSwap<Vec<Arc<Backend>>>,
    balancer: Mutex<Balancer>,
    health: Arc<PoolHealth>,
    /// What its sources say. Held while the list of backends changes.
    listed: Mutex<Listed>,
    moves: Moves,
    deaths: Deaths,
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
            balancer: Mutex::default(),
            health,
            listed: Mutex::new(listed),
            moves: Moves::default(),
            deaths: Deaths::default(),
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

    /// What became of those of its sessions that were to be moved.
    #[must_use]
    pub fn moves(&self) -> &Moves {
        &self.moves
    }

    /// A backend by its id.
    #[must_use]
    pub fn backend(&self, id: BackendId) -> Option<Arc<Backend>> {
        self.backends.load().iter().find(|backend| backend.id == id).cloned()
    }

    /// Those that may get a session that wants `wish`.
    fn candidates(&self, wish: Wish) -> Vec<BackendId> {
        let backends = self.backends.load();
        let may = |backend: &&Arc<Backend>| {
            backend.takes_sessions() || wish.sticky == Some(backend.id) && backend.takes_back()
        };
        backends.iter().filter(may).map(|backend| backend.id).collect()
    }

    /// Picks the next backend of those that may get a session, and counts a leg on it at once, so that those who pick
    /// meanwhile see it. `rank` tells which go first; one without a rank is no candidate.
    fn pick(&self, wish: Wish, rank: impl Fn(BackendId) -> Option<u8>) -> Option<Lease> {
        let settings = self.settings();
        let by = Policy::new(settings.balancing.balance, settings.balancing.hash_balance_factor);
        let (smoothing, now) = (Smoothing::new(&settings.balancing), Instant::now());
        let backends = self.backends.load();
        // Until the lease is taken, or two could take the last place on a backend.
        let mut balancer = locked(&self.balancer);
        let candidates = backends.iter().filter(|backend| backend.takes_back()).filter_map(|backend| {
            let rank = order::rank(rank(backend.id)?, backend.eligible(now), backend.priority());
            Some(backend.candidate(rank, &smoothing, now))
        });
        let candidates: Vec<_> = candidates.collect();
        let id = balancer.pick(by, &candidates, wish, random())?;
        let backend = backends.iter().find(|backend| backend.id == id)?;
        backend.health.picked(now);
        Some(Lease::new(backend.clone()))
    }

    /// How what is known of its backends' load is smoothed.
    fn smoothing(&self) -> Smoothing {
        Smoothing::new(&self.settings.load().balancing)
    }

    /// Its backends with their loads, as [`Balance::Score`](crate::config::Balance::Score) sees them, in their order.
    #[must_use]
    pub fn loads(&self) -> Vec<(Arc<Backend>, Load)> {
        let (smoothing, now) = (self.smoothing(), Instant::now());
        let backends = self.backends();
        let candidates: Vec<_> = backends.iter().map(|backend| backend.candidate(0, &smoothing, now)).collect();
        backends.iter().cloned().zip(balance::loads(&candidates)).collect()
    }
}

/// A random number.
fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    u64::from_ne_bytes(bytes)
}

/// Locks what no panic can leave half-changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! All routes and pools of the process.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::http::request;

use super::renewals::Shared;
use super::{Backend, BackendId, Changes, OrderError, Pool, Route, locked};
use crate::config::{BackendConfig, Config, PoolConfig};
use crate::renewal::Values;

/// The routes, and the pools that they lead to. Shared by all workers.
#[derive(Debug)]
pub struct Fleet {
    plan: ArcSwap<Plan>,
    shared: Shared,
    /// Held while the plan changes.
    changing: Mutex<()>,
}

/// A backend, and its pool.
type InPool = (Arc<Pool>, Arc<Backend>);

/// What belongs together at one moment.
#[derive(Debug)]
struct Plan {
    /// The first that takes a handshake has it.
    routes: Vec<Arc<Route>>,
    pools: Vec<Arc<Pool>>,
    /// Pools that are not configured any more, until the last of their backends is forgotten.
    dissolved: Vec<Arc<Pool>>,
}

impl Plan {
    fn all(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.iter().chain(&self.dissolved)
    }

    fn routes(config: &Config, pools: &[Arc<Pool>], shared: &Shared) -> Vec<Arc<Route>> {
        let named =
            |name: &str| pools.iter().find(|pool| *pool.name == *name).expect("a route leads to a pool").clone();
        config.routes.iter().map(|route| Arc::new(Route::new(route, named(&route.pool), shared))).collect()
    }
}

impl Fleet {
    /// The fleet that `config` describes. Nothing is dialled yet.
    ///
    /// # Panics
    /// A route names a pool that is not there.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let pools: Vec<_> = config.pools.iter().map(|pool| Arc::new(Pool::new(pool))).collect();
        let shared = Shared::default();
        let plan = Plan { routes: Plan::routes(config, &pools, &shared), pools, dissolved: Vec::new() };
        Self { shared, plan: ArcSwap::from_pointee(plan), changing: Mutex::default() }
    }

    /// Makes the fleet what `config` describes. Backends that stay keep their sessions, those that are gone from it are
    /// drained, and forgotten with their last leg. New routes are for new sessions; the others keep theirs, and their
    /// pool.
    ///
    /// # Panics
    /// A route names a pool that is not there.
    pub fn apply(&self, config: &Config) -> Changes {
        let _changing = locked(&self.changing);
        let before = self.plan.load_full();
        let mut changes = Changes::default();
        let mut keep_or_add = |config: &PoolConfig| match before.all().find(|pool| *pool.name == *config.name) {
            Some(pool) => {
                changes.extend(pool.configure(config));
                pool.clone()
            }
            None => {
                let pool = Arc::new(Pool::new(config));
                changes.added.extend(pool.titles());
                pool
            }
        };
        let pools: Vec<_> = config.pools.iter().map(&mut keep_or_add).collect();
        let is_gone = |pool: &&Arc<Pool>| !pools.iter().any(|kept| Arc::ptr_eq(kept, pool));
        let dissolved: Vec<_> = before.all().filter(is_gone).cloned().collect();
        dissolved.iter().for_each(|pool| changes.extend(pool.dissolve()));
        self.plan.store(Arc::new(Plan { routes: Plan::routes(config, &pools, &self.shared), pools, dissolved }));
        changes
    }

    /// Forgets the removed backends whose last leg is gone. To be called now and then.
    pub fn sweep(&self) {
        self.plan.load().all().for_each(|pool| pool.sweep());
        if self.plan.load().dissolved.iter().any(|pool| pool.backends().is_empty()) {
            let _changing = locked(&self.changing);
            let Plan { routes, pools, dissolved } = &**self.plan.load();
            let dissolved = dissolved.iter().filter(|pool| !pool.backends().is_empty()).cloned().collect();
            self.plan.store(Arc::new(Plan { routes: routes.clone(), pools: pools.clone(), dissolved }));
        }
    }

    /// The route of a handshake; `None` if no route takes it.
    #[must_use]
    pub fn route(&self, request: &request::Parts) -> Option<Arc<Route>> {
        self.plan.load().routes.iter().find(|route| route.takes(request)).cloned()
    }

    /// All routes that new sessions may take, in the order in which they are asked.
    #[must_use]
    pub fn routes(&self) -> Vec<Arc<Route>> {
        self.plan.load().routes.clone()
    }

    /// All pools, in the order of the configuration; then those that are gone from it and still have backends with
    /// sessions.
    #[must_use]
    pub fn pools(&self) -> Vec<Arc<Pool>> {
        self.plan.load().all().cloned().collect()
    }

    /// A pool of the configuration by its name.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<Arc<Pool>> {
        self.plan.load().pools.iter().find(|pool| *pool.name == *name).cloned()
    }

    /// All backends with their pools.
    #[must_use]
    pub fn backends(&self) -> Vec<(Arc<Pool>, Arc<Backend>)> {
        let of = |pool: &Arc<Pool>| {
            pool.backends().iter().map(|backend| (pool.clone(), backend.clone())).collect::<Vec<_>>()
        };
        self.plan.load().all().flat_map(of).collect()
    }

    /// Adds a backend to a pool of the configuration (see [`Pool::add`]). `None`: there is no such pool.
    pub fn add(&self, pool: &str, backend: BackendConfig) -> Option<Result<InPool, OrderError>> {
        // A pool that is dissolved meanwhile would never be rid of it.
        let _changing = locked(&self.changing);
        let pool = self.pool(pool)?;
        Some(pool.add(backend).map(|backend| (pool, backend)))
    }

    /// A backend by its id, with its pool.
    #[must_use]
    pub fn backend_in_pool(&self, id: BackendId) -> Option<(Arc<Pool>, Arc<Backend>)> {
        self.plan.load().all().find_map(|pool| Some((pool.clone(), pool.backend(id)?)))
    }

    /// A backend by its id.
    #[must_use]
    pub fn backend(&self, id: BackendId) -> Option<Arc<Backend>> {
        self.plan.load().all().find_map(|pool| pool.backend(id))
    }

    /// What came of asking the hooks of re-attaches, with its word.
    pub fn hook_counts(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        self.shared.hook_counts()
    }

    /// The file at `path`, which some route has for its re-attaches, says this now.
    pub fn set_values(&self, path: &Path, values: &Values) {
        self.shared.set_values(path, values);
    }

    /// The longest time that a closing handshake may take.
    #[must_use]
    pub fn close_timeout(&self) -> Duration {
        self.plan.load().routes.iter().map(|route| route.session.close_timeout).max().unwrap_or_default()
    }
}

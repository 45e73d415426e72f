//! All routes and pools of the process.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::http::request;

use super::{Backend, BackendId, Pool, Route};
use crate::config::Config;

/// The routes, and the pools that they lead to. Shared by all workers.
#[derive(Debug)]
pub struct Fleet {
    plan: ArcSwap<Plan>,
}

/// What belongs together at one moment.
#[derive(Debug)]
struct Plan {
    /// The first that takes a handshake has it.
    routes: Vec<Arc<Route>>,
    pools: Vec<Arc<Pool>>,
}

impl Fleet {
    /// The fleet that `config` describes. Nothing is dialled yet.
    ///
    /// # Panics
    /// A route names a pool that is not there.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let pools: Vec<_> = config.pools.iter().map(|pool| Arc::new(Pool::new(pool))).collect();
        let named =
            |name: &str| pools.iter().find(|pool| *pool.name == *name).expect("a route leads to a pool").clone();
        let routes = config.routes.iter().map(|route| Arc::new(Route::new(route, named(&route.pool)))).collect();
        Self { plan: ArcSwap::from_pointee(Plan { routes, pools }) }
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

    /// All pools, in the order of the configuration.
    #[must_use]
    pub fn pools(&self) -> Vec<Arc<Pool>> {
        self.plan.load().pools.clone()
    }

    /// A pool by its name.
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
        self.plan.load().pools.iter().flat_map(of).collect()
    }

    /// A backend by its id.
    #[must_use]
    pub fn backend(&self, id: BackendId) -> Option<Arc<Backend>> {
        self.plan.load().pools.iter().find_map(|pool| pool.backend(id))
    }

    /// The longest time that a closing handshake may take.
    #[must_use]
    pub fn close_timeout(&self) -> Duration {
        self.plan.load().routes.iter().map(|route| route.session.close_timeout).max().unwrap_or_default()
    }
}

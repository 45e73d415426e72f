//! The schemes' view of the fleet.

use std::sync::Arc;
use std::time::Instant;

use super::{Load, Loads};
use crate::config::ScaleConfig;
use crate::pool::{Backend, Fleet, Pool};

impl Loads for Fleet {
    fn loads(&self, pool: &str) -> Vec<Load> {
        let of = |pool: &Pool| pool.backends().iter().map(|backend| load(backend)).collect();
        self.pool(pool).map(|pool| of(&pool)).unwrap_or_default()
    }

    fn scale_targets(&self) -> Vec<(Box<str>, ScaleConfig)> {
        let target = |pool: &Arc<Pool>| Some((pool.name.clone(), pool.settings().scale?));
        self.pools().iter().filter_map(target).collect()
    }
}

fn load(backend: &Backend) -> Load {
    let public = backend.public();
    let now = Instant::now();
    let is_up = backend.eligible(now);
    Load {
        backend: backend.id,
        public_url: public.url.clone(),
        addresses: public.addresses.clone(),
        host: backend.url.host.clone(),
        priority: backend.priority(),
        weight: f64::from(backend.weight()) * f64::from(backend.weight_factor(now)),
        sessions: backend.live(),
        utilisation: None,
        present: is_up && backend.is_wanted(),
        eligible: is_up && backend.takes_sessions(),
    }
}

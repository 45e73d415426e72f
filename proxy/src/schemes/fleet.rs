//! The schemes' view of the fleet.

use std::sync::Arc;
use std::time::Instant;

use super::{Load, Loads};
use crate::config::ScaleConfig;
use crate::pool::{self, Backend, Fleet, Pool};

impl Loads for Fleet {
    fn loads(&self, pool: &str) -> Vec<Load> {
        let Some(pool) = self.pool(pool) else { return Vec::new() };
        let now = Instant::now();
        pool.loads().iter().map(|(backend, known)| load(backend, known, now)).collect()
    }

    fn scale_targets(&self) -> Vec<(Box<str>, ScaleConfig)> {
        let target = |pool: &Arc<Pool>| Some((pool.name.clone(), pool.settings().scale?));
        self.pools().iter().filter_map(target).collect()
    }
}

fn load(backend: &Backend, known: &pool::Load, now: Instant) -> Load {
    let public = backend.public();
    let is_up = backend.eligible(now);
    Load {
        backend: backend.id,
        public_url: public.url.clone(),
        addresses: public.addresses.clone(),
        host: backend.url.host.clone(),
        priority: backend.priority(),
        weight: known.weight,
        sessions: backend.live(),
        utilisation: known.utilisation,
        present: is_up && backend.is_wanted(),
        eligible: is_up && backend.takes_sessions(),
    }
}

//! What an operator orders of the backends of a pool, beside what its sources say of them.
//!
//! An order counts until another one, or the end of the process. It changes which sessions come; [`crate::mover`] sees
//! to those that a backend has.

use std::fmt;
use std::sync::Arc;

use super::backend::{AdminState, Backend, BackendId};
use super::{Pool, locked};
use crate::config::BackendConfig;

/// Why an order was not carried out. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderError {
    /// The pool has no such backend.
    Unknown,
    /// The backend is removed: it only drains.
    Removed,
    /// Another backend of the pool has this id or URL.
    Exists,
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "the pool has no such backend",
            Self::Removed => "the backend is removed",
            Self::Exists => "the pool has a backend with this id or URL",
        })
    }
}

impl std::error::Error for OrderError {}

impl Pool {
    /// The backend gets no more sessions, and those that it has are moved to others of the pool, at the pace of the
    /// settings. Sessions that cannot be moved stay until they end.
    ///
    /// # Errors
    /// [`OrderError::Unknown`].
    pub fn drain(&self, id: BackendId) -> Result<Arc<Backend>, OrderError> {
        let backend = self.backend(id).ok_or(OrderError::Unknown)?;
        if !backend.is_removed() {
            self.order(&backend, AdminState::Draining);
        }
        Ok(backend)
    }

    /// The backend may get sessions again: after [`Self::drain`] or [`Self::disable`]. What was moved away does not come
    /// back by itself, unless `--rebalance` is on.
    ///
    /// # Errors
    /// [`OrderError::Unknown`]; [`OrderError::Removed`].
    pub fn enable(&self, id: BackendId) -> Result<Arc<Backend>, OrderError> {
        self.order_one_that_stays(id, AdminState::Ready)
    }

    /// The backend gets no more sessions. Those that it has stay, also if it was draining.
    ///
    /// # Errors
    /// [`OrderError::Unknown`]; [`OrderError::Removed`].
    pub fn disable(&self, id: BackendId) -> Result<Arc<Backend>, OrderError> {
        self.order_one_that_stays(id, AdminState::Disabled)
    }

    /// Drains the backend, to be forgotten with its last session. It is not taken from a source that still names it
    /// until that source has ceased to.
    ///
    /// # Errors
    /// [`OrderError::Unknown`].
    pub fn remove(&self, id: BackendId) -> Result<Arc<Backend>, OrderError> {
        let backend = self.backend(id).ok_or(OrderError::Unknown)?;
        if !backend.is_removed() {
            self.relist(|listed| listed.strike(&backend));
        }
        Ok(backend)
    }

    /// Adds a backend until it is removed by an order, whatever the sources say. One that was removed by an order and
    /// still has sessions is the same backend again.
    ///
    /// # Errors
    /// [`OrderError::Exists`].
    pub fn add(&self, config: BackendConfig) -> Result<Arc<Backend>, OrderError> {
        let (id, url) = (config.id.clone(), config.url.clone());
        let mut taken = false;
        self.relist(|listed| {
            taken = !listed.add(config);
        });
        let backends = self.backends();
        let found = backends.iter().find(|backend| *backend.name == *id && backend.url == url);
        found.filter(|_| !taken).cloned().ok_or(OrderError::Exists)
    }

    fn order_one_that_stays(&self, id: BackendId, state: AdminState) -> Result<Arc<Backend>, OrderError> {
        let backend = self.backend(id).ok_or(OrderError::Unknown)?;
        // Not while it is removed: it would get sessions that nobody moves.
        let _listed = locked(&self.listed);
        if backend.is_removed() {
            return Err(OrderError::Removed);
        }
        self.order(&backend, state);
        Ok(backend)
    }

    fn order(&self, backend: &Backend, state: AdminState) {
        if backend.admin_state() != state {
            backend.set_admin_state(state);
            tracing::info!(
                pool = %self.name, id = %backend.name, backend = %backend.url, ?state, legs = backend.live(),
                "the operator has ordered a backend's state"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Lease, Source};
    use super::*;
    use crate::config::{Config, PoolConfig};

    fn backend(port: u16) -> BackendConfig {
        BackendConfig::new(format!("ws://127.0.0.1:{port}").parse().unwrap())
    }

    fn pool(ports: &[u16]) -> Pool {
        let config = Config::with_backends(&[backend(1).url]).unwrap();
        let backends = ports.iter().map(|port| backend(*port)).collect();
        Pool::new(&PoolConfig { backends, ..config.pools[0].clone() })
    }

    fn ports(pool: &Pool) -> Vec<u16> {
        pool.backends().iter().map(|backend| backend.url.port).collect()
    }

    #[test]
    fn a_drained_backend_gets_no_session_until_it_is_enabled() {
        let pool = pool(&[1, 2]);
        let id = pool.backends()[0].id;
        let backend = pool.drain(id).unwrap();
        assert_eq!((backend.admin_state(), backend.takes_sessions()), (AdminState::Draining, false));
        assert!(pool.enable(id).unwrap().takes_sessions());
        assert!(!pool.disable(id).unwrap().takes_sessions());
    }

    #[test]
    fn a_removed_backend_stays_removed_until_its_source_has_ceased_to_name_it() {
        let pool = pool(&[1, 2]);
        let id = pool.backends()[0].id;
        pool.remove(id).unwrap();
        assert_eq!(ports(&pool), [2]);
        assert!(pool.list(Source::Named, vec![backend(1), backend(2)]).is_empty());
        pool.list(Source::Named, vec![backend(2)]);
        pool.list(Source::Named, vec![backend(1), backend(2)]);
        assert_eq!(ports(&pool), [1, 2]);
        assert_eq!(pool.remove(id).unwrap_err(), OrderError::Unknown, "it is another backend");
    }

    #[test]
    fn a_removed_backend_with_sessions_only_drains_and_is_the_same_when_it_is_added() {
        let pool = pool(&[1, 2]);
        let lease = Lease::new(pool.backends()[0].clone());
        let id = lease.backend().id;
        pool.remove(id).unwrap();
        assert_eq!(pool.enable(id).unwrap_err(), OrderError::Removed);
        assert_eq!(pool.disable(id).unwrap_err(), OrderError::Removed);
        assert_eq!(pool.drain(id).unwrap().admin_state(), AdminState::Draining);
        let back = pool.add(backend(1)).unwrap();
        assert_eq!((back.id, back.admin_state()), (id, AdminState::Ready));
    }

    #[test]
    fn an_added_backend_stays_whatever_the_sources_say() {
        let pool = pool(&[1]);
        assert_eq!(pool.add(backend(1)).unwrap_err(), OrderError::Exists);
        pool.add(backend(2)).unwrap();
        assert_eq!(pool.add(backend(2)).unwrap_err(), OrderError::Exists);
        pool.list(Source::Named, Vec::new());
        assert_eq!(ports(&pool), [2]);
        pool.remove(pool.backends()[0].id).unwrap();
        assert_eq!(ports(&pool), [0; 0]);
    }
}

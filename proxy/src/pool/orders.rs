//! What an operator orders of the backends of a pool, beside what its sources say of them.
//!
//! An order counts until another one, or the end of the process. It changes which sessions come; [`crate::mover`] sees
//! to those that a backend has.

use std::fmt;
use std::sync::Arc;

use super::backend::{AdminState, Backend, BackendId};
use super::{Pool, locked};
use crate::config::BackendConfig;

/// Backends of a pool that orders may have added.
pub(super) const MOST_ADDED: usize = 1000;

/// What is to be changed of a backend, in place. `None`: it stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adjustment {
    /// Its share of the pool's sessions, from 0 to 256.
    pub weight: Option<u16>,
    /// How many legs it may have, at least 1; `Some(None)` for any number.
    pub max_sessions: Option<Option<usize>>,
    /// When it is tried: those of lower numbers first.
    pub priority: Option<u16>,
}

/// Why an order was not carried out. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderError {
    /// The pool has no such backend.
    Unknown,
    /// The backend is removed: it only drains.
    Removed,
    /// Another backend of the pool has this id or URL.
    Exists,
    /// A thousand backends of the pool were added by orders, and are not removed yet.
    Full,
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "the pool has no such backend",
            Self::Removed => "the backend is removed",
            Self::Exists => "the pool has a backend with this id or URL",
            Self::Full => "a thousand backends of the pool were added by orders",
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
    /// [`OrderError::Exists`], [`OrderError::Full`].
    pub fn add(&self, config: BackendConfig) -> Result<Arc<Backend>, OrderError> {
        let (id, url) = (config.id.clone(), config.url.clone());
        let mut added = Ok(());
        self.relist(|listed| added = listed.add(config));
        added?;
        let backends = self.backends();
        let found = backends.iter().find(|backend| *backend.name == *id && backend.url == url);
        // Somebody else removed it meanwhile.
        found.cloned().ok_or(OrderError::Unknown)
    }

    /// Changes settings of the backend for the sessions to come. Each stays until it is changed again, by an order or
    /// because the source that names the backend says another value than before.
    ///
    /// # Errors
    /// [`OrderError::Unknown`]; [`OrderError::Removed`].
    pub fn adjust(&self, id: BackendId, by: Adjustment) -> Result<Arc<Backend>, OrderError> {
        let backend = self.backend(id).ok_or(OrderError::Unknown)?;
        let _listed = locked(&self.listed);
        if backend.is_removed() {
            return Err(OrderError::Removed);
        }
        by.weight.inspect(|weight| backend.set_weight(*weight));
        by.max_sessions.inspect(|most| backend.set_max_sessions(*most));
        by.priority.inspect(|priority| backend.set_priority(*priority));
        let (weight, max_sessions, priority) = (backend.weight(), backend.max_sessions(), backend.priority());
        tracing::info!(
            pool = %self.name, id = %backend.name, backend = %backend.url, weight, ?max_sessions, priority,
            "the operator has changed a backend"
        );
        Ok(backend)
    }

    /// Whether an order added the backend, so that no source has to name it.
    #[must_use]
    pub fn is_added(&self, backend: &Backend) -> bool {
        locked(&self.listed).is_added(backend)
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
    fn one_that_is_added_again_has_the_settings_that_it_is_added_with() {
        let pool = pool(&[2]);
        let added = pool.add(backend(1)).unwrap();
        let _lease = Lease::new(added.clone());
        let by = Adjustment { weight: Some(7), max_sessions: Some(Some(3)), priority: Some(2) };
        pool.adjust(added.id, by).unwrap();
        assert_eq!((added.weight(), added.max_sessions(), added.priority()), (7, Some(3), 2));
        pool.remove(added.id).unwrap();
        assert_eq!(pool.adjust(added.id, by).unwrap_err(), OrderError::Removed);
        pool.add(backend(1)).unwrap();
        assert_eq!((added.weight(), added.max_sessions(), added.priority()), (100, None, 0));
        assert!(pool.is_added(&added) && !pool.is_added(&pool.backends()[1]));
    }

    #[test]
    fn what_is_changed_stays_until_the_source_says_another_value() {
        let pool = pool(&[1]);
        let id = pool.backends()[0].id;
        let by = Adjustment { priority: Some(3), ..Adjustment::default() };
        let one = pool.adjust(id, by).unwrap();
        pool.list(Source::Named, vec![BackendConfig { weight: 9, ..backend(1) }]);
        assert_eq!((one.weight(), one.priority()), (9, 3));
        pool.list(Source::Named, vec![BackendConfig { weight: 9, priority: 1, ..backend(1) }]);
        assert_eq!(one.priority(), 1);
    }

    #[test]
    fn orders_add_a_thousand_backends_at_most() {
        let pool = pool(&[1]);
        for port in 2..1002 {
            pool.add(backend(port)).unwrap();
        }
        assert_eq!(pool.add(backend(1002)).unwrap_err(), OrderError::Full);
        pool.remove(pool.backends()[0].id).unwrap();
        pool.add(backend(1002)).unwrap();
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

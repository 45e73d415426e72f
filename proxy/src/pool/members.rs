//! Which backends a pool has: what its sources say, and how a change of that is carried out.

use std::sync::Arc;
use std::time::Instant;

use super::health::Health;
use super::orders::{MOST_ADDED, OrderError};
use super::{Backend, Pool, locked};
use crate::config::{BackendConfig, BackendUrl, BackendsFile, PoolConfig};

/// Who says which backends a pool has. Of two that name the same backend, the first one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration itself.
    Named,
    /// `--backends-file`.
    File,
    /// `--backends-dns`.
    Dns,
}

/// What each source said last, and what an operator ordered beside that.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Those that an operator added.
    added: Vec<BackendConfig>,
    named: Vec<BackendConfig>,
    file: Vec<BackendConfig>,
    dns: Vec<BackendConfig>,
    /// Those that an operator removed and a source still names.
    struck: Vec<(String, BackendUrl)>,
}

/// What a change came to: backends, as `pool/id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New ones, and those that came back before they were forgotten.
    pub added: Vec<String>,
    /// Those with new settings.
    pub changed: Vec<String>,
    /// Those that get no more sessions, and are forgotten with their last leg.
    pub removed: Vec<String>,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.added.extend(more.added);
        self.changed.extend(more.changed);
        self.removed.extend(more.removed);
    }
}

impl Listed {
    pub(super) fn new(config: &PoolConfig) -> Self {
        Self { named: config.backends.clone(), file: in_file(config.file.as_ref()), ..Self::default() }
    }

    /// All that a source names.
    fn of_sources(&self) -> impl Iterator<Item = &BackendConfig> {
        self.named.iter().chain(&self.file).chain(&self.dns)
    }

    fn is_struck(&self, backend: &BackendConfig) -> bool {
        self.struck.iter().any(|(id, url)| *id == backend.id && *url == backend.url)
    }

    /// Those that count, some of them perhaps twice.
    fn counted(&self) -> impl Iterator<Item = &BackendConfig> {
        self.added.iter().chain(self.of_sources().filter(|backend| !self.is_struck(backend)))
    }

    /// Removes a backend, whoever named it.
    pub(super) fn strike(&mut self, backend: &Backend) {
        self.added.retain(|added| added.id != *backend.name);
        self.struck.push((backend.name.to_string(), backend.url.clone()));
    }

    /// Adds a backend, unless there is one with its id or URL, or there are [`MOST_ADDED`].
    pub(super) fn add(&mut self, backend: BackendConfig) -> Result<(), OrderError> {
        if self.counted().any(|other| other.id == backend.id || other.url == backend.url) {
            return Err(OrderError::Exists);
        }
        if self.added.len() >= MOST_ADDED {
            return Err(OrderError::Full);
        }
        self.added.push(backend);
        Ok(())
    }

    /// Whether an operator added it.
    pub(super) fn is_added(&self, backend: &Backend) -> bool {
        self.added.iter().any(|added| added.id == *backend.name && added.url == backend.url)
    }

    /// Forgets who was removed and is not named any more.
    fn settle(&mut self) {
        let mut struck = std::mem::take(&mut self.struck);
        struck.retain(|(id, url)| self.of_sources().any(|named| named.id == *id && named.url == *url));
        self.struck = struck;
    }

    /// All of them, each once.
    pub(super) fn merged(&self) -> Vec<BackendConfig> {
        let mut merged: Vec<BackendConfig> = Vec::new();
        for backend in self.counted() {
            if !merged.iter().any(|other| other.id == backend.id || other.url == backend.url) {
                merged.push(backend.clone());
            }
        }
        merged
    }
}

fn in_file(file: Option<&BackendsFile>) -> Vec<BackendConfig> {
    file.map(|file| file.backends.clone()).unwrap_or_default()
}

impl Pool {
    /// Takes what a source says now in place of what it said before.
    pub fn list(&self, source: Source, backends: Vec<BackendConfig>) -> Changes {
        self.relist(|listed| match source {
            Source::Named => listed.named = backends,
            Source::File => listed.file = backends,
            Source::Dns => listed.dns = backends,
        })
    }

    /// Takes new settings, and what the configuration now says of its backends. Backends found by DNS stay if the pool
    /// still has them from there.
    pub(super) fn configure(&self, config: &PoolConfig) -> Changes {
        let before = self.settings.swap(Arc::new(config.settings.clone()));
        if before.handshakes_per_backend != config.settings.handshakes_per_backend {
            for backend in self.backends.load().iter() {
                backend.set_handshakes(config.settings.handshakes_per_backend);
            }
        }
        self.relist(|listed| {
            let dns = if config.dns.is_some() { std::mem::take(&mut listed.dns) } else { Vec::new() };
            let (added, struck) = (std::mem::take(&mut listed.added), std::mem::take(&mut listed.struck));
            *listed = Listed { dns, added, struck, ..Listed::new(config) };
        })
    }

    /// Removes all backends: no route leads here any more.
    pub(super) fn dissolve(&self) -> Changes {
        self.relist(|listed| *listed = Listed::default())
    }

    pub(super) fn relist(&self, change: impl FnOnce(&mut Listed)) -> Changes {
        let mut listed = locked(&self.listed);
        change(&mut listed);
        listed.settle();
        let wanted = listed.merged();
        let before = self.backends();
        let mut changes = Changes::default();
        let mut now: Vec<_> = wanted.iter().map(|config| self.keep_or_add(&before, config, &mut changes)).collect();
        let gone: Vec<_> = before.iter().filter(|old| !now.iter().any(|kept| kept.id == old.id)).cloned().collect();
        for backend in &gone {
            if backend.remove() {
                tracing::info!(pool = %self.name, id = %backend.name, backend = %backend.url, legs = backend.live(), "backend removed");
                changes.removed.push(self.title(backend));
            }
        }
        now.extend(self.not_forgotten(gone));
        self.backends.store(Arc::new(now));
        changes
    }

    fn keep_or_add(&self, before: &[Arc<Backend>], config: &BackendConfig, changes: &mut Changes) -> Arc<Backend> {
        if let Some(backend) = before.iter().find(|backend| *backend.name == *config.id && backend.url == config.url) {
            if backend.restore() {
                tracing::info!(pool = %self.name, id = %backend.name, backend = %backend.url, "backend is back");
                changes.added.push(self.title(backend));
                backend.adopt(config);
            } else if backend.configure(config) {
                tracing::info!(pool = %self.name, id = %backend.name, backend = %backend.url, "backend changed");
                changes.changed.push(self.title(backend));
            }
            return backend.clone();
        }
        let health = Health::new(self.health.clone(), Some(Instant::now()));
        let backend = Arc::new(Backend::new(config, self.settings.load().handshakes_per_backend, health));
        tracing::info!(pool = %self.name, id = %backend.name, backend = %backend.url, "backend added");
        changes.added.push(self.title(&backend));
        backend
    }

    /// Those that still have legs. The others are forgotten.
    fn not_forgotten(&self, removed: Vec<Arc<Backend>>) -> Vec<Arc<Backend>> {
        // Nobody picks one meanwhile: who did before has a leg on it, who does after sees that it is removed.
        let mut balancer = locked(&self.balancer);
        let (left, gone): (Vec<_>, Vec<_>) = removed.into_iter().partition(|backend| backend.live() > 0);
        for backend in gone {
            balancer.forget(backend.id);
            tracing::info!(pool = %self.name, id = %backend.name, backend = %backend.url, "backend forgotten");
        }
        left
    }

    /// Forgets the removed backends whose last leg is gone.
    pub(super) fn sweep(&self) {
        let is_over = |backend: &Arc<Backend>| backend.is_removed() && backend.live() == 0;
        if !self.backends.load().iter().any(is_over) {
            return;
        }
        // Not while others change the list.
        let _listed = locked(&self.listed);
        let (removed, mut now): (Vec<_>, Vec<_>) =
            self.backends.load().iter().cloned().partition(|backend| backend.is_removed());
        now.extend(self.not_forgotten(removed));
        self.backends.store(Arc::new(now));
    }

    /// What [`Changes`] calls its backends.
    pub(super) fn titles(&self) -> Vec<String> {
        self.backends.load().iter().map(|backend| self.title(backend)).collect()
    }

    fn title(&self, backend: &Backend) -> String {
        format!("{}/{}", self.name, backend.name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::balance::Wish;
    use super::super::{AdminState, Lease};
    use super::*;
    use crate::config::Config;

    fn backend(port: u16, weight: u16) -> BackendConfig {
        BackendConfig { weight, ..BackendConfig::new(format!("ws://127.0.0.1:{port}").parse().unwrap()) }
    }

    fn pool(backends: &[BackendConfig]) -> Pool {
        let config = Config::with_backends(&[backend(1, 1).url]).unwrap();
        Pool::new(&PoolConfig { backends: backends.to_vec(), ..config.pools[0].clone() })
    }

    fn names(pool: &Pool) -> Vec<String> {
        pool.backends().iter().map(|backend| backend.url.port.to_string()).collect()
    }

    #[test]
    fn what_stays_is_the_same_backend_and_gets_its_new_weight() {
        let pool = pool(&[backend(1, 100), backend(2, 100)]);
        let before = pool.backends();
        let changes = pool.list(Source::Named, vec![backend(3, 100), backend(2, 7)]);
        assert_eq!(changes.added, ["default/127.0.0.1:3"]);
        assert_eq!(changes.changed, ["default/127.0.0.1:2"]);
        assert_eq!(changes.removed, ["default/127.0.0.1:1"]);
        assert_eq!(names(&pool), ["3", "2"]);
        assert_eq!((pool.backends()[1].id, pool.backends()[1].weight()), (before[1].id, 7));
        assert!(pool.list(Source::Named, vec![backend(3, 100), backend(2, 7)]).is_empty());
    }

    #[test]
    fn a_removed_backend_is_forgotten_with_its_last_leg() {
        let pool = pool(&[backend(1, 100), backend(2, 100)]);
        let lease = Lease::new(pool.backends()[0].clone());
        pool.list(Source::Named, vec![backend(2, 100)]);
        pool.sweep();
        assert_eq!(names(&pool), ["2", "1"]);
        assert_eq!(lease.backend().admin_state(), AdminState::Draining);
        assert_eq!(pool.candidates(Wish::default()), [pool.backends()[0].id]);
        drop(lease);
        pool.sweep();
        assert_eq!(names(&pool), ["2"]);
    }

    #[test]
    fn one_that_comes_back_before_that_is_the_same_and_one_after_is_another() {
        let pool = pool(&[backend(1, 100)]);
        let lease = Lease::new(pool.backends()[0].clone());
        let id = lease.backend().id;
        pool.list(Source::Named, Vec::new());
        assert_eq!(pool.list(Source::Named, vec![backend(1, 5)]).added.len(), 1);
        assert_eq!((pool.candidates(Wish::default()), pool.backends()[0].weight()), (vec![id], 5));
        drop(lease);
        pool.list(Source::Named, Vec::new());
        pool.list(Source::Named, vec![backend(1, 5)]);
        assert_ne!(pool.backends()[0].id, id);
    }

    #[test]
    fn another_url_under_the_same_id_is_another_backend() {
        let pool = pool(&[BackendConfig { id: "a".into(), ..backend(1, 100) }]);
        let changes = pool.list(Source::Named, vec![BackendConfig { id: "a".into(), ..backend(2, 100) }]);
        assert_eq!((changes.added, changes.removed), (vec!["default/a".to_owned()], vec!["default/a".to_owned()]));
    }

    #[test]
    fn what_an_operator_set_stays_until_the_source_says_something_else() {
        let pool = pool(&[backend(1, 100)]);
        pool.backends()[0].set_weight(7);
        pool.backends()[0].set_admin_state(AdminState::Disabled);
        assert!(pool.list(Source::Named, vec![backend(1, 100)]).is_empty());
        assert_eq!(pool.backends()[0].weight(), 7);
        pool.list(Source::Named, vec![backend(1, 50)]);
        assert_eq!(pool.backends()[0].weight(), 50);
        assert_eq!(pool.backends()[0].admin_state(), AdminState::Disabled);
    }

    #[test]
    fn a_backend_is_there_as_long_as_one_source_names_it() {
        let pool = pool(&[backend(1, 100)]);
        pool.list(Source::File, vec![backend(1, 1), backend(2, 1)]);
        pool.list(Source::Dns, vec![backend(2, 2), backend(3, 2)]);
        let weights = |pool: &Pool| pool.backends().iter().map(|backend| backend.weight()).collect::<Vec<_>>();
        assert_eq!((names(&pool).concat(), weights(&pool)), ("123".into(), vec![100, 1, 2]));
        pool.list(Source::File, Vec::new());
        assert_eq!((names(&pool).concat(), weights(&pool)), ("123".into(), vec![100, 2, 2]));
    }
}

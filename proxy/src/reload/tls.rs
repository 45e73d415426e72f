//! Reading the files of TLS again when they change.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use crate::config::{Config, HookConfig};
use crate::tls::Server;

/// What was in the files when they were last read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen(HashMap<PathBuf, u64>);

impl Seen {
    /// As they are now.
    pub(super) fn now(config: &Config) -> Self {
        let hash = |path: PathBuf| {
            let mut hasher = DefaultHasher::new();
            std::fs::read(&path).ok().hash(&mut hasher);
            (path, hasher.finish())
        };
        Self(files(config).map(hash).collect())
    }
}

/// All files with certificates, keys and authorities.
pub(super) fn files(config: &Config) -> impl Iterator<Item = PathBuf> + '_ {
    let server = config.tls.iter().flat_map(|server| server.paths());
    let backends = config.pools.iter().flat_map(|pool| pool.settings.transport.tls.paths().map(PathBuf::from));
    server.chain(backends).chain(hooks(config).flat_map(|hook| hook.tls.paths().map(PathBuf::from)))
}

fn hooks(config: &Config) -> impl Iterator<Item = &HookConfig> {
    config.routes.iter().filter_map(|route| route.renewal.hook.as_ref())
}

/// Reads them again and says so in the log. What is bad stays as it was, and the log says why.
pub(super) fn reload(config: &Config) {
    if let Some(server) = &config.tls {
        match server.reload() {
            Ok(()) => log_certificates(server, "certificates loaded again"),
            Err(problems) => log_problems("the certificates stay as they were", &problems),
        }
    }
    for pool in &config.pools {
        let upstream = &pool.settings.transport.tls;
        if upstream.paths().next().is_none() {
            continue;
        }
        match upstream.reload() {
            Ok(()) => tracing::info!(pool = pool.name, "what its backends are trusted by was loaded again"),
            Err(problems) => log_problems("what backends are trusted by stays as it was", &problems),
        }
    }
    for hook in hooks(config).filter(|hook| hook.tls.paths().next().is_some()) {
        match hook.tls.reload() {
            Ok(()) => tracing::info!(hook = %hook.url, "what the re-attach hook is trusted by was loaded again"),
            Err(problems) => log_problems("what the re-attach hook is trusted by stays as it was", &problems),
        }
    }
}

/// A line of the log for each certificate.
pub(super) fn log_certificates(server: &Server, what: &str) {
    for certificate in server.describe() {
        tracing::info!(%certificate, "{what}");
    }
}

fn log_problems(what: &str, problems: &[String]) {
    for problem in problems {
        tracing::error!(%problem, "{what}");
    }
}

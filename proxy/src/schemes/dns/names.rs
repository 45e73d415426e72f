//! The addresses of backends that are given by name, as of the last time that they were resolved.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::RwLock;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long the system's resolver may take for a name.
const LOOKUP: Duration = Duration::from_secs(5);

/// What the names of hosts resolve to. One entry for each name asked for lately.
#[derive(Debug, Default)]
pub(super) struct Names(RwLock<HashMap<String, Vec<IpAddr>>>);

impl Names {
    /// The addresses of a host: itself, or what it was resolved to. Empty while that is not known.
    pub(super) fn get(&self, host: &str) -> Vec<IpAddr> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return vec![address];
        }
        let known = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.get(host).cloned().unwrap_or_default()
    }

    /// Resolves these hosts anew, all at once. One that cannot be resolved now keeps what it had; others are forgotten.
    pub(super) async fn refresh(&self, hosts: HashSet<String>) {
        let is_name = |host: &String| host.parse::<IpAddr>().is_err();
        let lookups: FuturesUnordered<_> = hosts.into_iter().filter(is_name).map(resolve).collect();
        let found: Vec<(String, Option<Vec<IpAddr>>)> = lookups.collect().await;
        let mut known = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut before = std::mem::take(&mut *known);
        known.extend(found.into_iter().filter_map(|(host, addresses)| {
            let addresses = addresses.or_else(|| before.remove(&host))?;
            Some((host, addresses))
        }));
    }
}

async fn resolve(host: String) -> (String, Option<Vec<IpAddr>>) {
    let found = match timeout(LOOKUP, lookup_host((host.as_str(), 0))).await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect::<Vec<_>>(),
        Ok(Err(error)) => {
            tracing::debug!(host, %error, "a backend's name cannot be resolved");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!(host, "a backend's name cannot be resolved in time");
            Vec::new()
        }
    };
    (host, Some(found).filter(|found| !found.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_lookup() {
        assert_eq!(Names::default().get("2001:db8::1"), ["2001:db8::1".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn a_name_has_what_it_was_last_resolved_to() {
        let names = Names::default();
        assert_eq!(names.get("localhost"), [] as [IpAddr; 0]);
        names.refresh(["localhost".into(), "192.0.2.1".into()].into()).await;
        assert!(names.get("localhost").iter().all(IpAddr::is_loopback) && !names.get("localhost").is_empty());
        names.0.write().unwrap().insert("gone.invalid".into(), vec![[192, 0, 2, 9].into()]);
        names.refresh(["gone.invalid".into()].into()).await;
        assert_eq!(names.get("gone.invalid").len(), 1, "kept while it cannot be resolved");
        assert_eq!(names.get("localhost").len(), 0, "forgotten when nobody asks for it");
    }
}

//! Schemes besides proxying: telling clients where to go, instead of carrying them.
//!
//! - *Redirect*: `GET /.tideover/assign` names a backend's public URL, and `--mode redirect` answers handshakes with 307.
//! - *DNS*: a responder that gives the addresses of backends ([`Dns`]).
//! - *Advice for scaling*: how many backends a pool should have ([`Advice`]), and a command that is run when that changes.
//!
//! All three go to the least loaded backends, and count where they have sent clients of which the proxy then sees
//! nothing. They see pools and backends through [`Loads`] only, change nothing of them, and hold no lock over an await.

mod assign;
mod assigned;
mod counts;
mod dns;
mod fleet;
mod limiter;
mod load;
mod origins;
mod scale;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::http::request;

use crate::config::{OnScale, PublicUrl, ScaleConfig, SchemesConfig};
use crate::pool::BackendId;
pub(crate) use assign::target as assign_target;
use assign::{Desk, Outcome};
use assigned::Assigned;
pub use counts::{AssignRefusal, Command, Counted, Counts, DnsAnswer, Scheme};
pub use dns::Dns;
pub(crate) use limiter::{Limiter, Prefixes};
use load::least_loaded;
pub use load::{Load, Loads};
pub use scale::{Advice, Advisor, Demand};

/// Which kind of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// What all schemes share: where load is read, and where clients were sent.
#[derive(Debug)]
pub struct Schemes {
    loads: Arc<dyn Loads>,
    assigned: Mutex<Assigned>,
    desk: Option<Desk>,
    counts: Counts,
    advice: Mutex<BTreeMap<Box<str>, Advice>>,
}

impl Schemes {
    /// The schemes that `config` describes, over these pools. Nothing is opened or run yet.
    #[must_use]
    pub fn new(config: &SchemesConfig, loads: Arc<dyn Loads>) -> Self {
        Self {
            loads,
            assigned: Mutex::new(Assigned::new(config.assigned_lifetime)),
            desk: config.assign.as_ref().map(Desk::new),
            counts: Counts::default(),
            advice: Mutex::default(),
        }
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What is advised for each pool that has a target.
    #[must_use]
    pub fn advice(&self) -> BTreeMap<Box<str>, Advice> {
        locked(&self.advice).clone()
    }

    /// How many sessions the backend probably has of which the proxy sees nothing.
    #[must_use]
    pub fn assigned_to(&self, backend: BackendId) -> f64 {
        locked(&self.assigned).count(backend, Instant::now())
    }

    /// Advises about scaling for ever, and runs the command when there is one.
    pub async fn advise(self: Arc<Self>, on_scale: Option<OnScale>) {
        scale::advise(self, on_scale).await;
    }

    /// The answer to a request for an assignment, for a handshake with `target` in `pool`; `None` if nobody may ask
    /// (`--assign off`). Without a pool there is no backend.
    pub(crate) fn answer(
        &self,
        request: &request::Parts,
        client: IpAddr,
        pool: Option<&str>,
        target: &str,
    ) -> Option<Response<Full<Bytes>>> {
        let desk = self.desk.as_ref()?;
        let url = || self.public_url(pool?, |url| url.with(target), Scheme::Assign);
        let (response, outcome) = desk.answer(&request.method, &request.headers, client, url);
        match outcome {
            Outcome::Assigned | Outcome::Preflight => {}
            Outcome::Origin => self.counts.refused(AssignRefusal::Origin),
            Outcome::Rate => self.counts.refused(AssignRefusal::Rate),
            Outcome::Method => self.counts.refused(AssignRefusal::Method),
            Outcome::NoBackend => self.counts.refused(AssignRefusal::NoBackend),
        }
        Some(response)
    }

    /// Where a handshake with `target` is sent, as a Location (RFC 9110 10.2.2). `None` if no backend can take it.
    pub(crate) fn redirect(&self, pool: &str, target: &str, client_has_tls: bool) -> Option<String> {
        self.public_url(pool, |url| url.reference(target, client_has_tls), Scheme::Redirect)
    }

    fn public_url(&self, pool: &str, write: impl FnOnce(&PublicUrl) -> String, scheme: Scheme) -> Option<String> {
        let mut loads = self.loads.loads(pool);
        loads.retain(|load| load.public_url.is_some());
        let chosen = self.take(loads, 1, scheme, Instant::now()).pop()?;
        chosen.public_url.as_ref().map(write)
    }

    /// The addresses of one family of so many of the least loaded backends, one for each; `resolve` gives those of a host. `None`
    /// if there is no backend that could be named.
    fn addresses(
        &self,
        pool: &str,
        (family, most): (Family, usize),
        resolve: impl Fn(&str) -> Vec<IpAddr>,
        now: Instant,
    ) -> Option<Vec<IpAddr>> {
        let mut loads = self.loads.loads(pool);
        for load in &mut loads {
            if load.addresses.is_empty() {
                load.addresses = resolve(&load.host);
            }
        }
        if !loads.iter().any(|load| load.eligible && !load.addresses.is_empty()) {
            return None;
        }
        loads.iter_mut().for_each(|load| load.addresses.retain(|address| family.has(address)));
        loads.retain(|load| !load.addresses.is_empty());
        let chosen = self.take(loads, most, Scheme::Dns, now);
        Some(chosen.into_iter().filter_map(|load| load.addresses.first().copied()).collect())
    }

    /// The hosts of a pool whose addresses nobody gave.
    fn hosts(&self, pool: &str) -> Vec<String> {
        self.loads.loads(pool).into_iter().filter(|load| load.addresses.is_empty()).map(|load| load.host).collect()
    }

    /// Chooses, and counts what it chose at once, so that those who choose next see it.
    fn take(&self, loads: Vec<Load>, most: usize, scheme: Scheme, now: Instant) -> Vec<Load> {
        let mut assigned = locked(&self.assigned);
        let chosen = least_loaded(loads, |backend| assigned.count(backend, now), most);
        let share = 1.0 / chosen.len().max(1) as f64;
        for load in &chosen {
            assigned.add(load.backend, share, now);
        }
        if !chosen.is_empty() {
            self.counts.assigned(scheme);
        }
        chosen
    }

    /// The pools that are advised about.
    fn scale_targets(&self) -> Vec<(Box<str>, ScaleConfig)> {
        self.loads.scale_targets()
    }

    fn demand(&self, pool: &str, now: Instant) -> Demand {
        let assigned = locked(&self.assigned);
        Demand::of(&self.loads.loads(pool), |load| assigned.count(load.backend, now))
    }

    fn publish(&self, advice: BTreeMap<Box<str>, Advice>) {
        *locked(&self.advice) = advice;
    }
}

impl Family {
    fn has(self, address: &IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

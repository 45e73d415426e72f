//! The hook that is asked for fresh credentials before a handshake is given to a backend again (`--reattach-hook`).
//!
//! Owns the calls: how many at a time and a second, for how long, and how long their answers are good. What a failure
//! leads to, [`renewals`](super::renewals) decides. Nothing of a question or an answer is ever logged: both are
//! secrets.

mod answer;
mod cache;
mod call;
mod counts;
mod failure;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use hyper::header::HeaderMap;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::SessionHeaders;
use crate::config::{HookConfig, OnHookFailure, SessionKey, Transport};
use crate::renewal::Values;
use answer::Answer;
use cache::{Cache, Credential};
pub(super) use counts::HookCounts;
pub use counts::{HOOK_RESULTS, HookResult};
pub(super) use failure::Failure;

/// Part of a second whose calls may begin at once.
const BURST: u32 = 10;

/// A hook, shared by all routes that are configured with the same.
#[derive(Debug)]
pub(super) struct Hook {
    config: HookConfig,
    transport: ArcSwap<Transport>,
    places: Semaphore,
    rate: RateLimiter<NotKeyed, InMemoryState, DefaultClock, NoOpMiddleware<<DefaultClock as Clock>::Instant>>,
    /// Calls that found nobody: those who wait meanwhile do not try.
    unreached: AtomicU64,
    cache: Cache,
    counts: Arc<HookCounts>,
}

/// What a hook gave a session.
#[derive(Debug)]
pub(super) enum Given {
    /// This is to be set.
    Values(Arc<Values>),
    /// The session is not to be attached again.
    Denied,
}

impl Hook {
    pub(super) fn new(config: &HookConfig, counts: Arc<HookCounts>) -> Self {
        let burst = NonZeroU32::new(config.rate.get() / BURST).unwrap_or(NonZeroU32::MIN);
        Self {
            transport: ArcSwap::from_pointee(transport(config)),
            places: Semaphore::new(config.calls),
            rate: RateLimiter::direct(Quota::per_second(config.rate).allow_burst(burst)),
            unreached: AtomicU64::new(0),
            cache: Cache::new(config.cache),
            config: config.clone(),
            counts,
        }
    }

    /// Whether it is configured like this.
    pub(super) fn is(&self, config: &HookConfig) -> bool {
        self.config == *config
    }

    /// Takes over whom it trusts from a configuration that is the same and was read later.
    pub(super) fn trust_as(&self, config: &HookConfig) {
        self.transport.store(Arc::new(transport(config)));
    }

    /// What is done about a failure.
    pub(super) fn on_failure(&self) -> OnHookFailure {
        self.config.on_failure
    }

    /// Asks for a session whose client came with `headers`, or remembers what was answered. Returns when the delay that
    /// the hook asked for is over. The question is signed with `key`, if there is one.
    ///
    /// # Errors
    /// There is no good answer.
    pub(super) async fn ask(
        &self,
        session: &SessionHeaders,
        headers: &HeaderMap,
        key: Option<&SessionKey>,
    ) -> Result<Given, Failure> {
        let credential = self.credential(session, headers);
        if let Some(values) = self.cache.get(&credential) {
            self.counts.count(HookResult::Cached);
            return Ok(Given::Values(values));
        }
        let answer = self.call(session, headers, key).await;
        self.counts.count(match &answer {
            Ok(Answer::Values { .. }) => HookResult::Answered,
            Ok(Answer::Deny) => HookResult::Denied,
            Err(failure) => failure.result(),
        });
        match answer? {
            Answer::Deny => Ok(Given::Denied),
            Answer::Values { values, delay } => {
                let values = Arc::new(values);
                self.cache.put(credential, values.clone());
                tokio::time::sleep(delay).await;
                Ok(Given::Values(values))
            }
        }
    }

    /// Forgets what was answered for a session: a backend did not take it.
    pub(super) fn forget(&self, session: &SessionHeaders, headers: &HeaderMap) {
        self.cache.forget(&self.credential(session, headers));
    }

    fn credential(&self, session: &SessionHeaders, headers: &HeaderMap) -> Credential {
        Credential::new(session.session, &self.config.headers, headers)
    }

    async fn call(
        &self,
        session: &SessionHeaders,
        headers: &HeaderMap,
        key: Option<&SessionKey>,
    ) -> Result<Answer, Failure> {
        let mark = self.unreached.load(Ordering::Relaxed);
        // Never closed.
        let _place = self.places.acquire().await.map_err(|_| Failure::GaveUp)?;
        if self.unreached.load(Ordering::Relaxed) != mark {
            return Err(Failure::GaveUp);
        }
        self.turn().await;
        let question = call::question(&self.config, session, headers, key);
        let transport = self.transport.load_full();
        let call = call::call(&self.config, &transport, question);
        let answer = timeout(self.config.timeout, Box::pin(call)).await.unwrap_or(Err(Failure::Timeout));
        if answer.as_ref().is_err_and(Failure::found_nobody) {
            self.unreached.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// Waits until the rate allows a call. At most `--reattach-hook-calls` wait here.
    async fn turn(&self) {
        while let Err(early) = self.rate.check() {
            tokio::time::sleep(early.wait_time_from(DefaultClock::default().now()).max(Duration::from_millis(1))).await;
        }
    }
}

fn transport(config: &HookConfig) -> Transport {
    Transport { tls: config.tls.clone(), send_proxy: false }
}

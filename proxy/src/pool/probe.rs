//! Asking whether a backend is dying.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::backend::Backend;
use super::dial::{self, Answer, DialError};
use super::handshake::{KeptHandshake, Upstream};
use super::health::Failure;
use super::{Pool, locked, polite};
use crate::config::{PoolSettings, Transport};

/// How long a failed probe speaks for legs that end after it began.
const DYING_LASTS: Duration = Duration::from_secs(1);
/// Time between the starts of two probes of a backend, at least: 50 a second are no load, and nobody waits long.
const SPACING: Duration = Duration::from_millis(20);
/// Whether a backend is proven to be dying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is proven.
    Dying,
    /// It is not.
    Healthy,
}

/// The latest probe of a backend: at most one is in flight.
#[derive(Debug, Default)]
pub(super) struct Probes(Mutex<Option<Probe>>);

#[derive(Clone, Debug)]
struct Probe {
    /// When it begins: now, or shortly.
    started: Instant,
    /// `None` while in flight.
    result: watch::Receiver<Option<Finding>>,
    /// The pool has been told what was found.
    told: Arc<AtomicBool>,
}

/// What a probe found.
#[derive(Clone, Copy, Debug)]
struct Finding {
    /// Why the backend is taken to be dying, if it is.
    failure: Option<Failure>,
    at: Instant,
}

impl Finding {
    fn verdict(self) -> Verdict {
        if self.failure.is_some() { Verdict::Dying } else { Verdict::Healthy }
    }
}

impl Pool {
    /// Asks whether `backend` is proven to be dying, for a session whose leg ended, or became suspect, at `since`.
    ///
    /// The proof is that it is being drained or is down by its checks; or one WebSocket handshake, shared by all who
    /// ask, that is refused, fails, is answered 502, 503 or 504, or is not answered within `--connect-timeout`; or that
    /// all of the backend's legs are gone ([`Lease::ended_badly`](super::Lease::ended_badly)). The handshake goes to the
    /// path in `handshake`, without its query and credentials, and began after `since`; a failed one may be older by up
    /// to a second.
    ///
    /// Whatever is found also counts for the backend's health, once.
    pub async fn probe(&self, backend: &Arc<Backend>, since: Instant, handshake: &KeptHandshake) -> Verdict {
        if backend.is_going() || self.lost_all_legs(backend) {
            return Verdict::Dying;
        }
        let (probe, found) = ask(backend, since, handshake, &self.settings()).await;
        if !probe.told.swap(true, Ordering::Relaxed) {
            match found.failure {
                Some(failure) => {
                    locked(&backend.evidence).died(Instant::now());
                    self.failed(backend, failure);
                }
                None => self.answered(backend),
            }
        }
        // By now the sessions of a process that was restarted at once have met their ends.
        if self.lost_all_legs(backend) { Verdict::Dying } else { found.verdict() }
    }

    fn lost_all_legs(&self, backend: &Backend) -> bool {
        if backend.lost_all_legs_just_now() {
            self.failed(backend, Failure::Proof);
        }
        backend.lost_all_legs()
    }
}

async fn ask(
    backend: &Arc<Backend>,
    since: Instant,
    handshake: &KeptHandshake,
    settings: &PoolSettings,
) -> (Probe, Finding) {
    loop {
        let mut probe = backend.join_probe(since, handshake, settings);
        // The sender is gone without a result only when the process is going down.
        let result = probe.result.wait_for(Option::is_some).await.ok().and_then(|found| *found);
        let now = Instant::now();
        let Some(found) = result else { return (probe, Finding { failure: None, at: now }) };
        if is_usable(probe.started, found, since, now) {
            return (probe, found);
        }
    }
}

/// Whether a probe says anything to one who asks about `since`.
fn is_usable(started: Instant, found: Finding, since: Instant, now: Instant) -> bool {
    let fresh = found.failure.is_some() && now.saturating_duration_since(found.at) < DYING_LASTS;
    started >= since || fresh
}

impl Backend {
    /// The probe in flight, or a finished one that is usable, or else a new one.
    fn join_probe(self: &Arc<Self>, since: Instant, handshake: &KeptHandshake, settings: &PoolSettings) -> Probe {
        let mut latest = locked(&self.probes.0);
        if let Some(probe) = latest.as_ref() {
            let result = *probe.result.borrow();
            let in_flight = result.is_none() && probe.result.has_changed().is_ok();
            if in_flight || result.is_some_and(|found| is_usable(probe.started, found, since, Instant::now())) {
                return probe.clone();
            }
        }
        let now = Instant::now();
        let start = latest.as_ref().map_or(now, |last| now.max(last.started + SPACING));
        latest.insert(self.start_probe(start, handshake.probe(), settings)).clone()
    }

    /// A task of its own: those who ask may go away.
    fn start_probe(self: &Arc<Self>, started: Instant, upstream: Upstream, settings: &PoolSettings) -> Probe {
        let (sender, result) = watch::channel(None);
        let backend = self.clone();
        let (transport, timeout) = (settings.transport.clone(), settings.connect_timeout);
        tokio::spawn(async move {
            tokio::time::sleep_until(started.into()).await;
            let answer = handshake(&backend, &transport, upstream, timeout).await;
            let found = Finding { failure: judge(&answer), at: Instant::now() };
            log(&backend, found.verdict(), &answer);
            sender.send_replace(Some(found));
            if let Ok(Answer::Switched(_, stream, _)) = answer {
                polite::close(stream).await;
            }
        });
        Probe { started, result, told: Arc::default() }
    }
}

/// Does not queue among the backend's handshakes: it is one, and there may be a queue because the backend is dying.
pub(super) async fn handshake(
    backend: &Backend,
    transport: &Transport,
    upstream: Upstream,
    timeout: Duration,
) -> Result<Answer, DialError> {
    let by = tokio::time::Instant::now() + timeout;
    let stream = dial::connect(&backend.url, transport, None, by).await?;
    dial::exchange(stream, upstream.request, by).await
}

/// Why the backend is taken to be dying, if it is. Without a dial there is no proof.
fn judge(answer: &Result<Answer, DialError>) -> Option<Failure> {
    match answer {
        Ok(Answer::Other(response)) if dial::is_unavailable(response.status()) => Some(Failure::Handshake),
        // It did answer, whatever it meant.
        Ok(_) | Err(DialError::NotHttp(_)) => None,
        Err(error) => error.failure(),
    }
}

/// A healthy backend may be asked often: its handlers may end without a Close all the time.
fn log(backend: &Backend, verdict: Verdict, answer: &Result<Answer, DialError>) {
    let outcome = describe(answer);
    match verdict {
        Verdict::Dying => tracing::info!(backend = %backend.url, outcome, "the probe found the backend dying"),
        Verdict::Healthy => tracing::debug!(backend = %backend.url, outcome, "the probe found the backend healthy"),
    }
}

fn describe(answer: &Result<Answer, DialError>) -> String {
    match answer {
        Ok(Answer::Switched(..)) => "answered 101".into(),
        Ok(Answer::Other(response)) => format!("answered {}", response.status()),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn found(failure: Option<Failure>, at: Instant) -> Finding {
        Finding { failure, at }
    }

    #[test]
    fn a_probe_speaks_only_for_ends_before_it_began() {
        let since = Instant::now();
        for failure in [None, Some(Failure::Proof)] {
            let late = since + 10 * SECOND;
            assert!(is_usable(since + SECOND, found(failure, since + 2 * SECOND), since, late));
        }
        assert!(!is_usable(since - SECOND, found(None, since), since, since));
    }

    #[test]
    fn a_failed_probe_speaks_for_later_ends_for_a_second() {
        let at = Instant::now();
        let since = at + SECOND / 2;
        assert!(is_usable(at, found(Some(Failure::Handshake), at), since, since));
        assert!(!is_usable(at, found(Some(Failure::Handshake), at), since, at + SECOND));
    }
}

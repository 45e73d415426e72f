//! Asking whether a backend is dying.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::backend::Backend;
use super::dial::{self, Answer, DialError};
use super::handshake::{KeptHandshake, Upstream};
use super::{Pool, locked};

/// How long a failed probe speaks for legs that end after it began.
const DYING_LASTS: Duration = Duration::from_secs(1);
/// Time between the starts of two probes of a backend, at least: 50 a second are no load, and nobody waits long.
const SPACING: Duration = Duration::from_millis(20);
/// How long a backend that answered a probe with 101 may take to close.
const CLOSE_TIME: Duration = Duration::from_secs(1);
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
    /// The verdict and when it was found; `None` while in flight.
    result: watch::Receiver<Option<(Verdict, Instant)>>,
}

impl Pool {
    /// Asks whether `backend` is proven to be dying, for a session whose leg ended, or became suspect, at `since`.
    ///
    /// The proof is one WebSocket handshake, shared by all who ask, that is refused, fails, is answered 502, 503 or
    /// 504, or is not answered within `--connect-timeout`; or that all of the backend's legs are gone
    /// ([`Lease::ended_badly`](super::Lease::ended_badly)). The handshake goes to the path in `handshake`, without
    /// its query and credentials, and began after `since`; a failed one may be older by up to a second.
    ///
    /// Other sessions prefer other backends to one that was found dying, for a second or until it answers.
    pub async fn probe(&self, backend: &Arc<Backend>, since: Instant, handshake: &KeptHandshake) -> Verdict {
        let verdict = self.verdict(backend, since, handshake).await;
        let mut table = locked(&self.table);
        match verdict {
            Verdict::Dying => table.lost(backend.id, Instant::now()),
            Verdict::Healthy => table.restore(backend.id),
        }
        verdict
    }

    async fn verdict(&self, backend: &Arc<Backend>, since: Instant, handshake: &KeptHandshake) -> Verdict {
        if backend.lost_all_legs() {
            return Verdict::Dying;
        }
        let verdict = ask(backend, since, handshake, self.settings().connect_timeout).await;
        // By now the sessions of a process that was restarted at once have met their ends.
        if backend.lost_all_legs() { Verdict::Dying } else { verdict }
    }
}

async fn ask(backend: &Arc<Backend>, since: Instant, handshake: &KeptHandshake, timeout: Duration) -> Verdict {
    loop {
        let mut probe = backend.join_probe(since, handshake, timeout);
        let started = probe.started;
        // The sender is gone only when the process is going down.
        let Ok(result) = probe.result.wait_for(Option::is_some).await.map(|found| *found) else {
            return Verdict::Healthy;
        };
        if let Some(verdict) = usable(started, result, since, Instant::now()) {
            return verdict;
        }
    }
}

/// What a probe says to one who asks about `since`, if anything.
fn usable(started: Instant, result: Option<(Verdict, Instant)>, since: Instant, now: Instant) -> Option<Verdict> {
    let (verdict, found) = result?;
    let fresh = verdict == Verdict::Dying && now.saturating_duration_since(found) < DYING_LASTS;
    (started >= since || fresh).then_some(verdict)
}

impl Backend {
    /// The probe in flight, or a finished one that is usable, or else a new one.
    fn join_probe(self: &Arc<Self>, since: Instant, handshake: &KeptHandshake, timeout: Duration) -> Probe {
        let mut latest = locked(&self.probes.0);
        if let Some(probe) = latest.as_ref() {
            let result = *probe.result.borrow();
            let in_flight = result.is_none() && probe.result.has_changed().is_ok();
            if in_flight || usable(probe.started, result, since, Instant::now()).is_some() {
                return probe.clone();
            }
        }
        let now = Instant::now();
        let start = latest.as_ref().map_or(now, |last| now.max(last.started + SPACING));
        latest.insert(self.start_probe(start, handshake.probe(), timeout)).clone()
    }

    /// A task of its own: those who ask may go away.
    fn start_probe(self: &Arc<Self>, started: Instant, upstream: Upstream, timeout: Duration) -> Probe {
        let (sender, result) = watch::channel(None);
        let backend = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(started.into()).await;
            let answer = handshake(&backend, upstream, timeout).await;
            let verdict = judge(&answer);
            log(&backend, verdict, &answer);
            sender.send_replace(Some((verdict, Instant::now())));
            if let Ok(Answer::Switched(_, stream, _)) = answer {
                close(stream).await;
            }
        });
        Probe { started, result }
    }
}

/// Does not queue among the backend's handshakes: it is one, and there may be a queue because the backend is dying.
async fn handshake(backend: &Backend, upstream: Upstream, timeout: Duration) -> Result<Answer, DialError> {
    let by = tokio::time::Instant::now() + timeout;
    let stream = dial::connect(&backend.url, by).await?;
    dial::exchange(stream, upstream.request, by).await
}

fn judge(answer: &Result<Answer, DialError>) -> Verdict {
    match answer {
        Ok(Answer::Other(response)) if dial::is_unavailable(response.status()) => Verdict::Dying,
        // It did answer, whatever it meant.
        Ok(_) | Err(DialError::NotHttp(_)) => Verdict::Healthy,
        Err(_) => Verdict::Dying,
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

/// Closes the probe's leg as a client does, so that no handler logs an error: Close 1000, then read to the end.
async fn close(mut stream: TcpStream) {
    let polite = async {
        stream.write_all(&close_1000()).await?;
        let mut scratch = [0; 1024];
        while stream.read(&mut scratch).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whatever comes of it, the probe has its answer.
    let _ = tokio::time::timeout(CLOSE_TIME, polite).await;
}

/// Close 1000 as a client sends it, masked with a fresh key (RFC 6455 5.3).
fn close_1000() -> [u8; 8] {
    let mut key = [0; 4];
    getrandom::fill(&mut key).expect("the system has random numbers");
    let [high, low] = 1000_u16.to_be_bytes();
    [0x88, 0x82, key[0], key[1], key[2], key[3], high ^ key[0], low ^ key[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_probe_speaks_only_for_ends_before_it_began() {
        let since = Instant::now();
        for verdict in [Verdict::Healthy, Verdict::Dying] {
            let late = since + 10 * SECOND;
            assert_eq!(usable(since + SECOND, Some((verdict, since + 2 * SECOND)), since, late), Some(verdict));
        }
        let before = since - SECOND;
        assert_eq!(usable(before, Some((Verdict::Healthy, since)), since, since), None);
        assert_eq!(usable(since, None, since, since), None);
    }

    #[test]
    fn a_failed_probe_speaks_for_later_ends_for_a_second() {
        let found = Instant::now();
        let result = Some((Verdict::Dying, found));
        let since = found + SECOND / 2;
        assert_eq!(usable(found, result, since, since), Some(Verdict::Dying));
        assert_eq!(usable(found, result, since, found + SECOND), None);
    }
}

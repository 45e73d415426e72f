//! When a leg last moved, and whether that is suspicious.

use std::time::Duration;

use crate::time::Instant;

use super::ack::Pings;

/// What is watched on one leg.
#[derive(Debug)]
pub(super) struct Liveness {
    /// When the peer last gave a sign of life: a byte of it came, or it made room for ours.
    moved: Instant,
    /// Since when a write waits for the peer to read.
    blocked: Option<Instant>,
    suspicion: Option<Suspicion>,
}

/// A leg that is overdue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspicion {
    since: Instant,
    /// When to ask (again) for proof; `None` while an answer is awaited.
    ask: Option<Instant>,
}

impl Liveness {
    pub(super) fn new(now: Instant) -> Self {
        Self { moved: now, blocked: None, suspicion: None }
    }

    /// A byte of the peer came. Returns whether the leg was suspect.
    pub(super) fn handle_moved(&mut self, now: Instant) -> bool {
        self.moved = now;
        self.suspicion.take().is_some()
    }

    /// A byte was written. That the system took it says nothing of the peer, unless it had no room before.
    pub(super) fn handle_written(&mut self, now: Instant) -> bool {
        self.blocked.take().is_some() && self.handle_moved(now)
    }

    pub(super) fn handle_blocked(&mut self, now: Instant) {
        self.blocked.get_or_insert(now);
    }

    /// Since when a write waits for the peer to read.
    pub(super) fn blocked(&self) -> Option<Instant> {
        self.blocked
    }

    /// We are not reading, so silence proves nothing: deadlines run from now.
    pub(super) fn handle_not_reading(&mut self, now: Instant) {
        self.moved = now;
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspicion.is_some()
    }

    /// When a leg on which nothing moves is to be pinged.
    pub(super) fn keepalive_at(&self, pings: &Pings, interval: Duration) -> Option<Instant> {
        // A leg that has not answered yet is tried early: only one that ever answered can be found hung later.
        let interval = if pings.answered || pings.sent.is_some() { interval } else { interval.min(FIRST_PING) };
        (pings.in_flight().is_none() && !pings.due).then(|| self.moved + interval)
    }

    /// When the leg becomes suspect, or proof is to be asked for again.
    pub(super) fn overdue_at(&self, pings: &Pings, ack_timeout: Duration, ping_timeout: Duration) -> Option<Instant> {
        if let Some(suspicion) = self.suspicion {
            return suspicion.ask;
        }
        let ping = self.ping_overdue_at(pings, ack_timeout, ping_timeout);
        let write = self.blocked.map(|since| since.max(self.moved) + ack_timeout);
        ping.into_iter().chain(write).min()
    }

    /// When the leg becomes suspect for a ping that is not answered. One that never answered any does not.
    pub(super) fn ping_overdue_at(
        &self,
        pings: &Pings,
        ack_timeout: Duration,
        ping_timeout: Duration,
    ) -> Option<Instant> {
        let ping = pings.in_flight().filter(|_| pings.answered && self.suspicion.is_none())?;
        let timeout = if ping.for_messages { ack_timeout } else { ping_timeout };
        Some(ping.written?.max(self.moved) + timeout)
    }

    /// When a leg that never answered a ping counts as one that answers none.
    pub(super) fn mute_at(pings: &Pings, ack_timeout: Duration) -> Option<Instant> {
        let ping = pings.in_flight().filter(|_| !pings.answered)?;
        Some(ping.written? + ack_timeout)
    }

    /// The leg is overdue: proof is asked for. Returns whether the suspicion is new.
    pub(super) fn suspect(&mut self, now: Instant) -> bool {
        let new = self.suspicion.is_none();
        let since = self.suspicion.map_or(now, |suspicion| suspicion.since);
        self.suspicion = Some(Suspicion { since, ask: None });
        new
    }

    /// The backend is healthy as far as one can tell: the leg stays suspect, and is asked about again later.
    pub(super) fn handle_healthy(&mut self, again: Instant) {
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.ask = Some(again);
        }
    }

    /// When a suspect leg is lost without proof.
    pub(super) fn hang_at(&self, hang_timeout: Option<Duration>) -> Option<Instant> {
        Some(self.suspicion?.since + hang_timeout?)
    }
}

/// How soon a leg that never was pinged is.
const FIRST_PING: Duration = Duration::from_secs(1);

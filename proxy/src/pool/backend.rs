//! One backend, and the leases on it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tideover_protocol::session::PongOrder;
use tokio::sync::Semaphore;

use super::evidence::{Evidence, LegNumber};
use super::locked;
use super::probe::Probes;
use crate::config::BackendUrl;

const EARLY: u8 = 1;
const LATE: u8 = 2;

/// Names a backend within its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(pub(super) usize);

impl BackendId {
    pub(crate) fn new(number: usize) -> Self {
        Self(number)
    }

    /// Its number, from 0.
    #[must_use]
    pub fn number(self) -> usize {
        self.0
    }
}

/// One backend: where it is, and what is known about it.
#[derive(Debug)]
pub struct Backend {
    /// Its name within the pool.
    pub id: BackendId,
    /// Where it is. A host name is resolved at each dial.
    pub url: BackendUrl,
    /// Leases: live legs and those being attached.
    live: AtomicUsize,
    /// Paces handshakes (`--handshakes-per-backend`); fair.
    pub(super) handshakes: Semaphore,
    pub(super) evidence: Mutex<Evidence>,
    pub(super) probes: Probes,
    answers_pings: AtomicBool,
    mute: AtomicBool,
    order: AtomicU8,
}

impl Backend {
    pub(super) fn new(id: BackendId, url: BackendUrl, handshakes: usize) -> Self {
        Self {
            id,
            url,
            live: AtomicUsize::new(0),
            handshakes: Semaphore::new(handshakes.clamp(1, Semaphore::MAX_PERMITS)),
            evidence: Mutex::default(),
            probes: Probes::default(),
            answers_pings: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            order: AtomicU8::new(0),
        }
    }

    /// How many legs it has, counting those that are being attached.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Whether it ever answered a ping, on any leg.
    #[must_use]
    pub fn answers_pings(&self) -> bool {
        self.answers_pings.load(Ordering::Relaxed)
    }

    /// Remembers that it answered a ping. It is never mute again.
    pub fn set_answers_pings(&self) {
        // Asked for each pong: a load keeps the line shared between the workers.
        if !self.answers_pings() {
            self.answers_pings.store(true, Ordering::Relaxed);
            self.mute.store(false, Ordering::Relaxed);
        }
    }

    /// Whether it was found not to answer pings.
    #[must_use]
    pub fn mute(&self) -> bool {
        self.mute.load(Ordering::Relaxed)
    }

    /// Whether its pongs come before or after its answers, as far as its sessions found out.
    #[must_use]
    pub fn order(&self) -> PongOrder {
        match self.order.load(Ordering::Relaxed) {
            EARLY => PongOrder::Early,
            LATE => PongOrder::Late,
            _ => PongOrder::Unknown,
        }
    }

    /// Remembers what a session found out. One pong that came early outweighs all that came late.
    pub fn set_order(&self, order: PongOrder) {
        match order {
            PongOrder::Early => self.order.store(EARLY, Ordering::Relaxed),
            PongOrder::Late => drop(self.order.compare_exchange(0, LATE, Ordering::Relaxed, Ordering::Relaxed)),
            PongOrder::Unknown => {}
        }
    }

    /// Remembers that it does not answer pings. True if that is news and should be logged.
    pub fn set_mute(&self) -> bool {
        !self.answers_pings() && !self.mute.swap(true, Ordering::Relaxed)
    }

    /// Whether the ends of its legs prove that it is dying, now.
    pub(super) fn lost_all_legs(&self) -> bool {
        locked(&self.evidence).proves_dying(Instant::now())
    }
}

/// A place on a backend for one leg: counted from the moment of picking, so that a burst of sessions spreads evenly,
/// until it is dropped. Drop it when the leg is gone, not before.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<Backend>,
    /// Number of the leg and when it was attached, once it is.
    leg: Option<(LegNumber, Instant)>,
}

impl Lease {
    pub(super) fn new(backend: Arc<Backend>) -> Self {
        backend.live.fetch_add(1, Ordering::Relaxed);
        Self { backend, leg: None }
    }

    /// The handshake is done: there is a leg.
    pub(super) fn attach(&mut self) {
        let leg = locked(&self.backend.evidence).attached();
        self.leg = Some((leg, Instant::now()));
    }

    /// The backend that the leg is on.
    #[must_use]
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// The leg ended without a good Close, just now: evidence about the backend. To be called before
    /// [`Pool::probe`](super::Pool::probe), else the leg passes for a survivor. Counts once.
    pub fn ended_badly(&self) {
        if let Some((leg, attached)) = self.leg {
            let now = Instant::now();
            locked(&self.backend.evidence).ended_badly(leg, now - attached, now);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((leg, _)) = self.leg {
            locked(&self.backend.evidence).left(leg);
        }
        self.backend.live.fetch_sub(1, Ordering::Relaxed);
    }
}

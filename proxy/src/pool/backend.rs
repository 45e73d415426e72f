//! One backend, and the leases on it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tideover_protocol::session::PongOrder;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use super::balance::{self, Candidate};
use super::evidence::{Evidence, LegNumber};
use super::health::{Health, HealthState, LastCheck, Standing};
use super::locked;
use super::probe::Probes;
use super::score::{Agent, AgentHealth, AgentMode, Line, LoadReport, Reports, Sampling, Smoothing};
use super::turns::Turns;
use crate::config::{BackendConfig, BackendUrl, Public, Reporting};

const EARLY: u8 = 1;
const LATE: u8 = 2;

/// Names a backend within the process. Handed out once: one that is removed and added again has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(pub(super) u32);

impl BackendId {
    fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(number < u32::MAX, "there have been four thousand million backends");
        Self(number)
    }

    pub(crate) fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number, from 0, in the order of creation.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

fn places(handshakes: usize) -> Semaphore {
    Semaphore::new(handshakes.clamp(1, Semaphore::MAX_PERMITS))
}

/// What an operator wants of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminState {
    /// It may get sessions.
    Ready,
    /// It gets no more sessions, and those that it has are to go.
    Draining,
    /// It gets no more sessions. Those that it has stay.
    Disabled,
}

const READY: u8 = 0;
const DRAINING: u8 = 1;
const DISABLED: u8 = 2;

/// One backend: where it is, and what is known about it.
#[derive(Debug)]
pub struct Backend {
    /// Its name within the process.
    pub id: BackendId,
    /// What people call it; unique in its pool.
    pub name: Box<str>,
    /// Where it is. A host name is resolved at each dial.
    pub url: BackendUrl,
    public: ArcSwap<Public>,
    weight: AtomicU16,
    /// `usize::MAX` for any number.
    max_sessions: AtomicUsize,
    priority: AtomicU16,
    admin_state: AtomicU8,
    removed: AtomicBool,
    /// What its source said last. A setting that an operator changed stays until that changes.
    configured: Mutex<BackendConfig>,
    /// Leases: live legs and those being attached.
    live: AtomicUsize,
    handshakes: ArcSwap<Semaphore>,
    pub(super) evidence: Mutex<Evidence>,
    pub(super) turns: Turns,
    /// Names it to a hash: the same in every process.
    seed: u64,
    reports: Mutex<Reports>,
    reporting: ArcSwap<Reporting>,
    sampling: Sampling,
    pub(super) probes: Probes,
    /// Whether it answered a ping of a leg on which nothing else was asked of it.
    pub(super) pinged: OnceCell<bool>,
    pub(super) health: Health,
    answers_pings: AtomicBool,
    mute: AtomicBool,
    order: AtomicU8,
}

impl Backend {
    pub(super) fn new(config: &BackendConfig, handshakes: usize, health: Health) -> Self {
        Self {
            id: BackendId::next(),
            name: config.id.as_str().into(),
            url: config.url.clone(),
            public: ArcSwap::from_pointee(config.public.clone()),
            weight: AtomicU16::new(config.weight),
            max_sessions: AtomicUsize::new(config.max_sessions.unwrap_or(usize::MAX)),
            priority: AtomicU16::new(config.priority),
            admin_state: AtomicU8::new(READY),
            removed: AtomicBool::new(false),
            configured: Mutex::new(config.clone()),
            live: AtomicUsize::new(0),
            handshakes: ArcSwap::from_pointee(places(handshakes)),
            evidence: Mutex::default(),
            turns: Turns::default(),
            seed: balance::seed(&config.id),
            reports: Mutex::default(),
            reporting: ArcSwap::from_pointee(config.reporting.clone()),
            sampling: Sampling::default(),
            probes: Probes::default(),
            pinged: OnceCell::new(),
            health,
            answers_pings: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            order: AtomicU8::new(0),
        }
    }

    /// Where it is without the proxy.
    #[must_use]
    pub fn public(&self) -> Arc<Public> {
        self.public.load_full()
    }

    /// Changes where it is without the proxy, for the clients to come.
    pub fn set_public(&self, public: Public) {
        self.public.store(Arc::new(public));
    }

    /// Its share of the pool's sessions, relative to the others': from 0 to 256. 0: it gets no session.
    #[must_use]
    pub fn weight(&self) -> u16 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Changes its share, for the sessions to come.
    pub fn set_weight(&self, weight: u16) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    /// How many legs it may have at a time. `None`: any number.
    #[must_use]
    pub fn max_sessions(&self) -> Option<usize> {
        Some(self.max_sessions.load(Ordering::Relaxed)).filter(|most| *most != usize::MAX)
    }

    /// Changes how many legs it may have. Those beyond that stay.
    pub fn set_max_sessions(&self, most: Option<usize>) {
        self.max_sessions.store(most.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// Those of a higher number get sessions when those of all lower ones failed lately or are full.
    #[must_use]
    pub fn priority(&self) -> u16 {
        self.priority.load(Ordering::Relaxed)
    }

    /// Changes its priority, for the sessions to come.
    pub fn set_priority(&self, priority: u16) {
        self.priority.store(priority, Ordering::Relaxed);
    }

    /// Takes the settings that its source changed since it last said something. Whether there were any.
    pub(super) fn configure(&self, config: &BackendConfig) -> bool {
        let mut before = locked(&self.configured);
        if before.weight != config.weight {
            self.set_weight(config.weight);
        }
        if before.max_sessions != config.max_sessions {
            self.set_max_sessions(config.max_sessions);
        }
        if before.public != config.public {
            self.set_public(config.public.clone());
        }
        if before.priority != config.priority {
            self.set_priority(config.priority);
        }
        self.reporting.store(Arc::new(config.reporting.clone()));
        std::mem::replace(&mut *before, config.clone()) != *config
    }

    /// Takes all settings as they are given, whatever an operator changed.
    pub(super) fn adopt(&self, config: &BackendConfig) {
        self.set_weight(config.weight);
        self.set_max_sessions(config.max_sessions);
        self.set_priority(config.priority);
        self.configure(config);
    }

    /// Whether no source names it any more: it is forgotten with its last leg.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }

    /// Drains it, to be forgotten. False if that is so already.
    pub(super) fn remove(&self) -> bool {
        let news = !self.removed.swap(true, Ordering::Relaxed);
        if news {
            self.set_admin_state(AdminState::Draining);
        }
        news
    }

    /// Makes one that was removed ready again. False if it was not removed.
    pub(super) fn restore(&self) -> bool {
        let was_removed = self.removed.swap(false, Ordering::Relaxed);
        if was_removed {
            self.set_admin_state(AdminState::Ready);
        }
        was_removed
    }

    /// Paces its handshakes (`--handshakes-per-backend`); fair. A place is given back when it is dropped.
    pub(super) async fn handshake_place(&self) -> OwnedSemaphorePermit {
        self.handshakes.load_full().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// A place among its handshakes, if there is one now.
    pub(super) fn free_handshake_place(&self) -> Option<OwnedSemaphorePermit> {
        self.handshakes.load_full().try_acquire_owned().ok()
    }

    /// Changes how many handshakes may be under way. Those that wait, wait for their turn as before.
    pub(super) fn set_handshakes(&self, handshakes: usize) {
        self.handshakes.store(Arc::new(places(handshakes)));
    }

    /// What an operator wants of it.
    #[must_use]
    pub fn admin_state(&self) -> AdminState {
        match self.admin_state.load(Ordering::Relaxed) {
            DRAINING => AdminState::Draining,
            DISABLED => AdminState::Disabled,
            _ => AdminState::Ready,
        }
    }

    /// Changes what is wanted of it.
    pub fn set_admin_state(&self, state: AdminState) {
        let state = match state {
            AdminState::Ready => READY,
            AdminState::Draining => DRAINING,
            AdminState::Disabled => DISABLED,
        };
        self.admin_state.store(state, Ordering::Relaxed);
    }

    /// Whether it is meant to get sessions: the operator and its agent want it to, and it has some weight.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        let agent = self.agent();
        self.is_open(&agent) && self.weight_of(&agent) > 0.0
    }

    /// Whether it drains: the operator wants it to, no source names it any more, or its agent says so. The sessions that
    /// it has are to go.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.admin_state() == AdminState::Draining || self.agent().mode == AgentMode::Drain
    }

    /// Whether it may get one more session.
    #[must_use]
    pub fn takes_sessions(&self) -> bool {
        self.is_wanted() && self.live() < self.most(&self.agent())
    }

    /// Whether one more session that sticks to it may come back: also when it has lost its weight.
    pub(super) fn takes_back(&self) -> bool {
        let agent = self.agent();
        let weighs = self.weight() > 0 || self.weight_of(&agent) > 0.0;
        self.is_open(&agent) && weighs && self.live() < self.most(&agent)
    }

    /// Whether the operator and its agent let any session in.
    fn is_open(&self, agent: &Agent) -> bool {
        self.admin_state() == AdminState::Ready && agent.lets_in()
    }

    /// What the choice goes by, as of now.
    pub(super) fn candidate(&self, rank: u32, by: &Smoothing, now: Instant) -> Candidate {
        let reports = *locked(&self.reports);
        let agent = reports.agent();
        Candidate {
            id: self.id,
            rank,
            weight: self.weight_of(agent) * f64::from(self.weight_factor(now)),
            live: self.live(),
            max_sessions: Some(self.most(agent)).filter(|most| *most != usize::MAX),
            seed: self.seed,
            latency: reports.latency(by, now),
            utilisation: reports.utilisation(by, now),
        }
    }

    /// Its weight, as its agent changes it.
    fn weight_of(&self, agent: &Agent) -> f64 {
        agent.weight(f64::from(self.weight()))
    }

    /// How many legs it may have: the operator's bound, or its agent's if that is less.
    pub(super) fn most(&self, agent: &Agent) -> usize {
        self.max_sessions.load(Ordering::Relaxed).min(agent.maxconn.unwrap_or(usize::MAX))
    }

    /// How many legs it has, counting those that are being attached.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Who reports for it.
    #[must_use]
    pub fn reporting(&self) -> Arc<Reporting> {
        self.reporting.load_full()
    }

    /// What its agent has said so far.
    #[must_use]
    pub fn agent(&self) -> Agent {
        *locked(&self.reports).agent()
    }

    /// Its agent said something.
    pub(super) fn agent_says(&self, line: &Line) {
        let (changed, agent) = {
            let mut reports = locked(&self.reports);
            (reports.agent_says(line), *reports.agent())
        };
        if changed {
            let (reason, weight) = (&line.reason, self.weight_of(&agent));
            let Agent { mode, health, maxconn, .. } = agent;
            tracing::info!(backend = %self.url, ?mode, ?health, weight, ?maxconn, reason, "its agent says");
        }
        if let Some(word) = &line.unknown {
            tracing::debug!(backend = %self.url, word, "its agent says what means nothing");
        }
    }

    /// It reported its load.
    pub(super) fn reports_load(&self, report: &LoadReport, by: &Smoothing) {
        locked(&self.reports).report(report, f64::from(self.weight()), by, Instant::now());
    }

    /// A handshake or a barrier took `round_trip`.
    pub(super) fn measured(&self, round_trip: Duration, by: &Smoothing) {
        locked(&self.reports).measured(round_trip, by, Instant::now());
    }

    /// Whether a barrier's round trip is to be taken in: a hundred a second are.
    pub(super) fn is_sampled(&self) -> bool {
        self.sampling.is_due(Instant::now())
    }

    /// Whether it may be tried like any other: it is not down, not ejected and not doubted. If it is not eligible, it is
    /// tried when all that are have failed.
    #[must_use]
    pub fn eligible(&self, now: Instant) -> bool {
        self.health.is_eligible(now)
    }

    /// The part of its weight that it has now: 1, or from 0.1 on while it starts slowly.
    #[must_use]
    pub fn weight_factor(&self, now: Instant) -> f32 {
        self.health.weight_factor(now)
    }

    /// What is known of its health.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let standing = self.health.standing(Instant::now());
        match self.agent().health {
            AgentHealth::Up => standing,
            AgentHealth::Down => Standing { state: HealthState::Down, ..standing },
        }
    }

    /// Its latest check. `None`: it is not checked, or not yet.
    #[must_use]
    pub fn last_check(&self) -> Option<LastCheck> {
        self.health.last_check()
    }

    /// Checks so far: those that it passed, those that it failed.
    #[must_use]
    pub fn check_counts(&self) -> [u64; 2] {
        self.health.check_counts()
    }

    /// Forgets what is known of its health, as if it had just been found well. Counters go on.
    pub fn reset_health(&self) {
        self.health.reset();
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

    /// Whether it is known to go away: it drains, or it is down by checks that are believed or by its agent's word. Its
    /// legs may work none the less; the end of one is a death.
    pub(super) fn is_going(&self) -> bool {
        self.is_draining() || self.health.is_down() || self.agent().health == AgentHealth::Down
    }

    /// Whether the ends of its legs prove that it is dying, now, and nobody has been told yet.
    pub(super) fn lost_all_legs_just_now(&self) -> bool {
        locked(&self.evidence).is_news(Instant::now())
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
            self.backend.turns.ended_badly(now);
        }
    }

    /// When the leg was attached; now, if it is not yet.
    #[must_use]
    pub fn attached_at(&self) -> Instant {
        self.leg.map_or_else(Instant::now, |(_, attached)| attached)
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

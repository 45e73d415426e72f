//! The health of a backend as its sessions, its checks and the operator share it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use super::super::locked;
use super::machine::{Change, Dial, Machine, Standing};
use super::trust::Failure;
use crate::config::{HealthConfig, PoolSettings};

/// What the health of all backends of a pool goes by.
#[derive(Debug)]
pub(in crate::pool) struct PoolHealth {
    /// Those of the pool, as they are now.
    settings: Arc<ArcSwap<PoolSettings>>,
    /// Fewer backends are up by their checks than can be believed.
    pub(super) disbelieved: AtomicBool,
    /// Held while it is counted whether one more may be ejected, and until it is.
    pub(super) ejecting: Mutex<()>,
}

impl PoolHealth {
    pub(in crate::pool) fn new(settings: Arc<ArcSwap<PoolSettings>>) -> Arc<Self> {
        Arc::new(Self { settings, disbelieved: AtomicBool::new(false), ejecting: Mutex::default() })
    }

    fn settings(&self) -> Arc<PoolSettings> {
        self.settings.load_full()
    }

    /// Whether its backends' checks are believed.
    pub(in crate::pool) fn believes_checks(&self) -> bool {
        !self.disbelieved.load(Ordering::Relaxed)
    }
}

/// The health of a backend.
#[derive(Debug)]
pub(in crate::pool) struct Health {
    pool: Arc<PoolHealth>,
    machine: Mutex<Machine>,
    /// Nothing is wrong with it: what is asked at each pick needs no lock.
    settled: AtomicBool,
    last_check: Mutex<Option<LastCheck>>,
    passed: AtomicU64,
    failed: AtomicU64,
}

/// The latest check of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastCheck {
    /// When it was over.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Whether the backend passed it.
    pub passed: bool,
    /// What came of it, in words.
    pub result: Box<str>,
}

impl Health {
    /// That of a backend that is there when the process starts, or else has just joined.
    pub(in crate::pool) fn new(pool: Arc<PoolHealth>, joined: Option<Instant>) -> Self {
        Self {
            pool,
            settled: AtomicBool::new(joined.is_none()),
            machine: Mutex::new(joined.map_or_else(Machine::default, Machine::joined)),
            last_check: Mutex::default(),
            passed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Whether it may be tried like any other, and is not to be kept for when all others have failed.
    pub(in crate::pool) fn is_eligible(&self, now: Instant) -> bool {
        self.is_settled() || locked(&self.machine).is_eligible(self.pool.believes_checks(), now)
    }

    /// The part of its weight that it has: 1, or from 0.1 on while it starts slowly.
    pub(in crate::pool) fn weight_factor(&self, now: Instant) -> f32 {
        if self.is_settled() {
            return 1.0;
        }
        let slow_start = self.pool.settings().health.slow_start;
        let machine = locked(&self.machine);
        self.settle(&machine, slow_start, now);
        machine.weight_factor(slow_start, now)
    }

    /// Whether its checks say that it is down, and are believed.
    pub(in crate::pool) fn is_down(&self) -> bool {
        !self.is_settled() && locked(&self.machine).is_down(self.pool.believes_checks())
    }

    /// Whether its checks say that it is down, believed or not.
    pub(super) fn fails_checks(&self) -> bool {
        !self.is_settled() && locked(&self.machine).is_down(true)
    }

    pub(super) fn is_ejected(&self) -> bool {
        !self.is_settled() && locked(&self.machine).is_ejected()
    }

    pub(super) fn in_transition(&self) -> bool {
        !self.is_settled() && locked(&self.machine).in_transition()
    }

    /// A session is about to dial.
    pub(in crate::pool) fn picked(&self, now: Instant) {
        if !self.is_settled() {
            let patience = self.pool.settings().connect_timeout;
            locked(&self.machine).picked(patience, now);
        }
    }

    pub(super) fn dialled(&self, dial: Dial, may_eject: bool, now: Instant) -> Option<Change> {
        if dial == Dial::Answered {
            return self.answered(now);
        }
        self.change(now, |machine, settings| machine.dialled(dial, may_eject, settings, now))
    }

    pub(super) fn answered(&self, now: Instant) -> Option<Change> {
        if self.is_settled() { None } else { self.change(now, |machine, _| machine.answered(now)) }
    }

    pub(super) fn proven(&self, failure: Failure, may_eject: bool, now: Instant) -> Option<Change> {
        self.change(now, |machine, settings| machine.failed(failure, Duration::ZERO, may_eject, settings, now))
    }

    pub(super) fn checked(&self, check: LastCheck, may_eject: bool, now: Instant) -> Option<Change> {
        let passed = check.passed;
        let counter = if passed { &self.passed } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        *locked(&self.last_check) = Some(check);
        self.change(now, |machine, settings| machine.checked(passed, may_eject, settings, now))
    }

    /// As if nothing had ever happened to it; counters go on.
    pub(in crate::pool) fn reset(&self) {
        let now = Instant::now();
        self.change(now, |machine, _| machine.reset());
        *locked(&self.last_check) = None;
    }

    /// It is not checked any more: what its checks said is void.
    pub(super) fn uncheck(&self) {
        let now = Instant::now();
        self.change(now, |machine, _| machine.uncheck());
        *locked(&self.last_check) = None;
    }

    /// How many dials failed so far: a mark for [`Health::failed_since`].
    pub(in crate::pool) fn failures(&self) -> u64 {
        locked(&self.machine).failures()
    }

    /// Whether a dial failed since the mark was taken, and none was answered after it.
    pub(in crate::pool) fn failed_since(&self, mark: u64, now: Instant) -> bool {
        !self.is_settled() && locked(&self.machine).failed_since(mark, now)
    }

    pub(in crate::pool) fn standing(&self, now: Instant) -> Standing {
        locked(&self.machine).standing(now)
    }

    /// The latest check, if there was one.
    pub(in crate::pool) fn last_check(&self) -> Option<LastCheck> {
        locked(&self.last_check).clone()
    }

    /// Checks so far: passed, failed.
    pub(in crate::pool) fn check_counts(&self) -> [u64; 2] {
        [&self.passed, &self.failed].map(|counter| counter.load(Ordering::Relaxed))
    }

    fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    fn change<T>(&self, now: Instant, change: impl FnOnce(&mut Machine, &HealthConfig) -> T) -> T {
        let settings = self.pool.settings();
        let mut machine = locked(&self.machine);
        let changed = change(&mut machine, &settings.health);
        self.settle(&machine, settings.health.slow_start, now);
        changed
    }

    /// Under the lock of the machine, so that two changes cannot be noted in the wrong order.
    fn settle(&self, machine: &Machine, slow_start: Option<Duration>, now: Instant) {
        self.settled.store(machine.is_settled(slow_start, now), Ordering::Relaxed);
    }
}

//! What the sessions of a process count, added up while they live.
//!
//! Each worker has a block of its own, so that no two workers write the same cache line. A session adds what changed
//! since it last did, at most once a poll of its task. A reader sees each worker's block at one moment, between two
//! such additions, so the accounts of law 8 balance in whatever is read.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use tideover_protocol::session::Counters;

use super::limited::{Cause, SLOWING};

/// Upper bounds of the buckets of [`Sums::failover_times`], in milliseconds; a last bucket has no bound.
pub const FAILOVER_BUCKETS: [u64; 14] = [1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000];

/// Attempts of a reader to see a block between two additions. A writer holds it for nanoseconds, unless its thread
/// lost its core just then; for that case the reader yields. After so many it takes what it sees.
const ATTEMPTS: usize = 100_000;

const COUNTERS: usize = 30;
const BUCKETS: usize = FAILOVER_BUCKETS.len() + 1;

/// Sums over sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Sessions that began.
    pub opened: u64,
    /// Sessions that ended: both legs are closed or left to be closed.
    pub ended: u64,
    /// Messages retained by live sessions.
    pub retained: u64,
    /// Live sessions that have no backend leg now.
    pub detached: u64,
    /// What all sessions counted, live ones included.
    pub counters: Counters,
    /// How many failovers took how long, from the loss of a leg to the next one; by [`FAILOVER_BUCKETS`], not
    /// cumulative.
    pub failover_times: [u64; BUCKETS],
    /// The sum of these times in microseconds.
    pub failover_micros: u64,
    /// Sessions that ended for a limit, by [`Cause`].
    pub limited: [u64; Cause::COUNT],
    /// Spells in which a client was read no faster than it may send, by [`Cause`]; of the first [`SLOWING`] causes.
    pub slowed: [u64; SLOWING],
}

/// What one session adds at a moment; its parts may fall as well as rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) counters: Counters,
    /// Messages retained now.
    pub(super) retained: usize,
    /// Whether it waits for a backend leg.
    pub(super) detached: bool,
}

/// The sums of a process.
#[derive(Debug)]
pub struct Totals(Box<[Block]>);

/// The sums of one worker. A falling sum wraps around in its block and is right in the total.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Block {
    /// Odd while something is added.
    version: AtomicU64,
    opened: AtomicU64,
    ended: AtomicU64,
    retained: AtomicU64,
    detached: AtomicU64,
    counters: [AtomicU64; COUNTERS],
    failover_times: [AtomicU64; BUCKETS],
    failover_micros: AtomicU64,
    limited: [AtomicU64; Cause::COUNT],
    slowed: [AtomicU64; SLOWING],
}

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(0) };
}

/// Makes the current thread the worker of this number, from 0: what its sessions count goes to a block of its own.
/// Sessions of threads that never said so share the block of worker 0.
pub fn become_worker(number: usize) {
    WORKER.set(number);
}

impl Totals {
    pub(super) fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| Block::default()).collect())
    }

    fn own(&self) -> &Block {
        &self.0[WORKER.get() % self.0.len()]
    }

    pub(super) fn open(&self) {
        self.own().add(|block| add(&block.opened, 1));
    }

    pub(super) fn end(&self) {
        self.own().add(|block| add(&block.ended, 1));
    }

    /// A session went from one level to another.
    pub(super) fn change(&self, from: &Level, to: &Level) {
        self.own().add(|block| {
            let counted = values(&from.counters).into_iter().zip(values(&to.counters));
            for (sum, (from, to)) in block.counters.iter().zip(counted) {
                add(sum, to.wrapping_sub(from));
            }
            add(&block.retained, (to.retained as u64).wrapping_sub(from.retained as u64));
            add(&block.detached, u64::from(to.detached).wrapping_sub(from.detached.into()));
        });
    }

    /// A session has a backend leg again, so long after it lost one.
    pub(super) fn failed_over(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = FAILOVER_BUCKETS.partition_point(|bound| bound.saturating_mul(1000) < micros);
        self.own().add(|block| {
            add(&block.failover_times[bucket], 1);
            add(&block.failover_micros, micros);
        });
    }

    /// A session ends for a limit.
    pub(super) fn limited(&self, cause: Cause) {
        self.own().add(|block| add(&block.limited[cause as usize], 1));
    }

    /// A client begins to be read no faster than it may send.
    pub(super) fn slowed(&self, cause: Cause) {
        if let Some(sum) = self.own().slowed.get(cause as usize) {
            self.own().add(|_| add(sum, 1));
        }
    }

    /// The sums so far.
    #[must_use]
    pub fn get(&self) -> Sums {
        self.0.iter().map(Block::read).fold(Sums::default(), Sums::plus)
    }
}

fn add(sum: &AtomicU64, more: u64) {
    if more != 0 {
        sum.fetch_add(more, Ordering::Relaxed);
    }
}

impl Block {
    /// Only the worker's own thread adds, so a version that is even and has not changed frames a consistent view.
    fn add(&self, additions: impl FnOnce(&Self)) {
        self.version.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::Release);
        additions(self);
        self.version.fetch_add(1, Ordering::Release);
    }

    fn read(&self) -> Sums {
        for _ in 0..ATTEMPTS {
            let before = self.version.load(Ordering::Acquire);
            let sums = self.peek();
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                return sums;
            }
            std::thread::yield_now();
        }
        self.peek()
    }

    fn peek(&self) -> Sums {
        let get = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        Sums {
            opened: get(&self.opened),
            ended: get(&self.ended),
            retained: get(&self.retained),
            detached: get(&self.detached),
            counters: from_values(std::array::from_fn(|n| get(&self.counters[n]))),
            failover_times: std::array::from_fn(|n| get(&self.failover_times[n])),
            failover_micros: get(&self.failover_micros),
            limited: std::array::from_fn(|n| get(&self.limited[n])),
            slowed: std::array::from_fn(|n| get(&self.slowed[n])),
        }
    }
}

impl Sums {
    fn plus(self, other: Self) -> Self {
        let mut counters = self.counters;
        counters += other.counters;
        Self {
            opened: self.opened + other.opened,
            ended: self.ended + other.ended,
            retained: self.retained.wrapping_add(other.retained),
            detached: self.detached.wrapping_add(other.detached),
            counters,
            failover_times: std::array::from_fn(|n| self.failover_times[n] + other.failover_times[n]),
            failover_micros: self.failover_micros.wrapping_add(other.failover_micros),
            limited: std::array::from_fn(|n| self.limited[n] + other.limited[n]),
            slowed: std::array::from_fn(|n| self.slowed[n] + other.slowed[n]),
        }
    }
}

/// The counters in an order of this module's own. A counter that is missing here does not compile.
fn values(counters: &Counters) -> [u64; COUNTERS] {
    let Counters {
        received,
        forgotten,
        evicted,
        slid,
        dropped,
        skipped,
        abandoned,
        expired,
        poisoned,
        isolations,
        swallowed,
        released,
        fallbacks,
        replayed,
        failovers,
        migrations,
        migrations_failed,
        barriers,
        passed,
        dead_bytes,
        keyed,
        evicted_keyed,
        pinned,
        pins_refused,
        pins_sent,
        holds_failed,
        ruled_swallowed,
        translated,
        opaque,
        rule_closes,
    } = *counters;
    [
        received,
        forgotten,
        evicted,
        slid,
        dropped,
        skipped,
        abandoned,
        expired,
        poisoned,
        isolations,
        swallowed,
        released,
        fallbacks,
        replayed,
        failovers,
        migrations,
        migrations_failed,
        barriers,
        passed,
        dead_bytes,
        keyed,
        evicted_keyed,
        pinned,
        pins_refused,
        pins_sent,
        holds_failed,
        ruled_swallowed,
        translated,
        opaque,
        rule_closes,
    ]
}

/// The reverse of [`values`].
fn from_values(values: [u64; COUNTERS]) -> Counters {
    let [
        received,
        forgotten,
        evicted,
        slid,
        dropped,
        skipped,
        abandoned,
        expired,
        poisoned,
        isolations,
        swallowed,
        released,
        fallbacks,
        replayed,
        failovers,
        migrations,
        migrations_failed,
        barriers,
        passed,
        dead_bytes,
        keyed,
        evicted_keyed,
        pinned,
        pins_refused,
        pins_sent,
        holds_failed,
        ruled_swallowed,
        translated,
        opaque,
        rule_closes,
    ] = values;
    Counters {
        received,
        forgotten,
        evicted,
        slid,
        dropped,
        skipped,
        abandoned,
        expired,
        poisoned,
        isolations,
        swallowed,
        released,
        fallbacks,
        replayed,
        failovers,
        migrations,
        migrations_failed,
        barriers,
        passed,
        dead_bytes,
        keyed,
        evicted_keyed,
        pinned,
        pins_refused,
        pins_sent,
        holds_failed,
        ruled_swallowed,
        translated,
        opaque,
        rule_closes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(received: u64, retained: usize) -> Level {
        let forgotten = received - retained as u64;
        Level { counters: Counters { received, forgotten, ..Counters::default() }, retained, detached: false }
    }

    #[test]
    fn what_falls_is_right_in_the_sum_of_the_workers() {
        let totals = Totals::new(2);
        totals.change(&Level::default(), &level(5, 5));
        // Both belong to worker 0 in a test; a session of another worker falls in its own block.
        let fall = |block: &Block| add(&block.retained, 3u64.wrapping_neg());
        totals.0[1].add(fall);
        assert_eq!(totals.get().retained, 2);
        assert_eq!(totals.get().counters.received, 5);
    }

    #[test]
    fn the_counters_keep_their_places() {
        let counted = from_values(std::array::from_fn(|n| n as u64 + 1));
        assert_eq!(values(&counted), std::array::from_fn(|n| n as u64 + 1));
        assert_eq!((counted.received, counted.rule_closes), (1, 30));
    }

    #[test]
    fn a_failover_falls_into_the_first_bucket_that_holds_it() {
        let totals = Totals::new(1);
        for millis in [0, 1, 2, 60_000, 60_001] {
            totals.failed_over(Duration::from_millis(millis));
        }
        let sums = totals.get();
        assert_eq!((sums.failover_times[0], sums.failover_times[1]), (2, 1));
        assert_eq!((sums.failover_times[BUCKETS - 2], sums.failover_times[BUCKETS - 1]), (1, 1));
        assert_eq!(sums.failover_micros, 120_004_000);
    }

    #[test]
    fn the_accounts_balance_in_whatever_a_reader_sees() {
        let totals = Totals::new(1);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut last = Level::default();
                for n in 0..20_000 {
                    let next = level(n, (n % 7).min(n) as usize);
                    totals.change(&last, &next);
                    last = next;
                    // A worker does other things, too.
                    (0..500).for_each(|_| std::hint::spin_loop());
                }
            });
            while !writer.is_finished() {
                let sums = totals.get();
                assert_eq!(sums.counters.received, sums.counters.forgotten + sums.retained, "{sums:?}");
            }
        });
    }
}

//! A bound on the memory of many sessions together, and the share of it that one of them holds.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

/// Reservations grow in steps of this many bytes, so that small messages rarely touch what all sessions share.
const STEP: usize = 4096;
/// A reservation may keep this much more than is needed before it gives some back.
const SLACK: usize = 4 * STEP;

/// The least that a holder may use however little is left, so that everybody goes on, slowly.
const LEAST_SHARE: usize = 16 * 1024;

/// A number of bytes that sessions share. Who cannot get what it asks for waits in line: nobody who came later
/// overtakes it, so a large request is not starved by small ones.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// Length of `line`, read without its lock.
    waiting: AtomicUsize,
    line: Mutex<VecDeque<Waiter>>,
    next_ticket: AtomicU64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    waker: Option<Waker>,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            line: Mutex::default(),
            next_ticket: AtomicU64::new(1),
        })
    }

    /// The bound, in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes reserved now. May pass the limit by what begun messages overshoot.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How many reservations wait in line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::SeqCst, Ordering::Relaxed, fits).is_ok()
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
        if self.waiting() > 0 {
            self.wake_first();
        }
    }

    fn wake_first(&self) {
        let waker = self.line().front_mut().and_then(|first| first.waker.take());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn line(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiter>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_first(&self, ticket: Option<u64>) -> bool {
        match self.line().front() {
            Some(first) => Some(first.ticket) == ticket,
            None => true,
        }
    }

    fn enter(&self) -> u64 {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let mut line = self.line();
        line.push_back(Waiter { ticket, waker: None });
        self.waiting.store(line.len(), Ordering::SeqCst);
        ticket
    }

    fn leave(&self, ticket: u64) {
        let mut line = self.line();
        line.retain(|waiter| waiter.ticket != ticket);
        self.waiting.store(line.len(), Ordering::SeqCst);
        drop(line);
        self.wake_first();
    }
}

/// What one session holds of a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    held: usize,
    ticket: Option<u64>,
}

impl Reservation {
    /// An empty share of `budget`.
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { budget, held: 0, ticket: None }
    }

    /// Bytes held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// How much of its `bound` one holder may use now: all of it while the budget has a quarter left, then less and
    /// less, down to 16 KiB, so that those who hold the most are slowed first.
    #[must_use]
    pub fn share(&self, bound: usize) -> usize {
        if self.is_ample() {
            return bound;
        }
        let free = self.budget.limit.saturating_sub(self.budget.used());
        let quarter = self.budget.limit / 4;
        let scaled = bound as u128 * free as u128 / quarter.max(1) as u128;
        usize::try_from(scaled).unwrap_or(bound).max(LEAST_SHARE).min(bound)
    }

    /// Whether the budget has a quarter left, so that nobody's [`Self::share`] is cut.
    #[must_use]
    pub fn is_ample(&self) -> bool {
        self.budget.limit.saturating_sub(self.budget.used()) >= self.budget.limit / 4
    }

    /// Whether a refused [`Self::try_cover`] still waits in line.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.ticket.is_some()
    }

    /// Whether others wait in line for what this one holds.
    #[must_use]
    pub fn is_contended(&self) -> bool {
        self.held > 0 && self.budget.waiting() > usize::from(self.is_waiting())
    }

    /// Grows to at least `need` bytes if the budget has them and nobody waits ahead; otherwise takes a place in line
    /// and returns `false`. Ask again when woken (see [`Self::park`]).
    #[inline]
    pub fn try_cover(&mut self, need: usize) -> bool {
        if need <= self.held {
            self.leave_line();
            return true;
        }
        let more = (need - self.held).next_multiple_of(STEP);
        let overtaking = self.budget.waiting() > 0 && !self.budget.is_first(self.ticket);
        if !overtaking && self.budget.take(more) {
            self.held += more;
            self.leave_line();
            return true;
        }
        if self.ticket.is_none() {
            self.ticket = Some(self.budget.enter());
        }
        false
    }

    /// Grows to at least `need` bytes, past the limit if it must be: for what has begun and cannot stop half-way.
    pub fn cover(&mut self, need: usize) {
        if need > self.held {
            let more = (need - self.held).next_multiple_of(STEP);
            self.budget.used.fetch_add(more, Ordering::SeqCst);
            self.held += more;
        }
    }

    /// Gives back what is held beyond `need`; a little is kept while something is needed at all.
    pub fn shrink(&mut self, need: usize) {
        let keep = if need == 0 { 0 } else { need.next_multiple_of(STEP) + SLACK };
        if self.held > keep {
            let less = self.held - keep;
            self.held = keep;
            self.budget.give(less);
        }
    }

    /// Leaves word whom to wake when it may be worth asking again. Bytes may have come free since the refusal, so ask
    /// once more after this before waiting. Does nothing for who is not in line.
    pub fn park(&self, waker: &Waker) {
        let mut line = self.budget.line();
        if let Some(waiter) = line.iter_mut().find(|waiter| Some(waiter.ticket) == self.ticket) {
            waiter.waker = Some(waker.clone());
        }
    }

    /// Gives up the place in line.
    pub fn leave_line(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.budget.leave(ticket);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.leave_line();
        if self.held > 0 {
            self.budget.give(self.held);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_large_request_is_not_overtaken_by_small_ones() {
        let budget = Budget::new(10 * STEP);
        let (mut a, mut large, mut small) =
            (Reservation::new(budget.clone()), Reservation::new(budget.clone()), Reservation::new(budget.clone()));
        assert!(a.try_cover(4 * STEP));
        assert!(!large.try_cover(8 * STEP));
        assert!(!small.try_cover(1), "someone waits ahead");
        let count = Arc::new(Count::default());
        large.park(&count.clone().into());
        drop(a);
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "the first in line is woken");
        assert!(large.try_cover(8 * STEP));
        assert!(small.try_cover(1));
        assert_eq!(budget.used(), 9 * STEP);
    }

    #[test]
    fn whoever_leaves_the_line_wakes_the_next() {
        let budget = Budget::new(STEP);
        let (mut first, mut second) = (Reservation::new(budget.clone()), Reservation::new(budget.clone()));
        assert!(!first.try_cover(2 * STEP));
        assert!(!second.try_cover(STEP));
        let count = Arc::new(Count::default());
        second.park(&count.clone().into());
        drop(first);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(second.try_cover(STEP));
    }

    #[test]
    fn everything_held_is_given_back() {
        let budget = Budget::new(STEP);
        let mut share = Reservation::new(budget.clone());
        share.cover(100 * STEP);
        assert_eq!(budget.used(), 100 * STEP);
        share.shrink(1);
        assert_eq!(share.held(), STEP + SLACK);
        share.shrink(0);
        assert_eq!(budget.used(), 0);
    }
}

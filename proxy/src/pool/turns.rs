//! Turns on a backend: of the messages that may be what kills backends, one at a time stands there.
//!
//! A session that replays one by one waits for its turn before it writes a message, so that a death says something of
//! that message alone. It does not wait for ever: who goes without is company to whoever has the turn, and then the
//! death says nothing. Touched by sessions in isolation and when a leg ends badly, never on the data path.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Lease, locked};

/// How long after the bad end of a leg an older leg may be of the same dead process, its own end not seen yet.
const AFTERMATH: Duration = Duration::from_millis(50);

/// Whose message stands alone on a backend, and who did not wait.
#[derive(Debug)]
pub(super) struct Turns {
    /// One place; fair.
    place: Arc<Semaphore>,
    crowd: Arc<Mutex<Crowd>>,
}

#[derive(Debug, Default)]
struct Crowd {
    /// Sessions there without a turn.
    here: usize,
    /// How many ever came.
    came: u64,
    /// When a leg last ended without a good Close.
    ended: Option<Instant>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { place: Arc::new(Semaphore::new(1)), crowd: Arc::default() }
    }
}

impl Turns {
    /// A leg ended without a good Close.
    pub(super) fn ended_badly(&self, now: Instant) {
        locked(&self.crowd).ended = Some(now);
    }

    async fn next(place: Arc<Semaphore>, crowd: Arc<Mutex<Crowd>>, attached: Instant) -> Turn {
        let place = place.acquire_owned().await.expect("the semaphore is never closed");
        let began = Instant::now();
        let company = locked(&crowd).company_at(began, attached);
        Turn { began, company, crowd, _place: place }
    }

    fn stray(&self) -> Stray {
        let mut crowd = locked(&self.crowd);
        crowd.here += 1;
        crowd.came += 1;
        Stray(self.crowd.clone())
    }
}

impl Crowd {
    /// How many had come when a turn began; `None` if one of them was there still, or if the leg, attached at
    /// `attached`, may have been dead already.
    fn company_at(&self, began: Instant, attached: Instant) -> Option<u64> {
        let dead = self.ended.is_some_and(|at| attached < at && began.saturating_duration_since(at) < AFTERMATH);
        (self.here == 0 && !dead).then_some(self.came)
    }
}

/// A session's turn on a backend, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    began: Instant,
    /// How many had come without a turn when it began. `None`: it was not alone from the first.
    company: Option<u64>,
    crowd: Arc<Mutex<Crowd>>,
    _place: OwnedSemaphorePermit,
}

impl Turn {
    /// When it began.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Whether no other session in isolation has had a message on the backend since it began.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.company == Some(locked(&self.crowd).came)
    }
}

/// A session in isolation that is on a backend without a turn, until it is dropped.
#[derive(Debug)]
pub struct Stray(Arc<Mutex<Crowd>>);

impl Drop for Stray {
    fn drop(&mut self) {
        locked(&self.0).here -= 1;
    }
}

impl Lease {
    /// Waits for the leg's turn. Dropping the future leaves the queue.
    pub fn turn(&self) -> impl Future<Output = Turn> + Send + use<> {
        let turns = &self.backend().turns;
        Turns::next(turns.place.clone(), turns.crowd.clone(), self.attached_at())
    }

    /// The leg does without a turn.
    #[must_use]
    pub fn stray(&self) -> Stray {
        self.backend().turns.stray()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn turn(turns: &Turns, attached: Instant) -> Option<Turn> {
        Turns::next(turns.place.clone(), turns.crowd.clone(), attached).now_or_never()
    }

    #[test]
    fn one_at_a_time_has_its_turn() {
        let (turns, now) = (Turns::default(), Instant::now());
        let first = turn(&turns, now).expect("nobody else");
        assert!(turn(&turns, now).is_none());
        assert!(first.is_alone());
        drop(first);
        assert!(turn(&turns, now).is_some(), "given back by whoever dropped it, and however");
    }

    #[tokio::test]
    async fn who_has_waited_longest_is_next() {
        let (turns, now) = (Turns::default(), Instant::now());
        let first = turn(&turns, now);
        let waiting = |_| Box::pin(Turns::next(turns.place.clone(), turns.crowd.clone(), now));
        let mut queue = [(); 2].map(waiting);
        assert!(queue.each_mut().map(|next| next.as_mut().now_or_never().is_none()).iter().all(|waits| *waits));
        drop(first);
        assert!(turn(&turns, now).is_none(), "nobody overtakes");
        assert!(queue[1].as_mut().now_or_never().is_none());
        assert!(queue[0].as_mut().now_or_never().is_some());
    }

    #[test]
    fn who_does_not_wait_is_company_from_then_on() {
        let (turns, now) = (Turns::default(), Instant::now());
        let before = turn(&turns, now).expect("nobody else");
        let stray = turns.stray();
        assert!(!before.is_alone());
        drop(before);
        let during = turn(&turns, now).expect("nobody else");
        drop(stray);
        assert!(!during.is_alone(), "it was there when the turn began");
        drop(during);
        assert!(turn(&turns, now).expect("nobody else").is_alone());
    }

    #[test]
    fn an_older_leg_is_not_believed_to_live_right_after_the_end_of_another() {
        let (turns, before) = (Turns::default(), Instant::now());
        turns.ended_badly(before + Duration::from_nanos(1));
        assert!(!turn(&turns, before).expect("nobody else").is_alone());
        let fresh = before + Duration::from_secs(1);
        assert!(turn(&turns, fresh).expect("nobody else").is_alone(), "it is attached to a later process");
    }
}

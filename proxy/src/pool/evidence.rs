//! What the ends of a backend's legs say about the backend.
//!
//! Pure: time comes in as an argument. Touched when a leg begins and when it ends, never on the data path.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// How old a leg must be for its end to count. A handler that returns at once proves nothing.
const LEAST_AGE: Duration = Duration::from_millis(250);
/// How long an end counts.
const WINDOW: Duration = Duration::from_secs(1);
/// How many ends are a proof.
const LEAST_ENDS: usize = 3;
/// For how long after a death one end, of a leg of any age, is a proof. A process that is killed again as soon as it is
/// back has few legs, and young ones.
const MOURNED: Duration = Duration::from_secs(5);
/// Ends closer together than this are kept as one entry, so that [`WINDOW`] holds at most 101 of them.
const RESOLUTION: Duration = Duration::from_millis(10);

/// Number of a leg on its backend, from 0 in the order of attaching.
pub(super) type LegNumber = u64;

/// Ends without a good Close that came at about the same time.
#[derive(Debug)]
struct Ends {
    /// When the first of them came.
    at: Instant,
    /// The number that the next leg had then: all legs attached before have a lower one.
    next_leg: LegNumber,
    /// How many of them were old enough to count at any time.
    old: usize,
}

/// The live legs of a backend, and the recent ends without a good Close.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    next_leg: LegNumber,
    live: BTreeSet<LegNumber>,
    ends: VecDeque<Ends>,
    /// The proof that these ends make has been told.
    told: bool,
    /// When it died last, by a failed probe or by [`LEAST_ENDS`].
    died: Option<Instant>,
}

impl Evidence {
    /// A leg begins.
    pub(super) fn attached(&mut self) -> LegNumber {
        let leg = self.next_leg;
        self.next_leg += 1;
        self.live.insert(leg);
        leg
    }

    /// A leg is gone, for whatever reason. Does nothing if it already was.
    pub(super) fn left(&mut self, leg: LegNumber) {
        self.live.remove(&leg);
    }

    /// A leg of this `age` ended without a good Close. Counts once.
    pub(super) fn ended_badly(&mut self, leg: LegNumber, age: Duration, now: Instant) {
        let old = age >= LEAST_AGE;
        if !self.live.remove(&leg) || !(old || self.is_mourned(now)) {
            return;
        }
        self.forget_before(now);
        match self.ends.back_mut() {
            Some(last) if now.saturating_duration_since(last.at) < RESOLUTION => last.old += usize::from(old),
            _ => self.ends.push_back(Ends { at: now, next_leg: self.next_leg, old: old.into() }),
        }
    }

    /// Whether everything that was there is gone: at least three legs, or one shortly after a death, ended badly within
    /// the last second, and none that was attached before the first of these ends is still live.
    pub(super) fn proves_dying(&mut self, now: Instant) -> bool {
        self.forget_before(now);
        let Some(first) = self.ends.front() else { return false };
        if self.live.first().is_some_and(|oldest| *oldest < first.next_leg) {
            return false;
        }
        if self.ends.iter().map(|ends| ends.old).sum::<usize>() >= LEAST_ENDS {
            self.died(now);
        }
        self.is_mourned(now)
    }

    /// It died for certain. Less does not count as that, or one death would make deaths of all ends to come.
    pub(super) fn died(&mut self, now: Instant) {
        self.died = Some(now);
    }

    fn is_mourned(&self, now: Instant) -> bool {
        self.died.is_some_and(|died| now.saturating_duration_since(died) < MOURNED)
    }

    /// Whether there is such a proof that this was not yet said of.
    pub(super) fn is_news(&mut self, now: Instant) -> bool {
        self.proves_dying(now) && !std::mem::replace(&mut self.told, true)
    }

    fn forget_before(&mut self, now: Instant) {
        while self.ends.front().is_some_and(|ends| now.saturating_duration_since(ends.at) > WINDOW) {
            self.ends.pop_front();
        }
        self.told &= !self.ends.is_empty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Duration = Duration::from_secs(10);
    const MS: Duration = Duration::from_millis(1);

    fn with_legs(count: usize) -> (Evidence, Vec<LegNumber>) {
        let mut evidence = Evidence::default();
        let legs = (0..count).map(|_| evidence.attached()).collect();
        (evidence, legs)
    }

    #[test]
    fn three_old_legs_that_end_within_a_second_are_a_proof() {
        let (mut evidence, legs) = with_legs(3);
        let start = Instant::now();
        for (leg, ms) in legs.into_iter().zip([0, 400, 900]) {
            assert!(!evidence.proves_dying(start + ms * MS));
            evidence.ended_badly(leg, OLD, start + ms * MS);
        }
        assert!(evidence.proves_dying(start + 1000 * MS));

        let (mut evidence, legs) = with_legs(3);
        for (leg, ms) in legs.into_iter().zip([0, 400, 1001]) {
            evidence.ended_badly(leg, OLD, start + ms * MS);
        }
        assert!(!evidence.proves_dying(start + 1001 * MS), "the first of the ends counts no more");
    }

    #[test]
    fn a_survivor_speaks_for_the_backend() {
        let (mut evidence, legs) = with_legs(4);
        let now = Instant::now();
        legs[..3].iter().for_each(|leg| evidence.ended_badly(*leg, OLD, now));
        assert!(!evidence.proves_dying(now));
        evidence.left(legs[3]);
        assert!(evidence.proves_dying(now));
    }

    #[test]
    fn legs_of_the_restarted_process_are_no_survivors() {
        let (mut evidence, legs) = with_legs(3);
        let now = Instant::now();
        evidence.ended_badly(legs[0], OLD, now);
        evidence.attached();
        evidence.ended_badly(legs[1], OLD, now + 50 * MS);
        evidence.ended_badly(legs[2], OLD, now + 60 * MS);
        assert!(evidence.proves_dying(now + 60 * MS));
    }

    #[test]
    fn short_lived_legs_never_count() {
        let (mut evidence, legs) = with_legs(100);
        let now = Instant::now();
        legs.iter().for_each(|leg| evidence.ended_badly(*leg, LEAST_AGE - MS, now));
        assert!(!evidence.proves_dying(now));
    }

    #[test]
    fn for_a_while_after_a_death_the_end_of_the_only_leg_is_a_proof_however_young() {
        let (mut evidence, legs) = with_legs(3);
        let start = Instant::now();
        legs.iter().for_each(|leg| evidence.ended_badly(*leg, OLD, start));
        assert!(evidence.proves_dying(start));
        for (ms, proof) in [(2000, true), (4000, true), (5000, false), (7000, false)] {
            let now = start + ms * MS;
            let (first, last) = (evidence.attached(), evidence.attached());
            evidence.ended_badly(first, MS, now);
            assert!(!evidence.proves_dying(now), "one is left");
            evidence.ended_badly(last, MS, now);
            assert_eq!(evidence.proves_dying(now), proof, "{ms}: such a proof is no death to mourn");
        }
        for n in 0..10 {
            let now = start + (4000 + 10 * n) * MS;
            [(); 3].map(|()| evidence.attached()).into_iter().for_each(|leg| evidence.ended_badly(leg, MS, now));
        }
        assert!(!evidence.proves_dying(start + 5000 * MS), "nor are any number of young ones");

        evidence.died(start + 8000 * MS);
        let leg = evidence.attached();
        evidence.ended_badly(leg, MS, start + 9000 * MS);
        assert!(evidence.proves_dying(start + 9000 * MS));
    }

    #[test]
    fn a_leg_counts_once_and_not_after_it_left() {
        let (mut evidence, legs) = with_legs(3);
        let now = Instant::now();
        for leg in [0, 0, 0, 1] {
            evidence.ended_badly(legs[leg], OLD, now);
        }
        evidence.left(legs[2]);
        evidence.ended_badly(legs[2], OLD, now);
        assert!(!evidence.proves_dying(now));
    }

    #[test]
    fn a_proof_is_news_once() {
        let (mut evidence, legs) = with_legs(4);
        let now = Instant::now();
        legs.iter().for_each(|leg| evidence.ended_badly(*leg, OLD, now));
        assert_eq!([now, now, now + 500 * MS].map(|now| evidence.is_news(now)), [true, false, false]);
        let later = now + 5000 * MS;
        let legs = [(); 3].map(|()| evidence.attached());
        legs.iter().for_each(|leg| evidence.ended_badly(*leg, OLD, later));
        assert!(evidence.is_news(later));
    }

    #[test]
    fn ten_thousand_ends_are_kept_in_a_hundred_entries() {
        let (mut evidence, legs) = with_legs(10_000);
        let start = Instant::now();
        for (n, leg) in (0..).zip(legs) {
            evidence.ended_badly(leg, OLD, start + n * MS / 5);
        }
        assert!(evidence.ends.len() <= 101, "{}", evidence.ends.len());
        assert!(evidence.proves_dying(start + 2000 * MS));
    }
}

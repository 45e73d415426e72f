//! How far a backend is with its drain. Pure: time and what the pool has come in as arguments.
//!
//! Its sessions are listed and told to move one by one. When all have answered, those that are left, and those that came
//! late, are the next list.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// From the end of a list to the next one. It doubles while nobody could be moved.
const PAUSE: Duration = Duration::from_secs(1);
/// What it doubles up to.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A backend that drains.
#[derive(Debug)]
pub(super) struct Drain<S> {
    since: Instant,
    waiting: VecDeque<S>,
    under_way: usize,
    /// Of the list: how many were moved, how many stayed.
    moved: usize,
    stayed: usize,
    /// Of all lists.
    moved_in_all: usize,
    next_list: Instant,
    pause: Duration,
    stranded: bool,
    told: Told,
}

/// What has been said already: each is said once in a drain.
#[derive(Debug, Default)]
struct Told {
    stranded: bool,
    goes_on: bool,
    stayed: bool,
}

/// What has changed, for the log; each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// There is no other backend to move the sessions to.
    Stranded,
    /// There is one again.
    GoesOn,
    /// So many sessions could not be moved. They are tried again.
    Stayed(usize),
}

impl<S> Drain<S> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            waiting: VecDeque::new(),
            under_way: 0,
            moved: 0,
            stayed: 0,
            moved_in_all: 0,
            next_list: now,
            pause: PAUSE,
            stranded: false,
            told: Told::default(),
        }
    }

    /// When it began.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Sessions moved so far.
    pub(super) fn moved_in_all(&self) -> usize {
        self.moved_in_all
    }

    /// Whether sessions were told that have not answered.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way > 0
    }

    /// Whether there is another backend to move to.
    pub(super) fn look(&mut self, has_other: bool) -> Option<News> {
        let was = std::mem::replace(&mut self.stranded, !has_other);
        let (told, news) = match (was, has_other) {
            (false, false) => (&mut self.told.stranded, News::Stranded),
            (true, true) => (&mut self.told.goes_on, News::GoesOn),
            (false, true) | (true, false) => return None,
        };
        (!std::mem::replace(told, true)).then_some(news)
    }

    /// The next session to be told to move, if another may. `list` gives those that are on the backend.
    pub(super) fn next(&mut self, now: Instant, list: impl FnOnce() -> VecDeque<S>) -> Option<S> {
        if self.stranded {
            return None;
        }
        if self.is_between_lists() && now >= self.next_list {
            (self.moved, self.stayed) = (0, 0);
            self.waiting = list();
            // Legs may be closing yet, or being attached: nobody that could be told.
            self.next_list = now + PAUSE;
        }
        self.waiting.pop_front()
    }

    /// The session that was given last was told.
    pub(super) fn begun(&mut self) {
        self.under_way += 1;
    }

    /// A session that was told is on another backend, or not; `None`: it ended.
    pub(super) fn ended(&mut self, moved: Option<bool>, now: Instant) -> Option<News> {
        self.under_way -= 1;
        match moved {
            Some(true) => (self.moved, self.moved_in_all) = (self.moved + 1, self.moved_in_all + 1),
            Some(false) => self.stayed += 1,
            None => {}
        }
        if !self.is_between_lists() {
            return None;
        }
        self.pause = if self.moved > 0 || self.stayed == 0 { PAUSE } else { (2 * self.pause).min(LONGEST_PAUSE) };
        self.next_list = now + self.pause;
        let news = self.stayed > 0 && !std::mem::replace(&mut self.told.stayed, true);
        news.then_some(News::Stayed(self.stayed))
    }

    fn is_between_lists(&self) -> bool {
        self.waiting.is_empty() && self.under_way == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(sessions: &[u32]) -> impl FnOnce() -> VecDeque<u32> {
        move || sessions.iter().copied().collect()
    }

    fn no_list() -> VecDeque<u32> {
        panic!("nobody is listed now")
    }

    #[test]
    fn who_is_left_is_told_again_when_all_have_answered_and_a_pause_is_over() {
        let start = Instant::now();
        let mut drain = Drain::new(start);
        assert_eq!(drain.look(true), None);
        for (expected, list) in [(1, true), (2, false)] {
            let next = if list { drain.next(start, listed(&[1, 2])) } else { drain.next(start, no_list) };
            assert_eq!(next, Some(expected));
            drain.begun();
        }
        assert_eq!(drain.next(start, no_list), None);
        assert_eq!(drain.ended(Some(true), start), None);
        assert_eq!(drain.next(start + LONGEST_PAUSE, no_list), None, "one is under way");
        let later = start + LONGEST_PAUSE;
        assert_eq!(drain.ended(Some(false), later), Some(News::Stayed(1)));
        assert_eq!(drain.next(later, no_list), None);
        assert_eq!(drain.next(later + PAUSE, listed(&[2])), Some(2));
        assert_eq!(drain.moved_in_all(), 1);
    }

    #[test]
    fn those_that_never_can_be_moved_are_tried_ever_more_rarely_and_told_of_once() {
        let mut now = Instant::now();
        let mut drain = Drain::new(now);
        let mut pauses = Vec::new();
        for round in 0..8 {
            assert_eq!(drain.next(now, listed(&[1])), Some(1));
            drain.begun();
            assert_eq!(drain.ended(Some(false), now).is_some(), round == 0);
            let due = (1..=30).find(|seconds| drain.next_list <= now + *seconds * PAUSE).unwrap();
            pauses.push(due);
            now += due * PAUSE;
        }
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 30, 30]);
    }

    #[test]
    fn without_another_backend_it_waits_and_says_so_once() {
        let now = Instant::now();
        let mut drain = Drain::new(now);
        assert_eq!([false, false].map(|other| drain.look(other)), [Some(News::Stranded), None]);
        assert_eq!(drain.next(now, no_list), None);
        assert_eq!([true, true].map(|other| drain.look(other)), [Some(News::GoesOn), None]);
        assert_eq!([false, true].map(|other| drain.look(other)), [None, None], "full and not full by turns");
        assert_eq!(drain.next(now, listed(&[1])), Some(1));
    }

    #[test]
    fn an_empty_list_is_made_again_after_a_pause() {
        let now = Instant::now();
        let mut drain = Drain::new(now);
        assert_eq!(drain.next(now, listed(&[])), None);
        assert_eq!(drain.next(now, no_list), None);
        assert_eq!(drain.next(now + PAUSE, listed(&[3])), Some(3));
    }
}

//! When what a backend was written counts as answered, as far as that shows from outside.
//!
//! A pong proves that a message was read. Where pongs come early, its answers are still to come, and a leg that is left
//! on purpose must be left behind them. Nothing says which answer belongs to which message, so three things are watched:
//! whether answers come one a message, how long they take, and how long nothing has come.

use std::time::Duration;

use crate::time::Instant;

/// Answers are owed: silence of so many times the longest pause before an answer so far is the end of them.
const PAUSES: u32 = 10;
/// And of so many times the longest time that an answer took, up to a bound: where a message here and there is never
/// answered, the counts lag behind and that time grows.
const ANSWERS: u32 = 2;
const MOST_FOR_ANSWERS: Duration = Duration::from_secs(5);
/// The least silence that is the end of owed answers.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);
/// A backend that has answered nothing for so long answers nothing.
const PRESUMED: Duration = Duration::from_secs(15);

/// A message of which it is waited how long its answer takes.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// Answers until its own, if each message gets one.
    ahead: u64,
    given: Instant,
}

/// The answers of the backends of one session.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The longest time from a message to its answer; `None` before the first. Stays from leg to leg.
    longest: Option<Duration>,
    /// The longest time that neither side had said anything when an answer came. Stays from leg to leg.
    pause: Duration,
    /// Answers are not one a message. Stays from leg to leg.
    uneven: bool,
    // The current leg.
    /// Messages wholly written to it.
    written: u64,
    /// Of these, how many have no answer yet; 0 where answers are uneven.
    owed: u64,
    /// When the last message was wholly written.
    given: Option<Instant>,
    /// When the backend last said something.
    said: Option<Instant>,
    /// When it last was not listened to.
    unheard: Option<Instant>,
    probe: Option<Probe>,
}

impl Answers {
    /// A new leg. What was learned of the earlier ones stays.
    pub(super) fn begin_leg(&mut self) {
        *self = Self { longest: self.longest, pause: self.pause, uneven: self.uneven, ..Self::default() };
    }

    /// By now, `written` messages are wholly written to the leg.
    pub(super) fn handle_written(&mut self, now: Instant, written: u64) {
        let news = written.saturating_sub(self.written);
        if news == 0 {
            return;
        }
        if self.owed > 0 && self.answered_at(Duration::ZERO, PRESUMED).is_some_and(|at| at <= now) {
            self.level();
        }
        self.written = written;
        self.given = Some(now);
        self.probe.get_or_insert(Probe { ahead: self.owed + 1, given: now });
        if !self.uneven {
            self.owed += news;
        }
    }

    /// The backend is not listened to: that it is silent means nothing.
    pub(super) fn handle_not_reading(&mut self, now: Instant) {
        self.unheard = Some(now);
    }

    /// Data of the backend came: a message, or a part of one.
    pub(super) fn handle_data(&mut self, now: Instant) {
        if let Some(moved) = self.moved().filter(|_| self.owed > 0) {
            self.pause = self.pause.max(now.since(moved));
        }
        self.said = Some(now);
    }

    /// So many messages of the backend were whole, greetings left out.
    pub(super) fn handle_replies(&mut self, now: Instant, replies: u64) {
        self.handle_data(now);
        // What comes ahead of the first message greets.
        self.uneven |= replies > self.owed && self.written > 0;
        self.owed = if self.uneven { 0 } else { self.owed.saturating_sub(replies) };
        if let Some(probe) = &mut self.probe {
            probe.ahead = probe.ahead.saturating_sub(replies);
            if probe.ahead == 0 || self.uneven {
                self.longest = self.longest.max(Some(now.since(probe.given)));
                self.probe = None;
            }
        }
    }

    /// Some message is never answered: the counts lag behind, and the times that they gave mean nothing.
    fn level(&mut self) {
        (self.uneven, self.owed, self.probe) = (true, 0, None);
        self.longest = Some(Duration::ZERO);
    }

    /// Whether it shows when all is answered: answers come one a message.
    pub(super) fn is_counted(&self) -> bool {
        !self.uneven && (self.longest.is_some() || self.written == 0)
    }

    /// Whether what it says is not one answer a message.
    pub(super) fn is_uneven(&self) -> bool {
        self.uneven
    }

    /// Whether answers that come one a message are still to come.
    pub(super) fn is_owed(&self) -> bool {
        self.owed > 0
    }

    /// The longest time that the first answer to a message is known to take.
    pub(super) fn longest(&self) -> Duration {
        self.longest.unwrap_or_default()
    }

    /// When the backend last was given a message or said one.
    pub(super) fn moved(&self) -> Option<Instant> {
        self.given.max(self.said)
    }

    /// From when on all that was written counts as answered if nothing comes until then; `None` if nothing was ever
    /// written or said. `quiet` is the least silence, and `unknown` how long a backend that never answered is given.
    pub(super) fn answered_at(&self, quiet: Duration, unknown: Duration) -> Option<Instant> {
        let silent = |time: Duration| self.moved().max(self.unheard).map(|moved| moved + time.max(quiet));
        match (self.longest, self.probe) {
            (None, Some(probe)) => {
                silent(quiet).max(Some(self.unheard.unwrap_or(probe.given).max(probe.given) + unknown))
            }
            (Some(longest), _) if self.uneven => silent(longest * ANSWERS),
            (Some(longest), _) if self.owed > 0 => {
                let answers = (longest * ANSWERS).min(MOST_FOR_ANSWERS);
                silent(LEAST_PATIENCE.max(self.pause * PAUSES).max(answers))
            }
            (_, _) => silent(quiet),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(50);
    const UNKNOWN: Duration = Duration::from_secs(15);

    fn at(millis: u64) -> Instant {
        Instant::from_origin(Duration::from_millis(millis))
    }

    fn answered_at(answers: &Answers) -> Option<Instant> {
        answers.answered_at(QUIET, UNKNOWN)
    }

    #[test]
    fn one_answer_a_message_is_all_there_is_once_as_many_have_come() {
        let mut answers = Answers::default();
        assert_eq!(answered_at(&answers), None);
        for number in 1..=20 {
            answers.handle_written(at(number * 50), number);
            if number > 10 {
                answers.handle_replies(at(number * 50), 1);
            }
        }
        assert!(answers.is_counted() && answers.is_owed());
        assert_eq!(answers.longest(), Duration::from_millis(500));
        assert_eq!(answered_at(&answers), Some(at(1000 + 1000)));
        answers.handle_replies(at(1500), 10);
        assert_eq!(answered_at(&answers), Some(at(1550)));
    }

    #[test]
    fn a_long_queue_is_waited_for_as_long_as_answers_come() {
        let mut answers = Answers::default();
        answers.handle_written(at(0), 100);
        for number in 1..100 {
            answers.handle_replies(at(number * 400), 1);
            assert_eq!(answered_at(&answers), Some(at(number * 400 + 4000)));
        }
        answers.handle_replies(at(40_000), 1);
        assert_eq!(answered_at(&answers), Some(at(40_050)));
    }

    #[test]
    fn a_backend_that_never_answered_is_given_the_time_for_unknown_ones() {
        let mut answers = Answers::default();
        answers.handle_written(at(0), 1);
        answers.handle_written(at(4000), 2);
        assert!(!answers.is_counted());
        assert_eq!(answered_at(&answers), Some(at(15_000)));
        answers.handle_written(at(60_000), 3);
        assert_eq!(answered_at(&answers), Some(at(60_050)), "it had its time");
    }

    #[test]
    fn a_greeting_ahead_of_the_first_message_is_no_answer() {
        let mut answers = Answers::default();
        answers.handle_replies(at(0), 1);
        answers.handle_written(at(100), 1);
        answers.handle_replies(at(120), 1);
        assert!(answers.is_counted() && !answers.is_owed());
        assert_eq!(answers.longest(), Duration::from_millis(20));
    }

    #[test]
    fn pushes_and_answers_in_several_parts_are_not_one_a_message() {
        let mut answers = Answers::default();
        answers.handle_written(at(0), 1);
        answers.handle_replies(at(300), 1);
        answers.handle_replies(at(310), 1);
        assert!(!answers.is_counted() && !answers.is_owed());
        assert_eq!(answered_at(&answers), Some(at(910)));
        answers.begin_leg();
        answers.handle_written(at(1000), 1);
        assert_eq!(answered_at(&answers), Some(at(1600)), "what was learned stays from leg to leg");
    }

    #[test]
    fn a_message_that_is_never_answered_makes_the_counts_worthless() {
        let mut answers = Answers::default();
        answers.handle_written(at(0), 1);
        answers.handle_replies(at(20), 1);
        answers.handle_written(at(100), 2);
        answers.handle_written(at(2000), 3);
        assert!(!answers.is_counted() && !answers.is_owed());
        answers.handle_replies(at(2020), 1);
        assert_eq!(answered_at(&answers), Some(at(2070)));
    }
}

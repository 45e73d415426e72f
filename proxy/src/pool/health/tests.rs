//! Stories of one backend, on a clock of their own.

mod properties;

use std::time::{Duration, Instant};

use super::machine::{Change, Dial, HealthState, Machine};
use super::trust::Failure;
use crate::config::{Ejection, HealthCheck, HealthConfig};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
/// How long a trial may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A backend at a time.
struct Story {
    machine: Machine,
    settings: HealthConfig,
    now: Instant,
}

impl Story {
    fn new() -> Self {
        let check = HealthCheck { rise: 2, fall: 2, ..HealthCheck::default() };
        let ejection = Ejection { time: Some(SECOND), max: 8 * SECOND };
        let settings = HealthConfig { check, ejection, slow_start: Some(10 * SECOND), panic: 50 };
        Self { machine: Machine::default(), settings, now: Instant::now() }
    }

    fn later(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn dialled(&mut self, dial: Dial) -> Option<Change> {
        self.machine.dialled(dial, true, &self.settings, self.now)
    }

    fn unreachable(&mut self) -> Option<Change> {
        self.dialled(Dial::Failed(Failure::Proof, Duration::ZERO))
    }

    fn bad_handshake(&mut self) -> Option<Change> {
        self.dialled(Dial::Failed(Failure::Handshake, Duration::ZERO))
    }

    fn answered(&mut self) -> Option<Change> {
        self.dialled(Dial::Answered)
    }

    fn checked(&mut self, passed: bool) -> Option<Change> {
        self.machine.checked(passed, true, &self.settings, self.now)
    }

    fn picked(&mut self) {
        assert!(self.is_eligible());
        self.machine.picked(PATIENCE, self.now);
    }

    fn is_eligible(&self) -> bool {
        self.machine.is_eligible(true, self.now)
    }

    fn state(&self) -> HealthState {
        self.machine.standing(self.now).state
    }

    fn weight(&self) -> f32 {
        self.machine.weight_factor(self.settings.slow_start, self.now)
    }
}

#[test]
fn a_backend_that_cannot_be_reached_is_ejected_at_once() {
    let mut story = Story::new();
    assert_eq!(story.unreachable(), Some(Change::Ejected(SECOND)));
    assert!(!story.later(SECOND - MS).is_eligible());
}

#[test]
fn one_failed_handshake_only_puts_it_last_for_a_second() {
    let mut story = Story::new();
    assert_eq!(story.bad_handshake(), None);
    assert_eq!(story.state(), HealthState::Doubted);
    assert!(!story.is_eligible());
    assert!(story.later(SECOND).is_eligible());
}

#[test]
fn three_failed_handshakes_in_a_row_eject_it() {
    let mut story = Story::new();
    assert_eq!([story.bad_handshake(), story.bad_handshake()], [None, None]);
    assert_eq!(story.bad_handshake(), Some(Change::Ejected(SECOND)));
}

#[test]
fn an_answer_between_failed_handshakes_starts_the_count_again() {
    let mut story = Story::new();
    for _ in 0..10 {
        assert_eq!([story.bad_handshake(), story.bad_handshake(), story.answered()], [None, None, None]);
        assert!(story.is_eligible());
    }
}

#[test]
fn one_that_lets_dials_time_out_is_out_for_as_long_as_that_took() {
    let mut story = Story::new();
    assert_eq!(story.dialled(Dial::Failed(Failure::Proof, 5 * SECOND)), Some(Change::Ejected(5 * SECOND)));
    let mut story = Story::new();
    story.dialled(Dial::Failed(Failure::Handshake, 5 * SECOND));
    assert!(!story.later(5 * SECOND - MS).is_eligible());
    assert!(story.later(MS).is_eligible());
}

#[test]
fn dials_that_were_under_way_make_an_ejection_no_longer() {
    let mut story = Story::new();
    story.unreachable();
    for _ in 0..100 {
        assert_eq!(story.dialled(Dial::Failed(Failure::Proof, 5 * SECOND)), None);
    }
    assert!(story.later(SECOND).is_eligible());
}

#[test]
fn each_failed_trial_doubles_the_ejection_up_to_the_longest() {
    let mut story = Story::new();
    for seconds in [1, 2, 4, 8, 8, 8] {
        assert_eq!(story.unreachable(), Some(Change::Ejected(seconds * SECOND)));
        assert!(!story.later(seconds * SECOND - MS).is_eligible());
        story.later(MS).picked();
    }
}

#[test]
fn a_half_open_backend_takes_one_session_at_a_time() {
    let mut story = Story::new();
    story.unreachable();
    story.later(SECOND).picked();
    assert!(!story.is_eligible(), "the trial is under way");
    assert_eq!(story.answered(), Some(Change::Back));
    assert!(story.is_eligible());
}

#[test]
fn a_trial_that_nobody_decides_is_followed_by_another() {
    let mut story = Story::new();
    story.unreachable();
    story.later(SECOND).picked();
    assert!(!story.later(PATIENCE - MS).is_eligible());
    story.later(MS).picked();
    assert!(!story.is_eligible());
}

#[test]
fn a_failed_handshake_is_enough_to_fail_a_trial() {
    let mut story = Story::new();
    story.unreachable();
    story.answered();
    story.later(30 * SECOND).unreachable();
    story.later(SECOND).picked();
    assert_eq!(story.bad_handshake(), Some(Change::Ejected(2 * SECOND)));
}

#[test]
fn an_answer_ends_an_ejection_at_any_time() {
    let mut story = Story::new();
    story.unreachable();
    assert_eq!(story.answered(), Some(Change::Back));
    assert_eq!(story.state(), HealthState::Up);
}

#[test]
fn soon_after_an_ejection_the_next_one_is_longer() {
    let mut story = Story::new();
    story.unreachable();
    story.answered();
    assert_eq!(story.later(8 * SECOND - MS).unreachable(), Some(Change::Ejected(2 * SECOND)));
    story.answered();
    assert_eq!(story.later(8 * SECOND).unreachable(), Some(Change::Ejected(SECOND)), "it has behaved");
}

#[test]
fn a_check_decides_a_trial_too() {
    let mut story = Story::new();
    story.unreachable();
    assert_eq!(story.checked(true), None, "its time is not over");
    assert_eq!(story.later(SECOND).checked(true), Some(Change::Back));
    let mut story = Story::new();
    story.checked(true);
    story.unreachable();
    assert_eq!(story.later(SECOND).checked(false), Some(Change::Ejected(2 * SECOND)));
}

#[test]
fn a_passed_check_does_not_excuse_failed_handshakes() {
    let mut story = Story::new();
    let failed = [(); 3].map(|()| story.bad_handshake());
    assert_eq!(failed, [None, None, Some(Change::Ejected(SECOND))]);
    assert_eq!(story.later(SECOND).checked(true), Some(Change::Back));
    assert!(matches!(story.bad_handshake(), Some(Change::Ejected(_))), "the fourth in a row");
}

#[test]
fn a_backend_that_comes_up_by_its_checks_is_not_ejected_any_more() {
    let mut story = Story::new();
    assert_eq!(story.checked(false), Some(Change::Down));
    story.dialled(Dial::Failed(Failure::Proof, 60 * SECOND));
    assert_eq!([story.checked(true), story.checked(true)], [None, Some(Change::Up)]);
    assert!(story.is_eligible());
}

#[test]
fn one_that_is_down_is_eligible_when_checks_are_not_believed() {
    let mut story = Story::new();
    story.checked(false);
    assert!(!story.machine.is_eligible(true, story.now));
    assert!(story.machine.is_eligible(false, story.now));
    assert!(!story.machine.is_down(false), "nor is it proven to be dying");
}

#[test]
fn an_answered_dial_does_not_overrule_checks() {
    let mut story = Story::new();
    story.checked(false);
    assert_eq!(story.answered(), None);
    assert!(!story.is_eligible());
}

#[test]
fn what_is_there_at_the_start_has_its_whole_weight() {
    assert_eq!(Story::new().weight(), 1.0);
}

#[test]
fn what_comes_back_grows_from_a_tenth_of_its_weight_to_all_of_it() {
    for comes_back in [
        |story: &mut Story| {
            story.unreachable();
            story.answered()
        },
        |story: &mut Story| {
            story.checked(false);
            story.checked(true);
            story.checked(true)
        },
    ] {
        let mut story = Story::new();
        assert!(comes_back(&mut story).is_some());
        assert_eq!(story.weight(), 0.1);
        assert!((story.later(5 * SECOND).weight() - 0.55).abs() < 1e-3);
        assert_eq!(story.later(5 * SECOND).weight(), 1.0);
        assert_eq!(story.machine.weight_factor(None, story.now - 9 * SECOND), 1.0, "no slow start is asked for");
    }
}

#[test]
fn what_joins_later_starts_slowly() {
    let mut story = Story::new();
    story.machine = Machine::joined(story.now);
    assert_eq!(story.weight(), 0.1);
}

#[test]
fn a_doubt_that_is_over_costs_no_weight() {
    let mut story = Story::new();
    story.bad_handshake();
    story.later(SECOND).picked();
    story.answered();
    assert_eq!(story.weight(), 1.0);
}

#[test]
fn with_ejection_off_a_failure_only_puts_it_last_for_a_moment() {
    let mut story = Story::new();
    story.settings.ejection.time = None;
    for _ in 0..5 {
        assert_eq!(story.unreachable(), None);
        assert_eq!(story.state(), HealthState::Doubted);
        assert!(!story.is_eligible());
        story.later(SECOND).picked();
    }
}

#[test]
fn one_that_may_not_be_ejected_only_goes_last_for_a_moment() {
    let mut story = Story::new();
    let failed = Dial::Failed(Failure::Proof, Duration::ZERO);
    assert_eq!(story.machine.dialled(failed, false, &story.settings, story.now), None);
    assert_eq!(story.state(), HealthState::Doubted);
    assert!(story.later(SECOND).is_eligible());
}

#[test]
fn a_failed_dial_is_news_to_those_who_wait_until_one_is_answered() {
    let mut story = Story::new();
    story.bad_handshake();
    let mark = story.machine.failures();
    assert!(!story.machine.failed_since(mark, story.now), "that one was before");
    story.bad_handshake();
    assert!(story.machine.failed_since(mark, story.now));
    story.answered();
    assert!(!story.machine.failed_since(mark, story.now));
}

#[test]
fn a_reset_backend_is_as_new() {
    let mut story = Story::new();
    story.checked(false);
    story.unreachable();
    story.machine.reset();
    assert_eq!((story.state(), story.weight()), (HealthState::Up, 1.0));
    assert_eq!(story.machine.standing(story.now).ejections, 1, "counters only rise");
    assert_eq!(story.later(8 * SECOND).unreachable(), Some(Change::Ejected(SECOND)));
}

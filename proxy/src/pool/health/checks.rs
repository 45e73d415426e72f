//! What active checks in a row say: up or down. Pure.

use crate::config::HealthCheck;

/// Whether a backend passes its checks.
///
/// ```text
///              `fall` failed in a row; the first check ever: one
///   Up ────────────────────────────────────────────────────────▶ Down
///    ▲                                                             │
///    └──────────────────────── `rise` passed in a row ◀────────────┘
/// ```
#[derive(Debug, Default)]
pub(super) struct Checks {
    down: bool,
    /// Checks in a row that contradict `down`.
    streak: u32,
    /// Whether any check has been made.
    begun: bool,
}

/// What a check changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Up,
    Down,
}

impl Checks {
    /// Up is assumed until a check has failed.
    pub(super) fn is_down(&self) -> bool {
        self.down
    }

    /// Whether the next check may change something: it is worth being made soon.
    pub(super) fn in_transition(&self) -> bool {
        self.streak > 0
    }

    /// A check was made.
    pub(super) fn checked(&mut self, passed: bool, settings: &HealthCheck) -> Option<Turn> {
        let first = !std::mem::replace(&mut self.begun, true);
        if passed != self.down {
            self.streak = 0;
            return None;
        }
        self.streak += 1;
        let needed = if self.down { settings.rise } else { settings.fall };
        if self.streak < needed && !first {
            return None;
        }
        self.down = !self.down;
        self.streak = 0;
        Some(if self.down { Turn::Down } else { Turn::Up })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(results: &[bool]) -> Vec<Option<Turn>> {
        let settings = HealthCheck { rise: 2, fall: 3, ..HealthCheck::default() };
        let mut checks = Checks::default();
        results.iter().map(|passed| checks.checked(*passed, &settings)).collect()
    }

    #[test]
    fn fall_failures_in_a_row_take_it_down() {
        assert_eq!(turns(&[true, false, false, false])[1..], [None, None, Some(Turn::Down)]);
    }

    #[test]
    fn a_success_between_failures_starts_the_count_again() {
        assert_eq!(turns(&[true, false, false, true, false, false]), [None; 6]);
    }

    #[test]
    fn rise_successes_in_a_row_bring_it_up() {
        let after_down = &turns(&[false, true, false, true, true, true])[1..];
        assert_eq!(after_down, [None, None, None, Some(Turn::Up), None]);
    }

    #[test]
    fn the_first_check_takes_it_down_at_once() {
        assert_eq!(turns(&[false]), [Some(Turn::Down)]);
    }

    #[test]
    fn it_is_in_transition_while_checks_contradict_what_it_is() {
        let settings = HealthCheck { rise: 2, fall: 2, ..HealthCheck::default() };
        let mut checks = Checks::default();
        let mut next = |passed| {
            checks.checked(passed, &settings);
            checks.in_transition()
        };
        let transitions: Vec<_> = [true, false, true, false, false, true, true].map(&mut next).into();
        assert_eq!(transitions, [false, true, false, true, false, true, false]);
    }
}

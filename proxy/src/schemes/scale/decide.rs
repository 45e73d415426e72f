//! How many backends a pool should have. Pure: loads and time come in as arguments.

use std::time::{Duration, Instant};

use super::super::load::{Load, mean};
use crate::config::ScaleConfig;

/// Rounding must not ask for a backend more: what is so little above a whole number is that number.
const GRAIN: f64 = 1e-9;

/// What is known of a pool at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// Backends that are meant to have sessions and are not known to be down.
    pub present: u32,
    /// Sessions on all backends, also on those that are draining: they will need a place.
    pub sessions: f64,
    /// The mean part of a backend that is in use, as the present ones report. `None`: none does.
    pub utilisation: Option<f64>,
}

impl Demand {
    /// Of these backends; `assigned` tells how many sessions were sent to one of which the proxy sees nothing.
    pub(crate) fn of(loads: &[Load], assigned: impl Fn(&Load) -> f64) -> Self {
        let present = || loads.iter().filter(|load| load.present);
        Self {
            present: present().count() as u32,
            sessions: loads.iter().map(|load| load.sessions as f64 + assigned(load)).sum(),
            utilisation: mean(present().filter_map(|load| load.utilisation)),
        }
    }

    /// Backends that would each be at the target, or at `part` of it.
    fn needed(&self, config: &ScaleConfig, part: f64) -> u32 {
        let by_sessions = config.sessions_per_backend.map(|each| self.sessions / (f64::from(each) * part));
        let by_load = config.load.zip(self.utilisation).map(|(target, load)| {
            // What is in use does not change with the number of those that share it.
            f64::from(self.present) * load / (target * part)
        });
        let needed = by_sessions.into_iter().chain(by_load).fold(0.0, f64::max);
        ((needed - GRAIN).ceil().max(0.0) as u32).clamp(config.min, config.max)
    }

    /// The part of the target that is in use: 1 is just at it. `None`: there is no backend, or nothing to go by.
    #[must_use]
    pub fn load(&self, config: &ScaleConfig) -> Option<f64> {
        let by_sessions = config
            .sessions_per_backend
            .filter(|_| self.present > 0)
            .map(|each| self.sessions / (f64::from(each) * f64::from(self.present)));
        let by_load = config.load.zip(self.utilisation).map(|(target, load)| load / target);
        by_sessions.into_iter().chain(by_load).reduce(f64::max)
    }

    /// How many more sessions fit before the target is passed; below zero if it is. `None`: sessions do not matter.
    #[must_use]
    pub fn headroom(&self, config: &ScaleConfig) -> Option<f64> {
        config.sessions_per_backend.map(|each| f64::from(each) * f64::from(self.present) - self.sessions)
    }
}

/// Decides for one pool. Another number is wanted only when each look for `debounce` would have wanted it, so that
/// neither a burst of reconnecting clients nor a noisy report moves it.
#[derive(Debug)]
pub struct Advisor {
    wanted: u32,
    pending: Option<Pending>,
}

/// More, or fewer, are needed since a while.
#[derive(Clone, Copy, Debug)]
struct Pending {
    more: bool,
    since: Instant,
    /// What all looks since then agree on: the fewest of those that want more, the most of those that want fewer.
    least_change: u32,
}

impl Advisor {
    /// For a pool that has so many backends now, which is taken for what is wanted.
    #[must_use]
    pub fn new(present: u32) -> Self {
        Self { wanted: present, pending: None }
    }

    /// How many backends are wanted.
    #[must_use]
    pub fn wanted(&self) -> u32 {
        self.wanted
    }

    /// Takes a look. True if another number is wanted from now on.
    pub fn look(&mut self, demand: &Demand, config: &ScaleConfig, now: Instant) -> bool {
        let Some((more, needed)) = self.change(demand, config) else {
            self.pending = None;
            return false;
        };
        let pending = match self.pending.filter(|pending| pending.more == more) {
            Some(pending) if more => Pending { least_change: pending.least_change.min(needed), ..pending },
            Some(pending) => Pending { least_change: pending.least_change.max(needed), ..pending },
            None => Pending { more, since: now, least_change: needed },
        };
        let is_due = now.saturating_duration_since(pending.since) >= config.debounce;
        self.pending = (!is_due).then_some(pending);
        if is_due {
            self.wanted = pending.least_change;
        }
        is_due
    }

    /// Whether more or fewer than wanted are needed, and how many. Fewer only if they would have `slack` of the target
    /// to spare: else the next session would ask for what was just given back.
    fn change(&self, demand: &Demand, config: &ScaleConfig) -> Option<(bool, u32)> {
        let needed = demand.needed(config, 1.0);
        if needed > self.wanted {
            return Some((true, needed));
        }
        let enough = demand.needed(config, 1.0 - config.slack);
        (enough < self.wanted).then_some((false, enough))
    }
}

/// When a command that failed is run again, at the earliest.
pub(super) fn retry_after(config: &ScaleConfig) -> Duration {
    const LEAST: Duration = Duration::from_secs(5);
    config.debounce.max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemes::load::tests::idle;

    const SECOND: Duration = Duration::from_secs(1);

    fn config() -> ScaleConfig {
        ScaleConfig { sessions_per_backend: Some(100), load: None, min: 1, max: 10, slack: 0.1, debounce: 30 * SECOND }
    }

    fn sessions(present: u32, sessions: u32) -> Demand {
        Demand { present, sessions: sessions.into(), utilisation: None }
    }

    /// What is wanted after looks at these sessions, one a second from second 0 on.
    fn after(advisor: &mut Advisor, looks: impl IntoIterator<Item = u32>, config: &ScaleConfig) -> Vec<(u64, u32)> {
        let start = Instant::now();
        let mut changes = Vec::new();
        for (second, count) in (0..).zip(looks) {
            if advisor.look(&sessions(advisor.wanted(), count), config, start + u32::try_from(second).unwrap() * SECOND)
            {
                changes.push((second, advisor.wanted()));
            }
        }
        changes
    }

    #[test]
    fn as_many_are_needed_as_the_sessions_fill() {
        let needed = |count| sessions(3, count).needed(&config(), 1.0);
        assert_eq!([0, 1, 100, 101, 300, 950, 5_000].map(needed), [1, 1, 1, 2, 3, 10, 10]);
    }

    #[test]
    fn reports_ask_for_as_many_as_would_share_the_work_at_the_target() {
        let config = ScaleConfig { sessions_per_backend: None, load: Some(0.6), ..config() };
        let needed = |utilisation| Demand { present: 4, sessions: 0.0, utilisation }.needed(&config, 1.0);
        assert_eq!([Some(0.6), Some(0.61), Some(0.9), Some(0.3)].map(needed), [4, 5, 6, 2]);
        assert_eq!(needed(None), 1, "nothing to go by");
        let both = ScaleConfig { sessions_per_backend: Some(100), ..config };
        assert_eq!(Demand { present: 4, sessions: 900.0, utilisation: Some(0.3) }.needed(&both, 1.0), 9);
    }

    #[test]
    fn more_are_wanted_when_that_has_lasted() {
        let mut advisor = Advisor::new(2);
        assert_eq!(after(&mut advisor, [250; 40], &config()), [(30, 3)]);
    }

    #[test]
    fn a_burst_moves_nothing() {
        let mut advisor = Advisor::new(2);
        let burst = (0..120).map(|second| if second % 20 < 15 { 900 } else { 190 });
        assert_eq!(after(&mut advisor, burst, &config()), []);
    }

    #[test]
    fn what_is_wanted_is_what_all_looks_agree_on() {
        let mut advisor = Advisor::new(2);
        let noisy = (0..31).map(|second| if second == 10 { 310 } else { 700 });
        assert_eq!(after(&mut advisor, noisy, &config()), [(30, 4)]);
        let falling = (0..31).map(|second| if second == 10 { 260 } else { 0 });
        assert_eq!(after(&mut advisor, falling, &config()), [(30, 3)]);
    }

    #[test]
    fn fewer_are_wanted_only_with_room_to_spare() {
        let mut advisor = Advisor::new(3);
        // 200 would fill two, 181 would leave less than a tenth of them.
        assert_eq!(after(&mut advisor, [200; 100], &config()), []);
        assert_eq!(after(&mut advisor, [181; 100], &config()), []);
        assert_eq!(after(&mut advisor, [180; 40], &config()), [(30, 2)]);
        // And then it takes 201 to want three again.
        assert_eq!(after(&mut advisor, [200; 100], &config()), []);
        assert_eq!(after(&mut advisor, [201; 40], &config()), [(30, 3)]);
    }

    #[test]
    fn the_bounds_hold_also_for_a_pool_that_is_outside_of_them() {
        let config = ScaleConfig { min: 2, max: 4, ..config() };
        assert_eq!(after(&mut Advisor::new(0), [0; 40], &config), [(30, 2)]);
        assert_eq!(after(&mut Advisor::new(6), [550; 40], &config), [(30, 4)]);
        assert_eq!(after(&mut Advisor::new(2), [5_000; 40], &config), [(30, 4)]);
    }

    #[test]
    fn load_and_headroom_say_how_far_the_target_is() {
        assert_eq!(sessions(3, 150).load(&config()), Some(0.5));
        assert_eq!(
            (sessions(3, 150).headroom(&config()), sessions(1, 150).headroom(&config())),
            (Some(150.0), Some(-50.0))
        );
        assert_eq!(sessions(0, 5).load(&config()), None);
    }

    #[test]
    fn draining_backends_need_a_place_for_their_sessions_but_are_none() {
        let draining = Load { present: false, eligible: false, sessions: 40, ..idle(1) };
        let demand = Demand::of(&[draining, Load { sessions: 2, ..idle(2) }], |_| 0.5);
        assert_eq!(demand, Demand { present: 1, sessions: 43.0, utilisation: None });
    }
}

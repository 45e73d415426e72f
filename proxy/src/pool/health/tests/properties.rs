//! What holds whatever happens.

use proptest::prelude::*;

use super::super::panic;
use super::*;

/// Something happens to a backend of a pool.
#[derive(Clone, Copy, Debug)]
enum Event {
    Picked,
    Answered,
    Unreachable(u64),
    BadHandshake(u64),
    Check(bool),
}

fn events() -> impl Strategy<Value = Vec<(usize, u64, Event)>> {
    let event = prop_oneof![
        Just(Event::Picked),
        Just(Event::Answered),
        (0_u64..6000).prop_map(Event::Unreachable),
        (0_u64..6000).prop_map(Event::BadHandshake),
        any::<bool>().prop_map(Event::Check),
    ];
    prop::collection::vec((0_usize..7, 0_u64..3000, event), 1..200)
}

fn happen(backend: &mut Machine, event: Event, may_eject: bool, settings: &HealthConfig, now: Instant) {
    let failed = |failure, took: u64| Dial::Failed(failure, took as u32 * MS);
    let mut dialled = |dial| backend.dialled(dial, may_eject, settings, now);
    let _change = match event {
        Event::Answered => dialled(Dial::Answered),
        Event::Unreachable(took) => dialled(failed(Failure::Proof, took)),
        Event::BadHandshake(took) => dialled(failed(Failure::Handshake, took)),
        Event::Check(passed) => backend.checked(passed, may_eject, settings, now),
        Event::Picked => {
            backend.picked(PATIENCE, now);
            None
        }
    };
}

proptest! {
    #[test]
    fn at_least_half_of_a_pool_is_never_ejected(size in 1_usize..7, events in events()) {
        let Story { settings, mut now, .. } = Story::new();
        let mut pool: Vec<_> = (0..size).map(|_| Machine::default()).collect();
        for (which, pause, event) in events {
            now += pause as u32 * MS;
            let which = which % size;
            let left = |(n, other): &(usize, &Machine)| *n != which && !other.is_ejected() && !other.is_down(true);
            let left = pool.iter().enumerate().filter(left).count();
            happen(&mut pool[which], event, panic::may_eject(left, size), &settings, now);
            prop_assert!(pool.iter().filter(|one| one.is_ejected()).count() * 2 <= size);
        }
    }

    /// The law "live" for one backend: a reason to stay away is never for ever.
    #[test]
    fn whatever_happened_a_trial_comes(events in events()) {
        let Story { settings, mut now, .. } = Story::new();
        let mut backend = Machine::default();
        for (_, pause, event) in events {
            now += pause as u32 * MS;
            happen(&mut backend, event, true, &settings, now);
            let longest = settings.ejection.max.max(PATIENCE).max(6 * SECOND);
            prop_assert!(backend.is_eligible(false, now + longest));
            let weight = backend.weight_factor(settings.slow_start, now);
            prop_assert!((0.1..=1.0).contains(&weight));
        }
    }

    #[test]
    fn nothing_is_asked_of_a_settled_backend_that_its_machine_would_answer_otherwise(events in events()) {
        let Story { settings, mut now, .. } = Story::new();
        let mut backend = Machine::default();
        for (_, pause, event) in events {
            now += pause as u32 * MS;
            happen(&mut backend, event, true, &settings, now);
            if backend.is_settled(settings.slow_start, now) {
                let later = now + 3 * SECOND;
                prop_assert!(backend.is_eligible(true, later) && !backend.is_down(true) && !backend.is_ejected());
                prop_assert_eq!(backend.weight_factor(settings.slow_start, later), 1.0);
            }
        }
    }
}

use proptest::prelude::*;

use super::*;

const THRESHOLD: f64 = 0.1;

fn place(number: u32, sessions: usize, weight: f64, room: usize) -> Place {
    Place { backend: BackendId::new(number), sessions, movable: sessions, room, weight }
}

/// Backends of a weight of 100 without a bound.
fn even(sessions: &[usize]) -> Vec<Place> {
    (0..).zip(sessions).map(|(number, sessions)| place(number, *sessions, 100.0, usize::MAX / 2)).collect()
}

fn sessions(places: &[Place]) -> Vec<usize> {
    places.iter().map(|place| place.sessions).collect()
}

fn carry_out(places: &mut [Place], moves: &[Move]) {
    for Move { from, to } in moves {
        places.iter_mut().find(|place| place.backend == *from).unwrap().give();
        places.iter_mut().find(|place| place.backend == *to).unwrap().take();
    }
}

/// Plans and carries out until nothing is left to be moved; all moves.
fn settle(evening: &mut Evening, places: &mut [Place], at_once: usize) -> Vec<Move> {
    let mut all = Vec::new();
    loop {
        let moves = evening.plan(THRESHOLD, places, at_once);
        if moves.is_empty() {
            return all;
        }
        carry_out(places, &moves);
        all.extend(moves);
        assert!(all.len() <= 1_000_000, "it goes on for ever");
    }
}

#[test]
fn a_backend_that_joins_is_filled_from_all_others_to_within_half_of_the_threshold() {
    let mut places = even(&[80, 80, 80, 0]);
    let mut evening = Evening::default();
    assert_eq!(evening.plan(THRESHOLD, &places, 3).len(), 3);
    assert!(evening.is_going());
    settle(&mut evening, &mut places, 3);
    assert!(!evening.is_going());
    assert_eq!(sessions(&places), [61, 61, 61, 57]);
    assert!(spread(&places) <= THRESHOLD / 2.0);
}

#[test]
fn nothing_is_moved_below_the_threshold_nor_for_less_than_a_session() {
    for loads in [&[105, 95, 100][..], &[1, 0], &[2, 1, 1], &[0, 0], &[7]] {
        let mut evening = Evening::default();
        assert!(evening.plan(THRESHOLD, &even(loads), 10).is_empty(), "{loads:?}");
        assert!(!evening.is_due(THRESHOLD, &even(loads)), "{loads:?}");
    }
    assert_eq!(
        sessions(&{
            let mut places = even(&[2, 0]);
            settle(&mut Evening::default(), &mut places, 10);
            places
        }),
        [1, 1]
    );
}

#[test]
fn once_begun_it_goes_on_to_half_of_the_threshold() {
    let places = even(&[108, 92, 100]);
    assert!(Evening::default().plan(THRESHOLD, &places, 10).is_empty());
    let mut evening = Evening { going: true };
    assert_eq!(evening.plan(THRESHOLD, &places, 10).len(), 3);
}

#[test]
fn parts_are_by_weight_and_what_does_not_fit_is_the_others() {
    let places = [place(0, 100, 100.0, 10), place(1, 0, 200.0, 30), place(2, 0, 100.0, 500), place(3, 0, 0.0, 9)];
    assert_eq!(parts(&places), [35.0, 30.0, 35.0, 0.0]);
    let mut places = places.to_vec();
    settle(&mut Evening::default(), &mut places, 10);
    assert_eq!(places[1].sessions, 30, "it is full");
    assert_eq!(places[3].sessions, 0, "it has no weight");
}

#[test]
fn one_without_weight_gives_all_that_it_has() {
    let mut places = even(&[30, 30, 30]);
    places[0].weight = 0.0;
    settle(&mut Evening::default(), &mut places, 7);
    assert_eq!(sessions(&places), [0, 45, 45]);
}

#[test]
fn what_may_not_be_moved_is_not() {
    let mut places = even(&[80, 60, 0]);
    (places[0].movable, places[1].movable) = (0, 5);
    let moves = settle(&mut Evening::default(), &mut places, 10);
    assert_eq!((moves.len(), sessions(&places)), (5, vec![80, 55, 5]));
}

fn places() -> impl Strategy<Value = Vec<Place>> {
    let weight = prop_oneof![Just(0.0), Just(100.0), 1.0..256.0];
    let room = prop_oneof![Just(0_usize), 0..300_usize, Just(usize::MAX / 2)];
    let one = (0..300_usize, weight, room, prop_oneof![3 => Just(1.0), 1 => 0.0..1.0]);
    let all = prop::collection::vec(one, 1..8);
    all.prop_map(|all| {
        let place = |(number, (sessions, weight, room, part)): (u32, (usize, f64, usize, f64))| Place {
            movable: (sessions as f64 * part) as usize,
            ..place(number, sessions, weight, room)
        };
        (0..).zip(all).map(place).collect()
    })
}

proptest! {
    #[test]
    fn it_ends_and_leaves_a_spread_only_where_no_move_helps(before in places(), at_once in 1..20_usize) {
        let mut places = before.clone();
        let mut evening = Evening::default();
        let moves = settle(&mut evening, &mut places, at_once);
        prop_assert!(!evening.is_going());
        prop_assert!(spread(&places) <= THRESHOLD || best(&places).is_none());
        prop_assert!(moves.len() <= sessions(&before).iter().sum());
        prop_assert_eq!(sessions(&places).iter().sum::<usize>(), sessions(&before).iter().sum::<usize>());
        // And nothing begins again.
        prop_assert!(evening.plan(THRESHOLD, &places, at_once).is_empty());
    }

    #[test]
    fn who_gives_never_takes(mut places in places(), at_once in 1..20_usize) {
        let moves = settle(&mut Evening::default(), &mut places, at_once);
        for Move { from, to } in &moves {
            prop_assert_ne!(from, to);
            prop_assert!(!moves.iter().any(|other| other.to == *from), "{:?}", moves);
        }
    }

    #[test]
    fn no_backend_gets_more_than_it_has_room_for_or_gives_more_than_may_go(before in places(), most in 0..400_usize) {
        let moves = Evening::default().plan(THRESHOLD, &before, most);
        prop_assert!(moves.len() <= most);
        for place in &before {
            let taken = moves.iter().filter(|one| one.to == place.backend).count();
            let given = moves.iter().filter(|one| one.from == place.backend).count();
            prop_assert!(taken <= place.room && given <= place.movable);
            prop_assert!(taken == 0 || place.weight > 0.0);
        }
    }

    /// Sessions that come and go about an even state, by less than the threshold, move nobody.
    #[test]
    fn noise_within_the_threshold_moves_nobody(
        noise in prop::collection::vec(prop::collection::vec(-4_isize..=4, 4), 1..50),
    ) {
        let mut evening = Evening::default();
        for step in noise {
            let loads: Vec<_> = step.iter().map(|by| 100_usize.saturating_add_signed(*by)).collect();
            prop_assert!(evening.plan(THRESHOLD, &even(&loads), 10).is_empty(), "{:?}", loads);
        }
    }

    /// New sessions go anywhere or to the least loaded by turns, and others end: what is moved is not moved again.
    #[test]
    fn under_churn_the_spread_comes_down_and_stays_down(
        churn in prop::collection::vec((0..4_usize, 0..4_usize), 200),
    ) {
        let mut places = even(&[80, 80, 80, 0]);
        let (mut evening, mut moved) = (Evening::default(), 0);
        for (step, (joins, leaves)) in churn.into_iter().enumerate() {
            let least = (0..4).min_by_key(|at| places[*at].sessions).unwrap();
            let joined = if step % 2 == 0 { joins } else { least };
            (places[joined].sessions, places[joined].movable) = (places[joined].sessions + 1, places[joined].movable + 1);
            if places[leaves].movable > 0 {
                (places[leaves].sessions, places[leaves].movable) = (places[leaves].sessions - 1, places[leaves].movable - 1);
            }
            let moves = evening.plan(THRESHOLD, &places, 3);
            carry_out(&mut places, &moves);
            moved += moves.len();
            if step > 40 {
                prop_assert!(spread(&places) <= 2.0 * THRESHOLD, "{:?}", sessions(&places));
            }
        }
        prop_assert!(moved <= 60 + 200, "{} moves", moved);
    }
}

//! How each algorithm spreads sessions.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Backends of these weights, without sessions.
fn pool(weights: &[f64]) -> Vec<Candidate> {
    weights.iter().enumerate().map(|(number, weight)| candidate(number, *weight)).collect()
}

fn candidate(number: usize, weight: f64) -> Candidate {
    Candidate {
        id: BackendId::new(number as u32),
        rank: 0,
        weight,
        live: 0,
        max_sessions: None,
        seed: seed(&format!("backend-{number}")),
        latency: None,
        utilisation: None,
    }
}

/// Random numbers that are the same in each run (Knuth's MMIX generator, with its high bits mixed down).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        key_hash(&self.0.to_le_bytes())
    }
}

/// Gives so many sessions to the pool; how many each backend has then.
fn spread(balance: Balance, pool: &mut [Candidate], sessions: usize) -> Vec<usize> {
    let (by, mut balancer) = (Policy::new(balance, 125), Balancer::default());
    let mut dice = Dice(1);
    for _ in 0..sessions {
        let wish = Wish { key: Some(dice.roll()), ..Wish::default() };
        let id = balancer.pick(by, pool, wish, dice.roll()).expect("there is a candidate");
        pool[id.number() as usize].live += 1;
    }
    pool.iter().map(|candidate| candidate.live).collect()
}

const ALL: [Balance; 6] =
    [Balance::LeastConn, Balance::RoundRobin, Balance::RandomTwo, Balance::Latency, Balance::Hash, Balance::Score];

#[test]
fn sessions_are_spread_by_weight() {
    for balance in ALL {
        let found = spread(balance, &mut pool(&[100.0, 200.0, 50.0, 150.0]), 5000);
        let slack = match balance {
            Balance::LeastConn | Balance::RoundRobin | Balance::Latency | Balance::Score => 1,
            // A choice by chance, mended by the second look.
            Balance::RandomTwo => 25,
            // Nothing but chance, up to the bound.
            Balance::Hash => 150,
        };
        for (found, expected) in found.iter().zip([1000, 2000, 500, 1500]) {
            assert!(found.abs_diff(expected) <= slack, "{balance:?}: {found} for {expected}");
        }
    }
}

#[test]
fn a_single_backend_gets_everything() {
    for balance in ALL {
        assert_eq!(spread(balance, &mut pool(&[1.0]), 10), [10]);
    }
}

#[test]
fn equals_take_turns() {
    for balance in [Balance::LeastConn, Balance::RoundRobin, Balance::Latency, Balance::Score] {
        let (by, mut balancer) = (Policy::new(balance, 125), Balancer::default());
        let pool = pool(&[100.0; 3]);
        let picks: Vec<_> = (0..6).map(|_| balancer.pick(by, &pool, Wish::default(), 0).unwrap().number()).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2], "{balance:?}");
    }
}

#[test]
fn round_robin_is_smooth() {
    let (by, mut balancer) = (Policy::new(Balance::RoundRobin, 125), Balancer::default());
    let pool = pool(&[3.0, 2.0, 1.0]);
    let picks: Vec<_> = (0..12).map(|_| balancer.pick(by, &pool, Wish::default(), 0).unwrap().number()).collect();
    for window in picks.chunks(6) {
        assert_eq!([0, 1, 2].map(|n| window.iter().filter(|pick| **pick == n).count()), [3, 2, 1]);
    }
    assert!(picks.windows(3).all(|three| three != [0, 0, 0]), "{picks:?}");
}

#[test]
fn a_change_of_weights_starts_no_burst() {
    let (by, mut balancer) = (Policy::new(Balance::RoundRobin, 125), Balancer::default());
    let mut pool = pool(&[256.0, 1.0]);
    for _ in 0..200 {
        balancer.pick(by, &pool, Wish::default(), 0).unwrap();
    }
    pool[0].weight = 1.0;
    let picks: Vec<_> = (0..6).map(|_| balancer.pick(by, &pool, Wish::default(), 0).unwrap().number()).collect();
    assert!(picks.windows(3).all(|three| three[0] != three[1] || three[1] != three[2]), "{picks:?}");
}

#[test]
fn latency_counts_times_the_sessions() {
    let mut pool = pool(&[100.0; 3]);
    for (candidate, latency) in pool.iter_mut().zip([0.010, 0.020, 0.040]) {
        candidate.latency = Some(latency);
    }
    assert_eq!(spread(Balance::Latency, &mut pool, 700), [400, 200, 100]);
}

#[test]
fn an_unknown_latency_is_found_out_and_tiny_ones_are_equal() {
    let mut pool = pool(&[100.0; 2]);
    pool[0].latency = Some(0.010);
    assert_eq!(spread(Balance::Latency, &mut pool, 100), [50, 50]);
    let mut pool = pool_with_latencies(&[0.000_001, 0.000_09]);
    assert_eq!(spread(Balance::Latency, &mut pool, 100), [50, 50]);
}

fn pool_with_latencies(latencies: &[f64]) -> Vec<Candidate> {
    let mut pool = pool(&vec![100.0; latencies.len()]);
    pool.iter_mut().zip(latencies).for_each(|(candidate, latency)| candidate.latency = Some(*latency));
    pool
}

#[test]
fn score_follows_the_headroom() {
    let mut pool = pool(&[100.0, 100.0, 200.0]);
    for (candidate, utilisation) in pool.iter_mut().zip([0.2, 0.6, 0.8]) {
        candidate.utilisation = Some(utilisation);
    }
    // 100 × 0.8, 100 × 0.4, 200 × 0.2.
    assert_eq!(spread(Balance::Score, &mut pool, 400), [200, 100, 100]);
}

#[test]
fn who_reports_nothing_counts_as_the_mean_of_those_who_do() {
    let mut pool = pool(&[100.0; 3]);
    pool[0].utilisation = Some(0.8);
    pool[1].utilisation = Some(0.4);
    // Headrooms 0.2, 0.6 and, by the mean of 0.6, 0.4.
    assert_eq!(spread(Balance::Score, &mut pool, 600), [100, 300, 200]);
}

#[test]
fn a_full_backend_still_gets_its_hundredth() {
    let mut pool = pool(&[100.0; 2]);
    pool[0].utilisation = Some(1.0);
    pool[1].utilisation = Some(0.0);
    assert_eq!(spread(Balance::Score, &mut pool, 1010), [10, 1000]);
}

#[test]
fn without_a_key_hash_takes_the_fewest_sessions() {
    let (by, mut balancer) = (Policy::new(Balance::Hash, 125), Balancer::default());
    let mut pool = pool(&[100.0; 2]);
    pool[0].live = 3;
    assert_eq!(balancer.pick(by, &pool, Wish::default(), 0), Some(BackendId::new(1)));
}

#[test]
fn better_ranks_go_first_until_they_are_full() {
    for balance in ALL {
        let mut pool = pool(&[100.0; 3]);
        pool[0].rank = 1;
        pool[2].rank = 2;
        (pool[0].max_sessions, pool[1].max_sessions, pool[2].max_sessions) = (Some(2), Some(3), Some(1));
        for (picked, expected) in [[0, 1, 0], [0, 2, 0], [0, 3, 0], [1, 3, 0], [2, 3, 0], [2, 3, 1]].iter().enumerate()
        {
            assert_eq!(spread(balance, &mut pool, 1), expected, "{balance:?}, session {picked}");
        }
        assert_eq!(
            Balancer::default().pick(Policy::new(balance, 125), &pool, Wish { key: Some(1), sticky: None }, 0),
            None
        );
    }
}

#[test]
fn no_weight_means_no_session() {
    for balance in ALL {
        assert_eq!(spread(balance, &mut pool(&[0.0, 100.0]), 20), [0, 20], "{balance:?}");
        assert_eq!(
            Balancer::default().pick(Policy::new(balance, 125), &pool(&[0.0]), Wish { key: Some(1), sticky: None }, 0),
            None
        );
    }
}

#[test]
fn a_session_sticks_while_it_can() {
    let stuck = BackendId::new(1);
    let pick = |pool: &[Candidate]| {
        let wish = Wish { sticky: Some(stuck), key: None };
        Balancer::default().pick(Policy::new(Balance::LeastConn, 125), pool, wish, 0)
    };
    let mut pool = pool(&[100.0; 2]);
    pool[1].live = 50;
    assert_eq!(pick(&pool), Some(stuck));
    let weightless = Candidate { weight: 0.0, ..pool[1] };
    assert_eq!(pick(&[pool[0], weightless]), Some(stuck), "those that stick are let in");
    let full = Candidate { max_sessions: Some(50), ..pool[1] };
    assert_eq!(pick(&[pool[0], full]), Some(pool[0].id));
    let failing = Candidate { rank: 1, ..pool[1] };
    assert_eq!(pick(&[pool[0], failing]), Some(pool[0].id));
    assert_eq!(pick(&[Candidate { weight: 0.0, ..pool[0] }, failing]), Some(stuck));
    assert_eq!(pick(&pool[..1]), Some(pool[0].id), "it is gone");
}

/// Where each key goes in a pool without sessions.
fn places(pool: &[Candidate], keys: u64) -> HashMap<u64, BackendId> {
    let (by, mut balancer) = (Policy::new(Balance::Hash, 125), Balancer::default());
    let place = |key| balancer.pick(by, pool, Wish { key: Some(key_hash(&key_bytes(key))), sticky: None }, 0).unwrap();
    (0..keys).zip((0..keys).map(place)).collect()
}

fn key_bytes(key: u64) -> [u8; 8] {
    key.to_le_bytes()
}

#[test]
fn when_a_backend_leaves_only_its_keys_move_and_when_it_comes_back_they_return() {
    let five = pool(&[100.0; 5]);
    let before = places(&five, 10_000);
    let four: Vec<_> = five.iter().copied().filter(|candidate| candidate.id.number() != 2).collect();
    let without = places(&four, 10_000);
    let moved = before.iter().filter(|(key, place)| without[key] != **place).count();
    assert!(before.iter().all(|(key, place)| place.number() == 2 || without[key] == *place));
    // A fifth of the keys: 2000, with a standard deviation of 40.
    assert!(moved.abs_diff(2000) < 200, "{moved}");
    assert_eq!(places(&five, 10_000), before);
}

#[test]
fn the_place_of_a_key_depends_on_names_and_not_on_the_order_of_the_pool() {
    let pool = pool(&[100.0, 50.0, 70.0]);
    let turned: Vec<_> = pool.iter().rev().copied().collect();
    assert_eq!(places(&pool, 1000), places(&turned, 1000));
}

proptest! {
    #[test]
    fn a_new_weight_moves_keys_only_to_or_from_that_backend(
        weights in prop::collection::vec(1.0..256.0, 2..8), changed in any::<prop::sample::Index>(), weight in 1.0..256.0,
    ) {
        let before = pool(&weights);
        let mut after = before.clone();
        let changed = changed.index(after.len());
        after[changed].weight = weight;
        let (old, new) = (places(&before, 200), places(&after, 200));
        for (key, place) in &old {
            let moved = new[key] != *place;
            let gained = weight > weights[changed];
            let there = if gained { new[key] } else { *place };
            prop_assert!(!moved || there.number() as usize == changed);
        }
    }

    #[test]
    fn the_bound_is_never_exceeded(
        weights in prop::collection::vec(1.0..256.0, 1..8), bound in 101_u32..300, hot in 0.0..1.0, seed in any::<u64>(),
    ) {
        let mut pool = pool(&weights);
        let (by, mut balancer) = (Policy::new(Balance::Hash, bound), Balancer::default());
        let mut dice = Dice(seed);
        let total: f64 = weights.iter().sum();
        for sessions in 1..400 {
            // Many have the same key: without a bound, one backend would get them all.
            let is_hot = (dice.roll() as f64) < hot * u64::MAX as f64;
            let key = if is_hot { 7 } else { dice.roll() };
            let id = balancer.pick(by, &pool, Wish { key: Some(key), sticky: None }, 0).unwrap();
            let chosen = &mut pool[id.number() as usize];
            chosen.live += 1;
            let most = f64::from(bound) / 100.0 * f64::from(sessions) * chosen.weight / total;
            prop_assert!(chosen.live as f64 <= most.ceil() + 1e-6, "{} of {sessions}, {most}", chosen.live);
        }
    }

    #[test]
    fn no_candidate_with_a_weight_starves(
        weights in prop::collection::vec(1.0..256.0, 1..6),
        utilisations in prop::collection::vec(0.0..1.0, 6),
        latencies in prop::collection::vec(0.0..0.1, 6),
        seed in any::<u64>(),
    ) {
        for balance in ALL {
            let mut pool = pool(&weights);
            for (candidate, (utilisation, latency)) in pool.iter_mut().zip(utilisations.iter().zip(&latencies)) {
                (candidate.utilisation, candidate.latency) = (Some(*utilisation), Some(*latency));
            }
            let (by, mut balancer) = (Policy::new(balance, 125), Balancer::default());
            let mut dice = Dice(seed);
            let starving = |pool: &[Candidate]| pool.iter().any(|candidate| candidate.live == 0);
            let mut sessions = 0;
            while starving(&pool) && sessions < 1_000_000 {
                let wish = Wish { key: Some(dice.roll()), sticky: None };
                let id = balancer.pick(by, &pool, wish, dice.roll()).unwrap();
                pool[id.number() as usize].live += 1;
                sessions += 1;
            }
            prop_assert!(!starving(&pool), "{balance:?}: {:?}", pool.iter().map(|c| c.live).collect::<Vec<_>>());
        }
    }
}

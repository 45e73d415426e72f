//! The judge on invented runs: it must see each breach that the other tests rely on it to see.

use tideover_tests::{
    backend::{Event, What},
    client::{End, Message, Transcript},
    clock::ms,
    judge::{Judge, legs, message_id},
};

/// A run of client 1, which sent `sent` messages, one each 10 ms, and got the echoes of `got`, each 2 ms later. Each leg
/// opened at a time, in ms, in a process of its own (1, 2, …), and read these messages.
fn run(sent: u32, got: &[u32], legs_and_reads: &[(u64, &[u32])]) -> Judge {
    let message = |at, n| Message { at, len: 4, text: format!("c1-{n}"), binary: false };
    let transcript = Transcript {
        client: 1,
        sent: (1..=sent).map(|n| message(ms(10) * u64::from(n), n)).collect(),
        got: got.iter().map(|&n| message(ms(10) * u64::from(n) + ms(2), n)).collect(),
        end: End::Client,
        ended_at: ms(10_000),
    };
    let events: Vec<Event> = (1..)
        .zip(legs_and_reads)
        .flat_map(|(pid, &(opened, reads))| {
            let event = move |what| Event { at: ms(opened), connection: format!("{pid}-1"), what };
            let reads = reads.iter().map(move |n| event(What::Read(4, format!("c1-{n}"))));
            std::iter::once(event(What::Open("/echo".to_owned()))).chain(reads)
        })
        .collect();
    Judge { legs: legs(&events), transcripts: vec![transcript] }
}

#[test]
fn a_clean_failover_is_no_breach() {
    let judge = run(5, &[1, 2, 3, 4, 5], &[(1, &[1, 2, 3]), (35, &[3, 4, 5])]);
    judge.assert_nothing_lost_and_nobody_closed();
    let repeats = judge.repeats();
    assert_eq!(repeats.len(), 1);
    assert_eq!((repeats[0].number, repeats[0].earlier_pid, repeats[0].sent_at), (3, 1, ms(30)));
}

#[test]
fn what_no_backend_has_read_is_lost() {
    let judge = run(5, &[1, 2, 3, 4, 5], &[(1, &[1, 2, 3, 4])]);
    assert_eq!(judge.lost(), ["c1-5"]);
}

#[test]
fn what_did_not_come_back_is_a_lost_echo() {
    assert_eq!(run(3, &[1, 3], &[(1, &[1, 2, 3])]).lost_echoes(), ["c1-2"]);
}

#[test]
fn an_echo_that_comes_after_a_later_ones_is_named_but_a_repeat_is_not() {
    assert_eq!(run(4, &[1, 3, 2, 4], &[]).echo_disorder(), ["c1-2"]);
    assert!(run(4, &[1, 2, 3, 2, 3, 4], &[]).echo_disorder().is_empty());
}

#[test]
fn gaps_repeats_and_swaps_on_a_leg_are_disorder() {
    for reads in [&[1, 3][..], &[1, 1], &[2, 1], &[1, 2, 4, 3]] {
        assert!(!run(4, &[], &[(1, reads)]).disorder().is_empty(), "{reads:?}");
    }
}

#[test]
fn a_leg_that_begins_too_late_is_disorder_even_when_another_catches_up() {
    assert!(!run(4, &[], &[(1, &[1]), (2, &[3, 4]), (3, &[2, 3, 4])]).disorder().is_empty());
}

#[test]
fn a_repeat_of_a_repeat_counts_from_the_leg_that_was_killed() {
    let judge = run(1, &[1], &[(5, &[1]), (50, &[1]), (90, &[1])]);
    let sent_at: Vec<u64> = judge.repeats().iter().map(|repeat| repeat.sent_at).collect();
    assert_eq!(sent_at, [ms(10), ms(50)]);
}

#[test]
fn the_round_trip_counts_what_is_still_open_with_its_age() {
    let judge = run(100, &(1..=95).collect::<Vec<_>>(), &[]);
    assert_eq!(judge.round_trip_before(ms(955)), ms(2));
    assert_eq!(judge.round_trip_before(ms(985)), ms(25));
}

#[test]
fn a_client_that_was_closed_is_named() {
    let mut judge = run(1, &[1], &[(1, &[1])]);
    judge.transcripts[0].end = End::Peer { code: 1013, reason: String::new() };
    assert_eq!(judge.closed_clients().len(), 1);
}

#[test]
fn message_ids_are_read_up_to_a_colon() {
    assert_eq!(message_id("c12-345:padding"), Some((12, 345)));
    assert_eq!(message_id("push-3"), None);
}

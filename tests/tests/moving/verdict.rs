//! What must be true of any run in which sessions were moved.

use std::collections::HashSet;
use std::time::Duration;

use tideover_tests::backend::What;
use tideover_tests::client::Transcript;
use tideover_tests::deadline::wait_for;
use tideover_tests::judge::{Judge, assert_none, legs};
use tideover_tests::{Backend, Kind};

/// How long the backends may take to write down the ends of sessions that the clients have seen end.
const WRITTEN_WITHIN: Duration = Duration::from_secs(20);

/// Nothing lost, nobody closed; no message read, done or answered twice; every leg that was left got Close 1001.
pub(crate) fn assert_unnoticed(backends: &[Backend], transcripts: Vec<Transcript>) -> Judge {
    wait_until_all_is_written(backends);
    let judge = Judge::new(backends, transcripts);
    judge.assert_nothing_lost_and_nobody_closed();
    assert_none("messages read twice", &judge.repeats());
    assert_none("messages answered twice", &answered_twice(&judge.transcripts));
    assert_done_once(backends, &judge);
    assert_left_legs_were_told_1001(backends, &judge);
    judge
}

/// Backends write an end down after the other side has seen it: when all legs have ended, so much has been written.
fn wait_until_all_is_written(backends: &[Backend]) {
    wait_for(WRITTEN_WITHIN, "the backends have seen the ends of all legs", || {
        let events: Vec<_> = backends.iter().flat_map(Backend::events).collect();
        legs(&events).iter().all(|leg| leg.client.is_none() || leg.ended.is_some()).then_some(())
    });
}

fn answered_twice(transcripts: &[Transcript]) -> Vec<&str> {
    let mut seen = HashSet::new();
    transcripts.iter().flat_map(Transcript::texts).filter(|text| !seen.insert(*text)).collect()
}

/// Every message that was sent has been handled to its end, once.
fn assert_done_once(backends: &[Backend], judge: &Judge) {
    // The handler of `Kind::Rust` logs what it has read only.
    if backends.iter().any(|backend| backend.kind() == Kind::Rust) {
        return;
    }
    let events = backends.iter().flat_map(Backend::events);
    let done = events.filter(|event| matches!(event.what, What::Done(..))).count();
    let sent: usize = judge.transcripts.iter().map(|transcript| transcript.sent.len()).sum();
    assert_eq!(done, sent, "messages done");
}

fn assert_left_legs_were_told_1001(backends: &[Backend], judge: &Judge) {
    let events: Vec<_> = backends.iter().flat_map(Backend::events).collect();
    let told: HashSet<_> = events
        .iter()
        .filter(|event| matches!(event.what, What::Close(1001, _)))
        .map(|event| event.connection.as_str())
        .collect();
    for transcript in &judge.transcripts {
        let mut legs: Vec<_> = judge.legs_of(transcript.client).collect();
        legs.pop();
        let untold: Vec<_> = legs.into_iter().filter(|leg| !told.contains(leg.connection.as_str())).collect();
        assert_none(&format!("legs of client {} that were left without Close 1001", transcript.client), &untold);
    }
}

/// The longest time between two echoes of a client, of which the later one came between these times.
pub(crate) fn longest_gap(transcripts: &[Transcript], from: u64, until: u64) -> Duration {
    let of_one = |transcript: &Transcript| {
        let times: Vec<_> = transcript.got.iter().map(|got| got.at).collect();
        times.windows(2).filter(|pair| (from..until).contains(&pair[1])).map(|pair| pair[1] - pair[0]).max()
    };
    Duration::from_nanos(transcripts.iter().filter_map(of_one).max().unwrap_or_default())
}

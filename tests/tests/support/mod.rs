//! What the chaos tests share.

use std::{collections::BTreeSet, time::Duration};

use tideover_tests::{
    Backend,
    backend::Kill,
    client::Transcript,
    clock::{ms, now_ns},
    judge::{Judge, Repeat, assert_none, legs},
};
use tokio::time::{MissedTickBehavior, interval};

/// The proxy's default `--ack-interval`, in nanoseconds.
const ACK_INTERVAL: u64 = ms(20);

/// How much later than due a timer of a millisecond's resolution may fire.
const TIMER_TICK: u64 = ms(1);

/// Kills a random backend each second, see [`kill_one_every`].
pub(crate) async fn kill_one_each_second(backends: &mut [Backend], times: u32) -> Vec<Kill> {
    kill_one_every(Duration::from_secs(1), backends, times).await
}

/// Kills a random backend every so often (up to a tenth later, not to fall into step with the clients), so many times,
/// and starts it again on its port each time.
pub(crate) async fn kill_one_every(period: Duration, backends: &mut [Backend], times: u32) -> Vec<Kill> {
    let seed = now_ns();
    eprintln!("the kills' seed: {seed}");
    let mut random = seeded(seed);
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await; // the first is at once
    let mut kills = Vec::new();
    for _ in 0..times {
        ticks.tick().await;
        tokio::time::sleep(Duration::from_millis(random(period.as_millis() as u64 / 10))).await;
        let chosen = random(backends.len() as u64) as usize;
        kills.push(backends[chosen].kill());
        backends[chosen].restart();
    }
    kills
}

/// Numbers below the argument: Knuth's MMIX generator, of which the high bits are the good ones.
fn seeded(mut state: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

/// Asserts that a kill made only those messages run twice that the proxy could not yet know to have been read.
///
/// At the kill, the newest answered barrier had been sent at some time B. A message was replayed only if it reached the
/// proxy after B. The next barrier was due an ack interval after B, or when B's answer had come if that was later (one at
/// most is in flight), and its own answer had not come at the kill. With a round trip R that takes the message's way
/// to the proxy in, B is thus no longer before the kill than max(interval, R) + R, and what was sent earlier is not
/// replayed. While R is below the interval, that is the promised "ack interval + round trip".
///
/// R is measured by the clients as the time to the echo, which goes further than a ping. A message that was itself a
/// replay on the killed leg counts as sent when that leg opened.
#[track_caller]
pub(crate) fn assert_repeats_only_what_was_unacknowledged(judge: &Judge, kills: &[Kill]) {
    let cut = judge.legs.iter().filter(|leg| kills.iter().any(|kill| kill.pid == leg.pid) && leg.ended.is_none());
    assert!(cut.count() > 0, "no kill met a session");
    let repeats = judge.repeats();
    let kill_of = |repeat: &Repeat| kills.iter().find(|kill| kill.pid == repeat.earlier_pid);
    let unexplained: Vec<_> = repeats.iter().filter(|repeat| kill_of(repeat).is_none()).collect();
    assert_none("repeats of what a backend had read that was not killed", &unexplained);
    for kill in kills {
        let round_trip = judge.round_trip_before(kill.at);
        let window = round_trip.max(ACK_INTERVAL) + round_trip + TIMER_TICK;
        let of_this_kill: Vec<_> = repeats.iter().filter(|repeat| repeat.earlier_pid == kill.pid).collect();
        let too_old: Vec<_> = of_this_kill.iter().filter(|repeat| repeat.sent_at + window < kill.at).collect();
        let (window, round_trip) = (Duration::from_nanos(window), Duration::from_nanos(round_trip));
        eprintln!("kill of {}: {} repeats, round trip {round_trip:?}", kill.pid, of_this_kill.len());
        assert_none(&format!("repeats of what was sent more than {window:?} before {kill:?}"), &too_old);
    }
}

/// The clients of which this backend has read something.
pub(crate) fn clients_on(backend: &Backend) -> BTreeSet<u32> {
    legs(&backend.events()).iter().filter_map(|leg| leg.client).collect()
}

/// How many legs have carried at least so many messages.
pub(crate) fn legs_with_reads(reads: usize, backends: &[Backend]) -> usize {
    let events: Vec<_> = backends.iter().flat_map(Backend::events).collect();
    legs(&events).iter().filter(|leg| leg.reads.len() >= reads).count()
}

/// How many messages a client sent between two times.
pub(crate) fn sent_between(client: &Transcript, from: u64, to: u64) -> usize {
    client.sent.iter().filter(|sent| (from..to).contains(&sent.at)).count()
}

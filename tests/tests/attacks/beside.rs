//! Honest sessions beside each attack.

use std::time::Duration;

use tideover_tests::{
    attack::{Attack, Done, HALF_OPEN, Site},
    client::Load,
    deadline::eventually,
    environment::raise_descriptor_limit,
    lock::machine_alone,
    metrics::{METRICS, metric},
};

const SECONDS: u32 = 5;
const BEGUN_WITHIN: Duration = Duration::from_secs(60);
/// What one in a hundred may wait longer than. A stall, such as a spinning loop or a full queue, takes seconds.
const GENEROUS: Duration = Duration::from_secs(3);
/// The proxy's lingering over bad ends, and its `--handshake-timeout`, are over by then.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(40);

/// Runs the honest beside the attack once `took_place` says that it is under way; gives what the attackers did, and where.
async fn beside(attack: Attack, flags: &[&str], took_place: impl Fn(&Done) -> bool) -> (std::sync::Arc<Done>, Site) {
    raise_descriptor_limit();
    let mut site = Site::set(attack, flags);
    site.honest(Load::new(20, 1)).await;
    let before = site.proxy.descriptors();
    let attacker = attack.start(site.proxy.address());
    eventually(BEGUN_WITHIN, format_args!("{} is under way", attack.title()), || took_place(attacker.done())).await;
    let round = site.honest(Load::new(20, SECONDS)).await;
    let done = attacker.stop();
    eprintln!("{}: {done}; the honest: {round:?}", attack.title());
    assert!(round.p99 < GENEROUS, "{round:?}");
    let given_back = "the descriptors of the attackers are closed";
    eventually(GIVEN_BACK_WITHIN, given_back, || site.proxy.descriptors() <= before).await;
    let log = site.proxy.log_text();
    assert!(site.proxy.is_running() && !log.contains("panicked"), "{log}");
    (done, site)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_half_open_handshakes_end_in_time_and_hurt_nobody() {
    let _machine = machine_alone();
    let flags = ["--handshake-timeout", "10s"];
    let (done, _) =
        beside(Attack::Slowloris, &flags, |done| done.most_open() >= HALF_OPEN && done.answered() > 0).await;
    // Each sent a byte a second: only a deadline that runs from the beginning ends it.
    assert!(done.answered() > HALF_OPEN / 2, "{done}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fragment_flood_is_slowed_down_and_hurts_nobody() {
    let _machine = machine_alone();
    // That they are gone shows behind what lies in their sockets, or at the end of a message at the rate.
    let flags = [&METRICS[..], &["--max-message-frames", "15000"]].concat();
    let (_, site) = beside(Attack::Fragments, &flags, |done| done.sent() > 10_000).await;
    assert!(metric(&site.proxy, "sessions_slowed_total{limit=\"control_rate\"}").await >= 8.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fragment_flood_that_is_not_slowed_down_is_ended_and_hurts_nobody() {
    let _machine = machine_alone();
    beside(Attack::Fragments, &["--control-rate", "0"], |done| done.sent() > 200_000 && done.answered() > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_flood_hurts_nobody() {
    let _machine = machine_alone();
    beside(Attack::Pings, &[], |done| done.sent() > 10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_read_hurt_nobody() {
    let _machine = machine_alone();
    beside(Attack::NeverReads, &[], |done| done.sent() > 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_inputs_hurt_nobody() {
    let _machine = machine_alone();
    beside(Attack::RandomInput, &["--close-timeout", "1s"], |done| done.answered() > 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_lies_beside_an_honest_one_hurts_nobody() {
    let _machine = machine_alone();
    let (done, _) = beside(Attack::LyingBackend, &[], |done| done.answered() > 20).await;
    assert_eq!(done.wrong(), 0, "sessions refused, or with injected fields, though a good backend is there");
}

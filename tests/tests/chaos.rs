//! Backends are killed, stopped and away while clients go on sending: nobody notices, nothing is lost.

mod support;

use std::time::Duration;

use support::{assert_repeats_only_what_was_unacknowledged, kill_one_each_second};
use tideover_tests::{
    Backend, Kind, Proxy,
    client::{ForeignClients, ForeignKind, Load, run_many},
    clock::{ms, now_ns},
    deadline::eventually,
    judge::{Judge, assert_none},
    lock::{machine_alone, machine_shared},
};

const SECONDS: u32 = 10;

/// Must be shown, 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_a_backend_each_second_loses_nothing_and_closes_nobody() {
    let _machine = machine_alone();
    let mut backends = [Kind::Rust; 3].map(Backend::start);
    let proxy = Proxy::start(&backends, &[]);
    let url = proxy.url("/echo");
    let clients = tokio::spawn(async move { run_many(&url, 0..50, Load::new(100, SECONDS)).await });
    let kills = kill_one_each_second(&mut backends, SECONDS - 1).await;
    let judge = Judge::new(&backends, clients.await.expect("the clients end"));
    judge.assert_nothing_lost_and_nobody_closed();
    assert_repeats_only_what_was_unacknowledged(&judge, &kills);
}

/// Must be shown, 2: backends and clients in other languages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_and_python_on_both_sides_survive_a_kill_each_second() {
    let _machine = machine_alone();
    let mut backends = [Kind::NodeSync, Kind::Aiohttp, Kind::NodeSync, Kind::Aiohttp].map(Backend::start);
    let proxy = Proxy::start(&backends, &[]);
    let (url, load) = (proxy.url("/echo"), Load::new(100, SECONDS));
    let node = ForeignClients::start(ForeignKind::Node, &url, 0..25, load);
    let python = ForeignClients::start(ForeignKind::Python, &url, 25..50, load);
    let at_work = || support::legs_with_reads(1, &backends) >= 50;
    eventually(Duration::from_secs(60), "all clients are at work", at_work).await;
    let kills = kill_one_each_second(&mut backends, SECONDS - 1).await;
    let transcripts = [node.finish().await, python.finish().await].concat();
    let judge = Judge::new(&backends, transcripts);
    judge.assert_nothing_lost_and_nobody_closed();
    assert_repeats_only_what_was_unacknowledged(&judge, &kills);
}

/// Must be shown, 3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_backend_is_away_for_five_seconds_and_nothing_is_lost() {
    const AWAY: Duration = Duration::from_secs(5);
    let _machine = machine_shared();
    let mut backend = Backend::start(Kind::Rust);
    let proxy = Proxy::start([&backend], &[]);
    let url = proxy.url("/echo");
    let clients = tokio::spawn(async move { run_many(&url, 0..20, Load::new(50, 12)).await });
    eventually(Duration::from_secs(30), "all clients are at work", || support::clients_on(&backend).len() == 20).await;
    let killed = backend.kill().at;
    tokio::time::sleep(AWAY).await;
    backend.restart();
    let back = now_ns();
    let judge = Judge::new([&backend], clients.await.expect("the clients end"));
    judge.assert_nothing_lost_and_nobody_closed();
    let silent = |client: &&_| support::sent_between(client, killed, back) < 200;
    assert_none("clients that did not keep sending", &judge.transcripts.iter().filter(silent).collect::<Vec<_>>());
}

/// Must be shown, 4. The flags are short so that the test is; its bound follows from them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sessions_of_a_stopped_backend_move_in_time() {
    const MOVED_WITHIN: u64 = ms(2000 + 1000 + 3000);
    let _machine = machine_alone();
    let backends = [Kind::Rust; 2].map(Backend::start);
    let [stopped, healthy] = &backends;
    let proxy = Proxy::start(&backends, &["--ack-timeout", "2s", "--connect-timeout", "1s"]);
    let url = proxy.url("/echo");
    let clients = tokio::spawn(async move { run_many(&url, 0..20, Load::new(20, 10)).await });
    // A leg that never answered a ping is never suspect for it (DESIGN), so each must have worked for a while: by its
    // twentieth message, sent a second after its first, it has answered many barriers.
    let at_work = || support::legs_with_reads(20, &backends) == 20;
    eventually(Duration::from_secs(30), "all clients are at work", at_work).await;
    let moving = support::clients_on(stopped);
    assert!(!moving.is_empty(), "least connections gives each backend its share");
    let stopped_at = now_ns();
    stopped.stop();
    let moved = || support::clients_on(healthy).is_superset(&moving);
    eventually(Duration::from_secs(20), "the stopped backend's sessions have moved", moved).await;
    // It still acts on what lay in its sockets.
    stopped.cont();
    let judge = Judge::new(&backends, clients.await.expect("the clients end"));
    judge.assert_nothing_lost_and_nobody_closed();
    let late = judge.legs.iter().filter(|leg| {
        let moved = leg.pid == healthy.pid() && leg.client.is_some_and(|client| moving.contains(&client));
        moved && leg.opened > stopped_at + MOVED_WITHIN
    });
    assert_none("sessions moved late", &late.collect::<Vec<_>>());
}

//! A rolling restart by drain.

use std::time::Duration;

use tideover_tests::client::{Load, run_many};
use tideover_tests::clock::now_ns;
use tideover_tests::deadline::eventually;
use tideover_tests::lock::machine_alone;
use tideover_tests::{Backend, Kind, Replaced};

use super::verdict::{assert_unnoticed, longest_gap};
use super::{backends, serve, text};

/// Sessions, and messages a second of each.
const SESSIONS: u32 = 300;
const RATE: u32 = 20;
/// How long they last, in seconds.
const LENGTH: u32 = 45;
const SOON: Duration = Duration::from_secs(30);
/// What the client may wait beyond the handler's time, as it is to be shown on a machine of its own.
const ALLOWANCE: Duration = Duration::from_millis(100);
/// What a busy machine may add to that here: this test is no measurement.
const MACHINE: Duration = Duration::from_secs(10);

/// Takes the backend out of the file, restarts it when it has no connection any more, and puts it back.
async fn restart(backends: &mut [Backend], which: usize, file: &Replaced) {
    let others = backends.iter().enumerate().filter(|(at, _)| *at != which).map(|(_, backend)| backend);
    file.replace(&text("", others));
    eventually(SOON, "the drained backend has no connection left", || backends[which].connections() == 0).await;
    let pid = backends[which].pid();
    let open = |leg: &tideover_tests::judge::Leg| leg.pid == pid && leg.ended.is_none();
    let left = || tideover_tests::judge::legs(&backends[which].events()).into_iter().filter(open).count();
    // It writes an end down when the kernel has none of the connection any more.
    eventually(SOON, "the old process has seen the end of each leg", || left() == 0).await;
    backends[which].terminate();
    backends[which].restart();
    file.replace(&text("", &*backends));
}

async fn rolling_restart(kind: Kind, path: &str, handler: Duration) {
    let _machine = machine_alone();
    let mut backends = backends::<3>(kind);
    let file = Replaced::new(&text("", &backends));
    let proxy = serve(&file);
    let url = proxy.url(path);
    let clients = tokio::spawn(async move { run_many(&url, 0..SESSIONS, Load::new(RATE, LENGTH)).await });
    let all_there = |backends: &[Backend]| backends.iter().map(Backend::connections).sum::<usize>();
    eventually(SOON, "all sessions are there", || all_there(&backends) == SESSIONS as usize).await;
    // A second of what is usual, to compare with.
    let begun = now_ns() + 1_000_000_000;
    eventually(SOON, "a second is over", || now_ns() > begun).await;
    for which in 0..backends.len() {
        restart(&mut backends, which, &file).await;
    }
    let over = now_ns();
    let transcripts = clients.await.expect("no client panics");
    assert!(transcripts.iter().all(|transcript| transcript.ended_at > over), "it was over in time");
    let judge = assert_unnoticed(&backends, transcripts);
    let moved = judge.legs.iter().filter(|leg| leg.client.is_some()).count() - SESSIONS as usize;
    assert!(moved >= SESSIONS as usize, "each session was on a backend that was restarted: {moved}");
    let worst = longest_gap(&judge.transcripts, begun, over);
    let usual = longest_gap(&judge.transcripts, begun - 1_000_000_000, begun);
    let took = Duration::from_nanos(over - begun);
    println!(
        "{kind:?}: {SESSIONS} sessions, {moved} moves in {took:?}; longest gap {worst:?} (to be shown: at most {:?}), \
         before {usual:?}",
        handler + ALLOWANCE
    );
    assert!(worst <= handler + ALLOWANCE + MACHINE, "{worst:?} without an echo");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_by_drain_goes_unnoticed_on_aiohttp() {
    rolling_restart(Kind::Aiohttp, "/echo", Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_by_drain_goes_unnoticed_with_handlers_of_500_ms_in_node() {
    rolling_restart(Kind::NodeAsync, "/slow?ms=500", Duration::from_millis(500)).await;
}

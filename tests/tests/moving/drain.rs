//! What becomes of the sessions of a backend that is removed, or whose agent wants it to drain.

use std::time::Duration;

use tideover_tests::client::{Client, Load, run_many};
use tideover_tests::deadline::eventually;
use tideover_tests::lock::machine_shared;
use tideover_tests::proxy::says;
use tideover_tests::{Kind, Proxy, Replaced};

use super::backends;
use super::verdict::assert_unnoticed;

const SOON: Duration = Duration::from_secs(20);

async fn chat(client: &mut Client) {
    let sent = client.send_numbered().await;
    assert_eq!(client.next(SOON).await.expect("the session goes on").text, sent);
}

async fn logged(proxy: &Proxy, what: &str) {
    eventually(SOON, format!("the log says {what}"), || count(proxy, what) > 0).await;
}

fn count(proxy: &Proxy, what: &str) -> usize {
    proxy.log_lines().iter().filter(|line| says(line, what)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sessions_of_a_backend_that_is_not_listed_any_more_are_moved_and_none_is_closed() {
    let _machine = machine_shared();
    let all = backends::<2>(Kind::Aiohttp);
    let [first, second] = all.each_ref().map(|backend| format!("ws://{}\n", backend.address()));
    let list = Replaced::new(&format!("{first}{second}"));
    let proxy = Proxy::before([], &["--backends-file", &list.text()]);
    let url = proxy.url("/echo");
    let clients = tokio::spawn(async move { run_many(&url, 0..40, Load::new(10, 20)).await });
    eventually(SOON, "they are there", || all.each_ref().map(|one| one.connections()) == [20, 20]).await;
    list.replace(&first);
    eventually(SOON, "they are moved", || all.each_ref().map(|one| one.connections()) == [40, 0]).await;
    logged(&proxy, "backend forgotten").await;
    let judge = assert_unnoticed(&all, clients.await.expect("no client panics"));
    assert_eq!(judge.legs.iter().filter(|leg| leg.client.is_some()).count(), 60);
    for line in ["backend drains: its sessions are moved", "backend drained: no session is left"] {
        assert_eq!(count(&proxy, line), 1, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_another_backend_sessions_wait_where_they_are_and_go_when_one_comes() {
    let _machine = machine_shared();
    let all = backends::<2>(Kind::NodeAsync);
    let [first, second] = all.each_ref().map(|backend| format!("ws://{}\n", backend.address()));
    let list = Replaced::new(&first);
    let proxy = Proxy::before([], &["--backends-file", &list.text()]);
    let mut client = Client::connect(1, proxy.url("/echo")).await.expect("a session");
    chat(&mut client).await;
    list.replace("# nobody for now\n");
    let waits = "no other backend may have the sessions of one that drains; they wait";
    logged(&proxy, waits).await;
    for _ in 0..20 {
        chat(&mut client).await;
    }
    assert_eq!(all.each_ref().map(|one| one.connections()), [1, 0]);
    list.replace(&second);
    eventually(SOON, "it is moved", || all.each_ref().map(|one| one.connections()) == [0, 1]).await;
    chat(&mut client).await;
    assert_unnoticed(&all, vec![client.close(1000, "", SOON).await]);
    assert_eq!(count(&proxy, waits), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_keeps_to_its_rate() {
    let _machine = machine_shared();
    let all = backends::<2>(Kind::Aiohttp);
    let [first, second] = all.each_ref().map(|backend| format!("ws://{}\n", backend.address()));
    let list = Replaced::new(&first);
    let flags = ["--backends-file", &list.text(), "--drain-rate", "10", "--migrate-at-once", "2"];
    let proxy = Proxy::before([], &flags);
    let url = proxy.url("/echo");
    let clients = tokio::spawn(async move { run_many(&url, 0..40, Load::new(5, 20)).await });
    eventually(SOON, "they are there", || all[0].connections() == 40).await;
    list.replace(&second);
    let mut most = 0;
    let begun = std::time::Instant::now();
    eventually(SOON, "they are moved", || {
        let now = all.each_ref().map(|one| one.connections());
        most = most.max(now[0] + now[1] - 40);
        now == [0, 40]
    })
    .await;
    // 40 at 10 a second, less what half a second saves.
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    // Beside those on the way, legs that are being closed: those of a second or two, where the backend is slow to.
    assert!(most <= 24, "{most} at once");
    assert_unnoticed(&all, clients.await.expect("no client panics"));
}

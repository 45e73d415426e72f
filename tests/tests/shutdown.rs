//! Must be shown, 7: the end of the proxy itself.

use std::time::{Duration, Instant};

use tideover_tests::{
    lock::machine_shared,
    raw::{Connection, Ended, Frame, SESSION_PATH, Stage, upgrade_request},
};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_takes_no_new_sessions_and_closes_the_old_ones_after_the_drain_timeout() {
    let _machine = machine_shared();
    let mut stage = Stage::start(1, &["--drain-timeout", "5s"]).await;
    let (mut client, mut leg) = stage.session().await;
    let mut waiting = Connection::dial(stage.proxy.address()).await.expect("connected");
    let signalled = Instant::now();
    stage.proxy.terminate();

    let refused = async { while Connection::dial(stage.proxy.address()).await.is_ok() {} };
    tokio::time::timeout(SOON, refused).await.expect("the listener closes");
    // A connection from before gets an answer; it may not be closed without one.
    let request = upgrade_request(SESSION_PATH, "proxy", &[]);
    waiting.send_bytes(request).await.expect("sent");
    assert_eq!(waiting.head(SOON).await.expect("an answer").status(), 503);
    // Until the drain timeout the session goes on.
    client.send(&Frame::text("still here")).await.expect("sent");
    assert_eq!(leg.frame().await.as_text(), "still here");
    let backend = leg.echo();

    let close = client.next_answering_pings(SOON).await.expect("a Close");
    assert_eq!(close.close_code().map(|(code, _)| code), Some(1001));
    assert!(signalled.elapsed() >= Duration::from_secs(5), "{:?}", signalled.elapsed());
    let reply = Frame::close(1001, "so long");
    client.send(&reply).await.expect("sent");
    assert_eq!(client.next_answering_pings(SOON).await, Err(Ended::Eof));
    let read = backend.await.expect("the backend sees the end");
    assert_eq!(read.last().map(|frame| &frame.payload), Some(&reply.payload), "the client's answer");
    assert!(stage.proxy.wait(SOON).success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_sessions_it_ends_at_once() {
    let _machine = machine_shared();
    let mut stage = Stage::start(1, &["--drain-timeout", "1h"]).await;
    let (mut client, leg) = stage.session().await;
    stage.proxy.terminate();
    let backend = leg.echo();
    let close = Frame::close(1000, "done");
    client.send(&close).await.expect("sent");
    assert_eq!(client.next_answering_pings(SOON).await, Ok(close));
    drop(client);
    backend.await.expect("the backend sees the end");
    assert!(stage.proxy.wait(SOON).success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_answer_does_not_keep_it() {
    let _machine = machine_shared();
    let mut stage = Stage::start(1, &["--drain-timeout", "0s", "--close-timeout", "500ms"]).await;
    let (mut client, leg) = stage.session().await;
    let _backend = leg.echo();
    stage.proxy.terminate();
    let close = client.next_answering_pings(SOON).await.expect("a Close");
    assert_eq!(close.close_code().map(|(code, _)| code), Some(1001));
    assert!(stage.proxy.wait(SOON).success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once() {
    let _machine = machine_shared();
    let mut stage = Stage::start(1, &["--drain-timeout", "1h"]).await;
    let (_client, _leg) = stage.session().await;
    stage.proxy.terminate();
    while Connection::dial(stage.proxy.address()).await.is_ok() {}
    stage.proxy.terminate();
    let status = stage.proxy.wait(SOON);
    assert_eq!(status.code(), Some(1), "not a clean end");
}

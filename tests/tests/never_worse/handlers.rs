//! Handlers that take long, or never read.

use std::{future::Future, time::Duration};

use futures_util::future::join_all;
use tideover_tests::{Kind, deadline::within, lock::machine_shared};
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

use crate::{
    LATE, SOON,
    scene::{Scene, Seen, SeenEnd, Way},
};

/// A Close as a client sends it by itself; what comes after it is still read.
pub(crate) fn close(code: u16, reason: &'static str) -> Message {
    Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
}

async fn on_each<F: Future<Output = ()>>(kinds: &[Kind], test: impl Fn(Scene) -> F) {
    join_all(kinds.iter().map(|kind| test(Scene::start(*kind)))).await;
}

/// Three messages at once, their answers, a Close.
async fn three_at_once(way: Way) -> Seen {
    let mut client = way.connect().await;
    for text in ["one", "two", "three"] {
        client.send(text).await;
    }
    for _ in 0..3 {
        client.next(LATE).await;
    }
    client.send(close(1000, "done")).await;
    client.finish(LATE).await.into()
}

/// Messages with a Close right behind them.
async fn two_and_a_close(way: Way) -> Seen {
    let mut client = way.connect().await;
    client.send("one").await;
    client.send("two").await;
    client.send(close(4002, "no more")).await;
    client.finish(LATE).await.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_of_fifteen_seconds_is_waited_for_and_nothing_runs_twice() {
    let _machine = machine_shared();
    on_each(&[Kind::Aiohttp, Kind::Tornado, Kind::Websockets, Kind::NodeAsync], async |scene| {
        let many = join_all((0..3).map(|_| scene.compare("/slow?ms=15000", three_at_once)));
        let closing = scene.compare("/slow?ms=3000", two_and_a_close);
        let (many, _) = tokio::join!(many, closing);
        for seen in many {
            let texts: Vec<_> = seen.got.iter().map(|(_, text)| text.as_str()).collect();
            assert_eq!(texts, ["one", "two", "three"]);
            assert!(matches!(seen.end, SeenEnd::Close(1000, _)), "{:?}", seen.end);
        }
        scene.finish();
    })
    .await;
}

/// Sends more messages than the ring holds, while pushes come; leaves after so many of them.
async fn talk_to_the_deaf(way: Way) -> Seen {
    const PUSHES: usize = 80;
    const SENT: usize = 3000;
    let mut client = way.connect().await;
    for number in 1..=PUSHES {
        client.next(SOON).await;
        let due = SENT * number / PUSHES - SENT * (number - 1) / PUSHES;
        for _ in 0..due {
            within(SOON, "the message is taken", client.send("is anybody there?")).await;
        }
    }
    client.transcript().clone().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_only_pushes_goes_on_whatever_its_client_sends() {
    let _machine = machine_shared();
    on_each(&[Kind::Aiohttp, Kind::Tornado], async |scene| {
        let sessions = (0..3).map(|_| scene.compare("/push?every_ms=100", talk_to_the_deaf));
        for seen in join_all(sessions).await {
            let expected: Vec<_> = (1..=80).map(|number| format!("push-{number}")).collect();
            assert_eq!(seen.got.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), expected);
        }
        scene.finish();
    })
    .await;
}

/// A session that does nothing for so long, and then works.
pub(crate) async fn idle_then_work(way: Way, idle: Duration) -> Seen {
    let mut client = way.connect().await;
    // No condition to wait for: that nothing happens is the point.
    let idle = tokio::time::timeout(idle, client.next(SOON)).await;
    assert!(idle.is_err(), "nothing comes to an idle client: {idle:?}");
    three_more(client).await
}

async fn three_more(mut client: tideover_tests::client::Client) -> Seen {
    for text in ["one", "two", "three"] {
        client.send(text).await;
        client.next(SOON).await;
    }
    client.send(close(1000, "")).await;
    client.finish(SOON).await.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_session_stays_and_then_works() {
    let _machine = machine_shared();
    on_each(&[Kind::Aiohttp, Kind::Tornado, Kind::Websockets, Kind::NodeSync, Kind::Rust], async |scene| {
        // Longer than every timeout.
        let script = async |way| idle_then_work(way, Duration::from_secs(4)).await;
        Box::pin(scene.compare("/echo?", script)).await;
        scene.finish();
    })
    .await;
}

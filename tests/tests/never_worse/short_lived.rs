//! Handlers that end at once, each in the way of its framework: many short-lived legs are no dying backend.

use std::time::Duration;

use futures_util::future::join_all;
use tideover_tests::{Kind, deadline::eventually, lock::machine_shared};
use tokio::time::sleep;

use crate::{
    SOON,
    handlers::{close, idle_then_work},
    scene::{Scene, Seen, SeenEnd, Way},
};

const PARALLEL: usize = 12;
const IN_TURN: usize = 8;

/// Waits for the end and says nothing.
async fn listen(way: Way) -> Seen {
    way.connect().await.finish(SOON).await.into()
}

/// Says one thing and waits for the end.
async fn say_one(way: Way) -> Seen {
    let mut client = way.connect().await;
    client.send("one").await;
    client.finish(SOON).await.into()
}

/// Says one thing, waits for the answer, closes.
async fn say_one_and_close(way: Way) -> Seen {
    let mut client = way.connect().await;
    client.send("one").await;
    client.next(SOON).await;
    client.send(close(1000, "")).await;
    client.finish(SOON).await.into()
}

/// Several sessions beside each other, then several one after the other; all see the same.
async fn many(scene: &Scene, path: &str, script: impl AsyncFn(Way) -> Seen) -> Seen {
    let mut all = join_all((0..PARALLEL).map(|_| scene.compare(path, &script))).await;
    for _ in 0..IN_TURN {
        all.push(scene.compare(path, &script).await);
    }
    let first = all.swap_remove(0);
    assert!(all.iter().all(|seen| *seen == first), "{path}: {first:?}, {all:?}");
    first
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_return_at_once_end_as_they_would_without_the_proxy() {
    let _machine = machine_shared();
    for kind in [Kind::Aiohttp, Kind::Websockets, Kind::Rust] {
        let scene = Scene::start(kind);
        let at_once = many(&scene, "/return?after=0", listen).await;
        let after_one = many(&scene, "/return?after=1", say_one).await;
        assert_eq!((at_once.got.len(), after_one.got.len()), (0, 1), "{kind:?}");
        scene.finish();
    }
    // In these a handler that returns leaves the connection open.
    for kind in [Kind::Tornado, Kind::NodeSync, Kind::NodeAsync] {
        let scene = Scene::start(kind);
        many(&scene, "/return?after=0", say_one_and_close).await;
        scene.finish();
    }
}

/// In Node `ws` an exception ends the process, which is a backend that dies and no matter for this law.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_raise_end_as_they_would_without_the_proxy() {
    let _machine = machine_shared();
    for kind in [Kind::Aiohttp, Kind::Tornado, Kind::Websockets, Kind::Rust] {
        let scene = Scene::start(kind);
        let at_once = many(&scene, "/raise?after=0", listen).await;
        let after_one = many(&scene, "/raise?after=1", say_one).await;
        assert_eq!((at_once.got.len(), after_one.got.len()), (0, 1), "{kind:?}");
        scene.finish();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_are_kicked_see_what_they_would_without_the_proxy() {
    let _machine = machine_shared();
    for kind in [Kind::Aiohttp, Kind::Tornado, Kind::Websockets, Kind::NodeSync, Kind::NodeAsync, Kind::Rust] {
        let scene = Scene::start(kind);
        let reset = many(&scene, "/reset?after=1", say_one).await;
        assert_eq!(reset.end, SeenEnd::NoClose, "{kind:?}");
        assert_eq!(reset.got.last().map(|(_, text)| text.as_str()), Some("before-reset"), "{kind:?}");
        let eof = many(&scene, "/eof?after=1", say_one).await;
        assert_eq!(eof.end, SeenEnd::NoClose, "{kind:?}");
        let code = many(&scene, "/close?code=4001&reason=kicked&after=1", say_one).await;
        assert_eq!(code.end, SeenEnd::Close(4001, "kicked".to_owned()), "{kind:?}");
        let codeless = many(&scene, "/close_codeless?after=1", say_one).await;
        assert_eq!(codeless.end, SeenEnd::Close(1005, String::new()), "{kind:?}");
        scene.finish();
    }
}

/// Echoed once, silent for longer than a second, raised at: the leg is old enough to be evidence.
async fn raise_later(way: Way) -> Seen {
    let mut client = way.connect().await;
    client.send("one").await;
    client.next(SOON).await;
    // No condition to wait for: the age of the leg is the point.
    sleep(Duration::from_millis(1500)).await;
    client.send("two").await;
    client.finish(SOON).await.into()
}

async fn raise_together(scene: &Scene) {
    let all = join_all((0..PARALLEL).map(|_| scene.compare("/raise?after=2", raise_later))).await;
    assert!(all.iter().all(|seen| seen.got.len() == 2), "{all:?}");
}

/// Sessions that live on show that the backend does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_raise_together_beside_others_are_no_dying_backend() {
    let _machine = machine_shared();
    for kind in [Kind::Aiohttp, Kind::Tornado] {
        let scene = Scene::start(kind);
        // Far longer than the raising takes, also on a busy machine.
        let idle = async |way| idle_then_work(way, Duration::from_secs(12)).await;
        let others = join_all((0..4).map(|_| scene.compare("/echo?", &idle)));
        let raising = async {
            eventually(SOON, "four sessions each way are open", || scene.opened() == 8).await;
            raise_together(&scene).await;
        };
        tokio::join!(others, raising);
        scene.finish();
    }
}

/// When every session of a backend raises within a second, nothing that the proxy can see tells this from a process that
/// was killed and is back at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "DESIGN takes several ends without a good Close within a second for a proof, and Law 10 does not except them"]
async fn handlers_that_all_raise_together_are_no_dying_backend() {
    let _machine = machine_shared();
    let scene = Scene::start(Kind::Aiohttp);
    raise_together(&scene).await;
    scene.finish();
}

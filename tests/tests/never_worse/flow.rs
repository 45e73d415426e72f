//! Slow lines and slow readers: back-pressure, and nothing cut for slowness.

use std::time::Duration;

use tideover_tests::{
    Kind, Proxy,
    client::Client,
    deadline::within,
    lock::machine_shared,
    raw::{Connection, opcode},
};
use tokio::time::{interval, sleep};

use crate::{
    LATE, SOON,
    handlers::close,
    link::Slow,
    scene::{Scene, Seen, SeenEnd, Way},
};

const MIB: usize = 1 << 20;

/// One large message, and a small one behind it.
async fn a_large_message(way: Way, len: usize) -> Seen {
    let mut client = way.connect().await;
    within(LATE, "the large message is taken", client.send(vec![b'x'; len])).await;
    client.send("small").await;
    client.next(LATE).await;
    client.next(LATE).await;
    client.send(close(1000, "")).await;
    client.finish(LATE).await.into()
}

/// 80 s: longer than all timeouts together, on whichever side of the proxy the line is slow. 16 MiB is the largest
/// message that the proxy takes by default. Toward a slow client 4 MiB must do, since pings wait behind them as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_mib_at_200_kb_a_second_arrive_once() {
    const RATE: usize = 200_000;
    let _machine = machine_shared();
    let slow_sender = Scene::with_slow_clients(Kind::Aiohttp, Slow::TowardServer, RATE);
    let slow_receiver = Scene::with_slow_clients(Kind::Websockets, Slow::TowardClient, RATE);
    let slow_backend = Scene::with_slow_backends(Kind::Tornado, RATE);
    let (sent, received, read) = tokio::join!(
        slow_sender.compare("/echo?", async |way| a_large_message(way, 16 * MIB).await),
        slow_receiver.compare("/echo?", async |way| a_large_message(way, 4 * MIB).await),
        slow_backend.compare("/echo?", async |way| a_large_message(way, 16 * MIB).await),
    );
    for (seen, len) in [(sent, 16 * MIB), (received, 4 * MIB), (read, 16 * MIB)] {
        assert_eq!(seen.got.iter().map(|(len, _)| *len).collect::<Vec<_>>(), [len, 5]);
    }
    [slow_sender, slow_receiver, slow_backend].into_iter().for_each(Scene::finish);
}

/// Pushes that a client reads, of 16 KiB each.
const PUSHES: usize = 1000;
const PUSH_BYTES: usize = 16 << 10;

/// Reads nothing for 20 s, then all that is due, without ever answering a ping. 64 KiB are on the way to it at most.
async fn read_nothing_for_long(way: Way) -> Seen {
    let client = Connection::dial(way.address).await.expect("connected");
    client.set_receive_buffer(64 << 10);
    let mut client = handshake(client, &way).await;
    // No condition to wait for: that it does nothing is the point.
    sleep(Duration::from_secs(20)).await;
    read_pushes(&mut client, &way, PUSHES).await
}

/// Reads as slowly as 50 pushes a second.
async fn read_slowly(way: Way) -> Seen {
    let client = Connection::dial(way.address).await.expect("connected");
    client.set_receive_buffer(64 << 10);
    let mut client = handshake(client, &way).await;
    let mut due = interval(Duration::from_millis(20));
    let mut got = Vec::new();
    for _ in 0..PUSHES {
        due.tick().await;
        got.extend(read_pushes(&mut client, &way, 1).await.got);
    }
    Seen { got, end: SeenEnd::Left }
}

async fn handshake(mut client: Connection, way: &Way) -> Connection {
    let request = tideover_tests::raw::upgrade_request(&way.target, &way.address.to_string(), &[]);
    client.send_bytes(request).await.expect("sent");
    assert_eq!(client.head(SOON).await.expect("a response").status(), 101);
    client
}

async fn read_pushes(client: &mut Connection, way: &Way, count: usize) -> Seen {
    let mut got = Vec::new();
    while got.len() < count {
        let frame = within(SOON, format!("{:?}: push {}", way, got.len()), client.next(LATE)).await.expect("a frame");
        if frame.opcode != opcode::PING {
            assert!(frame.fin && frame.opcode == opcode::TEXT, "{:?}", frame.opcode);
            got.push((frame.payload.len(), frame.as_text().trim_end_matches('.').to_owned()));
        }
    }
    Seen { got, end: SeenEnd::Left }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_for_long_then_gets_everything() {
    let _machine = machine_shared();
    let scenes = [Kind::Aiohttp, Kind::Tornado].map(Scene::start);
    let [aiohttp, tornado] = &scenes;
    let path = format!("/push?every_ms=5&bytes={PUSH_BYTES}");
    let ((silent, peak), slow, silent_too) = tokio::join!(
        with_growth(&aiohttp.proxy, aiohttp.compare(&path, read_nothing_for_long)),
        aiohttp.compare(&path, read_slowly),
        tornado.compare(&path, read_nothing_for_long),
    );
    let expected: Vec<_> = (1..=PUSHES).map(|number| (PUSH_BYTES, format!("push-{number}"))).collect();
    for seen in [silent, slow, silent_too] {
        assert!(seen.got == expected, "{} pushes", seen.got.len());
    }
    assert!(peak < GROWTH_KIB, "two slow readers made the proxy grow by {peak} KiB");
    scenes.into_iter().for_each(Scene::finish);
}

/// What a few sessions may make the proxy grow by: each has a ring of 1 MiB and as much for the overshoot of a message,
/// the same downstream, and the workers have a read buffer each.
const GROWTH_KIB: u64 = 8 << 10;

/// Runs `work` and gives with its output by how many KiB the proxy's resident memory grew meanwhile, at most.
async fn with_growth<T>(proxy: &Proxy, work: impl Future<Output = T>) -> (T, u64) {
    let before = proxy.rss_kib();
    let mut peak = before;
    let mut sample = interval(Duration::from_millis(20));
    tokio::pin!(work);
    loop {
        tokio::select! {
            output = &mut work => return (output, peak - before),
            _ = sample.tick() => peak = peak.max(proxy.rss_kib()),
        }
    }
}

/// Messages of 32 KiB, 16 MiB in all, of which at most 2 MiB, twice the ring, wait for their echo.
async fn send_fast(way: Way) -> Seen {
    const LEN: usize = 32 << 10;
    const MESSAGES: usize = 16 * MIB / LEN;
    const AHEAD: usize = 2 * MIB / LEN;
    let mut client: Client = way.connect().await;
    for number in 0..MESSAGES {
        let message = format!("{:.<LEN$}", format!("message-{number}"));
        within(SOON, "a message is taken", client.send(message)).await;
        if number >= AHEAD {
            client.next(SOON).await;
        }
    }
    for _ in 0..AHEAD {
        client.next(SOON).await;
    }
    client.send(close(1000, "")).await;
    client.finish(SOON).await.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_client_is_slowed_to_its_backend_and_the_proxy_does_not_grow() {
    let _machine = machine_shared();
    let scene = Scene::with_slow_backends(Kind::Aiohttp, MIB);
    let (seen, growth) = with_growth(&scene.proxy, Box::pin(scene.compare("/echo?", send_fast))).await;
    assert_eq!(seen.got.len(), 512);
    assert!(growth < GROWTH_KIB, "a fast client made the proxy grow by {growth} KiB");
    scene.finish();
}

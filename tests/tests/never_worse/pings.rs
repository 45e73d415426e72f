//! Peers that answer no pings are as healthy as any other.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tideover_tests::{
    Kind, Proxy,
    client::Client,
    deadline::{eventually, within},
    lock::machine_shared,
    raw::{Connection, Frame, RawBackend, opcode},
};
use tokio::time::interval;

use crate::{
    LATE, SHORT_TIMEOUTS, SOON,
    handlers::close,
    scene::{Scene, Seen, SeenEnd, Way},
};

/// Sends a message a second, answers nothing, and closes.
async fn answer_no_pings(way: Way) -> Seen {
    let mut client = Connection::client(way.address, &way.target, &[]).await;
    let mut second = interval(Duration::from_secs(1));
    for number in 1..=8 {
        second.tick().await;
        client.send(&Frame::text(&format!("message-{number}"))).await.expect("sent");
    }
    // Longer than every timeout without a word.
    second.reset_after(Duration::from_secs(5));
    second.tick().await;
    client.send(&Frame::close(4003, "enough")).await.expect("sent");
    let mut got = Vec::new();
    loop {
        match client.next(SOON).await {
            Ok(frame) if frame.opcode == opcode::PING => {}
            Ok(frame) if frame.opcode == opcode::CLOSE => {
                let (code, reason) = frame.close_code().unwrap_or((1005, ""));
                return Seen { got, end: SeenEnd::Close(code, reason.to_owned()) };
            }
            Ok(frame) => got.push((frame.payload.len(), frame.as_text().to_owned())),
            Err(_) => return Seen { got, end: SeenEnd::NoClose },
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_answers_no_pings_is_kept() {
    let _machine = machine_shared();
    let scenes = [Kind::Aiohttp, Kind::NodeSync, Kind::Websockets].map(Scene::start);
    let sessions = scenes.iter().map(|scene| scene.compare("/echo?", answer_no_pings));
    for seen in futures_util::future::join_all(sessions).await {
        assert_eq!(seen.got.len(), 8);
        // aiohttp answers every Close with 1000.
        assert!(matches!(seen.end, SeenEnd::Close(4003 | 1000, _)), "{:?}", seen.end);
    }
    scenes.into_iter().for_each(Scene::finish);
}

/// What the deaf echo read on one connection: texts, and the Close.
type Reads = Vec<(u8, Vec<u8>)>;

/// An echo server that answers every message and the Close, and never a ping.
struct PinglessEcho {
    address: SocketAddr,
    /// Target and reads of each connection.
    connections: Arc<Mutex<Vec<(String, Reads)>>>,
}

impl PinglessEcho {
    async fn start() -> Self {
        let backend = RawBackend::bind().await;
        let (address, connections) = (backend.address(), Arc::new(Mutex::new(Vec::new())));
        let log = connections.clone();
        tokio::spawn(async move {
            loop {
                let connection = backend.connection(LATE).await;
                tokio::spawn(Self::serve(connection, log.clone()));
            }
        });
        Self { address, connections }
    }

    async fn serve(mut connection: Connection, log: Arc<Mutex<Vec<(String, Reads)>>>) {
        let target = connection.accept(&[]).await.target().to_owned();
        let mine = {
            let mut log = log.lock().expect("no one panicked");
            log.push((target, Vec::new()));
            log.len() - 1
        };
        while let Ok(mut frame) = connection.next(LATE).await {
            if matches!(frame.opcode, opcode::PING | opcode::PONG) {
                continue;
            }
            log.lock().expect("no one panicked")[mine].1.push((frame.opcode, frame.payload.clone()));
            frame.key = None;
            if connection.send(&frame).await.is_err() || frame.opcode == opcode::CLOSE {
                return;
            }
        }
    }

    fn reads(&self, target: &str) -> Vec<Reads> {
        let connections = self.connections.lock().expect("no one panicked");
        connections.iter().filter(|(opened, _)| opened == target).map(|(_, reads)| reads.clone()).collect()
    }
}

/// More messages than the ring holds, over longer than every timeout.
async fn send_many(address: SocketAddr, target: &str) -> Seen {
    let mut client = Client::connect(1, format!("ws://{address}{target}")).await.expect("connected");
    let mut due = interval(Duration::from_millis(500));
    for burst in 0..10 {
        due.tick().await;
        for number in 0..300 {
            within(SOON, "a message is taken", client.send(format!("{burst}-{number}"))).await;
        }
        for _ in 0..300 {
            client.next(SOON).await;
        }
    }
    client.send(close(4004, "all said")).await;
    client.finish(SOON).await.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_answers_no_pings_is_kept() {
    let _machine = machine_shared();
    let backends = [PinglessEcho::start().await, PinglessEcho::start().await];
    let proxy = Proxy::before(backends.each_ref().map(|backend| backend.address), &SHORT_TIMEOUTS);
    let (direct, proxied) =
        tokio::join!(send_many(backends[0].address, "/direct?"), send_many(proxy.address(), "/proxied?"));
    assert_eq!(proxied.got.len(), 3000);
    assert_eq!(proxied, direct);
    let reads = |target: &str| backends.iter().flat_map(|backend| backend.reads(target)).collect::<Vec<_>>();
    assert_eq!(reads("/proxied?").len(), 1, "one attach, no other");
    eventually(SOON, "both backends have read the same", || reads("/proxied?") == reads("/direct?")).await;
    assert!(!proxy.log_text().contains("backend leg lost"), "{}", proxy.log_text());
}

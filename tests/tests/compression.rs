//! permessage-deflate end to end: real compressing clients and backends, and kills between them.

#[allow(dead_code, reason = "each test file uses its part")]
mod support;

use std::{collections::BTreeSet, time::Duration};

use support::{clients_on, kill_one_each_second, legs_with_reads};
use tideover_tests::{
    Backend, Kind, Proxy,
    client::{End, ForeignClients, ForeignKind, Load, Transcript},
    deadline::eventually,
    judge::{Judge, Leg, assert_none, message_id},
    lock::{machine_alone, machine_shared},
};

const SECONDS: u32 = 6;
/// Node and Python take their time on a loaded machine.
const STARTED_WITHIN: Duration = Duration::from_secs(60);
/// `c1-1:` and the padding of the clients.
const PADDING: usize = 201;

/// What a client got twice.
fn repeated(transcripts: &[Transcript]) -> Vec<String> {
    let of = |transcript: &Transcript| {
        let mut seen = BTreeSet::new();
        let again = transcript.got.iter().filter(|got| !seen.insert(message_id(&got.text)));
        again.map(|got| got.text.clone()).collect::<Vec<_>>()
    };
    transcripts.iter().flat_map(of).collect()
}

/// What a client got that is not as long as what it sent.
fn garbled(transcripts: &[Transcript]) -> Vec<String> {
    let got = transcripts.iter().flat_map(|transcript| &transcript.got);
    let id = |text: &str| text.split(':').next().unwrap_or_default().len();
    got.filter(|got| got.len != id(&got.text) + PADDING).map(|got| format!("{} {}", got.len, got.text)).collect()
}

/// Compressing clients in both languages at these backends, of which one is killed each second.
async fn run(kinds: &[Kind], flags: &[&str]) {
    let _machine = machine_alone();
    let mut backends: Vec<_> = kinds.iter().map(|kind| Backend::start(*kind)).collect();
    let proxy = Proxy::start(&backends, flags);
    let (url, load) = (proxy.url("/echo"), Load::new(100, SECONDS));
    let node = ForeignClients::start_compressed(ForeignKind::Node, &url, 0..10, load);
    let python = ForeignClients::start_compressed(ForeignKind::Python, &url, 10..20, load);
    eventually(STARTED_WITHIN, "all clients are at work", || legs_with_reads(1, &backends) >= 20).await;
    let kills = kill_one_each_second(&mut backends, SECONDS - 1).await;
    let transcripts = [node.finish().await, python.finish().await].concat();
    let judge = Judge::new(&backends, transcripts);
    judge.assert_nothing_lost_and_nobody_closed();
    assert_none("echoes seen twice", &repeated(&judge.transcripts));
    assert_none("echoes that are not what was sent", &garbled(&judge.transcripts));
    let killed = |leg: &&Leg| kills.iter().any(|kill| kill.pid == leg.pid) && leg.ended.is_none();
    assert!(judge.legs.iter().filter(killed).count() > 0, "no kill met a session");
}

/// The two compress to different bytes, so that what one said and the other says again is the same by content only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_backends_that_compress_differently_a_kill_loses_nothing_and_repeats_nothing() {
    run(&[Kind::NodeSync, Kind::Aiohttp, Kind::NodeSync, Kind::Aiohttp], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_ws_and_python_websockets_on_both_sides_survive_kills_with_compressed_messages() {
    run(&[Kind::NodeSync, Kind::Websockets, Kind::NodeSync, Kind::Websockets], &["--ack", "reply"]).await;
}

/// The other backend knows no compression, so the session waits for its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_does_not_compress_is_no_candidate_for_a_session_that_does() {
    let _machine = machine_shared();
    let mut backends = [Kind::NodeSync, Kind::Rust].map(Backend::start);
    let proxy = Proxy::start(&backends, &[]);
    let (url, load) = (proxy.url("/echo"), Load::new(50, 4));
    let clients = ForeignClients::start_compressed(ForeignKind::Node, &url, 0..8, load);
    eventually(STARTED_WITHIN, "a client is at work", || !clients_on(&backends[0]).is_empty()).await;
    let kills = kill_one_each_second(&mut backends[..1], 2).await;
    let transcripts = clients.finish().await;
    let (compressed, plain): (Vec<_>, Vec<_>) =
        transcripts.into_iter().partition(|transcript| !matches!(transcript.end, End::Lost { .. }));
    assert!(!compressed.is_empty() && !plain.is_empty(), "least connections gives each backend its share");
    let judge = Judge::new(&backends, compressed);
    judge.assert_nothing_lost_and_nobody_closed();
    let elsewhere = judge.legs.iter().filter(|leg| leg.pid == backends[1].pid() && leg.client.is_some());
    assert_none("sessions on the backend that does not compress", &elsewhere.collect::<Vec<_>>());
    assert!(judge.legs.iter().any(|leg| leg.pid == kills[0].pid && leg.client.is_some()), "no kill met a session");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_compression_off_the_offer_is_declined() {
    let _machine = machine_shared();
    let backend = Backend::start(Kind::NodeSync);
    let proxy = Proxy::start([&backend], &["--compression", "off"]);
    let clients = ForeignClients::start_compressed(ForeignKind::Node, &proxy.url("/echo"), 0..1, Load::new(10, 1));
    let End::Lost { error } = &clients.finish().await[0].end else { panic!("compression was agreed on") };
    assert_eq!(error, "no compression was agreed on");
}

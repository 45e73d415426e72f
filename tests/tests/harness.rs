//! The harness against backends without the proxy: what the other tests rest on. A failure here is the harness's, or
//! the machine's, never the proxy's.

use std::time::Duration;

use tideover_tests::{
    Backend, Kind, Target,
    backend::What,
    client::{Client, End, ForeignClients, ForeignKind, Load, run_many},
    deadline::eventually,
    judge::{Judge, assert_none},
    lock::machine_shared,
    raw::{Connection, Ended, Frame, RawBackend, opcode},
};

const SOON: Duration = Duration::from_secs(10);
const KINDS: [Kind; 6] = [Kind::Rust, Kind::NodeSync, Kind::NodeAsync, Kind::Aiohttp, Kind::Tornado, Kind::Websockets];

async fn end_on(backend: &Backend, path: &str) -> (Vec<String>, End) {
    let mut client = Client::connect(1, backend.url(path)).await.expect("connected");
    client.send_numbered().await;
    let transcript = client.finish(SOON).await;
    (transcript.got.into_iter().map(|message| message.text).collect(), transcript.end)
}

fn peer(code: u16, reason: &str) -> End {
    End::Peer { code, reason: reason.to_owned() }
}

fn count(backend: &Backend, wanted: impl Fn(&What) -> bool) -> usize {
    backend.events().iter().filter(|event| wanted(&event.what)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_backend_echoes_and_logs_a_load() {
    let _machine = machine_shared();
    for kind in KINDS {
        let backend = Backend::start(kind);
        let transcripts = run_many(&Target::Direct(&backend).url("/echo"), 0..5, Load::new(50, 1)).await;
        let judge = Judge::new([&backend], transcripts);
        judge.assert_nothing_lost_and_nobody_closed();
        assert_none("repeats", &judge.repeats());
        let closed_normally = || count(&backend, |what| matches!(what, What::Close(1000, _))) == 5;
        eventually(SOON, format_args!("{kind:?} logs five normal ends"), closed_normally).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_backend_keeps_opcodes_and_large_messages() {
    let _machine = machine_shared();
    for kind in KINDS {
        let backend = Backend::start(kind);
        let mut client = Client::connect(1, backend.url("/echo")).await.expect("connected");
        client.send(vec![0xFF; 3 << 20]).await;
        let echo = client.next(SOON).await.expect("an echo");
        assert!(echo.binary && echo.len == 3 << 20, "{kind:?}: {} {}", echo.binary, echo.len);
        let read = What::Read(3 << 20, "?".repeat(64));
        assert_eq!(count(&backend, |what| *what == read), 1, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_backend_ends_as_its_path_says() {
    let _machine = machine_shared();
    for kind in KINDS {
        let backend = Backend::start(kind);
        let (got, end) = end_on(&backend, "/close?code=4001&reason=bye&after=1").await;
        assert_eq!((got, end), (vec!["c1-1".to_owned()], peer(4001, "bye")), "{kind:?}");
        assert_eq!(end_on(&backend, "/close_codeless").await.1, peer(1005, ""), "{kind:?}");
        let end = end_on(&backend, "/eof?after=1").await.1;
        assert!(matches!(end, End::Lost { .. }), "{kind:?}: {end:?}");
        let (got, end) = end_on(&backend, "/reset?after=1").await;
        assert_eq!(got, ["c1-1", "before-reset"], "{kind:?}");
        assert!(matches!(end, End::Lost { .. }), "{kind:?}: {end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_backend_is_slow_and_pushes_as_told() {
    let _machine = machine_shared();
    for kind in KINDS {
        let backend = Backend::start(kind);
        let mut slow = Client::connect(1, backend.url("/slow?ms=300")).await.expect("connected");
        let sent = slow.send_numbered().await;
        let echo = slow.next(SOON).await.expect("an echo");
        assert_eq!(echo.text, sent);
        assert!(echo.at - slow.transcript().sent[0].at >= 295_000_000, "{kind:?}");
        let mut pushed = Client::connect(2, backend.url("/push?every_ms=20")).await.expect("connected");
        for number in 1..=3 {
            assert_eq!(pushed.next(SOON).await.expect("a push").text, format!("push-{number}"), "{kind:?}");
        }
    }
}

/// A handler that returns or raises ends the connection the way each framework does it: these are the facts that
/// DESIGN's table of ends was measured on.
#[tokio::test(flavor = "multi_thread")]
async fn returning_and_raising_handlers_end_as_the_frameworks_do_it() {
    let _machine = machine_shared();
    let lost = |end: &End| matches!(end, End::Lost { .. });
    for kind in [Kind::Rust, Kind::Aiohttp, Kind::Tornado] {
        let backend = Backend::start(kind);
        let end = end_on(&backend, "/raise?after=1").await.1;
        assert!(lost(&end), "{kind:?}: {end:?}");
    }
    let end = end_on(&Backend::start(Kind::Rust), "/return").await.1;
    assert!(lost(&end), "{end:?}");
    for stays_open in [Kind::NodeSync, Kind::NodeAsync, Kind::Tornado] {
        let backend = Backend::start(stays_open);
        let mut client = Client::connect(1, backend.url("/return?after=1")).await.expect("connected");
        for _ in 0..2 {
            let sent = client.send_numbered().await;
            assert_eq!(client.next(SOON).await.expect("an echo").text, sent, "{stays_open:?}");
        }
    }
    for dies in [Kind::NodeSync, Kind::NodeAsync] {
        let mut backend = Backend::start(dies);
        let end = end_on(&backend, "/raise?after=1").await.1;
        assert!(lost(&end), "{dies:?}: {end:?}");
        eventually(SOON, "the process dies", || !backend.is_running()).await;
    }
    let websockets = Backend::start(Kind::Websockets);
    for returns in [&Backend::start(Kind::Aiohttp), &websockets] {
        assert_eq!(end_on(returns, "/return").await.1, peer(1000, ""), "{:?}", returns.kind());
    }
    assert!(matches!(end_on(&websockets, "/raise").await.1, End::Peer { code: 1011, .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backend_comes_back_on_its_port_and_log() {
    let _machine = machine_shared();
    for kind in KINDS {
        let mut backend = Backend::start(kind);
        let mut client = Client::connect(1, backend.url("/echo")).await.expect("connected");
        client.send_numbered().await;
        client.next(SOON).await.expect("an echo");
        let kill = backend.kill();
        assert!(matches!(client.finish(SOON).await.end, End::Lost { .. }), "{kind:?}");
        backend.restart();
        let (got, _) = end_on(&backend, "/close?after=1").await;
        assert_eq!(got, ["c1-1"], "{kind:?}");
        let events = backend.events();
        let reads = events.iter().filter(|event| matches!(event.what, What::Read(..)));
        assert_eq!(reads.map(|event| event.pid()).collect::<Vec<_>>(), [kill.pid, backend.pid()], "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_each_backend_as_its_framework_does() {
    let _machine = machine_shared();
    for kind in KINDS {
        let mut backend = Backend::start(kind);
        let client = Client::connect(1, backend.url("/echo")).await.expect("connected");
        let finished = tokio::spawn(client.finish(SOON));
        backend.terminate();
        let end = finished.await.expect("the client ends").end;
        match kind {
            Kind::Tornado => assert!(matches!(end, End::Lost { .. }), "{end:?}"),
            _ => assert!(matches!(end, End::Peer { code: 1001, .. }), "{kind:?}: {end:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_clients_give_the_same_transcripts() {
    let _machine = machine_shared();
    for kind in [ForeignKind::Node, ForeignKind::Python] {
        let backend = Backend::start(Kind::Rust);
        let load = Load::new(100, 1);
        let transcripts = ForeignClients::start(kind, &backend.url("/echo"), 10..13, load).finish().await;
        assert_eq!(
            transcripts.iter().map(|transcript| transcript.sent.len()).collect::<Vec<_>>(),
            [100; 3],
            "{kind:?}"
        );
        Judge::new([&backend], transcripts).assert_nothing_lost_and_nobody_closed();
        let url = backend.url("/close?code=4001&reason=bye&after=3");
        let closed = ForeignClients::start(kind, &url, 0..1, load).finish().await;
        assert_eq!(closed[0].end, peer(4001, "bye"), "{kind:?}");
        let lost = ForeignClients::start(kind, &backend.url("/eof?after=3"), 0..1, load).finish().await;
        assert!(matches!(lost[0].end, End::Lost { .. }), "{kind:?}: {:?}", lost[0].end);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_judge_sees_what_a_kill_without_a_proxy_loses() {
    let _machine = machine_shared();
    let mut backend = Backend::start(Kind::Rust);
    let url = backend.url("/echo");
    let clients = tokio::spawn(async move { run_many(&url, 0..2, Load::new(100, 20)).await });
    let busy = || count(&backend, |what| matches!(what, What::Read(..))) > 50;
    eventually(SOON, "messages are read", busy).await;
    backend.stop();
    // No condition to wait for: the clients go on sending what no one reads.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let kill = backend.kill();
    let judge = Judge::new([&backend], clients.await.expect("the clients end"));
    assert_eq!(judge.closed_clients().len(), 2);
    assert!(!judge.lost().is_empty() && !judge.lost_echoes().is_empty());
    assert!(judge.round_trip_before(kill.at) >= 150_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_ends_have_every_byte_in_their_hands() {
    let _machine = machine_shared();
    let mut backend = RawBackend::bind().await;
    let address = backend.address();
    let client = tokio::spawn(async move { Connection::client(address, "/raw?x=1", &["X-Test: yes"]).await });
    let mut served = backend.connection(SOON).await;
    let request = served.accept(&[]).await;
    assert_eq!((request.target(), request.header("x-test")), ("/raw?x=1", Some("yes")));
    let mut client = client.await.expect("the handshake");

    let (key, whole) = (client.key(), Frame::text("in two halves"));
    let bytes = whole.encode(key);
    client.send_bytes(&bytes[..5]).await.expect("sent");
    client.send_bytes(&bytes[5..]).await.expect("sent");
    let frame = served.next(SOON).await.expect("a frame");
    assert_eq!((frame.as_text(), frame.key), ("in two halves", key));

    served.send(&Frame::new(opcode::PING, "p")).await.expect("sent");
    served.send(&Frame::close(4001, "bye")).await.expect("sent");
    let close = client.next_answering_pings(SOON).await.expect("a frame");
    assert_eq!(close.close_code(), Some((4001, "bye")));
    assert_eq!(served.next(SOON).await.expect("a pong").opcode, opcode::PONG);

    client.shutdown().await;
    assert_eq!(served.next(SOON).await, Err(Ended::Eof));
    served.reset();
    assert_eq!(client.next(SOON).await, Err(Ended::Reset));

    backend.refuse();
    // A child process that another thread starts has the listener, until its exec(2) closes it.
    eventually(SOON, "connections are refused", || std::net::TcpStream::connect(address).is_err()).await;
    backend.listen();
    Connection::dial(address).await.expect("accepted again");
}

//! The pool on real sockets: which backend is dialled, what passes for a good answer, and what a probe finds.

mod edge_support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use edge_support::*;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::Extensions;
use tideover::config::ReattachOrder;
use tideover::deflate::Offers;
use tideover::pool::{Attached, FirstAttachError, Reattach, ReattachError, Route, Verdict};
use tokio::io::AsyncWriteExt;

fn over(backends: &[SocketAddr]) -> Arc<Route> {
    route_of(&config(backends))
}

async fn attach(route: &Route) -> Result<Attached, FirstAttachError> {
    soon(route.first_attach(&kept(), &first(), &Extensions::new())).await
}

async fn reattach(route: &Route, last: usize) -> Result<Attached, ReattachError> {
    let options = Reattach { last: Some(route.pool.backends()[last].id), ..Reattach::default() };
    soon(route.reattach(&kept(), &first(), options)).await
}

fn place(route: &Route, attached: &Attached) -> usize {
    route.pool.backends().iter().position(|backend| backend.id == attached.lease.backend().id).unwrap()
}

#[tokio::test]
async fn a_burst_spreads_evenly_and_leases_are_given_back() {
    let fakes = [Fake::echo("").await, Fake::echo("").await, Fake::echo("").await];
    let route = over(&fakes.each_ref().map(|fake| fake.addr));
    let burst = futures_util::future::join_all((0..30).map(|_| attach(&route))).await;
    let live = || route.pool.backends().iter().map(|backend| backend.live()).collect::<Vec<_>>();
    assert!(burst.iter().all(Result::is_ok));
    assert_eq!(live(), [10, 10, 10]);
    drop(burst);
    assert_eq!(live(), [0, 0, 0]);
}

#[tokio::test]
async fn a_backend_that_refuses_connections_is_passed_over() {
    let fake = Fake::echo("").await;
    let route = over(&[nobody().await, fake.addr]);
    for _ in 0..3 {
        assert_eq!(place(&route, &attach(&route).await.unwrap()), 1);
    }
}

#[tokio::test]
async fn a_host_that_swallows_connections_does_not_eat_all_the_time() {
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let filler = [(); 4].map(|()| tokio::spawn(tokio::net::TcpStream::connect(address)));
    let fake = Fake::echo("").await;
    let mut config = config(&[address, fake.addr]);
    config.pools[0].settings.connect_timeout = Duration::from_secs(3);
    let route = route_of(&config);
    // The backlog is full once a connection attempt hangs.
    let probe = || tokio::time::timeout(Duration::from_millis(50), tokio::net::TcpStream::connect(address));
    let mut held = Vec::new();
    while let Ok(connected) = probe().await {
        held.push(connected);
    }
    assert_eq!(place(&route, &attach(&route).await.unwrap()), 1);
    filler.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_slow_backend_that_has_the_handshake_is_not_given_up_for_another() {
    let slow = Fake::new(|mut stream, head| async move {
        tokio::time::sleep(Duration::from_millis(3500)).await;
        stream.write_all(switching(&head, "").as_bytes()).await.unwrap();
    })
    .await;
    let other = Fake::echo("").await;
    let mut config = config(&[slow.addr, other.addr]);
    config.pools[0].settings.connect_timeout = Duration::from_secs(5);
    let route = route_of(&config);
    assert_eq!(place(&route, &attach(&route).await.unwrap()), 0);
    assert!(other.heads().is_empty());
}

#[tokio::test]
async fn a_bad_101_is_a_failed_dial() {
    type Change = fn(String) -> String;
    fn bad(change: Change) -> impl Future<Output = Fake> {
        Fake::new(move |mut stream, head| async move {
            let _ = stream.write_all(change(switching(&head, "")).as_bytes()).await;
            read_rest(&mut stream).await;
        })
    }
    let changes: [(Change, &str); 6] = [
        (|good| good.replace("Accept: ", "Accept: x"), "wrong Sec-WebSocket-Accept"),
        (|good| good.replace("Upgrade: websocket", "Upgrade: h2c"), "no Upgrade"),
        (|good| good.replace("Connection: Upgrade", "Connection: x"), "no Connection"),
        (|good| good.replace("HTTP/1.1", "HTTP/1.0"), "HTTP/1.1"),
        (|good| good.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n"), "an extension"),
        (|good| good.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: v3\r\n\r\n"), "a subprotocol"),
    ];
    for (change, mention) in changes {
        let fakes = [bad(change).await, Fake::echo("").await];
        let both = over(&fakes.each_ref().map(|fake| fake.addr));
        assert_eq!(place(&both, &attach(&both).await.unwrap()), 1, "{mention}");
        match attach(&over(&[fakes[0].addr])).await {
            Err(FirstAttachError::NoBackend(why)) => assert!(why.contains(mention), "{why}"),
            other => panic!("{mention}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_reattach_goes_in_the_configured_order() {
    let fakes = [Fake::echo("").await, Fake::echo("").await, Fake::echo("").await];
    let addresses = fakes.each_ref().map(|fake| fake.addr);
    for (order, expected) in [(ReattachOrder::OtherFirst, [2, 1]), (ReattachOrder::SameFirst, [1, 1])] {
        let mut config = config(&addresses);
        config.routes[0].reattach_order = order;
        let route = route_of(&config);
        // Backends 0 and 1 have a leg, 2 has none.
        let _legs = [attach(&route).await.unwrap(), attach(&route).await.unwrap()];
        let first = reattach(&route, 1).await.unwrap();
        assert_eq!(place(&route, &first), expected[0], "{order:?}");
        assert!(fakes[expected[0]].heads().last().unwrap().contains("GET /room?token=secret "));
    }
}

#[tokio::test]
async fn other_first_ends_with_the_last_one_and_same_only_stays_with_it() {
    let fake = Fake::echo("").await;
    let other = nobody().await;
    let other_first = over(&[fake.addr, other]);
    assert_eq!(place(&other_first, &reattach(&other_first, 0).await.unwrap()), 0);
    let mut config = config(&[other, fake.addr]);
    config.routes[0].reattach_order = ReattachOrder::SameOnly;
    assert!(matches!(reattach(&route_of(&config), 0).await, Err(ReattachError::Failed { .. })));
}

#[tokio::test]
async fn denials_of_two_backends_or_of_the_only_one_are_final() {
    let denying = [
        Fake::says("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n").await,
        Fake::says("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").await,
    ];
    let [first, second] = denying.each_ref().map(|fake| fake.addr);
    let down = nobody().await;
    let denied =
        |result| matches!(result, Err(ReattachError::Denied(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)));
    assert!(denied(reattach(&over(&[first, second, down]), 2).await));
    assert!(denied(reattach(&over(&[first]), 0).await));
    assert!(!denied(reattach(&over(&[first, down]), 1).await));
    let fake = Fake::echo("").await;
    assert!(reattach(&over(&[first, fake.addr]), 1).await.is_ok());
}

#[tokio::test]
async fn a_reattach_agrees_to_the_sessions_subprotocol() {
    let v1 = Fake::new(|mut stream, head| async move {
        let answer = switching(&head, "Sec-WebSocket-Protocol: v1\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let route = over(&[v1.addr]);
    let mut handshake = kept();
    handshake.agree_on(Some("v1".into()), None);
    let again = soon(route.reattach(&handshake, &first(), Reattach::default())).await.unwrap();
    assert_eq!(again.subprotocol.as_deref(), Some("v1"));
    match reattach(&route, 0).await {
        Err(ReattachError::Failed { why, .. }) => assert!(why.contains("subprotocol"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// A backend that answers any offer of compression so.
async fn deflating(answer: &'static str) -> Fake {
    Fake::new(move |mut stream, head| async move {
        let offered = field(&head, "sec-websocket-extensions").is_some();
        let more = if offered { format!("Sec-WebSocket-Extensions: {answer}\r\n") } else { String::new() };
        stream.write_all(switching(&head, &more).as_bytes()).await.unwrap();
    })
    .await
}

#[tokio::test]
async fn a_reattach_agrees_to_the_sessions_compression() {
    let offer = HeaderMap::from_iter([(
        header::SEC_WEBSOCKET_EXTENSIONS,
        HeaderValue::from_static("permessage-deflate; client_max_window_bits"),
    )]);
    let good = deflating("permessage-deflate; server_no_context_takeover; client_max_window_bits=12").await;
    let mut handshake = kept().offering(Offers::of_client(&offer));
    let leg = soon(over(&[good.addr]).first_attach(&handshake, &first(), &Extensions::new())).await.unwrap();
    handshake.agree_on(leg.subprotocol.clone(), leg.deflate);
    assert!(leg.deflate.is_some());
    assert!(soon(over(&[good.addr]).reattach(&handshake, &first(), Reattach::default())).await.is_ok());
    for (answer, reason) in [
        ("permessage-deflate; server_no_context_takeover; client_max_window_bits=11", "client_max_window_bits"),
        ("permessage-deflate; client_max_window_bits=12", "server_no_context_takeover"),
        ("other", "not offered"),
    ] {
        let backend = deflating(answer).await;
        match soon(over(&[backend.addr]).reattach(&handshake, &first(), Reattach::default())).await {
            Err(ReattachError::Failed { why, .. }) => assert!(why.contains(reason), "{answer}: {why}"),
            other => panic!("{answer}: {other:?}"),
        }
        let both = over(&[backend.addr, good.addr]);
        let leg = soon(both.reattach(&handshake, &first(), Reattach::default())).await.unwrap();
        assert_eq!(leg.deflate, handshake.deflate(), "the other one is a candidate");
    }
    let plain = Fake::echo("").await;
    match soon(over(&[plain.addr]).reattach(&handshake, &first(), Reattach::default())).await {
        Err(ReattachError::Failed { why, .. }) => assert!(why.contains("no permessage-deflate"), "{why}"),
        other => panic!("{other:?}"),
    }
    handshake.agree_on(None, None);
    let plain = soon(over(&[good.addr]).reattach(&handshake, &first(), Reattach::default())).await.unwrap();
    assert_eq!(plain.deflate, None, "a session without compression stays without");
}

#[tokio::test]
async fn handshakes_are_paced() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let fake = Fake::new(|mut stream, head| async move {
        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
        NOW.fetch_sub(1, Ordering::SeqCst);
        stream.write_all(switching(&head, "").as_bytes()).await.unwrap();
    })
    .await;
    let mut config = config(&[fake.addr]);
    config.pools[0].settings.handshakes_per_backend = 3;
    let route = route_of(&config);
    let legs = futures_util::future::join_all((0..20).map(|_| reattach(&route, 0))).await;
    assert!(legs.iter().all(Result::is_ok));
    assert!(MOST.load(Ordering::SeqCst) <= 3, "{MOST:?}");
}

#[tokio::test]
async fn a_queue_behind_a_failing_dial_is_left_at_once() {
    let silent = Fake::silent().await;
    let mut config = config(&[silent.addr]);
    config.pools[0].settings.handshakes_per_backend = 1;
    config.pools[0].settings.connect_timeout = Duration::from_millis(500);
    let route = route_of(&config);
    let begun = Instant::now();
    let rounds = futures_util::future::join_all((0..20).map(|_| reattach(&route, 0))).await;
    assert!(rounds.iter().all(Result::is_err));
    // One after the other, they would take ten seconds.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(silent.heads().len(), 1);
}

#[tokio::test]
async fn a_probe_is_shared_by_all_who_ask() {
    let fake = Fake::new(|mut stream, head| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(switching(&head, "").as_bytes()).await.unwrap();
        read_rest_lossy(&mut stream).await;
    })
    .await;
    let route = over(&[fake.addr]);
    let backend = &route.pool.backends()[0];
    let since = Instant::now();
    let handshake = kept();
    let verdicts = futures_util::future::join_all((0..100).map(|_| route.pool.probe(backend, since, &handshake))).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Healthy));
    assert_eq!(fake.heads().len(), 1);
    let head = &fake.heads()[0];
    assert!(head.starts_with("GET /room HTTP/1.1\r\n"), "{head}");
    assert!(!head.contains("secret"), "{head}");
    assert!(field(head, "user-agent").unwrap().starts_with("tideover-probe/"));
    // One who asks about a later end needs a later probe.
    assert_eq!(soon(route.pool.probe(backend, Instant::now(), &handshake)).await, Verdict::Healthy);
    assert_eq!(fake.heads().len(), 2);
}

async fn read_rest_lossy(stream: &mut tokio::net::TcpStream) {
    let mut rest = Vec::new();
    let _ = soon(tokio::io::AsyncReadExt::read_to_end(stream, &mut rest)).await;
}

#[tokio::test]
async fn a_probe_is_closed_politely() {
    let (closed, mut frames) = tokio::sync::mpsc::unbounded_channel();
    let fake = Fake::new(move |mut stream, head| {
        let closed = closed.clone();
        async move {
            stream.write_all(switching(&head, "").as_bytes()).await.unwrap();
            let mut server =
                tokio_tungstenite::WebSocketStream::from_raw_socket(stream, tungstenite::protocol::Role::Server, None)
                    .await;
            closed.send(futures_util::StreamExt::next(&mut server).await).unwrap();
        }
    })
    .await;
    let route = over(&[fake.addr]);
    soon(route.pool.probe(&route.pool.backends()[0], Instant::now(), &kept())).await;
    match soon(frames.recv()).await {
        Some(Some(Ok(tungstenite::Message::Close(Some(frame))))) => assert_eq!(u16::from(frame.code), 1000),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_probe_finds() {
    let statuses = [("502 x", Verdict::Dying), ("503 x", Verdict::Dying), ("504 x", Verdict::Dying)];
    let healthy = ["200 x", "401 x", "404 x", "500 x"].map(|status| (status, Verdict::Healthy));
    for (status, verdict) in statuses.into_iter().chain(healthy) {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").leak();
        let fake = Fake::says(answer).await;
        assert_eq!(probe(fake.addr).await, verdict, "{status}");
    }
    assert_eq!(probe(Fake::says("not HTTP\r\n\r\n").await.addr).await, Verdict::Healthy);
    assert_eq!(probe(Fake::says("").await.addr).await, Verdict::Dying);
    assert_eq!(probe(nobody().await).await, Verdict::Dying);
    assert_eq!(probe(Fake::silent().await.addr).await, Verdict::Dying);
}

async fn probe(address: SocketAddr) -> Verdict {
    let mut config = config(&[address]);
    config.pools[0].settings.connect_timeout = Duration::from_secs(2);
    let route = route_of(&config);
    soon(route.pool.probe(&route.pool.backends()[0], Instant::now(), &kept())).await
}

#[tokio::test]
async fn a_backend_that_lost_all_its_legs_at_once_is_dying_though_it_answers() {
    let fake = Fake::echo("").await;
    let route = over(&[fake.addr]);
    let backend = &route.pool.backends()[0];
    let legs = [attach(&route).await.unwrap(), attach(&route).await.unwrap(), attach(&route).await.unwrap()];
    let survivor = attach(&route).await.unwrap();
    // Only the age of the legs matters here; it has no event to wait for.
    tokio::time::sleep(Duration::from_millis(1010)).await;
    legs.iter().for_each(|leg| leg.lease.ended_badly());
    assert_eq!(soon(route.pool.probe(backend, Instant::now(), &kept())).await, Verdict::Healthy);
    drop(survivor);
    assert_eq!(soon(route.pool.probe(backend, Instant::now(), &kept())).await, Verdict::Dying);
}

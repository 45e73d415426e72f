//! The session protocol's part of the handshakes on real sockets, and whom a re-attach passes over.

mod edge_support;

use std::net::SocketAddr;
use std::time::Instant;

use edge_support::*;
use hyper::StatusCode;
use hyper::http::Extensions;
use tideover::config::{Config, ReattachOrder, SessionKey};
use tideover::pool::{
    AckCarrier, Attached, Denials, FirstAttachError, Reattach, ReattachError, Route, SessionHeaders, Verdict,
};
use tideover_protocol::session::AckMode;
use tokio::io::AsyncWriteExt;

/// Answers every handshake with 101 and this header line.
async fn answering(line: &'static str) -> Fake {
    Fake::new(move |mut stream, head| async move {
        // A probe, or a candidate that is passed over, may be gone already.
        let _ = stream.write_all(switching(&head, line).as_bytes()).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await
}

fn explicit(backends: &[SocketAddr]) -> Config {
    let mut config = config(backends);
    config.routes[0].session.ack = AckMode::Explicit;
    config
}

async fn reattach(route: &Route, options: Reattach) -> Result<Attached, ReattachError> {
    soon(route.reattach(&kept(), &first(), options)).await
}

fn sparing(route: &Route, last: usize) -> Reattach {
    Reattach { last: Some(route.pool.backends()[last].id), spare_last: true, ..Reattach::default() }
}

fn place(route: &Route, attached: &Attached) -> usize {
    route.pool.backends().iter().position(|backend| backend.id == attached.lease.backend().id).unwrap()
}

fn failure(result: Result<Attached, ReattachError>) -> (String, Denials) {
    match result {
        Err(ReattachError::Failed { why, denials }) => (why, denials),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_first_handshake_names_the_session_and_signs_it() {
    let backend = Fake::echo("").await;
    let mut config = config(&[backend.addr]);
    let key = SessionKey::new(b"correct horse battery staple").unwrap();
    config.routes[0].session_key = Some(key.clone());
    let edge = Edge::new(config).await;
    let forged = "Tideover-Session: forged\r\nTIDEOVER_EPOCH: 9\r\ntideover-Next_Seq: 9\r\nTideover-Signature: t=1\r\n";
    edge.ask(&handshake("/room?user=a%20b", forged)).await;
    let head = &backend.heads()[0];
    let said = |name: &str| field(head, name).unwrap().to_owned();
    let session: uuid::Uuid = said("tideover-session").parse().unwrap();
    assert_eq!(session.get_version_num(), 7);
    assert_eq!(
        ["epoch", "next-seq", "pinned", "delivered"].map(|name| said(&format!("tideover-{name}"))),
        ["1", "1", "0", "0"]
    );
    assert!(field(head, "tideover_epoch").is_none() && field(head, "tideover-next_seq").is_none(), "{head}");
    let signature = said("tideover-signature");
    let (time, mac) = signature.strip_prefix("t=").unwrap().split_once(", v1=").unwrap();
    let age = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() - time.parse::<u64>().unwrap();
    assert!(age < 60, "{age}");
    assert_eq!(mac, key.sign(format!("v1\n{session}\n1\n1\n0\n0\n{time}\nGET /room?user=a%20b").as_bytes()));
}

#[tokio::test]
async fn a_reattach_says_where_the_session_stands_and_a_probe_says_nothing() {
    let backend = Fake::echo("").await;
    let route = route_of(&config(&[backend.addr]));
    let session = SessionHeaders { epoch: 3, next_seq: Some(18), pinned: Some(0), delivered: Some(17), ..first() };
    soon(route.reattach(&kept(), &session, Reattach::default())).await.unwrap();
    soon(route.pool.probe(&route.pool.backends()[0], Instant::now(), &kept())).await;
    let heads = backend.heads();
    let fields =
        ["session", "epoch", "next-seq", "pinned", "delivered", "signature"].map(|name| format!("tideover-{name}"));
    let id = session.session.to_string();
    let said = fields.each_ref().map(|name| field(&heads[0], name));
    assert_eq!(said, [Some(id.as_str()), Some("3"), Some("18"), Some("0"), Some("17"), None]);
    assert_eq!(fields.each_ref().map(|name| field(&heads[1], name)), [None; 6]);
}

#[tokio::test]
async fn the_reattach_header_marks_reattaches_and_is_never_a_clients() {
    let backend = Fake::echo("").await;
    let mut config = config(&[backend.addr]);
    config.routes[0].reattach_header = Some("x-balancer-reconnect".parse().unwrap());
    let route = route_of(&config);
    let edge = Edge::new(config).await;
    edge.ask(&handshake("/", "X-Balancer-Reconnect: 1\r\nx_balancer_reconnect: 1\r\n")).await;
    reattach(&route, Reattach::default()).await.unwrap();
    let heads = backend.heads();
    assert!(!heads[0].to_lowercase().contains("balancer"), "{}", heads[0]);
    assert!(heads[1].contains("X-Balancer-Reconnect: 1\r\n"), "{}", heads[1]);
}

#[tokio::test]
async fn a_backend_opts_in_and_the_client_does_not_see_it() {
    let carriers =
        [("Explicit", Some(AckCarrier::Pong)), ("MESSAGE", Some(AckCarrier::Message)), ("", None), ("yes", None)];
    for (value, carrier) in carriers {
        let backend = answering(format!("Tideover-Ack: {value}\r\nTideover-Other: 1\r\n").leak()).await;
        let result = reattach(&route_of(&config(&[backend.addr])), Reattach::default()).await;
        let (_, head) = Edge::over(&[backend.addr]).await.ask(&handshake("/", "")).await;
        match carrier {
            Some(_) => {
                assert_eq!(result.unwrap().explicit, carrier);
                assert!(head.starts_with("HTTP/1.1 101 ") && !head.to_lowercase().contains("tideover"), "{head}");
            }
            None => {
                assert!(failure(result).0.contains("Tideover-Ack is neither"), "{value}");
                assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
            }
        }
    }
    let plain = Fake::echo("").await;
    assert_eq!(reattach(&route_of(&config(&[plain.addr])), Reattach::default()).await.unwrap().explicit, None);
}

#[tokio::test]
async fn who_does_not_opt_in_is_no_candidate_of_an_explicit_session() {
    let [plain, opted] = [Fake::echo("").await, answering("Tideover-Ack: explicit\r\n").await];
    let both = route_of(&explicit(&[plain.addr, opted.addr]));
    let attached = soon(both.first_attach(&kept(), &first(), &Extensions::new())).await.unwrap();
    assert_eq!((place(&both, &attached), plain.heads().len()), (1, 1));
    let alone = explicit(&[plain.addr]);
    match soon(route_of(&alone).first_attach(&kept(), &first(), &Extensions::new())).await {
        Err(FirstAttachError::NoBackend(why)) => assert!(why.contains("does not opt in"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(Edge::new(alone).await.ask(&handshake("/", "")).await.1.starts_with("HTTP/1.1 503 "));
    // The session asks for it where --ack does not.
    let route = route_of(&config(&[plain.addr]));
    assert!(reattach(&route, Reattach::default()).await.is_ok());
    let options = Reattach { explicit: true, ..Reattach::default() };
    assert!(failure(reattach(&route, options).await).0.contains("does not opt in"));
}

#[tokio::test]
async fn denials_count_across_rounds_but_each_backend_once() {
    let denies = Fake::says("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").await;
    let route = route_of(&config(&[denies.addr, nobody().await]));
    let (_, denials) = failure(reattach(&route, Reattach::default()).await);
    assert_ne!(denials, Denials::default());
    let (_, again) = failure(reattach(&route, Reattach { denials, ..Reattach::default() }).await);
    assert_eq!(again, denials, "the same backend says nothing new");
    // The same place in another pool: there the first backend is down and the second one denies.
    let other = route_of(&config(&[nobody().await, denies.addr]));
    let denied = reattach(&other, Reattach { denials, ..Reattach::default() }).await;
    assert!(matches!(denied, Err(ReattachError::Denied(StatusCode::FORBIDDEN))), "{denied:?}");
}

#[tokio::test]
async fn a_sparing_session_leaves_the_last_healthy_backend_alone() {
    let healthy = Fake::echo("").await;
    let down = [nobody().await, nobody().await];
    for backends in [vec![healthy.addr, down[0]], vec![down[0], healthy.addr, down[1]]] {
        let route = route_of(&config(&backends));
        let (why, _) = failure(reattach(&route, sparing(&route, 0)).await);
        assert!(why.starts_with("sparing the last healthy backend"), "{why}");
        assert!(reattach(&route, Reattach::default()).await.is_ok(), "others may go there");
    }
    let sessions = healthy.heads().into_iter().filter(|head| head.contains("Tideover-Session")).count();
    assert_eq!(sessions, 2, "of those others");
}

#[tokio::test]
async fn a_sparing_session_goes_where_another_healthy_backend_stays_behind() {
    let fakes = [Fake::echo("").await, Fake::echo("").await];
    let route = route_of(&config(&[fakes[0].addr, fakes[1].addr, nobody().await]));
    assert_eq!(place(&route, &reattach(&route, sparing(&route, 1)).await.unwrap()), 0);
    let alone = route_of(&config(&[fakes[0].addr]));
    assert!(reattach(&alone, sparing(&alone, 0)).await.is_ok(), "nothing to spare in a pool of one");
    let mut same_only = config(&[fakes[0].addr, fakes[1].addr]);
    same_only.routes[0].reattach_order = ReattachOrder::SameOnly;
    let route = route_of(&same_only);
    assert_eq!(place(&route, &reattach(&route, sparing(&route, 1)).await.unwrap()), 1);
}

#[tokio::test]
async fn a_sparing_session_waits_when_its_failed_dial_shows_that_one_is_left() {
    // Answers probes, which name no session, and ends sessions' handshakes.
    let dying = Fake::new(|mut stream, head| async move {
        if !head.contains("Tideover-Session") {
            let _ = stream.write_all(switching(&head, "").as_bytes()).await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    })
    .await;
    let healthy = Fake::echo("").await;
    let route = route_of(&config(&[dying.addr, healthy.addr]));
    let (why, _) = failure(reattach(&route, sparing(&route, 1)).await);
    assert!(why.starts_with("sparing the last healthy backend; 1 of 2 backends tried"), "{why}");
    assert!(healthy.heads().iter().all(|head| !head.contains("Tideover-Session")));
}

#[tokio::test]
async fn a_backend_found_dying_is_not_the_next_sessions_first_choice() {
    let refuses_probes = Fake::new(|mut stream, head| async move {
        let unavailable = || "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_owned();
        let session = head.contains("Tideover-Session");
        let answer = if session { switching(&head, "") } else { unavailable() };
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let healthy = Fake::echo("").await;
    let route = route_of(&config(&[refuses_probes.addr, healthy.addr]));
    let busy = Reattach { last: Some(route.pool.backends()[0].id), ..Reattach::default() };
    let _busy = reattach(&route, busy).await.unwrap();
    assert_eq!(soon(route.pool.probe(&route.pool.backends()[0], Instant::now(), &kept())).await, Verdict::Dying);
    let attached = soon(route.first_attach(&kept(), &first(), &Extensions::new())).await.unwrap();
    assert_eq!(place(&route, &attached), 1, "though the other one has fewer legs");
}

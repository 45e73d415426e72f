//! The data port's handshake on real sockets.

mod edge_support;

use std::time::{Duration, Instant};

use edge_support::*;
use futures_util::{SinkExt, StreamExt};
use tideover::config::Compression;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn a_real_client_talks_to_a_real_server() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let edge = Edge::over(&[listener.local_addr().unwrap()]).await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut server = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = server.next().await {
            server.send(message).await.unwrap();
        }
    });
    let connected = soon(tokio_tungstenite::connect_async(format!("ws://{}/", edge.addr)));
    let (mut client, _) = Box::pin(connected).await.unwrap();
    client.send(Message::text("hello")).await.unwrap();
    assert_eq!(soon(client.next()).await.unwrap().unwrap(), Message::text("hello"));
}

#[tokio::test]
async fn the_backend_sees_the_clients_handshake_with_our_own_key() {
    let backend = Fake::echo("").await;
    let edge = Edge::over(&[backend.addr]).await;
    let more = "X-CaSe: kept\r\nCookie: a=1\r\nCookie: b=2\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
                Tideover_Session: forged\r\nX-Forwarded-For: 10.0.0.1\r\n";
    edge.ask(&handshake("/room%2F1?user=a%20b&c", more)).await;
    let head = &backend.heads()[0];
    assert!(head.starts_with("GET /room%2F1?user=a%20b&c HTTP/1.1\r\n"), "{head}");
    for line in ["X-CaSe: kept", "Cookie: a=1", "Cookie: b=2", "Sec-WebSocket-Version: 13", "Host: chat.example"] {
        assert!(head.contains(&format!("{line}\r\n")), "{line} is missing in {head}");
    }
    assert_eq!(field(head, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(field(head, "forwarded"), Some("for=127.0.0.1;proto=http;host=chat.example"));
    assert_ne!(field(head, "sec-websocket-key"), Some(KEY));
    assert_eq!(field(head, "sec-websocket-extensions"), Some(DEFLATE));
    assert_eq!(field(head, "tideover_session"), None);
}

/// How permessage-deflate is offered to backends and answered to clients, whatever either side said of context takeover.
const DEFLATE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// What the client's 101 says of extensions when it offers permessage-deflate and a backend answers with `more`.
async fn answered(more: &'static str, compression: Compression) -> (String, Option<String>) {
    let backend = Fake::new(move |mut stream, head| async move {
        stream.write_all(switching(&head, more).as_bytes()).await.unwrap();
    })
    .await;
    let mut config = config(&[backend.addr]);
    config.routes[0].compression = compression;
    let edge = Edge::new(config).await;
    let offer = "Sec-WebSocket-Extensions: other, permessage-deflate; client_max_window_bits\r\n";
    let (_, head) = edge.ask(&handshake("/", offer)).await;
    let status = head.split(' ').nth(1).unwrap().to_owned();
    (status, field(&head, "sec-websocket-extensions").map(str::to_owned))
}

#[tokio::test]
async fn compression_is_agreed_on_end_to_end_without_context_takeover() {
    for (more, agreed) in [
        ("", None),
        ("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n", Some("")),
        (
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10; server_no_context_takeover\r\n",
            Some("; client_max_window_bits=10"),
        ),
    ] {
        let agreed = agreed.map(|windows| format!("{DEFLATE}{windows}"));
        assert_eq!(answered(more, Compression::Relay).await, ("101".into(), agreed));
    }
}

#[tokio::test]
async fn a_backend_that_answers_what_was_not_offered_gets_no_session() {
    for more in [
        "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        "Sec-WebSocket-Extensions: other\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; server_max_window_bits=7\r\n",
    ] {
        assert_eq!(answered(more, Compression::Relay).await, ("503".into(), None), "{more}");
    }
    let good = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
    assert_eq!(answered(good, Compression::Off).await, ("503".into(), None), "nothing was offered");
    assert_eq!(answered("", Compression::Off).await, ("101".into(), None));
}

#[tokio::test]
async fn the_client_sees_the_backends_fields_with_its_own_accept() {
    let more = "Set-Cookie: a=1\r\nSec-WebSocket-Protocol: v1\r\nSet-Cookie: b=2\r\nX-CaSe: kept\r\n";
    let backend = Fake::new(move |mut stream, head| async move {
        stream.write_all(switching(&head, more).as_bytes()).await.unwrap();
    })
    .await;
    let edge = Edge::over(&[backend.addr]).await;
    let (_, head) = edge.ask(&handshake("/", "Sec-WebSocket-Protocol: v2, v1\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(field(&head, "sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(field(&head, "sec-websocket-protocol"), Some("v1"));
    assert!(head.contains("X-CaSe: kept\r\n"), "{head}");
    let cookies: Vec<_> = head.lines().filter(|line| line.starts_with("Set-Cookie")).collect();
    assert_eq!(cookies, ["Set-Cookie: a=1", "Set-Cookie: b=2"]);
}

#[tokio::test]
async fn bytes_right_behind_both_heads_are_not_lost() {
    let backend = Fake::echo("greeting").await;
    let edge = Edge::over(&[backend.addr]).await;
    let (mut client, _) = edge.ask(&(handshake("/", "") + "early")).await;
    assert_eq!(read_text(&mut client, "greetingearly".len()).await, "greetingearly");
}

#[tokio::test]
async fn a_backends_refusal_is_the_clients_answer() {
    let backend = Fake::says(
        "HTTP/1.1 403 Nope\r\nX-Why: banned\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nKeep-Alive: timeout=5\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n4\r\n end\r\n0\r\n\r\n",
    )
    .await;
    let other = Fake::echo("").await;
    let edge = Edge::over(&[backend.addr, other.addr]).await;
    let (mut client, head) = edge.ask(&handshake("/", "Connection: close\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert_eq!(field(&head, "x-why"), Some("banned"));
    assert_eq!(head.matches("Set-Cookie").count(), 2, "{head}");
    assert_eq!(field(&head, "keep-alive"), None);
    assert_eq!(read_rest(&mut client).await, "5\r\nbegin\r\n4\r\n end\r\n0\r\n\r\n");
    assert!(other.heads().is_empty(), "a refusal is an answer, not a failed dial");
}

#[tokio::test]
async fn frames_behind_a_refused_handshake_are_no_second_request() {
    let backend = Fake::says("HTTP/1.1 404 Nope\r\nContent-Length: 2\r\n\r\nno").await;
    let edge = Edge::over(&[backend.addr]).await;
    let (mut client, head) = edge.ask(&(handshake("/", "") + "\u{1}frames")).await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    assert_eq!(field(&head, "connection"), Some("close"));
    assert_eq!(read_rest(&mut client).await, "no");
}

#[tokio::test]
async fn what_a_trusted_proxy_says_about_the_client_is_kept() {
    let backend = Fake::echo("").await;
    let mut config = config(&[backend.addr]);
    config.trust_forwarded = vec!["127.0.0.0/8".parse().unwrap()];
    let edge = Edge::new(config).await;
    edge.ask(&handshake("/", "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: https\r\n")).await;
    let head = &backend.heads()[0];
    assert!(head.contains("X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 127.0.0.1\r\n"), "{head}");
    assert_eq!(field(head, "x-forwarded-proto"), Some("https"));
}

#[tokio::test]
async fn bad_handshakes_are_told_what_is_wrong() {
    let backend = Fake::echo("").await;
    let edge = Edge::over(&[backend.addr]).await;
    let good = handshake("/", "");
    for (request, status, said) in [
        (good.replace("13", "8"), 426, "4.4"),
        (good.replace("GET", "PUT"), 400, "GET"),
        (good.replace("HTTP/1.1", "HTTP/1.0"), 400, "HTTP/1.1"),
        (good.replace("Host: chat.example\r\n", ""), 400, "Host"),
        (good.replace("Connection: Upgrade", "Connection: close"), 400, "Connection"),
        (good.replace(KEY, "short"), 400, "Sec-WebSocket-Key"),
        (good.replace("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\nx"), 400, "body"),
    ] {
        let (mut client, head) = edge.ask(&request).await;
        assert_eq!(head.split(' ').nth(1), Some(status.to_string().as_str()), "{request}: {head}");
        assert_eq!(field(&head, "upgrade"), (status == 426).then_some("websocket"), "{head}");
        let len = field(&head, "content-length").unwrap().parse().unwrap();
        let text = read_text(&mut client, len).await;
        assert!(text.contains(said), "{request}: {text}");
    }
    assert!(edge.ask(&good.replace("13", "8")).await.1.contains("sec-websocket-version: 13\r\n"));
    assert!(edge.ask("no HTTP at all\r\n\r\n").await.1.starts_with("HTTP/1.1 400 "));
    assert!(backend.heads().is_empty());
}

#[tokio::test]
async fn a_handshake_over_the_limit_gets_431() {
    let backend = Fake::echo("").await;
    let edge = Edge::over(&[backend.addr]).await;
    for kib in [16, 64, 1000] {
        let cookie = format!("Cookie: {}\r\n", "x".repeat(kib << 10));
        let (mut client, head) = edge.ask(&handshake("/", &cookie)).await;
        assert!(head.starts_with("HTTP/1.1 431 "), "{kib} KiB: {head}");
        read_rest(&mut client).await;
    }
    let (_, head) = edge.ask(&handshake("/", &format!("Cookie: {}\r\n", "x".repeat(15 << 10)))).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[tokio::test]
async fn a_refused_client_that_is_still_sending_is_not_reset() {
    let edge = Edge::over(&[nobody().await]).await;
    let some = "x".repeat(20 << 10);
    let (mut client, head) = edge.ask(&format!("GET / HTTP/1.1\r\nCookie: {some}")).await;
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    for _ in 0..10 {
        client.write_all(some.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    read_rest(&mut client).await;
}

#[tokio::test]
async fn no_backend_within_the_connect_timeout_gives_503() {
    let silent = Fake::silent().await;
    let mut config = config(&[nobody().await, silent.addr]);
    config.pools[0].settings.connect_timeout = Duration::from_millis(300);
    let edge = Edge::new(config).await;
    let begun = Instant::now();
    let (_, head) = edge.ask(&handshake("/", "")).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(field(&head, "retry-after"), Some("1"));
    assert!((300..4500).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn sessions_over_the_limit_get_503_until_one_ends() {
    let backend = Fake::echo("").await;
    let mut config = config(&[backend.addr]);
    config.max_sessions = 1;
    let edge = Edge::new(config).await;
    let (client, _) = edge.ask(&handshake("/", "")).await;
    let (_, head) = edge.ask(&handshake("/", "")).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(field(&head, "retry-after"), Some("1"));
    drop(client);
    soon(async { while !edge.ask(&handshake("/", "")).await.1.starts_with("HTTP/1.1 101 ") {} }).await;
}

#[tokio::test]
async fn a_draining_edge_takes_no_session() {
    let backend = Fake::echo("").await;
    let edge = Edge::over(&[backend.addr]).await;
    let (mut client, _) = edge.ask(&handshake("/", "")).await;
    edge.context.drain();
    let (_, head) = edge.ask(&handshake("/", "")).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(field(&head, "connection"), Some("close"));
    client.write_all(b"still here").await.unwrap();
    assert_eq!(read_text(&mut client, 10).await, "still here");
}

#[tokio::test]
async fn a_client_that_goes_away_during_the_dial_takes_the_backend_leg_with_it() {
    let (gone, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let backend = Fake::new(move |mut stream, _| {
        let gone = gone.clone();
        async move {
            gone.send(read_rest(&mut stream).await).unwrap();
        }
    })
    .await;
    let edge = Edge::over(&[backend.addr]).await;
    let mut client = tokio::net::TcpStream::connect(edge.addr).await.unwrap();
    client.write_all(handshake("/", "").as_bytes()).await.unwrap();
    soon(async {
        while backend.heads().is_empty() {
            tokio::task::yield_now().await
        }
    })
    .await;
    drop(client);
    assert_eq!(soon(ended.recv()).await.as_deref(), Some(""));
}

#[tokio::test]
async fn a_handshake_has_its_time_from_accept_however_it_trickles() {
    let mut config = config(&[Fake::echo("").await.addr]);
    config.limits.handshake_timeout = Duration::from_millis(300);
    let edge = Edge::new(config).await;
    let mut slow = tokio::net::TcpStream::connect(edge.addr).await.unwrap();
    let begun = Instant::now();
    let (mut answers, mut requests) = slow.split();
    let trickle = async {
        for byte in handshake("/", "").bytes() {
            if requests.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = String::new();
    tokio::select! {
        read = tokio::io::AsyncReadExt::read_to_string(&mut answers, &mut answer) => drop(read),
        () = trickle => {}
    }
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(begun.elapsed().as_millis() >= 300, "{:?}", begun.elapsed());
    let mut silent = tokio::net::TcpStream::connect(edge.addr).await.unwrap();
    assert_eq!(read_rest(&mut silent).await, "", "who asks for nothing is told nothing");
}

#[tokio::test]
async fn more_fields_than_allowed_are_too_many() {
    let mut config = config(&[Fake::echo("").await.addr]);
    config.limits.max_header_fields = 6;
    let edge = Edge::new(config).await;
    assert!(edge.ask(&handshake("/", "X: 1\r\n")).await.1.starts_with("HTTP/1.1 101 "));
    assert!(edge.ask(&handshake("/", "X: 1\r\nY: 1\r\n")).await.1.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn an_address_has_so_many_sessions_and_another_one_its_own() {
    let mut config = config(&[Fake::echo("").await.addr]);
    config.trust_forwarded = vec!["127.0.0.0/8".parse().unwrap()];
    config.limits.max_sessions_per_address = 1;
    let edge = Edge::new(config).await;
    let of = |client: &str| handshake("/", &format!("X-Forwarded-For: {client}\r\n"));
    let (first, head) = edge.ask(&of("2001:db8::1")).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let (_, head) = edge.ask(&of("2001:db8::2")).await;
    assert!(head.starts_with("HTTP/1.1 429 ") && field(&head, "retry-after") == Some("1"), "{head}");
    assert!(edge.ask(&of("2001:db8:0:1::1")).await.1.starts_with("HTTP/1.1 101 "));
    drop(first);
    soon(async { while !edge.ask(&of("2001:db8::2")).await.1.starts_with("HTTP/1.1 101 ") {} }).await;
}

#[tokio::test]
async fn an_address_begins_so_many_sessions_a_second() {
    let mut config = config(&[Fake::echo("").await.addr]);
    config.limits.session_rate_per_address = 2;
    let edge = Edge::new(config).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(edge.ask(&handshake("/", "")).await.1[9..12].to_owned());
    }
    assert!(answers[..2].iter().all(|status| status == "101"), "{answers:?}");
    assert!(answers.iter().any(|status| status == "429"), "{answers:?}");
}

#[tokio::test]
async fn only_pages_of_allowed_origins_begin_sessions() {
    let mut config = config(&[Fake::echo("").await.addr]);
    let allowed = ["https://app.example.com", "https://*.example.org"];
    config.routes[0].admission.origins = allowed.iter().map(|origin| origin.parse().unwrap()).collect();
    let edge = Edge::new(config).await;
    for (fields, status) in [
        ("Origin: https://app.example.com\r\n", "101"),
        ("Origin: https://a.b.example.org\r\n", "101"),
        ("", "101"),
        ("Origin: https://example.org\r\n", "403"),
        ("Origin: http://app.example.com\r\n", "403"),
        ("Origin: https://app.example.com.evil.com\r\n", "403"),
        ("Origin: null\r\n", "403"),
        ("Origin: \r\n", "403"),
        ("Origin: https://app.example.com\r\nOrigin: https://evil.com\r\n", "403"),
    ] {
        let (_, head) = edge.ask(&handshake("/", fields)).await;
        assert_eq!(&head[9..12], status, "{fields:?}: {head}");
    }
}

#[tokio::test]
async fn only_requests_for_allowed_hosts_are_served() {
    let backend = Fake::echo("").await;
    let mut config = config(&[backend.addr]);
    config.routes[0].admission.hosts = vec!["chat.example".parse().unwrap(), "*.example.org".parse().unwrap()];
    let edge = Edge::new(config).await;
    let of = |host: &str| handshake("/", "").replace("chat.example", host);
    for (request, status) in [
        (of("chat.example"), "101"),
        (of("CHAT.example:8080"), "101"),
        (of("a.example.org"), "101"),
        (of("example.org"), "421"),
        (of("127.0.0.1"), "421"),
        (of("chat.example.evil.com"), "421"),
        (of("chat.example").replace("GET /", "GET http://evil.com/"), "421"),
        ("GET / HTTP/1.1\r\nHost: evil.com\r\n\r\n".into(), "421"),
    ] {
        let (_, head) = edge.ask(&request).await;
        assert_eq!(&head[9..12], status, "{request}: {head}");
    }
    assert_eq!(backend.heads().len(), 3);
}

//! Plain HTTP on the data port, on real sockets.

mod edge_support;

use std::time::Duration;

use edge_support::*;
use tideover::config::{Config, CookieName, Http};
use tideover::edge::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A plain request with more header lines.
fn plain(method: &str, target: &str, more: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: chat.example\r\n{more}\r\n")
}

/// Answers each request with its own head as the body.
async fn mirror() -> Fake {
    Fake::new(|mut stream, head| async move {
        let answer = format!("HTTP/1.1 200 OK\r\nX-CaSe: kept\r\nContent-Length: {}\r\n\r\n{head}", head.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await
}

async fn body_of(stream: &mut TcpStream, head: &str) -> String {
    let len = field(head, "content-length").expect("a length").parse().unwrap();
    read_text(stream, len).await
}

fn with_timeout(mut config: Config, time: Duration) -> Config {
    config.pools[0].settings.http_timeout = time;
    config
}

#[tokio::test]
async fn a_request_and_its_answer_pass_with_their_end_to_end_fields() {
    let backend = mirror().await;
    let edge = Edge::over(&[backend.addr]).await;
    let more = "X-CaSe: kept\r\nConnection: x-hop\r\nX-Hop: 1\r\nUpgrade: h2c\r\nKeep-Alive: timeout=1\r\n\
                X-Forwarded-For: 10.0.0.1\r\nTideover-Session: forged\r\nTideover_Epoch: 7\r\nX-Forwarded_Host: evil\r\n";
    let (mut client, head) = edge.ask(&plain("GET", "/a%20b?c=d", more)).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("X-CaSe: kept\r\n"), "{head}");
    let seen = body_of(&mut client, &head).await;
    assert!(seen.starts_with("GET /a%20b?c=d HTTP/1.1\r\n") && seen.contains("X-CaSe: kept\r\n"), "{seen}");
    assert_eq!(field(&seen, "host"), Some("chat.example"));
    assert_eq!(field(&seen, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(field(&seen, "x-forwarded-proto"), Some("http"));
    assert_eq!(field(&seen, "connection"), Some("close"));
    let lower = seen.to_lowercase();
    for gone in ["x-hop", "upgrade", "keep-alive", "tideover", "evil", "10.0.0.1"] {
        assert!(!lower.contains(gone), "{gone} is in {seen}");
    }
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other_and_then_a_session() {
    let backend = Fake::new(|mut stream, head| async move {
        let upgrade = head.contains("Sec-Websocket-Key") || head.to_lowercase().contains("sec-websocket-key");
        let answer = if upgrade { switching(&head, "") + "frames" } else { "HTTP/1.1 204 Fine\r\n\r\n".into() };
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = stream.read_u8().await;
    })
    .await;
    let edge = Edge::over(&[backend.addr]).await;
    let (mut client, head) = edge.ask(&plain("GET", "/1", "")).await;
    assert!(head.starts_with("HTTP/1.1 204 "), "{head}");
    client.write_all(plain("DELETE", "/2", "").as_bytes()).await.unwrap();
    let head = soon(read_head(&mut client)).await;
    assert!(head.starts_with("HTTP/1.1 204 "), "{head}");
    client.write_all(handshake("/3", "").as_bytes()).await.unwrap();
    let head = soon(read_head(&mut client)).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(read_text(&mut client, 6).await, "frames");
    assert_eq!(edge.context.requests().get()[0], ("2xx", 2));
}

#[tokio::test]
async fn both_bodies_pass_as_they_come() {
    let backend = Fake::new(|mut stream, head| async move {
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        let begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        let mut chunk = [0; 10];
        stream.read_exact(&mut chunk).await.unwrap();
        assert_eq!(&chunk, b"5\r\nhello\r\n");
        stream.write_all(begun).await.unwrap();
        // The rest of the request comes when its client has the beginning of the answer.
        stream.read_exact(&mut chunk).await.unwrap();
        assert_eq!(&chunk, b"5\r\nworld\r\n");
        stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.unwrap();
    })
    .await;
    let edge = Edge::over(&[backend.addr]).await;
    let begin = plain("POST", "/", "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n";
    let (mut client, head) = edge.ask(&begin).await;
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    assert_eq!(read_text(&mut client, 10).await, "5\r\nfirst\r\n");
    client.write_all(b"5\r\nworld\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(read_text(&mut client, 14).await, "4\r\nlast\r\n0\r\n\r\n");
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let backend = Fake::new(|mut stream, head| async move {
        assert_eq!(field(&head, "te"), Some("trailers"));
        let sent = "2\r\nhi\r\n0\r\nx-sum: 1234\r\n\r\n";
        let mut body = vec![0; sent.len()];
        stream.read_exact(&mut body).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&body).to_lowercase(), sent);
        let answer = "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx-sum: 42\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let edge = Edge::over(&[backend.addr]).await;
    let more = "TE: trailers\r\nConnection: TE\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n";
    let request = plain("POST", "/", more) + "2\r\nhi\r\n0\r\nx-sum: 1234\r\n\r\n";
    let (mut client, head) = edge.ask(&request).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(read_text(&mut client, 16).await.to_lowercase(), "0\r\nx-sum: 42\r\n\r\n");
}

#[tokio::test]
async fn the_answer_to_head_has_the_length_and_no_body() {
    let backend = Fake::says("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await;
    let edge = Edge::over(&[backend.addr]).await;
    let (mut client, head) = edge.ask(&plain("HEAD", "/", "Connection: close\r\n")).await;
    assert_eq!(field(&head, "content-length"), Some("1000"));
    assert_eq!(read_rest(&mut client).await, "");
}

#[tokio::test]
async fn a_client_that_expects_100_is_asked_for_its_body_when_the_backend_asks() {
    let backend = Fake::new(|mut stream, head| async move {
        assert_eq!(field(&head, "expect"), Some("100-continue"));
        if head.starts_with("PUT /no ") {
            return stream.write_all(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let mut body = [0; 4];
        stream.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"body");
        stream.write_all(b"HTTP/1.1 201 Done\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    let edge = Edge::over(&[backend.addr]).await;
    let more = "Expect: 100-continue\r\nContent-Length: 4\r\n";
    let (mut client, head) = edge.ask(&plain("PUT", "/yes", more)).await;
    assert!(head.starts_with("HTTP/1.1 100 "), "{head}");
    client.write_all(b"body").await.unwrap();
    let head = soon(read_head(&mut client)).await;
    assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
    let (_, head) = edge.ask(&plain("PUT", "/no", more)).await;
    assert!(head.starts_with("HTTP/1.1 413 "), "the backend's word comes before the body: {head}");
}

#[tokio::test]
async fn what_a_backend_does_not_answer_has_a_status_that_says_why() {
    for (answer, status) in [
        ("", 502),
        ("SSH-2.0-x\r\n\r\n", 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 502),
        ("HTTP/1.1 200 OK\r\nX-A: 1\r\n X-B: folded\r\n\r\n", 502),
        ("HTTP/1.1 101 Why\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", 502),
    ] {
        let backend = Fake::says(answer).await;
        let edge = Edge::over(&[backend.addr]).await;
        let (mut client, head) = edge.ask(&plain("GET", "/", "")).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:?}: {head}");
        assert_eq!(body_of(&mut client, &head).await, "the backend gave no good answer\n");
        assert_eq!(backend.heads().len(), 1, "a request that was sent is not sent again");
    }
    let edge = Edge::over(&[nobody().await]).await;
    let (_, head) = edge.ask(&plain("GET", "/", "")).await;
    assert!(head.starts_with("HTTP/1.1 503 ") && field(&head, "retry-after").is_some(), "{head}");
    let edge = Edge::new(with_timeout(config(&[Fake::silent().await.addr]), Duration::from_millis(50))).await;
    let (_, head) = edge.ask(&plain("GET", "/", "")).await;
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
}

#[tokio::test]
async fn a_backend_that_cannot_be_reached_is_passed_over() {
    let backend = mirror().await;
    let edge = Edge::over(&[nobody().await, backend.addr]).await;
    for _ in 0..3 {
        let (_, head) = edge.ask(&plain("GET", "/", "")).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
}

#[tokio::test]
async fn where_plain_http_is_rejected_it_is_told_to_upgrade() {
    let mut config = config(&[mirror().await.addr]);
    config.routes[0].admission.http = Http::Reject;
    let edge = Edge::new(config).await;
    let (_, head) = edge.ask(&plain("GET", "/", "")).await;
    assert!(head.starts_with("HTTP/1.1 426 ") && field(&head, "upgrade") == Some("websocket"), "{head}");
}

#[tokio::test]
async fn a_request_beyond_the_most_is_told_to_come_again() {
    let mut config = config(&[Fake::silent().await.addr]);
    config.limits.max_http_requests = 1;
    let edge = Edge::new(config).await;
    let mut first = TcpStream::connect(edge.addr).await.unwrap();
    first.write_all(plain("GET", "/", "").as_bytes()).await.unwrap();
    soon(async {
        while edge.context.requests_live() == 0 {
            tokio::task::yield_now().await
        }
    })
    .await;
    let (_, head) = edge.ask(&plain("GET", "/", "")).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    drop(first);
    soon(async {
        while edge.context.requests_live() > 0 {
            tokio::task::yield_now().await
        }
    })
    .await;
}

#[tokio::test]
async fn a_paused_proxy_takes_no_request_and_no_handshake_until_it_is_resumed() {
    let backend = mirror().await;
    let edge = Edge::over(&[backend.addr]).await;
    edge.context.set_paused(true);
    for request in [plain("GET", "/", ""), handshake("/", "")] {
        let (_, head) = edge.ask(&request).await;
        assert!(head.starts_with("HTTP/1.1 503 ") && field(&head, "retry-after") == Some("1"), "{head}");
    }
    assert!(backend.heads().is_empty());
    let (paused, requests) = (edge.context.refused().get(Reason::Paused), edge.context.requests().get());
    assert_eq!((paused, requests.iter().find(|(word, _)| *word == "paused")), (1, Some(&("paused", 1))));
    edge.context.set_paused(false);
    let (_, head) = edge.ask(&plain("GET", "/", "")).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_request_along() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"] {
        let (gone, mut seen) = tokio::sync::mpsc::channel(1);
        let backend = Fake::new(move |mut stream, _| {
            let gone = gone.clone();
            async move {
                stream.write_all(answer.as_bytes()).await.unwrap();
                let _ = stream.read_to_end(&mut Vec::new()).await;
                gone.send(()).await.unwrap();
            }
        })
        .await;
        let edge = Edge::over(&[backend.addr]).await;
        let mut client = TcpStream::connect(edge.addr).await.unwrap();
        client.write_all(plain("GET", "/", "").as_bytes()).await.unwrap();
        soon(async {
            while backend.heads().is_empty() {
                tokio::task::yield_now().await
            }
        })
        .await;
        drop(client);
        soon(seen.recv()).await.expect("the backend saw the end");
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_cut_off() {
    let (gone, mut seen) = tokio::sync::mpsc::channel(1);
    let backend = Fake::new(move |mut stream, _| {
        let gone = gone.clone();
        async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
            while stream.write_all(&[0; 65536]).await.is_ok() {}
            gone.send(()).await.unwrap();
        }
    })
    .await;
    let edge = Edge::new(with_timeout(config(&[backend.addr]), Duration::from_secs(1))).await;
    let (client, _) = edge.ask(&plain("GET", "/", "")).await;
    soon(seen.recv()).await.expect("the backend saw the end");
    drop(client);
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let backend = Fake::new(|mut stream, _| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let edge = Edge::new(with_timeout(config(&[backend.addr]), Duration::from_secs(1))).await;
    let (mut client, _) = edge.ask(&plain("GET", "/", "")).await;
    let mut rest = Vec::new();
    let _ = soon(client.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"half");
    let upload = plain("POST", "/", "Content-Length: 10\r\n") + "half";
    let edge = Edge::new(with_timeout(config(&[Fake::silent().await.addr]), Duration::from_secs(1))).await;
    let (_, head) = edge.ask(&upload).await;
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
}

#[tokio::test]
async fn a_cookie_leads_requests_and_sessions_to_the_same_backend() {
    let backends = [mirror().await, mirror().await];
    let mut config = config(&[backends[0].addr, backends[1].addr]);
    config.pools[0].settings.balancing.sticky_cookie = CookieName::new("back");
    let edge = Edge::new(config).await;
    let (_, head) = edge.ask(&plain("GET", "/", "")).await;
    let cookie = field(&head, "set-cookie").expect("a cookie").split(';').next().unwrap().to_owned();
    let first = usize::from(backends[0].heads().is_empty());
    for _ in 0..4 {
        let (_, head) = edge.ask(&plain("GET", "/", &format!("Cookie: {cookie}\r\n"))).await;
        assert_eq!(field(&head, "set-cookie"), None);
    }
    assert_eq!(backends[first].heads().len(), 5);
    edge.ask(&handshake("/", &format!("Cookie: {cookie}\r\n"))).await;
    assert_eq!(backends[first].heads().len(), 6);
}

#[tokio::test]
async fn an_absolute_target_names_the_host() {
    let backend = mirror().await;
    let edge = Edge::over(&[backend.addr]).await;
    let (mut client, head) = edge.ask(&plain("GET", "http://other.example:81/a?b", "")).await;
    let seen = body_of(&mut client, &head).await;
    assert!(seen.starts_with("GET /a?b HTTP/1.1\r\n"), "{seen}");
    assert_eq!(
        (field(&seen, "host"), field(&seen, "x-forwarded-host")),
        (Some("other.example:81"), Some("other.example:81"))
    );
    let (_, head) = edge.ask(&plain("GET", "http://me@other.example/", "")).await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    let (_, head) = edge.ask("CONNECT other.example:81 HTTP/1.1\r\nHost: other.example:81\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 501 "), "{head}");
}

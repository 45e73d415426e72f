//! Requests that two servers could read differently, and headers that are not the sender's to say: raw bytes.

mod edge_support;

use std::time::Duration;

use edge_support::*;
use tideover::config::{AssignConfig, Http};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Answers any request with its own head as the body.
async fn mirror() -> Fake {
    Fake::new(|mut stream, head| async move {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

/// All that comes back.
async fn all(edge: &Edge, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(edge.addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Behind which it would be seen whether somebody reads on.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn no_ambiguous_head_reaches_a_backend_nor_what_stands_behind_it() {
    let backend = mirror().await;
    let edge = Edge::over(&[backend.addr]).await;
    for fields in [
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        "Content-Length: 0\r\nContent-Length: 37\r\n\r\n",
        "Content-Length: 37\r\nContent-Length: 0\r\n\r\n",
        "Content-Length: 0, 37\r\n\r\n",
        "Content-Length: +0\r\n\r\n",
        "Content-Length : 37\r\n\r\n",
        "Content_Length: 37\r\n\r\n",
        "X: 1\r\n Content-Length: 37\r\n\r\n",
        "X: 1\r\n\tfolded\r\n\r\n",
        "X: 1\nContent-Length: 37\r\n\r\n",
        "X: 1\rContent-Length: 37\r\n\r\n",
        "X: 1\n\n",
        "Transfer-Encoding: xchunked\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        "Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n",
        "Host: b\r\n\r\n",
        "no colon\r\n\r\n",
        "X: a\0b\r\n\r\n",
    ] {
        for method in ["GET", "POST"] {
            let bytes = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}{SMUGGLED}");
            let answer = all(&edge, bytes.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{bytes:?}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{bytes:?}: {answer}");
        }
        let upgrade = handshake("/", "").trim_end().to_owned() + "\r\n" + fields;
        let answer = all(&edge, upgrade.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{upgrade:?}: {answer}");
    }
    assert_eq!(backend.heads(), Vec::<String>::new());
}

/// What is not looked at behind a handshake: whoever read it as a request would see two in it, or another Host than the
/// routes.
const UNCHECKED: &str = "GET /smuggled HTTP/1.1\nHost: a\nHost: b\n\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// The answer to a request that ends what is checked; whatever is said behind it has none.
async fn only_answer(edge: &Edge, backend: &Fake, request: &[u8]) -> String {
    let answer = all(edge, &[request, UNCHECKED.as_bytes()].concat()).await;
    let shown = request.escape_ascii();
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{shown}: {answer}");
    assert!(answer.to_lowercase().contains("close\r\n") && !answer.contains("smuggled"), "{shown}: {answer}");
    assert!(backend.heads().iter().all(|head| !head.contains("smuggled")), "{shown}: {:?}", backend.heads());
    answer
}

#[tokio::test]
async fn whatever_a_request_for_a_websocket_is_answered_nothing_behind_it_is_a_request() {
    let backend = mirror().await;
    let edge = Edge::over(&[backend.addr]).await;
    let cases: [(&[u8], &str); 7] = [
        (b"Upgrade: websocket, \xff", "400"),
        (b"Upgrade: \xff\r\nUpgrade: \x80,WebSocket", "400"),
        (b"Upgrade: h2c,websocket", "400"),
        (b"Upgrade: websocket\r\nContent-Length: 3", "400"),
        (b"Upgrade: websocket\r\nTransfer-Encoding: chunked", "400"),
        (b"Upgrade: websocket\r\nConnection: upgrade", "426"),
        (b"Upgrade: websocket, \xff\r\nConnection: Keep-Alive, \xff\r\nX: 1", "400"),
    ];
    for (upgrade, status) in cases {
        for method in ["GET", "POST", "HEAD", "CONNECT"] {
            let begin = format!("{method} / HTTP/1.1\r\nHost: ok\r\n");
            let head = [begin.as_bytes(), upgrade, &b"\r\n\r\n"[..]].concat();
            let answer = only_answer(&edge, &backend, &head).await;
            let status = if method == "GET" { status } else { "400" };
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{}: {answer}", head.escape_ascii());
        }
    }
    assert_eq!(backend.heads(), Vec::<String>::new());
    // One that is good, for a backend that wants none.
    assert!(only_answer(&edge, &backend, handshake("/", "").as_bytes()).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn an_assignment_that_asks_for_a_websocket_as_well_is_the_last_answer() {
    let backend = mirror().await;
    let mut config = config(&[backend.addr]);
    config.schemes.assign = Some(AssignConfig { origins: Vec::new(), rate: 1000, ttl: Duration::from_secs(10) });
    let edge = Edge::new(config).await;
    for (request, status) in [
        ("GET /.tideover/assign HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", "503"),
        ("OPTIONS /.tideover/assign HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", "204"),
        ("POST /.tideover/assign HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nContent-Length: 9\r\n\r\n", "405"),
        ("CONNECT /.tideover/assign HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
    ] {
        let answer = only_answer(&edge, &backend, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    }
    // Others leave the connection open.
    let asks = "GET /.tideover/assign HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = "GET /.tideover/assign HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(all(&edge, (asks.to_owned() + last).as_bytes()).await.matches("HTTP/1.1 503 ").count(), 2);
}

#[tokio::test]
async fn a_connect_is_the_last_request_where_plain_ones_are_rejected_too() {
    let backend = mirror().await;
    for (http, status) in [(Http::Proxy, "501"), (Http::Reject, "426")] {
        let mut config = config(&[backend.addr]);
        config.routes[0].admission.http = http;
        let edge = Edge::new(config).await;
        let answer = only_answer(&edge, &backend, b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn a_bad_chunk_ends_the_request_and_the_connection() {
    let backend = mirror().await;
    let edge = Edge::over(&[backend.addr]).await;
    for body in
        ["zz\r\n", "1 \r\nx\r\n", "1\nx\r\n", "1\r\nxy\r\n", "-1\r\n", "fffffffffffffffff\r\n", "1\r\nx\n0\r\n\r\n"]
    {
        let bytes = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}");
        let answer = all(&edge, bytes.as_bytes()).await;
        // What came before may have been answered; what stands behind it may not.
        assert!(answer.matches("HTTP/1.1 ").count() <= 1 && !answer.contains("smuggled"), "{body:?}: {answer}");
    }
    assert!(backend.heads().iter().all(|head| !head.contains("smuggled")));
}

#[tokio::test]
async fn a_good_request_before_a_bad_one_is_answered() {
    let edge = Edge::over(&[mirror().await.addr]).await;
    let mut stream = TcpStream::connect(edge.addr).await.unwrap();
    stream.write_all(b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let head = soon(read_head(&mut stream)).await;
    let len = field(&head, "content-length").unwrap().parse().unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && read_text(&mut stream, len).await.starts_with("GET /good"), "{head}");
    stream.write_all(b"GET /bad HTTP/1.1\nHost: a\n\n").await.unwrap();
    assert!(read_rest(&mut stream).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn no_backend_can_put_a_header_into_an_answer() {
    for injected in [
        "X-A: 1\rSet-Cookie: evil=1",
        "X-A: 1\0Set-Cookie: evil=1",
        "X-A: 1\r\n Set-Cookie: evil=1",
        "X A: 1",
        "X-A : 1",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{injected}\r\nContent-Length: 0\r\n\r\n");
        let backend = Fake::says(answer.leak()).await;
        let edge = Edge::over(&[backend.addr]).await;
        for request in ["GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), handshake("/", "")] {
            let answer = all(&edge, request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 50") && !answer.contains("evil"), "{injected:?}: {answer}");
        }
    }
    // What is ours, or about one hop, is not a backend's to say.
    let ours = "HTTP/1.1 200 OK\r\nTideover-Ack: explicit\r\nConnection: x-hop\r\nX-Hop: 1\r\nUpgrade: h2c\r\nX-Kept: 1\r\n\
                Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
    let edge = Edge::over(&[Fake::says(ours).await.addr]).await;
    let answer = all(&edge, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.to_lowercase();
    assert!(answer.contains("x-kept: 1"), "{answer}");
    for gone in ["tideover", "x-hop", "upgrade", "proxy-"] {
        assert!(!answer.contains(gone), "{gone} is in {answer}");
    }
}

#[tokio::test]
async fn what_connection_names_stays_on_its_hop_whatever_bytes_stand_beside_it() {
    let backend = mirror().await;
    let edge = Edge::over(&[backend.addr]).await;
    let request =
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Hop: 1\r\nX-Kept: 1\r\nConnection: X-Hop, \xff\r\nConnection: close\r\n\r\n";
    let seen = all(&edge, request).await.to_lowercase();
    assert!(seen.starts_with("http/1.1 200 ") && seen.contains("x-kept: 1") && !seen.contains("x-hop"), "{seen}");
}

#[tokio::test]
async fn clients_cannot_say_what_is_ours() {
    let backend = mirror().await;
    let mut config = config(&[backend.addr]);
    config.routes[0].reattach_header = Some("x-again".parse().unwrap());
    let edge = Edge::new(config).await;
    let forged = "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded-Proto: evil\r\nX-Forwarded-Host: evil\r\n\
                  Forwarded: for=6.6.6.6\r\nTideover-Session: evil\r\nTIDEOVER_NEXT-SEQ: evil\r\ntideover-signature: evil\r\n\
                  X-Again: evil\r\nx_again: evil\r\nSec-WebSocket-Extensions: evil\r\n\
                  Sec_WebSocket_Extensions: evil\r\nSec-WebSocket_Protocol: evil\r\nsec_websocket_key: evil\r\n\
                  Connection: X-Forwarded-For, Tideover-Session, Host\r\n";
    let plain = format!("GET / HTTP/1.1\r\nHost: a\r\n{forged}\r\n");
    for request in [plain, handshake("/", forged)] {
        edge.ask(&request).await;
    }
    let heads = backend.heads();
    assert_eq!(heads.len(), 2);
    for head in heads {
        assert!(!head.contains("evil") && !head.contains("6.6.6.6"), "{head}");
        assert_eq!(field(&head, "x-forwarded-for"), Some("127.0.0.1"));
        assert!(field(&head, "host").is_some());
    }
}

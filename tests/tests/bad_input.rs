//! Must be shown, 9: bad input of a peer gets the right status or Close code and one log line, nothing panics, and an
//! honest session beside it is unharmed.

use std::time::{Duration, Instant};

use serde_json::Value;
use tideover_tests::{
    Proxy,
    deadline::eventually,
    lock::machine_shared,
    proxy::says,
    raw::{Connection, Ended, Frame, SAMPLE_KEY, SESSION_PATH, Stage, opcode, upgrade_request},
};

mod honest;
use honest::Honest;

const SOON: Duration = Duration::from_secs(10);
/// Small, so that what is over a limit is quickly sent.
const FLAGS: [&str; 8] = [
    "--max-message-bytes",
    "64KiB",
    "--max-message-frames",
    "1000",
    "--max-handshake-bytes",
    "8KiB",
    "--http",
    "reject",
];

/// The log's lines about peers and sessions: not what it says of backends, nor what a good life has too.
fn complaints(proxy: &Proxy) -> Vec<Value> {
    let is_good = |line: &Value| says(line, "listening") || says(line, "backend ejected");
    proxy.log_lines().into_iter().filter(|line| !is_good(line)).collect()
}

/// One more complaint than before, and it says `what`.
async fn expect_one_complaint(proxy: &Proxy, before: usize, what: &str) {
    eventually(SOON, format_args!("a log line about {what}"), || complaints(proxy).len() > before).await;
    let new = complaints(proxy).split_off(before);
    assert_eq!(new.len(), 1, "one line: {new:#?}");
    assert!(new[0].to_string().contains(what), "{what}: {}", new[0]);
}

// Handshakes.

/// Sends `request`; the answer has this status and there is one line in the log, which says so.
async fn refused(proxy: &Proxy, request: impl AsRef<[u8]>, status: u16) {
    let before = complaints(proxy).len();
    let mut client = Connection::dial(proxy.address()).await.expect("connected");
    client.send_bytes(&request).await.expect("sent");
    let answer = client.head(SOON).await;
    let request = String::from_utf8_lossy(request.as_ref()).chars().take(300).collect::<String>();
    let answer = answer.unwrap_or_else(|ended| panic!("{ended:?} instead of an answer to {request}"));
    assert_eq!(answer.status(), status, "{request}");
    if status == 426 {
        assert!(answer.header("Upgrade").is_some() || answer.header("Sec-WebSocket-Version").is_some(), "{answer:?}");
    }
    expect_one_complaint(proxy, before, &status.to_string()).await;
}

/// A good handshake, in which `old` is replaced by `new`.
fn request_with(old: &str, new: &str) -> String {
    let good = upgrade_request("/", "proxy", &[]);
    assert!(good.contains(old), "{old} is in {good}");
    good.replace(old, new)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_handshakes_are_refused_with_their_status() {
    let _machine = machine_shared();
    let stage = Stage::start(1, &FLAGS).await;
    let honest = Honest::begin(&stage).await;
    let proxy = &stage.proxy;
    let key_line = format!("Sec-WebSocket-Key: {SAMPLE_KEY}\r\n");

    refused(proxy, request_with("Upgrade: websocket\r\n", ""), 426).await;
    refused(proxy, request_with("Upgrade: websocket", "Upgrade: h2c"), 426).await;
    refused(proxy, request_with("Version: 13", "Version: 8"), 426).await;
    refused(proxy, request_with("Sec-WebSocket-Version: 13\r\n", ""), 426).await;
    refused(proxy, request_with("Connection: Upgrade\r\n", ""), 400).await;
    refused(proxy, request_with(&key_line, ""), 400).await;
    refused(proxy, request_with(&key_line, &key_line.repeat(2)), 400).await;
    refused(proxy, request_with(SAMPLE_KEY, "dG9vIHNob3J0"), 400).await;
    refused(proxy, request_with("Host: proxy\r\n", ""), 400).await;
    refused(proxy, request_with("Host: proxy\r\n", "Host: proxy\r\nHost: other\r\n"), 400).await;
    refused(proxy, request_with("GET", "POST"), 400).await;
    refused(proxy, request_with("HTTP/1.1", "HTTP/1.0"), 400).await;
    refused(proxy, request_with("Host: proxy\r\n", "Host: proxy\r\nContent-Length: 3\r\n"), 400).await;
    refused(proxy, request_with("Host: proxy", "no colon here"), 400).await;
    refused(proxy, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n", 400).await;
    for (name_bytes, value_bytes) in [(8, 9000), (9000, 8)] {
        let line = format!("{}: {}", "x".repeat(name_bytes), "v".repeat(value_bytes));
        refused(proxy, upgrade_request("/", "proxy", &[&line]), 431).await;
    }
    let many: Vec<_> = (0..150).map(|number| format!("x-{number}: 1")).collect();
    refused(proxy, upgrade_request("/", "proxy", &many.iter().map(String::as_str).collect::<Vec<_>>()), 431).await;
    honest.end(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_over_the_limit_gets_503() {
    let _machine = machine_shared();
    let stage = Stage::start(1, &["--max-sessions", "1"]).await;
    let honest = Honest::begin(&stage).await;
    refused(&stage.proxy, upgrade_request("/", "proxy", &[]), 503).await;
    honest.end(&stage).await;
    // Its place is free again, as soon as the proxy has seen to the end.
    let freed = async {
        loop {
            let mut client = Connection::dial(stage.proxy.address()).await.expect("connected");
            client.send_bytes(upgrade_request(SESSION_PATH, "proxy", &[])).await.expect("sent");
            if client.head(SOON).await.expect("an answer").status() == 101 {
                return client;
            }
        }
    };
    tokio::join!(freed, stage.next_leg());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_backend_a_handshake_gets_503_in_time() {
    let _machine = machine_shared();
    let mut stage = Stage::start(2, &["--connect-timeout", "3s"]).await;
    // One refuses; the other takes the connection and never answers.
    stage.backends[0].refuse();
    let before = complaints(&stage.proxy).len();
    let asked = Instant::now();
    let mut client = Connection::dial(stage.proxy.address()).await.expect("connected");
    client.send_bytes(upgrade_request("/", "proxy", &[])).await.expect("sent");
    let answer = client.head(SOON).await.expect("an answer");
    assert_eq!(answer.status(), 503);
    assert!(answer.header("Retry-After").is_some(), "{answer:?}");
    // One time-out for both, and what a loaded machine adds.
    assert!(asked.elapsed() < Duration::from_millis(5500), "{:?}", asked.elapsed());
    expect_one_complaint(&stage.proxy, before, "503").await;
}

// Frames of clients.

/// A client sends a good message and then `bad`: the first reaches the backend, of the other no more than fragments;
/// the client gets a Close with this code, and the log one line that says `what`.
async fn closed(stage: &Stage, bad: Vec<u8>, code: u16, what: &str) {
    let before = complaints(&stage.proxy).len();
    let (mut client, mut leg) = stage.session().await;
    client.send(&Frame::text("whole")).await.expect("sent");
    assert_eq!(leg.frame().await.as_text(), "whole");
    let backend = leg.echo();
    // The Close may come before the last of these bytes is sent.
    let _ = client.send_bytes(bad).await;
    let close = client.next_answering_pings(SOON).await.unwrap_or_else(|ended| panic!("{what}: {ended:?}"));
    assert_eq!(close.close_code().map(|(code, _)| code), Some(code), "{what}: {close:?}");
    assert_eq!(client.next_answering_pings(SOON).await, Err(Ended::Eof), "{what}");
    let read = backend.await.expect("the backend sees the end");
    let messages = read.iter().filter(|frame| frame.fin && frame.opcode != opcode::CLOSE).count();
    assert_eq!(messages, 0, "{what}: the backend got no bad message");
    expect_one_complaint(&stage.proxy, before, what).await;
}

const KEY: Option<[u8; 4]> = Some([1, 2, 3, 4]);

fn header(frame: &Frame, length: u64) -> Vec<u8> {
    frame.header(KEY, length)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_breaks_the_protocol_is_told_so() {
    let _machine = machine_shared();
    let stage = Stage::start(1, &FLAGS).await;
    let honest = Honest::begin(&stage).await;
    let text = Frame::text("x");
    for reserved in [1, 2, 4, 7] {
        closed(&stage, Frame { reserved, ..text.clone() }.encode(KEY), 1002, "reserved bit").await;
    }
    for reserved_opcode in [0x3, 0x7, 0xB, 0xF] {
        closed(&stage, Frame::new(reserved_opcode, "x").encode(KEY), 1002, "reserved opcode").await;
    }
    closed(&stage, text.encode(None), 1002, "without a mask").await;
    closed(&stage, Frame::new(opcode::PING, vec![0; 126]).encode(KEY), 1002, "more than 125 bytes").await;
    closed(&stage, header(&Frame::new(opcode::CLOSE, ""), 70_000), 1002, "more than 125 bytes").await;
    closed(&stage, Frame::new(opcode::PING, "x").unfinished().encode(KEY), 1002, "fragmented control").await;
    closed(&stage, Frame::new(opcode::CONTINUATION, "x").encode(KEY), 1002, "without a message").await;
    let twice = [text.clone().unfinished().encode(KEY), text.encode(KEY)].concat();
    closed(&stage, twice, 1002, "inside a fragmented one").await;
    honest.end(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_lengths_and_closes_are_checked() {
    let _machine = machine_shared();
    let stage = Stage::start(1, &FLAGS).await;
    let honest = Honest::begin(&stage).await;
    let mask_and = |length: &[u8]| [&[0x82][..], length, &[0; 4 + 5]].concat();
    closed(&stage, mask_and(&[0x80 | 126, 0, 5]), 1002, "fewest bytes").await;
    closed(&stage, mask_and(&[0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 5]), 1002, "fewest bytes").await;
    closed(&stage, mask_and(&[0x80 | 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]), 1002, "fewest bytes").await;
    closed(&stage, mask_and(&[0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), 1002, "2^63").await;
    closed(&stage, mask_and(&[0x80 | 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), 1009, "max-message").await;
    closed(&stage, header(&Frame::new(opcode::BINARY, ""), (64 << 10) + 1), 1009, "max-message-bytes").await;
    closed(&stage, Frame::new(opcode::BINARY, vec![0; 4 << 20]).encode(KEY), 1009, "max-message-bytes").await;
    let first = Frame::new(opcode::BINARY, vec![0; 64 << 10]).unfinished().encode(KEY);
    let over = [first, Frame::new(opcode::CONTINUATION, "x").encode(KEY)].concat();
    closed(&stage, over, 1009, "max-message-bytes").await;
    let begun = Frame::new(opcode::TEXT, "header").unfinished().encode(KEY);
    let flood = Frame::new(opcode::CONTINUATION, "header").unfinished().encode(KEY).repeat(1000);
    closed(&stage, [begun, flood].concat(), 1008, "max-message-frames").await;

    let close = |payload: &[u8]| Frame::new(opcode::CLOSE, payload).encode(KEY);
    closed(&stage, close(b"\x03"), 1002, "one byte").await;
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
        closed(&stage, close(&code.to_be_bytes()), 1002, &format!("Close code {code}")).await;
    }
    closed(&stage, close(b"\x03\xE8\xFF\xFE"), 1002, "UTF-8").await;
    honest.end(&stage).await;
}

// Frames of backends.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_breaks_the_protocol_is_left_for_another() {
    let _machine = machine_shared();
    let stage = Stage::start(2, &FLAGS).await;
    let honest = Honest::begin(&stage).await;
    let text = Frame::text("x");
    let mut bad = vec![
        (text.encode(KEY), "masked frame"),
        (Frame::new(0x3, "x").encode(None), "reserved opcode"),
        (Frame::new(opcode::PING, vec![0; 126]).encode(None), "more than 125 bytes"),
        (Frame::new(opcode::CONTINUATION, "x").encode(None), "without a message"),
        (Frame::close(1005, "").encode(None), "Close code 1005"),
    ];
    bad.extend([1, 2, 4].map(|reserved| (Frame { reserved, ..text.clone() }.encode(None), "reserved bit")));
    for (bytes, what) in bad {
        let before = complaints(&stage.proxy).len();
        let (mut client, mut leg) = stage.session().await;
        client.send(&Frame::text("question")).await.expect("sent");
        assert_eq!(leg.frame().await.as_text(), "question");
        let good = Frame::text("before").encode(None);
        leg.connection.send_bytes([good, bytes].concat()).await.expect("sent");
        let mut next = stage.next_leg().await;
        assert_eq!(next.frame().await.as_text(), "question");
        next.connection.send(&Frame::text("after")).await.expect("sent");
        for expected in ["before", "after"] {
            assert_eq!(client.next_answering_pings(SOON).await, Ok(Frame::text(expected)), "{what}");
        }
        let lost = |line: &&Value| says(line, "backend leg lost");
        let lines = complaints(&stage.proxy).split_off(before);
        let lines: Vec<_> = lines.iter().filter(lost).collect();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].to_string().contains(what), "{what}: {}", lines[0]);
        let echo = next.echo();
        client.send(&Frame::close(1000, "")).await.expect("sent");
        assert_eq!(client.next_answering_pings(SOON).await, Ok(Frame::close(1000, "")));
        drop(client);
        echo.await.expect("the session ends");
    }
    honest.end(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backends_message_over_the_limit_ends_the_session_with_1009() {
    let _machine = machine_shared();
    let stage = Stage::start(1, &FLAGS).await;
    let honest = Honest::begin(&stage).await;
    let before = complaints(&stage.proxy).len();
    let (mut client, mut leg) = stage.session().await;
    let large = Frame::new(opcode::BINARY, vec![0; 1 << 20]).encode(None);
    let sending = tokio::spawn(async move {
        // The proxy need not take all of it.
        let _ = leg.connection.send_bytes(large).await;
        while leg.connection.next_answering_pings(SOON).await.is_ok() {}
    });
    let close = stage.without_failover(client.next_answering_pings(SOON)).await.expect("a Close");
    assert_eq!(close.close_code().map(|(code, _)| code), Some(1009));
    client.send(&Frame::close(1009, "")).await.expect("sent");
    assert_eq!(client.next_answering_pings(SOON).await, Err(Ended::Eof));
    sending.await.expect("the leg ends");
    expect_one_complaint(&stage.proxy, before, "max-message-bytes").await;
    honest.end(&stage).await;
}

//! What a client says is nowhere in the log, however much is logged: SECURITY.md, "What is never logged".

use std::time::Duration;

use tideover_tests::{
    Backend, Kind, Proxy,
    deadline::eventually,
    lock::machine_shared,
    proxy::says,
    raw::{Connection, Frame, Head, RawBackend, upgrade_request},
};

const SOON: Duration = Duration::from_secs(20);
const ALL: [&str; 2] = ["--log", "trace"];
/// In each header field, message and body.
const SECRET: &str = "s3cr3t";
/// In each query.
const TOKEN: &str = "t0k3n";
const TARGET: &str = "/echo?token=t0k3n";
const HEADERS: [&str; 5] = [
    "Cookie: sid=s3cr3t-cookie",
    "Authorization: Bearer s3cr3t-bearer",
    "Sec-WebSocket-Protocol: chat, s3cr3t-protocol",
    "X-Api-Key: s3cr3t-key",
    "Referer: http://page/?s3cr3t-referer",
];

#[track_caller]
fn assert_unsaid(proxy: &Proxy, secrets: &[&str]) {
    let log = proxy.log_text();
    assert!(log.lines().count() > 1, "it logs: {log}");
    for line in log.lines() {
        assert!(!secrets.iter().any(|secret| line.contains(secret)), "{line}");
    }
}

fn handshake() -> String {
    upgrade_request(TARGET, "proxy", &HEADERS)
}

fn plain(line: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: proxy\r\n{}\r\n\r\n", HEADERS.join("\r\n"))
}

/// The head of the answer to a request on a connection of its own.
async fn answer(proxy: &Proxy, request: impl AsRef<[u8]>) -> Head {
    let mut client = Connection::dial(proxy.address()).await.expect("connected");
    client.send_bytes(request).await.expect("sent");
    client.head(SOON).await.expect("an answer")
}

/// Sends a message and waits for its echo.
async fn exchange(client: &mut Connection, text: &str) {
    client.send(&Frame::text(text)).await.expect("sent");
    while client.next_answering_pings(SOON).await.expect("the session goes on") != Frame::text(text) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_with_a_failover_leaves_nothing_in_the_log_of_what_its_client_said() {
    let _machine = machine_shared();
    let mut backends = [Kind::Rust; 2].map(Backend::start);
    let proxy = Proxy::start(&backends, &ALL);
    let mut client = Connection::client(proxy.address(), TARGET, &HEADERS).await;
    exchange(&mut client, "s3cr3t-message 1").await;
    let serving = backends.iter().position(Backend::has_served).expect("one of them has the session");
    backends[serving].kill();
    exchange(&mut client, "s3cr3t-message 2").await;
    client.send(&Frame::close(1000, "s3cr3t-reason")).await.expect("sent");
    let logged = |message: &str| proxy.log_lines().iter().any(|line| says(line, message));
    for message in ["session opened", "backend leg lost", "attached again", "session ended"] {
        eventually(SOON, format_args!("the log has {message:?}"), || logged(message)).await;
    }
    assert_unsaid(&proxy, &[SECRET, TOKEN]);
}

/// Answers plain requests with 200 and refuses all handshakes, for ever.
async fn refuse_handshakes(backend: &RawBackend) {
    loop {
        let mut connection = backend.connection(Duration::from_secs(3600)).await;
        let Ok(request) = connection.head(SOON).await else { continue };
        let status = if request.header("Upgrade").is_some() { "403 No" } else { "200 Yes" };
        let head = format!("HTTP/1.1 {status}\r\nSet-Cookie: sid={SECRET}\r\nX-Reason: {SECRET}\r\n");
        let answer = format!("{head}Content-Length: {}\r\n\r\n{SECRET}", SECRET.len());
        connection.send_bytes(answer).await.expect("the answer is sent");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_and_plain_requests_leave_nothing_in_the_log_of_what_was_said() {
    let _machine = machine_shared();
    let mut backend = RawBackend::bind().await;
    let flags = [&ALL[..], &["--allow-origin", "https://good.example"]].concat();
    let proxy = Proxy::before([backend.address()], &flags);
    let large = format!("X-Large: {}", SECRET.repeat(20_000));
    let refused = [
        (403, handshake()),
        (403, upgrade_request(TARGET, "proxy", &[&HEADERS[..], &["Origin: https://s3cr3t.example"]].concat())),
        (426, handshake().replace("Version: 13", "Version: 12")),
        (400, handshake().replace("Connection: Upgrade", "Connection: s3cr3t")),
        (400, handshake().replace("\r\n", "\n")),
        (400, handshake().replace("Cookie:", "Cookie")),
        (400, handshake().replace("/echo", "/\u{1}echo")),
        (431, upgrade_request(TARGET, "proxy", &[&large])),
        (501, plain("CONNECT s3cr3t.example:80")),
        (200, plain(&format!("GET {TARGET}"))),
    ];
    let asking = async {
        for (status, request) in refused {
            assert_eq!(answer(&proxy, &request).await.status(), status, "{request:.200}");
        }
    };
    tokio::select! {
        () = asking => {}
        () = refuse_handshakes(&backend) => unreachable!("it never ends"),
    }
    assert_unsaid(&proxy, &[SECRET, TOKEN]);

    // The same when nobody is there.
    backend.refuse();
    for request in [handshake(), plain(&format!("GET {TARGET}"))] {
        assert_eq!(answer(&proxy, &request).await.status(), 503);
    }
    let refusals = ["handshake refused", "request refused"];
    let lines = || proxy.log_lines().into_iter();
    let logged = || lines().filter(|line| refusals.iter().any(|refusal| says(line, refusal))).count();
    eventually(SOON, "each refusal is logged", || logged() >= 11).await;
    assert_eq!(logged(), 11, "a line each");
    assert_unsaid(&proxy, &[SECRET, TOKEN]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_query_of_who_is_sent_elsewhere_is_logged_only_if_that_is_asked_for() {
    let _machine = machine_shared();
    let backend = RawBackend::bind().await;
    let public = format!("{}=ws://chat.example", backend.address());
    for (log_query, lines) in [("off", 0), ("on", 2)] {
        let flags = ["--mode", "redirect", "--assign", "on", "--public-url", &public, "--log-query", log_query];
        let proxy = Proxy::before([backend.address()], &[&ALL[..], &flags].concat());
        assert_eq!(answer(&proxy, handshake()).await.status(), 307);
        assert_eq!(answer(&proxy, plain(&format!("GET /.tideover/assign{TARGET}"))).await.status(), 200);
        let logged = || ["handshake redirected", "assignment"].iter().all(|said| proxy.log_text().contains(*said));
        eventually(SOON, "both are logged", logged).await;
        assert_unsaid(&proxy, &[SECRET]);
        let log = proxy.log_text();
        assert_eq!(log.lines().filter(|line| line.contains(TOKEN)).count(), lines, "{log}");
    }
}

//! `tideover doctor` says of a backend what is known of it.

use std::{
    process::{Command, Output},
    time::Duration,
};

use serde_json::{Value, json};
use tideover_tests::{
    Backend, Kind,
    interop::{Servers, Software},
    lock::machine_shared,
    ports, program,
    raw::{Connection, Frame, Head, RawBackend, opcode},
    tls::{Authority, Files, VALID, path_text},
};

const LONG: Duration = Duration::from_secs(3600);

/// What it printed, as JSON.
fn examine(backend: &str, flags: &[&str]) -> Value {
    let Output { status, stdout, stderr } = call(backend, &[&["--json"], flags].concat());
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).expect("JSON")
}

fn call(backend: &str, flags: &[&str]) -> Output {
    let mut command = Command::new(program::tideover());
    command.args(["doctor", "--backend", backend]).args(flags);
    tokio::task::block_in_place(|| command.output()).expect("tideover doctor runs")
}

/// The value of a flag that it advises; empty if it does not.
fn advised<'a>(report: &'a Value, flag: &str) -> &'a str {
    of_advice(report, flag, "value")
}

fn of_advice<'a>(report: &'a Value, flag: &str, what: &str) -> &'a str {
    let advice = report["advice"].as_array().expect("a list");
    advice.iter().find(|one| one["flag"] == flag).map_or("", |one| one[what].as_str().expect("a text"))
}

fn url(backend: &Backend) -> String {
    format!("ws://{}", backend.address())
}

/// A row of the table in tests/README.md.
struct Row {
    kind: Kind,
    pong: &'static str,
    ack: &'static str,
    compresses: bool,
    /// How it leaves on SIGTERM, and what is advised for that.
    leaves: Option<(Value, &'static str)>,
}

fn rows() -> Vec<Row> {
    let goes_away = || {
        let close = json!({"end": "close", "code": 1001, "reason": ""});
        Some((close, "--failover-codes"))
    };
    let eof = Some((json!({"end": "eof"}), "--on-ambiguous"));
    let row = |kind, pong, ack, compresses, leaves| Row { kind, pong, ack, compresses, leaves };
    vec![
        row(Kind::Rust, "after", "pong", false, goes_away()),
        row(Kind::NodeSync, "after", "pong", true, goes_away()),
        row(Kind::NodeAsync, "before", "reply", true, goes_away()),
        row(Kind::Aiohttp, "after", "pong", true, goes_away()),
        row(Kind::Tornado, "after", "pong", false, eof),
        row(Kind::Websockets, "before", "reply", true, goes_away()),
        // How uvicorn leaves is not in the table; its compression is switched off.
        row(Kind::Uvicorn, "before", "reply", false, None),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_verdict_on_each_server_is_that_of_the_table() {
    let _machine = machine_shared();
    for Row { kind, pong, ack, compresses, leaves } in rows() {
        let backend = Backend::start(kind);
        let terminate = format!("kill -TERM {}", backend.pid());
        let flags = ["--path", "/answer?ms=100", "--send", "a", "--send", "b", "--restart-command", &terminate];
        let report = examine(&url(&backend), &flags);
        let found = &report["findings"];
        let answers = &found["answers"];
        assert_eq!(answers["order"], pong, "{kind:?}: {report:#}");
        assert_eq!(answers["counts"], json!([1, 1, 1, 1, 1, 1]), "{kind:?}: {report:#}");
        assert_eq!(answers["repeatable"], true, "{kind:?}");
        assert_eq!(found["greeting"], json!({"result": "messages", "count": 0}), "{kind:?}");
        assert!(found["ping_ms"].is_number(), "{kind:?}: {report:#}");
        assert_eq!(advised(&report, "--ack"), ack, "{kind:?}");
        assert_eq!(advised(&report, "--greeting"), "0", "{kind:?}");
        assert_eq!(advised(&report, "--profile"), "", "{kind:?} speaks no known protocol: {report:#}");
        let dedupe = if ack == "pong" { "on" } else { "off" };
        assert_eq!(advised(&report, "--dedupe-replies"), dedupe, "{kind:?}");
        let compression = if compresses { "accepted" } else { "declined" };
        assert_eq!(found["compression"]["result"], compression, "{kind:?}: {report:#}");
        if let Some((mut left, flag)) = leaves {
            let mut ending = found["restart"]["ending"].clone();
            // Reasons are the servers' own.
            for end in [&mut left, &mut ending].into_iter().filter_map(Value::as_object_mut) {
                end.remove("reason");
            }
            assert_eq!(ending, left, "{kind:?}: {report:#}");
            assert!(!advised(&report, flag).is_empty(), "{kind:?}: {report:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_sends_by_itself_is_not_said_to_greet_or_answer() {
    let _machine = machine_shared();
    let backend = Backend::start(Kind::Aiohttp);
    let report = examine(&url(&backend), &["--path", "/push?every_ms=50", "--send", "a"]);
    assert_eq!(report["findings"]["greeting"]["result"], "pushes", "{report:#}");
    assert_eq!(report["findings"]["answers"]["order"], "unknown", "{report:#}");
    assert_eq!((advised(&report, "--ack"), advised(&report, "--greeting")), ("pong", "0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_anything_to_send_only_what_comes_unasked_is_told() {
    let _machine = machine_shared();
    let backend = Backend::start(Kind::Rust);
    let report = examine(&format!("{}/echo", url(&backend)), &[]);
    assert_eq!(report["findings"]["answers"], Value::Null);
    assert_eq!(advised(&report, "--ack"), "pong");
    let reads =
        backend.events().iter().filter(|event| matches!(event.what, tideover_tests::backend::What::Read(..))).count();
    assert_eq!(reads, 0, "it sends nothing that it was not told to");
    let text = String::from_utf8(call(&format!("{}/echo", url(&backend)), &[]).stdout).expect("UTF-8");
    assert!(text.contains("nothing was sent: give --send TEXT") && text.contains("\nUse\n"), "{text}");
}

/// Servers that none of us wrote.
fn start(software: Software) -> (Servers, String) {
    let servers = tokio::task::block_in_place(|| software.start());
    let url = format!("ws://{}", servers.address());
    (servers, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_profile_a_graphql_server_is_logged_in_to_and_asked_in_its_own_protocol() {
    let _machine = machine_shared();
    let (_servers, url) = start(Software::Graphql);
    let profile = ["--profile", "graphql-transport-ws"];
    let login = ["--opening", r#"{"type":"connection_init","payload":{"token":"secret"}}"#];
    let report = examine(&url, &[&profile[..], &login].concat());
    let found = &report["findings"];
    assert_eq!(found["backend"], format!("{url}/graphql"), "the profile has the path");
    assert_eq!(found["subprotocol"], "graphql-transport-ws", "{report:#}");
    assert_eq!(found["profile"], json!({"name": "graphql-transport-ws", "why": "--profile says so"}));
    let answers = &found["answers"];
    assert_eq!(answers["counts"], json!([1, 1, 1, 1, 1, 1]), "a pong of the protocol to each of its pings: {report:#}");
    assert_eq!(answers["ended"], Value::Null, "{report:#}");
    assert_eq!(answers["repeatable"], true, "{report:#}");
    // The library answers asynchronously, and `ws` answers pings at once.
    assert_eq!(answers["order"], "before", "{report:#}");
    for (flag, value) in [
        ("--profile", "graphql-transport-ws"),
        ("--ack", "rules"),
        ("--ack-linger", "auto"),
        ("--greeting", "0"),
        ("--dedupe-replies", "off"),
        ("--compression", ""),
    ] {
        assert_eq!(advised(&report, flag), value, "{flag}: {report:#}");
    }
    let why = of_advice(&report, "--ack-linger", "why");
    assert!(why.contains("done with by ping and pong") && why.contains("250 ms where pongs come early"), "{why}");

    // Without the token it is refused, and says so.
    let report = examine(&url, &profile);
    let answers = &report["findings"]["answers"];
    assert_eq!((&answers["counts"], &answers["ended"]["code"]), (&json!([]), &json!(4403)), "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_profile_a_json_rpc_server_is_asked_without_a_login_and_where_its_pongs_stand_is_told() {
    let _machine = machine_shared();
    let (_servers, url) = start(Software::Jsonrpsee);
    let report = examine(&url, &["--profile", "eth-subscribe"]);
    let answers = &report["findings"]["answers"];
    assert_eq!(answers["counts"], json!([1, 1, 1, 1, 1, 1]), "{report:#}");
    assert_eq!((&answers["repeatable"], &answers["ended"]), (&json!(true), &Value::Null), "{report:#}");
    assert_eq!(report["findings"]["profile"]["name"], "eth-subscribe");
    // It answers pings while it reads, and calls are tasks of their own.
    assert_eq!(answers["order"], "before", "{report:#}");
    for (flag, value) in [("--ack", "rules"), ("--ack-linger", "auto"), ("--greeting", "0"), ("--compression", "off")] {
        assert_eq!(advised(&report, flag), value, "{flag}: {report:#}");
    }
    let why = of_advice(&report, "--ack-linger", "why");
    assert!(why.contains("done with by ping and pong") && why.contains("250 ms where pongs come early"), "{why}");
}

/// What a backend played by the test does on each connection.
#[derive(Clone, Copy)]
enum Manner {
    /// Greets with two messages, answers each message with a number that never comes again, answers pings.
    Greets,
    /// Echoes, and answers no ping.
    Mute,
    /// Answers pings and nothing else.
    Silent,
    /// Chooses this subprotocol if it is offered, and echoes.
    Chooses(&'static str),
}

/// Serves for as long as the test goes on.
fn serve(backend: RawBackend, manner: Manner) -> String {
    let url = format!("ws://{}/room", backend.address());
    tokio::spawn(async move {
        loop {
            let connection = backend.connection(LONG).await;
            tokio::spawn(converse(connection, manner));
        }
    });
    url
}

fn chosen(request: &Head, name: &str) -> Vec<String> {
    let offered = request.header("Sec-WebSocket-Protocol").unwrap_or_default();
    let offered = offered.split(',').any(|item| item.trim() == name);
    offered.then(|| format!("Sec-WebSocket-Protocol: {name}")).into_iter().collect()
}

async fn converse(mut connection: Connection, manner: Manner) -> Option<()> {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let request = connection.head(LONG).await.ok()?;
    let headers = if let Manner::Chooses(name) = manner { chosen(&request, name) } else { Vec::new() };
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let key = request.header("Sec-WebSocket-Key")?;
    connection.send_bytes(tideover_tests::raw::accept_response(key, &headers)).await.ok()?;
    if let Manner::Greets = manner {
        connection.send(&Frame::text("welcome")).await.ok()?;
        connection.send(&Frame::text("news")).await.ok()?;
    }
    loop {
        let frame = connection.next(LONG).await.ok()?;
        let answer = match (frame.opcode, manner) {
            (opcode::CLOSE, _) => {
                connection.send(&Frame { key: None, ..frame }).await.ok()?;
                return None;
            }
            (opcode::PING, Manner::Mute) => continue,
            (opcode::PING, _) => Frame::pong(&frame),
            (_, Manner::Silent) => continue,
            (_, Manner::Greets) => Frame::text(&NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string()),
            (_, Manner::Mute | Manner::Chooses(_)) => Frame { key: None, ..frame },
        };
        connection.send(&answer).await.ok()?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn greetings_are_counted_and_answers_that_differ_are_noticed() {
    let _machine = machine_shared();
    let url = serve(RawBackend::bind().await, Manner::Greets);
    let report = examine(&url, &["--send", "a"]);
    assert_eq!(report["findings"]["greeting"], json!({"result": "messages", "count": 2}));
    assert_eq!(report["findings"]["answers"]["repeatable"], false);
    assert_eq!(advised(&report, "--greeting"), "2");
    assert_eq!((advised(&report, "--ack"), advised(&report, "--dedupe-replies")), ("pong", "off"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_without_pongs_or_without_answers_is_told_from_others() {
    let _machine = machine_shared();
    let wait = ["--send", "a", "--wait", "3s"];
    let mute = examine(&serve(RawBackend::bind().await, Manner::Mute), &wait);
    assert_eq!(mute["findings"]["ping_ms"], Value::Null);
    assert_eq!(advised(&mute, "--ack"), "reply", "{mute:#}");
    let silent = examine(&serve(RawBackend::bind().await, Manner::Silent), &wait);
    assert_eq!(silent["findings"]["answers"]["counts"], json!([0, 0, 0, 0, 0, 0]));
    assert_eq!(advised(&silent, "--ack"), "pong", "{silent:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_protocol_is_recognised_by_the_subprotocol_that_is_chosen_asked_for_or_not() {
    let _machine = machine_shared();
    for (subprotocol, profile) in
        [("graphql-transport-ws", "graphql-transport-ws"), ("mqtt", "mqtt"), ("ocpp1.6", "ocpp"), ("ocpp2.0.1", "ocpp")]
    {
        let url = serve(RawBackend::bind().await, Manner::Chooses(subprotocol));
        let report = examine(&url, &["--subprotocol", "other", "--subprotocol", subprotocol]);
        assert_eq!(report["findings"]["subprotocol"], subprotocol);
        assert_eq!(advised(&report, "--profile"), profile);
        let unasked = examine(&url, &[]);
        assert_eq!((&unasked["findings"]["subprotocol"], advised(&unasked, "--profile")), (&Value::Null, profile));
    }
    let plain = examine(&serve(RawBackend::bind().await, Manner::Chooses("chat")), &["--subprotocol", "chat"]);
    assert_eq!((&plain["findings"]["subprotocol"], advised(&plain, "--profile")), (&json!("chat"), ""));
}

/// Its exit code, and what it complained of.
fn complaint(backend: &str, flags: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = call(backend, flags);
    assert!(stdout.is_empty());
    (status.code(), String::from_utf8(stderr).expect("UTF-8"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_examined_is_told_with_the_reason() {
    let _machine = machine_shared();
    let nobody = ports::reserve();
    let (code, text) = complaint(&format!("ws://127.0.0.1:{}/?token=secret", nobody.number), &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains("cannot connect") && !text.contains("secret"), "{text}");

    let refusing = RawBackend::bind().await;
    let address = refusing.address();
    tokio::spawn(async move {
        let mut connection = refusing.connection(LONG).await;
        let answer = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 13\r\n\r\nno\r\n such key";
        if connection.head(LONG).await.is_ok() {
            let _ = connection.send_bytes(answer).await;
        }
        drop(connection.rest(LONG).await);
    });
    let (code, text) = complaint(&format!("ws://{address}"), &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains("refused the handshake: 401 Unauthorized: no such key"), "{text}");

    let (files, authority) = (Files::default(), Authority::shared());
    let (ca, pair) = (authority.ca(&files, "ca.pem"), authority.pair(&files, "own", &["localhost"], VALID));
    let secure = Backend::start_tls(Kind::Rust, &pair);
    let at = |host: &str| format!("wss://{host}:{}/echo", secure.address().port());
    let (code, text) = complaint(&at("localhost"), &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains("its certificate is of an authority that is not trusted here"), "{text}");
    let (_, text) = complaint(&at("127.0.0.1"), &["--ca", path_text(&ca)]);
    assert!(text.contains("its certificate is for localhost, not for 127.0.0.1"), "{text}");
    let report = examine(&at("localhost"), &["--ca", path_text(&ca), "--send", "a"]);
    assert_eq!(advised(&report, "--ack"), "pong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_call_is_exit_code_2() {
    let _machine = machine_shared();
    for (backend, flags, why) in [
        ("http://127.0.0.1:1", &[][..], "begins with neither ws:// nor wss://"),
        ("ws://127.0.0.1:1/a", &["--path", "/b"], "a path in --backend as well"),
        ("ws://127.0.0.1:1", &["--header", "Upgrade: x"], "has a meaning of its own"),
        ("ws://127.0.0.1:1", &["--header", "x"], "is not `Name: value`"),
        ("ws://127.0.0.1:1", &["--profile", "nothing"], "is none of eth-subscribe"),
    ] {
        let (code, text) = complaint(backend, flags);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(why), "{why:?} is not in {text}");
    }
}

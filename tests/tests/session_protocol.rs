//! Backends that speak the session protocol are killed at random: each message is done once, and each answer reaches its
//! client once. What docs/session-protocol.md and its examples do with a handshake fits what the proxy says in it.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use tideover_tests::{
    Proxy, Scratch,
    example::{Language, Ledger},
    lock::{machine_alone, machine_shared},
    matrix::{Counts, ExactlyOnce},
    operator::Operator,
    raw::{Connection, Frame, Head, RawBackend, upgrade_request},
};

const SOON: Duration = Duration::from_secs(20);
/// The key of the document's test vectors.
const KEY: &str = "correct horse battery staple";

/// Must be shown: `explicit`: 0 lost, 0 applied twice, 0 answers lost. The pool mixes both languages, so both carriers of
/// the acknowledgement, over one database.
#[test]
fn killed_at_random_each_message_is_done_once_and_each_answer_comes_once() {
    let _machine = machine_alone();
    let pool = vec![Language::Python, Language::Node, Language::Python, Language::Node];
    let fire = ExactlyOnce { pool, kills: 200 };
    let outcome = fire.run();
    eprintln!("{} messages, {} re-attachments", outcome.counts.sent, outcome.counts.rescued);
    let Counts { kills, sent, rescued, .. } = outcome.counts;
    let flawless = Counts { kills, sent, rescued, ..Counts::default() };
    assert_eq!(outcome.counts, flawless, "{:?}", outcome.notes);
    assert_eq!(fire.void(&outcome), Vec::<String>::new());
}

/// Runs the Python of docs/session-protocol.md, which asserts its test vectors, and then more of it; gives what it prints.
fn python(more: &str, argument: &str) -> String {
    let page = include_str!("../../docs/session-protocol.md");
    let (_, code) = page.split_once("```python\n").expect("the page has a block of Python");
    let (code, _) = code.split_once("```\n").expect("the block has an end");
    let output = Command::new("python3").args(["-c", &format!("{code}\n{more}"), argument]).output();
    let output = output.expect("the tests need Python 3.10 or later");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Whether that takes a handshake's signature: as it came, for another target, and without the session.
fn verified(request: &Head) -> String {
    let headers = request.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone().into()));
    let headers = serde_json::Value::Object(headers.collect());
    let more = "import json, sys\n\
                headers, target, key = json.loads(sys.argv[1])\n\
                print(verify(headers, target, key.encode()), verify(headers, target + 'x', key.encode()))\n\
                del headers['tideover-session']\n\
                try:\n    verify(headers, target, key.encode())\n\
                except KeyError as missing:\n    print(missing)";
    python(more, &serde_json::json!([headers, request.target(), KEY]).to_string())
}

/// `tideover ctl migrate`, which waits for the migration's end.
struct Migration(Child);

impl Drop for Migration {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documents_python_verifies_its_test_vectors_and_all_handshakes_a_migrations_too() {
    let _machine = machine_shared();
    let scratch = Scratch::new("key");
    std::fs::write(scratch.path("key"), KEY).expect("written");
    let operator = Operator::on_socket();
    let key = ["--session-key-file".to_owned(), scratch.path("key").display().to_string()];
    let flags = [&operator.flags()[..], &key].concat();
    let backends = [RawBackend::bind().await, RawBackend::bind().await];
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let proxy = Proxy::before(backends.iter().map(RawBackend::address), &flags);

    let client = tokio::spawn(Connection::client(proxy.address(), "/room?user=a%20b", &[]));
    let (mut leg, other) = tokio::select! {
        leg = backends[0].connection(SOON) => (leg, &backends[1]),
        leg = backends[1].connection(SOON) => (leg, &backends[0]),
    };
    let first = leg.accept(&[]).await;
    let _client = client.await.expect("the client is connected");
    assert_eq!(verified(&first), "True False\n'tideover-session'");

    let session = first.header("Tideover-Session").expect("a session");
    let mut migrate = operator.command(&["migrate", session]);
    let _migration = Migration(migrate.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("tideover starts"));
    let early = other.connection(SOON).await.accept(&[]).await;
    assert_eq!((early.header("Tideover-Session"), early.header("Tideover-Epoch")), (Some(session), Some("2")));
    assert_eq!((early.header("Tideover-Next-Seq"), early.header("Tideover-Delivered")), (None, None));
    assert_eq!(verified(&early), "True False\n'tideover-session'");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migrations_handshake_is_taken_by_the_examples_and_fences_no_leg_off() {
    let _machine = machine_shared();
    for language in Language::ALL {
        let ledger = Ledger::create();
        let example = ledger.start(language);
        let leg = ["Tideover-Session: s", "Tideover-Epoch: 1"];
        let so_far = ["Tideover-Next-Seq: 1", "Tideover-Pinned: 0", "Tideover-Delivered: 0"];
        let mut at_work = Connection::client(example.address(), "/", &[&leg[..], &so_far].concat()).await;
        let mut early = Connection::dial(example.address()).await.expect("connected");
        let request = upgrade_request("/", "ledger", &["Tideover-Session: s", "Tideover-Epoch: 2"]);
        early.send_bytes(request).await.expect("sent");
        let head = early.head(SOON).await.expect("an answer");
        assert_eq!(head.status(), 101, "{language:?}: {}", example.log_text());
        assert!(head.header("Tideover-Ack").is_some(), "{language:?} opts in: {head:?}");
        at_work.send(&Frame::text("7")).await.expect("sent");
        let answer = at_work.next(SOON).await.expect("the older leg goes on");
        assert_eq!(answer.as_text(), "7", "{language:?}: {}", example.log_text());
        assert_eq!(ledger.amounts()["s"], [7], "{language:?}");
    }
}

//! Sessions are moved to another backend on purpose: their clients notice nothing, and no message is read twice.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tideover_tests::backend::{Event, What};
use tideover_tests::client::{Client, Load, Transcript, run_many};
use tideover_tests::clock::now_ns;
use tideover_tests::deadline::{eventually, wait_for};
use tideover_tests::judge::{Judge, assert_none};
use tideover_tests::lock::{machine_alone, machine_shared};
use tideover_tests::{Backend, Kind, Proxy, program};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const SOON: Duration = Duration::from_secs(20);
/// What the slow handlers take.
const HANDLER: Duration = Duration::from_millis(500);
/// What a client may wait for an echo beyond the handler's time: far more than is needed, this test is no measurement.
const AT_MOST: Duration = Duration::from_secs(10);

/// A proxy before two backends of a kind, and its operator's API.
struct Site {
    backends: [Backend; 2],
    proxy: Proxy,
    socket: PathBuf,
}

impl Site {
    fn start(kind: Kind) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let socket = std::env::temp_dir().join(format!("tideover-migrate-{}-{number}.sock", std::process::id()));
        let backends = [kind, kind].map(Backend::start);
        let proxy = Proxy::start(&backends, &["--admin", &format!("unix:{}", socket.display())]);
        Self { backends, proxy, socket }
    }

    fn ctl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program::tideover());
        command.args(["ctl", "--json", "--admin", &format!("unix:{}", self.socket.display())]).args(arguments);
        command
    }

    /// The live sessions, and the URLs of their backends.
    fn sessions(&self) -> Vec<(String, String)> {
        let output = self.ctl(&["sessions"]).output().expect("tideover ctl runs");
        let page: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let sessions = page["sessions"].as_array().expect("a list");
        sessions.iter().map(|session| (text(&session["id"]), text(&session["backend"]))).collect()
    }

    /// Moves these sessions all at once, and waits until they are. Fifty processes of `tideover ctl` would show in the
    /// times that are measured.
    async fn migrate(&self, sessions: &[(String, String)]) {
        let calls = sessions.iter().map(|(id, _)| call(self.socket.clone(), format!("/v1/sessions/{id}/migrate")));
        let calls: Vec<_> = calls.map(tokio::spawn).collect();
        for call in calls {
            let answer = call.await.expect("a call does not panic");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}\n{}", self.proxy.log_text());
        }
    }

    /// Every connection but the last of each client got Close 1001.
    fn assert_old_legs_were_told_1001(&self, judge: &Judge) {
        // The old backend is another process, which may not have come to write it down.
        let closed = |events: &[Event]| events.iter().filter(|event| matches!(event.what, What::Close(..))).count();
        let all_events = || self.backends.iter().flat_map(Backend::events).collect::<Vec<_>>();
        let events = wait_for(SOON, "the ends of all legs are logged", || {
            let events = all_events();
            (closed(&events) >= 2 * judge.transcripts.len()).then_some(events)
        });
        for transcript in &judge.transcripts {
            let legs: Vec<_> = judge.legs_of(transcript.client).collect();
            assert_eq!(legs.len(), 2, "client {}", transcript.client);
            let closes: Vec<_> = events.iter().filter(|event| event.connection == legs[0].connection).collect();
            let told = closes.iter().any(|event| matches!(event.what, What::Close(1001, _)));
            assert!(told, "{:?}", closes.last());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migrated_session_goes_on_and_its_new_backend_reads_only_what_is_new() {
    let _machine = machine_shared();
    for kind in [Kind::Aiohttp, Kind::NodeAsync] {
        let site = Site::start(kind);
        let mut client = Client::connect(1, site.proxy.url("/echo")).await.expect("a session");
        for round in 0..2 {
            for _ in 0..5 {
                let sent = client.send_numbered().await;
                assert_eq!(client.next(SOON).await.expect("an echo").text, sent);
            }
            if round == 0 {
                let before = site.sessions();
                assert!(site.ctl(&["migrate", &before[0].0]).status().expect("tideover ctl runs").success());
                assert_ne!(site.sessions()[0].1, before[0].1, "it is on the other backend");
            }
        }
        let transcript = client.close(1000, "", SOON).await;
        let judge = Judge::new(&site.backends, vec![transcript]);
        judge.assert_nothing_lost_and_nobody_closed();
        assert_none("messages read twice", &judge.repeats());
        site.assert_old_legs_were_told_1001(&judge);
        let reads: Vec<Vec<u32>> =
            judge.legs_of(1).map(|leg| leg.reads.iter().map(|(number, _)| *number).collect()).collect();
        assert_eq!(reads, [vec![1, 2, 3, 4, 5], vec![6, 7, 8, 9, 10]]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_sessions_at_work_are_migrated_at_once_and_nothing_is_lost_or_done_twice() {
    let _machine = machine_alone();
    for (kind, path, handler) in [
        (Kind::Aiohttp, "/echo".to_owned(), Duration::ZERO),
        // Its pongs come before its answers.
        (Kind::NodeAsync, format!("/slow?ms={}", HANDLER.as_millis()), HANDLER),
    ] {
        let (worst, usual) = wait_of_fifty_migrated(kind, &path).await;
        println!("{kind:?}: longest gap {worst:?}, before the migration {usual:?}");
        assert!(worst <= handler + AT_MOST, "{kind:?}: {worst:?} without an echo");
    }
}

/// How long a client waited for an echo, at most, from the migration on and before it.
async fn wait_of_fifty_migrated(kind: Kind, path: &str) -> (Duration, Duration) {
    let site = Site::start(kind);
    let url = site.proxy.url(path);
    let clients = tokio::spawn(async move { run_many(&url, 0..50, Load::new(20, 12)).await });
    let busy = |backend: &Backend| backend.events().iter().filter(|e| matches!(e.what, What::Done(..))).count();
    eventually(SOON, "work is under way", || site.backends.iter().map(busy).sum::<usize>() > 1500).await;
    let begun = now_ns();
    let sessions = site.sessions();
    assert_eq!(sessions.len(), 50);
    site.migrate(&sessions).await;
    let transcripts = clients.await.expect("no client panics");
    let longest = |since, until| transcripts.iter().map(|it| longest_gap(it, since, until)).max().unwrap_or_default();
    let waits = (longest(begun, u64::MAX), longest(0, begun));
    let judge = Judge::new(&site.backends, transcripts);
    judge.assert_nothing_lost_and_nobody_closed();
    assert_none("messages read twice", &judge.repeats());
    site.assert_old_legs_were_told_1001(&judge);
    waits
}

/// What the operator's API answers to a POST of an empty object.
async fn call(socket: PathBuf, path: String) -> String {
    let mut stream = UnixStream::connect(socket).await.expect("the operator's API listens");
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json");
    let request = format!("{head}\r\nContent-Length: 2\r\n\r\n{{}}");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

/// The longest time between two echoes, of which the later one came between these times.
fn longest_gap(transcript: &Transcript, from: u64, until: u64) -> Duration {
    let times = transcript.got.iter().map(|got| got.at).collect::<Vec<_>>();
    let gaps = times.windows(2).filter(|pair| (from..until).contains(&pair[1])).map(|pair| pair[1] - pair[0]);
    Duration::from_nanos(gaps.max().unwrap_or_default())
}

//! The health of backends: checks, ejection, trials, slow start, and what a dead backend costs.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tideover_tests::{
    backend::{Backend, Kind, What},
    client::Client,
    deadline::eventually,
    lock::{machine_alone, machine_shared},
    proxy::{Proxy, says},
    raw::{Connection, Frame, RawBackend},
};
use tokio::net::{TcpSocket, TcpStream};

const SOON: Duration = Duration::from_secs(20);

const DOWN: &str = "backend is down by its checks";
const UP: &str = "backend is up by its checks";

/// Checks often, changes its mind after two.
#[rustfmt::skip]
const CHECKED: [&str; 10] = [
    "--health-check", "http:/health", "--health-interval", "100ms", "--health-fall", "2", "--health-rise", "2",
    "--health-timeout", "10s",
];

fn backends(count: usize) -> Vec<Backend> {
    (0..count).map(|_| Backend::start(Kind::Rust)).collect()
}

/// How many lines of the log say so.
fn said(proxy: &Proxy, message: &str) -> usize {
    proxy.log_lines().iter().filter(|line| says(line, message)).count()
}

async fn until_said(proxy: &Proxy, message: &str, times: usize) {
    eventually(SOON, format_args!("{message:?} {times} times"), || said(proxy, message) >= times).await;
}

/// The sessions that a backend has got so far.
fn sessions(backend: &Backend) -> usize {
    backend.events().iter().filter(|event| matches!(event.what, What::Open(_))).count()
}

/// A client that has got an echo.
async fn served(proxy: &Proxy, path: &str) -> Client {
    let mut client = Client::connect(0, proxy.url(path)).await.expect("a session");
    exchange(&mut client).await;
    client
}

async fn exchange(client: &mut Client) {
    let text = client.send_numbered().await;
    let echo = client.next(SOON).await.expect("an echo");
    assert_eq!(echo.text, text);
}

async fn clients(proxy: &Proxy, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(served(proxy, "/echo").await);
    }
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_fails_its_checks_gets_no_new_session_keeps_its_old_ones_and_comes_back() {
    let _machine = machine_shared();
    let backends = backends(2);
    let proxy = Proxy::start(&backends, &CHECKED);
    let mut before = clients(&proxy, 2).await;
    assert_eq!([sessions(&backends[0]), sessions(&backends[1])], [1, 1]);

    backends[0].set_health(500);
    until_said(&proxy, DOWN, 1).await;
    let _during = clients(&proxy, 10).await;
    assert_eq!([sessions(&backends[0]), sessions(&backends[1])], [1, 11]);
    for client in &mut before {
        exchange(client).await;
    }
    assert_eq!([sessions(&backends[0]), sessions(&backends[1])], [1, 11], "both are on the leg that they had");

    backends[0].set_health(200);
    until_said(&proxy, UP, 1).await;
    let _after = clients(&proxy, 10).await;
    assert_eq!([sessions(&backends[0]), sessions(&backends[1])], [11, 11]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fall_and_rise_count_checks_in_a_row() {
    let _machine = machine_shared();
    let checked = RawBackend::bind().await;
    let flags = ["--health-check", "http:/health", "--health-interval", "100ms", "--log", "info,tideover=debug"];
    let more = ["--health-fall", "3", "--health-rise", "2", "--health-timeout", "10s"];
    let proxy = Proxy::before([checked.address()], &[flags, more].concat());
    let script = [200, 500, 500, 200, 500, 500, 500, 200, 500, 200, 200, 200];
    for status in script {
        answer_check(&checked, status).await;
    }
    until_said(&proxy, "health check", script.len() - 1).await;
    until_said(&proxy, UP, 1).await;
    let story: Vec<_> = proxy.log_lines().iter().filter_map(word).take(script.len() + 1).collect();
    assert_eq!(story, ["+", "-", "-", "+", "-", "-", "-", "down", "+", "-", "+", "+", "up"]);
}

async fn answer_check(backend: &RawBackend, status: u16) {
    let mut connection = backend.connection(SOON).await;
    let head = connection.head(SOON).await.expect("a request");
    assert_eq!(head.header("Host"), Some(backend.address().to_string().as_str()));
    let response = format!("HTTP/1.1 {status} Health\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    connection.send_bytes(response).await.expect("sent");
}

/// What a line of the log says of checks.
fn word(line: &serde_json::Value) -> Option<&'static str> {
    let passed = line["passed"].as_bool();
    match () {
        () if says(line, "health check") => passed.map(|passed| if passed { "+" } else { "-" }),
        () if says(line, DOWN) => Some("down"),
        () if says(line, UP) => Some("up"),
        () => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_check_ends_with_close_1000() {
    let _machine = machine_shared();
    let backends = backends(1);
    let flags = ["--health-check", "ws:/check", "--health-interval", "50ms", "--health-timeout", "10s"];
    let _proxy = Proxy::start(&backends, &flags);
    let closed = || backends[0].events().iter().filter(|event| matches!(event.what, What::Close(1000, _))).count();
    eventually(SOON, "three checks were closed", || closed() >= 3).await;
    let events = backends[0].events();
    assert!(events.iter().all(|event| !matches!(event.what, What::Eof | What::Read(..))), "{events:?}");
    assert!(events.iter().any(|event| event.what == What::Open("/check".into())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ambiguous_end_on_a_backend_that_is_down_is_a_failover() {
    let _machine = machine_shared();
    for (health, gets_another_leg) in [(200, false), (500, true)] {
        let backends = backends(2);
        let proxy = Proxy::start(&backends, &CHECKED);
        let path = "/eof?after=1";
        // A probe asks without the query.
        let legs =
            |backend: &Backend| backend.events().iter().filter(|event| event.what == What::Open(path.into())).count();
        let mut client = Client::connect(0, proxy.url(path)).await.expect("a session");
        eventually(SOON, "the first backend has the session", || legs(&backends[0]) == 1).await;
        backends[0].set_health(health);
        until_said(&proxy, DOWN, usize::from(gets_another_leg)).await;
        client.send_numbered().await;
        client.finish(SOON).await;
        // The other backend ends the leg in the same way, and is well.
        assert_eq!(legs(&backends[1]), usize::from(gets_another_leg), "health {health}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_are_not_believed_when_most_of_a_pool_is_down_by_them() {
    let _machine = machine_shared();
    for (threshold, with_sessions) in [("50", [3, 3, 3]), ("0", [0, 0, 9])] {
        let backends = backends(3);
        let proxy = Proxy::start(&backends, &[&CHECKED[..], &["--health-panic", threshold]].concat());
        backends[0].set_health(500);
        backends[1].set_health(500);
        until_said(&proxy, DOWN, 2).await;
        let _clients = clients(&proxy, 9).await;
        let mut got: Vec<_> = backends.iter().map(sessions).collect();
        got.sort_unstable();
        assert_eq!(got, with_sessions, "threshold {threshold}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_backend_is_ejected_and_comes_back_by_a_trial() {
    let _machine = machine_shared();
    let mut backends = backends(2);
    let proxy = Proxy::start(&backends, &["--ejection-time", "300ms"]);
    let _before = clients(&proxy, 2).await;
    backends[0].kill();
    let _during = clients(&proxy, 6).await;
    until_said(&proxy, "backend ejected", 1).await;
    backends[0].restart();
    // Sessions that find it ejected go to the other; the first after that is the trial.
    let mut after = Vec::new();
    let start = Instant::now();
    while !backends[0].has_served() {
        assert!(start.elapsed() < SOON, "it gets a session again");
        after.push(served(&proxy, "/echo").await);
    }
    until_said(&proxy, "ejection is over", 1).await;
    assert_eq!(said(&proxy, "ejection is over"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_trial_is_under_way_all_others_go_elsewhere() {
    let _machine = machine_shared();
    let (mut tried, other) = (RawBackend::bind().await, Backend::start(Kind::Rust));
    tried.refuse();
    let proxy =
        Proxy::before([tried.address(), other.address()], &["--ejection-time", "100ms", "--connect-timeout", "30s"]);
    let _first = served(&proxy, "/echo").await;
    until_said(&proxy, "backend ejected", 1).await;
    tried.listen();

    // Each has at least one session less there, so each would take it before the other backend.
    let url = proxy.url("/echo");
    let trial = tokio::spawn(async move {
        loop {
            // Those who come before the time is over are served by the other.
            let client = Client::connect(1, url.clone()).await.expect("a session");
            if client.response().headers().contains_key("x-trial") {
                return client;
            }
        }
    });
    let mut connection = tried.connection(SOON).await;
    let _others = clients(&proxy, 10).await;
    connection.accept(&["X-Trial: 1"]).await;
    let _trial = trial.await.expect("the trial was served");
    until_said(&proxy, "ejection is over", 1).await;

    let next = tokio::spawn(Client::connect(2, proxy.url("/echo")));
    let _second = tried.session(SOON).await;
    next.await.expect("joined").expect("a session");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_came_back_starts_slowly() {
    let _machine = machine_shared();
    let mut backends = backends(2);
    let flags = ["--ejection-time", "100ms", "--slow-start", "6s"];
    let proxy = Proxy::start(&backends, &flags);
    backends[1].kill();
    let mut all = clients(&proxy, 40).await;
    backends[1].restart();
    let start = Instant::now();
    // It came back between these two.
    let mut back = start;
    while !backends[1].has_served() {
        assert!(start.elapsed() < SOON, "it gets a session again");
        back = Instant::now();
        all.push(served(&proxy, "/echo").await);
    }
    let back_for_sure = Instant::now();
    // It has a tenth of its weight, and hardly more when these are there: with all of it, it would get every one.
    let before = sessions(&backends[1]);
    all.extend(clients(&proxy, 20).await);
    let slow = sessions(&backends[1]) - before;
    let weight = 0.1 + 0.9 * back.elapsed().as_secs_f64() / 6.0;
    let fair = weight / (1.0 + weight) * all.len() as f64;
    assert!((slow as f64) <= fair + 2.0, "{slow} new sessions, {fair} at most");
    // With its whole weight it catches up.
    eventually(SOON, "its weight has grown", || back_for_sure.elapsed() > Duration::from_secs(6)).await;
    while sessions(&backends[1]) < sessions(&backends[0]) {
        let before = sessions(&backends[1]);
        all.push(served(&proxy, "/echo").await);
        assert_eq!(sessions(&backends[1]), before + 1);
    }
}

/// A port whose kernel answers nothing: the queue of a listener that accepts nobody is full.
struct Blackhole {
    address: SocketAddr,
    _listener: tokio::net::TcpListener,
    _queued: Vec<TcpStream>,
}

impl Blackhole {
    async fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("bind");
        let listener = socket.listen(0).expect("listen");
        let address = listener.local_addr().expect("an address");
        let mut queued = Vec::new();
        while let Ok(stream) = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
            queued.push(stream.expect("not refused"));
            assert!(queued.len() < 100, "the queue never fills");
        }
        Self { address, _listener: listener, _queued: queued }
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For everything else that happens in that time on a loaded machine.
const SLACK: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_backend_costs_a_new_client_no_more_than_one_connect_timeout() {
    let _machine = machine_alone();
    let (dead, living) = (Blackhole::new().await, Backend::start(Kind::Rust));
    let flags = ["--connect-timeout", "5s", "--ejection-time", "30s"];
    let proxy = Proxy::before([dead.address, living.address()], &flags);
    let mut waits = Vec::new();
    for _ in 0..30 {
        let start = Instant::now();
        served(&proxy, "/echo").await;
        waits.push(start.elapsed());
    }
    assert!(waits.iter().all(|wait| *wait < CONNECT_TIMEOUT + SLACK), "{waits:?}");
    let paid = waits.iter().filter(|wait| **wait > CONNECT_TIMEOUT / 2).count();
    assert_eq!(paid, 1, "it is tried once and then ejected: {waits:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_backend_costs_a_session_no_more_than_one_connect_timeout() {
    let _machine = machine_alone();
    let (dead, mut first, second) = (Blackhole::new().await, Backend::start(Kind::Rust), RawBackend::bind().await);
    let mut second = second;
    second.refuse();
    let proxy = Proxy::before([dead.address, first.address(), second.address()], &["--connect-timeout", "5s"]);
    let mut clients = clients(&proxy, 5).await;
    second.listen();
    let serve = tokio::spawn(async move {
        loop {
            let connection = second.connection(Duration::from_secs(600)).await;
            tokio::spawn(echo(connection));
        }
    });
    first.kill();
    let killed = Instant::now();
    for client in &mut clients {
        exchange(client).await;
        assert!(killed.elapsed() < CONNECT_TIMEOUT + SLACK, "{:?}", killed.elapsed());
    }
    serve.abort();
}

/// Serves a probe, or a session.
async fn echo(mut connection: Connection) {
    connection.accept(&[]).await;
    while let Ok(frame) = connection.next_answering_pings(Duration::from_secs(600)).await {
        if frame.opcode == tideover_tests::raw::opcode::TEXT {
            let _ = connection.send(&Frame::text(frame.as_text())).await;
        }
    }
}

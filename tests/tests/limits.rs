//! What a client may ask of the proxy, each limit by its flag: what the client sees beyond it, what is counted, and that
//! nobody beside it is harmed.

use std::time::{Duration, Instant};

use tideover_tests::{
    Proxy,
    deadline::eventually,
    lock::{machine_alone, machine_shared},
    metrics::{METRICS, metric, metric_becomes},
    proxy::says,
    raw::{Connection, Death, Ended, Frame, Leg, RawBackend, SESSION_PATH, Stage, opcode, upgrade_request},
};

mod honest;
use honest::Honest;

const SOON: Duration = Duration::from_secs(20);

async fn stage(flags: &[&str]) -> Stage {
    Stage::start(1, &[&METRICS[..], flags].concat()).await
}

/// The text messages `1` to `count`, one behind the other.
fn numbered(client: &Connection, count: usize) -> Vec<u8> {
    (1..=count).flat_map(|number| Frame::text(&number.to_string()).encode(client.key())).collect()
}

/// The messages of these numbers come, and nothing else.
async fn expect_numbers(client: &mut Connection, numbers: std::ops::RangeInclusive<usize>) {
    for number in numbers {
        let frame = client.next_answering_pings(SOON).await.expect("a message");
        assert_eq!(frame.as_text(), number.to_string());
    }
}

/// The code of the Close that comes behind messages, if one comes.
async fn close_code(client: &mut Connection) -> Result<u16, Ended> {
    loop {
        let frame = client.next_answering_pings(SOON).await?;
        if frame.opcode == opcode::CLOSE {
            return Ok(frame.close_code().expect("a Close with a code").0);
        }
    }
}

/// Answers the proxy's pings until its Close comes; gives the code.
async fn code_at_backend(mut leg: Leg) -> u16 {
    let code = close_code(&mut leg.connection).await.expect("a Close before the end");
    leg.connection.send(&Frame::close(code, "")).await.expect("sent");
    code
}

// What a connection and a message may be.

/// Asks for a session, and gives the status.
async fn asks(proxy: &Proxy, headers: &[&str]) -> u16 {
    let mut client = Connection::dial(proxy.address()).await.expect("connected");
    client.send_bytes(upgrade_request(SESSION_PATH, "proxy", headers)).await.expect("sent");
    client.head(SOON).await.expect("an answer").status()
}

/// Refusals are counted so often; they may be a moment after their answers.
async fn refused(proxy: &Proxy, reason: &str, times: f64) {
    metric_becomes(proxy, &format!("handshakes_refused_total{{reason=\"{reason}\"}}"), |counted| counted == times)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_over_its_limits_has_a_status_and_is_counted() {
    let _machine = machine_shared();
    let flags = ["--max-sessions", "1", "--max-header-fields", "10", "--max-handshake-bytes", "8KiB"];
    let stage = stage(&[&flags[..], &["--handshake-timeout", "5s"]].concat()).await;
    let honest = Honest::begin(&stage).await;
    let proxy = &stage.proxy;
    assert_eq!(asks(proxy, &[]).await, 503);
    refused(proxy, "full", 1.0).await;
    assert_eq!(asks(proxy, &["X: 1"; 10]).await, 431);
    refused(proxy, "too_large", 1.0).await;
    let long = format!("X: {}", "x".repeat(9000));
    assert_eq!(asks(proxy, &[&long]).await, 431);
    refused(proxy, "too_large", 2.0).await;
    let mut slow = Connection::dial(proxy.address()).await.expect("connected");
    slow.send_bytes("GET / HTTP/1.1\r\n").await.expect("sent");
    assert_eq!(slow.head(SOON).await.expect("an answer").status(), 408);
    refused(proxy, "timeout", 1.0).await;
    honest.end(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_over_its_limits_gets_429_and_is_counted() {
    let _machine = machine_shared();
    let many = stage(&["--max-sessions-per-address", "1"]).await;
    let honest = Honest::begin(&many).await;
    assert_eq!(asks(&many.proxy, &[]).await, 429);
    refused(&many.proxy, "address", 1.0).await;
    honest.end(&many).await;

    let fast = stage(&["--session-rate-per-address", "1"]).await;
    let honest = Honest::begin(&fast).await;
    // One may come every second.
    let asking = async { while asks(&fast.proxy, &[]).await != 429 {} };
    fast.echoing_while(asking).await;
    refused(&fast.proxy, "rate", 1.0).await;
    honest.end(&fast).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_its_limits_is_closed_with_their_code() {
    let _machine = machine_shared();
    let stage = stage(&["--max-message-bytes", "1KiB", "--max-message-frames", "10"]).await;
    let honest = Honest::begin(&stage).await;
    let (mut long, leg) = stage.session().await;
    leg.echo();
    long.send(&Frame::text(&"x".repeat(1025))).await.expect("sent");
    assert_eq!(close_code(&mut long).await, Ok(1009));
    let (mut torn, leg) = stage.session().await;
    leg.echo();
    torn.send(&Frame::text("").unfinished()).await.expect("sent");
    for _ in 0..10 {
        torn.send(&Frame::new(opcode::CONTINUATION, "").unfinished()).await.expect("sent");
    }
    assert_eq!(close_code(&mut torn).await, Ok(1008));
    for limit in ["message_bytes", "message_frames"] {
        let series = format!("sessions_limited_total{{limit=\"{limit}\"}}");
        metric_becomes(&stage.proxy, &series, |count| count == 1.0).await;
    }
    honest.end(&stage).await;
}

// Rates.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_beyond_the_rate_wait_and_none_is_lost() {
    let _machine = machine_shared();
    let stage = stage(&["--message-rate", "100"]).await;
    let (mut client, leg) = stage.session().await;
    leg.echo();
    let began = Instant::now();
    client.send_bytes(numbered(&client, 250)).await.expect("sent");
    expect_numbers(&mut client, 1..=250).await;
    // A second's worth at once, the other 150 at their rate; the last ones may come together.
    assert!(began.elapsed() >= Duration::from_millis(1400), "{:?}", began.elapsed());
    assert_eq!(metric(&stage.proxy, "sessions_slowed_total{limit=\"message_rate\"}").await, 1.0);
    assert_eq!(metric(&stage.proxy, "sessions_limited_total{limit=\"message_rate\"}").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_beyond_the_rate_close_with_1008_behind_the_answers_where_that_is_asked_for() {
    let _machine = machine_shared();
    let stage = stage(&["--message-rate", "100", "--on-rate", "close"]).await;
    let (mut client, leg) = stage.session().await;
    leg.echo();
    client.send_bytes(numbered(&client, 101)).await.expect("sent");
    expect_numbers(&mut client, 1..=101).await;
    assert_eq!(close_code(&mut client).await, Ok(1008));
    metric_becomes(&stage.proxy, "sessions_limited_total{limit=\"message_rate\"}", |count| count == 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_beyond_the_rate_wait_also_within_a_message() {
    let _machine = machine_shared();
    let stage = stage(&["--byte-rate", "100KiB"]).await;
    let (mut client, leg) = stage.session().await;
    leg.echo();
    let message = Frame::text(&"x".repeat(250 << 10));
    let began = Instant::now();
    client.send(&message).await.expect("sent");
    assert_eq!(client.next_answering_pings(SOON).await, Ok(message));
    assert!(began.elapsed() >= Duration::from_millis(1400), "{:?}", began.elapsed());
    assert_eq!(metric(&stage.proxy, "sessions_slowed_total{limit=\"byte_rate\"}").await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_is_read_no_faster_than_the_rate_and_harms_nobody() {
    let _machine = machine_shared();
    let stage = stage(&["--control-rate", "500"]).await;
    let honest = Honest::begin(&stage).await;
    let (mut client, leg) = stage.session().await;
    leg.echo();
    let began = Instant::now();
    let mut flood: Vec<u8> = (0..1200).flat_map(|_| Frame::new(opcode::PING, "flood").encode(client.key())).collect();
    flood.extend(Frame::text("behind the flood").encode(client.key()));
    client.send_bytes(flood).await.expect("sent");
    loop {
        let frame = client.next_answering_pings(SOON).await.expect("the session lives");
        if frame.opcode == opcode::TEXT {
            assert_eq!(frame.as_text(), "behind the flood");
            break;
        }
    }
    assert!(began.elapsed() >= Duration::from_millis(1300), "{:?}", began.elapsed());
    assert_eq!(metric(&stage.proxy, "sessions_slowed_total{limit=\"control_rate\"}").await, 1.0);
    honest.end(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_closes_with_1008_where_that_is_asked_for() {
    let _machine = machine_shared();
    let stage = stage(&["--on-rate", "close"]).await;
    let honest = Honest::begin(&stage).await;
    let (mut client, leg) = stage.session().await;
    leg.echo();
    let flood: Vec<u8> = (0..3000).flat_map(|_| Frame::new(opcode::PING, "flood").encode(client.key())).collect();
    client.send_bytes(flood).await.expect("sent");
    assert_eq!(close_code(&mut client).await, Ok(1008));
    metric_becomes(&stage.proxy, "sessions_limited_total{limit=\"control_rate\"}", |count| count == 1.0).await;
    honest.end(&stage).await;
}

// Time.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_session_gets_1001_on_both_sides_and_one_that_talks_does_not() {
    let _machine = machine_shared();
    let stage = stage(&["--idle-timeout", "3s"]).await;
    let honest = Honest::begin(&stage).await;
    let began = Instant::now();
    let (mut client, leg) = stage.session().await;
    let backend = tokio::spawn(code_at_backend(leg));
    assert_eq!(close_code(&mut client).await, Ok(1001));
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(backend.await.expect("a Close"), 1001);
    metric_becomes(&stage.proxy, "sessions_limited_total{limit=\"idle\"}", |count| count == 1.0).await;
    honest.end(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_came_together_end_at_their_age_and_not_together() {
    let _machine = machine_shared();
    let age = Duration::from_secs(5);
    let stage = stage(&["--max-session-age", "5s"]).await;
    let mut ends = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        let (mut client, leg) = stage.session().await;
        leg.echo();
        ends.push(tokio::spawn(async move {
            assert_eq!(close_code(&mut client).await, Ok(1001));
            began.elapsed()
        }));
    }
    let mut ages = Vec::new();
    for end in ends {
        ages.push(end.await.expect("it ends"));
    }
    let (first, last) = (ages.iter().min().expect("one"), ages.iter().max().expect("one"));
    assert!(*first >= age.mul_f64(0.9), "{ages:?}");
    // Twenty draws of a tenth of the age: that all fall into a fifth of it does not happen.
    assert!(*last - *first >= age / 50, "{ages:?}");
    metric_becomes(&stage.proxy, "sessions_limited_total{limit=\"age\"}", |count| count == 20.0).await;
}

// A client that never reads.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_is_cut_off_in_time_and_its_backend_hears_of_it() {
    let _machine = machine_shared();
    let flags = ["--slow-client-timeout", "3s", "--close-timeout", "3s", "--slow-client-bytes", "100KB"];
    let stage = stage(&flags).await;
    let honest = Honest::begin(&stage).await;
    let (client, mut leg) = stage.session().await;
    let mut speaker = leg.connection.writer();
    let speaking = tokio::spawn(async move {
        let message = Frame::text(&"x".repeat(16 << 10));
        let mut sent = 0;
        while speaker.send(&message).await.is_ok() {
            sent += 1;
        }
        sent
    });
    // Not answering pings, which would come between the pieces of what is spoken.
    let close = loop {
        let frame = leg.connection.next(SOON).await.expect("a Close before the end");
        if frame.opcode == opcode::CLOSE {
            break frame;
        }
    };
    assert_eq!(close.close_code(), Some((1001, "")));
    metric_becomes(&stage.proxy, "sessions_limited_total{limit=\"slow_client\"}", |count| count == 1.0).await;
    metric_becomes(&stage.proxy, "buffer_used_bytes{direction=\"downstream\"}", |bytes| bytes < 50e3).await;
    drop(leg);
    assert!(speaking.await.expect("it ends") > 0);
    // What the kernel had taken for the client is there, and whole messages of it.
    let (bytes, _) = client.rest(SOON).await;
    assert!(!bytes.is_empty());
    honest.end(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_client_that_does_not_read_is_bounded() {
    let _machine = machine_shared();
    let stage = stage(&["--slow-client-bytes", "100KB"]).await;
    let honest = Honest::begin(&stage).await;
    let (client, leg) = stage.session().await;
    let mut speaker = leg.connection.writer();
    let speaking = tokio::spawn(async move {
        let message = Frame::text(&"x".repeat(16 << 10));
        while speaker.send(&message).await.is_ok() {}
    });
    let waits = "buffer_used_bytes{direction=\"downstream\"}";
    metric_becomes(&stage.proxy, waits, |bytes| bytes >= 100e3).await;
    for _ in 0..50 {
        // The flag, one reading, and the rounding of what is reserved.
        let bytes = metric(&stage.proxy, waits).await;
        assert!(bytes <= 100e3 + 65e3 + 65e3, "{bytes} bytes wait");
    }
    drop((client, leg));
    speaking.abort();
    honest.end(&stage).await;
}

// Descriptors.

/// How often the log says that accepting slows down.
fn complaints(proxy: &Proxy) -> usize {
    proxy.log_lines().iter().filter(|line| says(line, "accepting slows down")).count()
}

/// While accepting pauses forty times and more: it does not spin, and complains once a second at most.
async fn assert_that_nothing_spins(proxy: &Proxy, pauses: impl AsyncFn() -> bool) {
    let (began, before, lines) = (Instant::now(), proxy.processor_time(), complaints(proxy));
    while !pauses().await {
        assert!(began.elapsed() < SOON, "accepting does not pause");
        // Seldom: on a slow machine, being asked takes processor time too.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    // The time is looked at last, so that a pause of the test's own counts on its side.
    let (used, more) = (proxy.processor_time() - before, complaints(proxy) - lines);
    let took = began.elapsed();
    assert!(used < took / 3, "{used:?} of processor time in {took:?}");
    assert!(more <= took.as_secs() as usize + 1, "{more} lines in {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_descriptors_wait_and_a_failover_has_one() {
    let _machine = machine_alone();
    let backends = [RawBackend::bind().await, RawBackend::bind().await];
    let flags = [&METRICS[..], &["--workers", "2", "--handshake-timeout", "10m"]].concat();
    let proxy = Proxy::with_descriptors(100, backends.iter().map(RawBackend::address), &flags);
    let mut stage = Stage { proxy, backends: backends.into() };
    let honest = Honest::begin(&stage).await;
    let (mut client, leg) = stage.session().await;
    let address = stage.proxy.address();
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(Connection::dial(address).await.expect("the system takes it"));
    }
    metric_becomes(&stage.proxy, "accept_pauses_total", |pauses| pauses > 2.0).await;
    assert!(stage.proxy.descriptors() < 100, "some are left");
    assert!(complaints(&stage.proxy) > 0);
    honest.end(&stage).await;

    let (mut before, proxy) = (f64::NAN, &stage.proxy);
    before = before.min(metric(proxy, "accept_pauses_total").await);
    assert_that_nothing_spins(proxy, async || metric(proxy, "accept_pauses_total").await >= before + 40.0).await;

    stage.dies(leg, Death::Reset).await;
    stage.next_leg().await.echo();
    client.send(&Frame::text("on another backend")).await.expect("sent");
    assert_eq!(client.next_answering_pings(SOON).await, Ok(Frame::text("on another backend")));

    drop(crowd);
    let (mut late, leg) = stage.session().await;
    leg.echo();
    late.send(&Frame::text("there is room again")).await.expect("sent");
    assert_eq!(late.next_answering_pings(SOON).await, Ok(Frame::text("there is room again")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_descriptor_connections_wait_and_sessions_go_on() {
    let _machine = machine_alone();
    let stage = stage(&["--workers", "2"]).await;
    let honest = Honest::begin(&stage).await;
    let before = stage.proxy.limit_descriptors(Some(0));
    let mut waiting = Connection::dial(stage.proxy.address()).await.expect("the system takes it");
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    waiting.send_bytes(request).await.expect("sent");
    eventually(SOON, "the proxy complains", || complaints(&stage.proxy) > 0).await;
    honest.end(&stage).await;
    // A complaint a second is all that shows.
    let complained = complaints(&stage.proxy);
    let (proxy, began) = (&stage.proxy, Instant::now());
    assert_that_nothing_spins(proxy, async || complaints(proxy) >= complained + 3).await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    stage.proxy.limit_descriptors(before);
    let answer = waiting.head(SOON).await.expect("an answer to who waited");
    assert_eq!(answer.status(), 426, "it names no version");
    assert!(metric(&stage.proxy, "accept_pauses_total").await >= 20.0);
}

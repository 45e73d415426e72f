//! Must be shown, 7: how a client leaves, and what its backend sees of that.

use std::time::{Duration, Instant};

use tideover_tests::{
    lock::machine_shared,
    raw::{Connection, Death, Ended, Frame, Leg, SESSION_PATH, Stage, opcode},
};

const SOON: Duration = Duration::from_secs(10);

fn numbered(number: usize) -> Frame {
    Frame::text(&format!("message {number}"))
}

async fn send_numbered(client: &mut Connection, count: usize) {
    let messages: Vec<u8> = (1..=count).flat_map(|number| numbered(number).encode(client.key())).collect();
    client.send_bytes(messages).await.expect("sent");
}

/// Whether `frame` says what `expected` does, however it is masked.
#[track_caller]
fn assert_same(frame: &Frame, expected: &Frame) {
    assert_eq!((frame.fin, frame.opcode, &frame.payload), (expected.fin, expected.opcode, &expected.payload));
}

async fn expect_numbered(leg: &mut Leg, count: usize) {
    for number in 1..=count {
        assert_same(&leg.frame().await, &numbered(number));
    }
}

/// The leg ends with an end of stream, and no Close before it.
async fn expect_end_of_stream(mut leg: Leg) {
    loop {
        match leg.connection.next_answering_pings(SOON).await {
            Ok(frame) => assert_eq!(frame.opcode, opcode::PONG, "only an end of stream follows: {frame:?}"),
            Err(ended) => return assert_eq!(ended, Ended::Eof),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_goes_behind_the_messages_and_both_closes_pass_unchanged() {
    let _machine = machine_shared();
    let reason = "r".repeat(123);
    let codeless = Frame::new(opcode::CLOSE, "");
    for (close, answer) in [
        (Frame::close(1000, ""), Frame::close(1000, "")),
        (Frame::close(4321, &reason), Frame::close(4321, &reason)),
        (Frame::close(1001, "tab closed"), Frame::close(1000, "and yours?")),
        (Frame::close(4000, ""), Frame::close(4001, "not what you said")),
        (codeless.clone(), codeless),
    ] {
        let stage = Stage::start(1, &[]).await;
        let (mut client, mut leg) = stage.session().await;
        send_numbered(&mut client, 500).await;
        client.send(&close).await.expect("sent");
        expect_numbered(&mut leg, 500).await;
        assert_same(&leg.frame().await, &close);
        leg.connection.send(&answer).await.expect("sent");
        let seen = stage.without_failover(client.next_answering_pings(SOON)).await;
        assert_eq!(seen, Ok(answer));
        assert_eq!(client.next_answering_pings(SOON).await, Err(Ended::Eof));
        expect_end_of_stream(leg).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_waits_for_a_backend_that_is_away() {
    let _machine = machine_shared();
    let mut stage = Stage::start(1, &[]).await;
    let (mut client, leg) = stage.session().await;
    stage.dies(leg, Death::Eof).await;
    send_numbered(&mut client, 10).await;
    let close = Frame::close(4321, "while you were away");
    client.send(&close).await.expect("sent");
    stage.proxy_notices_an_absent_backend().await;

    stage.backends[0].listen();
    let mut leg = stage.next_leg().await;
    expect_numbered(&mut leg, 10).await;
    assert_same(&leg.frame().await, &close);
    leg.connection.send(&close).await.expect("sent");
    assert_eq!(client.next_answering_pings(SOON).await, Ok(close));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_that_no_backend_answers_gets_1012_if_something_may_be_lost() {
    let _machine = machine_shared();
    let stage = Stage::start(1, &["--close-timeout", "500ms"]).await;
    let (mut client, _silent) = stage.session().await;
    send_numbered(&mut client, 1).await;
    client.send(&Frame::close(1000, "bye")).await.expect("sent");
    let answer = client.next_answering_pings(SOON).await.expect("a Close");
    assert_eq!(answer.close_code().map(|(code, _)| code), Some(1012));
    assert_eq!(client.next_answering_pings(SOON).await, Err(Ended::Eof));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_that_no_backend_answers_is_echoed_if_all_was_acknowledged() {
    let _machine = machine_shared();
    // Long enough for the backend to answer the ping before.
    let stage = Stage::start(1, &["--close-timeout", "4s"]).await;
    let (mut client, mut leg) = stage.session().await;
    send_numbered(&mut client, 1).await;
    let close = Frame::close(1000, "bye");
    client.send(&close).await.expect("sent");
    // It answers the ping between the two, and then nothing more.
    assert_same(&leg.frame().await, &numbered(1));
    assert_same(&leg.frame().await, &close);
    assert_eq!(client.next_answering_pings(SOON).await, Ok(close));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_without_any_backend_gets_its_answer_in_time_too() {
    let _machine = machine_shared();
    for (messages, code) in [(0, 4321), (1, 1012)] {
        let mut stage = Stage::start(1, &["--close-timeout", "500ms"]).await;
        let (mut client, leg) = stage.session().await;
        stage.dies(leg, Death::Eof).await;
        stage.proxy_notices_an_absent_backend().await;
        send_numbered(&mut client, messages).await;
        client.send(&Frame::close(4321, "bye")).await.expect("sent");
        let answer = client.next_answering_pings(SOON).await.expect("a Close");
        assert_eq!(answer.close_code().map(|(code, _)| code), Some(code));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_vanished_client_sent_is_delivered_and_then_the_stream_ends() {
    let _machine = machine_shared();
    for reset in [false, true] {
        let stage = Stage::start(1, &[]).await;
        let (mut client, mut leg) = stage.session().await;
        send_numbered(&mut client, 100).await;
        if reset {
            // A reset takes what is still in the proxy's socket with it, so it waits for the last message.
            expect_numbered(&mut leg, 100).await;
            client.reset();
        } else {
            drop(client);
            expect_numbered(&mut leg, 100).await;
        }
        expect_end_of_stream(leg).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_vanished_client_sent_is_delivered_after_a_failover() {
    let _machine = machine_shared();
    let mut stage = Stage::start(1, &[]).await;
    let (mut client, leg) = stage.session().await;
    stage.dies(leg, Death::Reset).await;
    stage.proxy_notices_an_absent_backend().await;
    send_numbered(&mut client, 100).await;
    // What is not whole is never delivered.
    client.send_bytes(&numbered(101).encode(client.key())[..8]).await.expect("sent");
    client.shutdown().await;
    stage.backends[0].listen();
    let mut leg = stage.next_leg().await;
    expect_numbered(&mut leg, 100).await;
    expect_end_of_stream(leg).await;
}

/// The client writes as fast as it can, until it is told to stop; then it answers the Close that it got.
fn flood(client: &Connection, mut stop: tokio::sync::oneshot::Receiver<Frame>) -> tokio::task::JoinHandle<()> {
    let mut writer = client.writer();
    tokio::spawn(async move {
        let message = Frame::new(opcode::BINARY, vec![7; 5000]);
        loop {
            if let Ok(reply) = stop.try_recv() {
                // The proxy may have been told to give up by now.
                let _ = writer.send(&reply).await;
                return;
            }
            if writer.send(&message).await.is_err() {
                return;
            }
        }
    })
}

async fn read_some(leg: &mut Leg) {
    for _ in 0..100 {
        leg.frame().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_servers_close_reaches_a_client_that_writes_at_full_speed_and_its_answer_comes_back() {
    let _machine = machine_shared();
    for (code, round) in [1000, 4001].into_iter().flat_map(|code| [(code, 1), (code, 2), (code, 3)]) {
        let stage = Stage::start(1, &[]).await;
        let (mut client, mut leg) = stage.session().await;
        let (answer, stop) = tokio::sync::oneshot::channel();
        let flooding = flood(&client, stop);
        read_some(&mut leg).await;
        let close = Frame::close(code, "enough of this");
        leg.connection.send(&close).await.expect("sent");
        let backend = tokio::spawn(async move {
            loop {
                let frame = leg.connection.next_answering_pings(SOON).await.expect("the client's Close before the end");
                if frame.opcode == opcode::CLOSE {
                    return frame;
                }
            }
        });
        let seen = stage.without_failover(client.next_answering_pings(SOON)).await;
        assert_eq!(seen, Ok(close), "round {round}");
        let reply = Frame::close(code, "as you like");
        answer.send(reply.clone()).expect("it is flooding");
        flooding.await.expect("no panic");
        assert_same(&backend.await.expect("the answer comes"), &reply);
    }
}

/// A backend that sends its Close and closes has unread bytes, so its kernel resets: the proxy's writes fail before it
/// has read the Close.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_write_does_not_hide_the_close_behind_it() {
    let _machine = machine_shared();
    let stage = Stage::start(1, &[]).await;
    for round in 0..20 {
        let (mut client, mut leg) = stage.session().await;
        let (answer, stop) = tokio::sync::oneshot::channel();
        let flooding = flood(&client, stop);
        read_some(&mut leg).await;
        let close = Frame::close(4001, "kicked");
        leg.connection.send(&close).await.expect("sent");
        drop(leg);
        let seen = stage.without_failover(client.next_answering_pings(SOON)).await;
        assert_eq!(seen, Ok(close.clone()), "round {round}");
        answer.send(close).expect("it is flooding");
        flooding.await.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_backend_in_time_the_client_gets_1013_once() {
    let _machine = machine_shared();
    let mut stage = Stage::start(1, &["--failover-timeout", "1s"]).await;
    let (mut client, leg) = stage.session().await;
    let lost = Instant::now();
    stage.dies(leg, Death::Eof).await;
    let answer = client.next_answering_pings(SOON).await.expect("a Close");
    assert_eq!(answer.close_code().map(|(code, _)| code), Some(1013));
    assert!((1.0..6.0).contains(&lost.elapsed().as_secs_f32()), "{:?}", lost.elapsed());
    client.send(&answer).await.expect("sent");
    assert_eq!(client.next_answering_pings(SOON).await, Err(Ended::Eof));
}

/// Answers the next handshake with a status instead of a 101.
async fn refuse_next(stage: &Stage, backend: usize, status: &str) {
    let mut connection = stage.backends[backend].connection(SOON).await;
    let request = connection.head(SOON).await.expect("a request");
    assert_eq!(request.target(), SESSION_PATH);
    let response = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    connection.send_bytes(response).await.expect("sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_that_no_longer_know_the_client_end_its_session() {
    let _machine = machine_shared();
    for (first_status, second_status) in [("401 Unauthorized", "403 Forbidden"), ("403 Forbidden", "401 Unauthorized")]
    {
        let stage = Stage::start(2, &[]).await;
        let (mut client, mut leg) = stage.session().await;
        leg.connection.send(&Frame::close(1012, "")).await.expect("sent");
        refuse_next(&stage, 1 - leg.backend, first_status).await;
        refuse_next(&stage, leg.backend, second_status).await;
        let answer = client.next_answering_pings(SOON).await.expect("a Close");
        assert_eq!(answer.close_code().map(|(code, _)| code), Some(1008));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_backend_that_denies_is_not_the_end() {
    let _machine = machine_shared();
    let stage = Stage::start(2, &[]).await;
    let (mut client, mut leg) = stage.session().await;
    leg.connection.send(&Frame::close(1012, "")).await.expect("sent");
    refuse_next(&stage, 1 - leg.backend, "401 Unauthorized").await;
    let mut leg = stage.next_leg().await;
    leg.connection.send(&Frame::text("welcome back")).await.expect("sent");
    assert_eq!(client.next_answering_pings(SOON).await, Ok(Frame::text("welcome back")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_chooses_another_subprotocol_is_no_candidate() {
    const OFFER: &str = "Sec-WebSocket-Protocol: v1, v2";
    const CHOSEN: &str = "Sec-WebSocket-Protocol: v1";
    let _machine = machine_shared();
    let stage = Stage::start(2, &[]).await;
    let client = Connection::client(stage.proxy.address(), SESSION_PATH, &[OFFER]);
    let first = async {
        tokio::select! {
            connection = stage.backends[0].connection(SOON) => (connection, 0),
            connection = stage.backends[1].connection(SOON) => (connection, 1),
        }
    };
    let (mut client, (mut leg, first)) = tokio::join!(client, async {
        let (mut connection, backend) = first.await;
        connection.accept(&[CHOSEN]).await;
        (connection, backend)
    });
    leg.send(&Frame::close(1012, "")).await.expect("sent");
    for other_choice in [&["Sec-WebSocket-Protocol: v2"][..], &[]] {
        let mut other = stage.backends[1 - first].connection(SOON).await;
        other.accept(other_choice).await;
        assert!(other.next(SOON).await.is_err(), "not a byte comes on this leg");
        if !other_choice.is_empty() {
            let mut same = stage.backends[first].connection(SOON).await;
            same.head(SOON).await.expect("a request");
            same.reset();
        }
    }
    let mut again = stage.backends[first].connection(SOON).await;
    let request = again.accept(&[CHOSEN]).await;
    assert_eq!(request.header("Sec-WebSocket-Protocol"), Some("v1, v2"), "the client's own offer");
    again.send(&Frame::text("same language")).await.expect("sent");
    assert_eq!(client.next_answering_pings(SOON).await, Ok(Frame::text("same language")));
}

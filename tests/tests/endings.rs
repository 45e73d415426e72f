//! Must be shown, 7: what the end of a backend leg means (DESIGN, "When a backend leg ends").

use std::time::Duration;

use tideover_tests::{
    lock::machine_shared,
    raw::{Connection, Death, Ended, Frame, Leg, Stage},
};
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(10);

/// How a backend may end a leg.
#[derive(Clone, Debug)]
enum End {
    /// With this Close; then it waits for the answer.
    Close(Frame),
    /// Without a Close.
    Stream(Death),
}

/// A Close without a code.
fn codeless() -> Frame {
    Frame::new(tideover_tests::raw::opcode::CLOSE, "")
}

fn close(code: u16) -> End {
    End::Close(Frame::close(code, "the reason"))
}

/// The ends that say nothing certain by themselves.
fn ambiguous() -> [End; 4] {
    [close(1011), End::Close(codeless()), End::Stream(Death::Eof), End::Stream(Death::Reset)]
}

/// Ends the leg. Gives what the backend then reads of a leg that it has closed, up to its end.
async fn end(leg: Leg, end: &End) -> Option<JoinHandle<Vec<Frame>>> {
    let mut connection = leg.connection;
    match end {
        End::Stream(death) => {
            death.of(connection).await;
            None
        }
        End::Close(frame) => {
            connection.send(frame).await.expect("sent");
            Some(tokio::spawn(async move {
                let mut read = Vec::new();
                while let Ok(frame) = connection.next_answering_pings(SOON).await {
                    read.push(frame);
                }
                read
            }))
        }
    }
}

/// A session in which a message went each way.
async fn session(stage: &Stage) -> (Connection, Leg) {
    let (mut client, mut leg) = stage.session().await;
    exchange(&mut client, &mut leg, "first").await;
    (client, leg)
}

async fn exchange(client: &mut Connection, leg: &mut Leg, text: &str) {
    client.send(&Frame::text(text)).await.expect("sent");
    loop {
        // A new leg may be given messages again that were not acknowledged; the client need not see their echoes again.
        let frame = leg.frame().await;
        leg.connection.send(&Frame::text(frame.as_text())).await.expect("sent");
        if frame.as_text() == text {
            break;
        }
    }
    while client.next_answering_pings(SOON).await.expect("an echo").as_text() != text {}
}

/// The client sees this end, and what it answers reaches the backend.
async fn client_sees(client: Connection, end: &End, backend: Option<JoinHandle<Vec<Frame>>>) {
    let mut client = client;
    match end {
        End::Stream(_) => assert_eq!(client.next_answering_pings(SOON).await, Err(Ended::Eof)),
        End::Close(frame) => {
            assert_eq!(client.next_answering_pings(SOON).await.as_ref(), Ok(frame));
            let reply = if frame.payload.is_empty() { codeless() } else { Frame::close(4999, "the reply") };
            client.send(&reply).await.expect("sent");
            assert_eq!(client.next_answering_pings(SOON).await, Err(Ended::Eof), "nothing comes after a Close");
            let read = backend.expect("a backend that closed").await.expect("it sees the end");
            let [.., last] = &read[..] else { panic!("the backend saw no reply") };
            assert_eq!((last.opcode, &last.payload), (reply.opcode, &reply.payload));
        }
    }
}

/// Without a dying backend, this end is the client's end too.
async fn passes(flags: &[&str], end: End) {
    let stage = Stage::start(2, flags).await;
    let (client, leg) = session(&stage).await;
    let backend = self::end(leg, &end).await;
    stage.without_failover(client_sees(client, &end, backend)).await;
}

/// The backend answers probes, and this end still is a failover.
async fn fails_over_without_proof(flags: &[&str], end: End) {
    let stage = Stage::start(2, flags).await;
    let (mut client, leg) = session(&stage).await;
    let first = leg.backend;
    let _closed = self::end(leg, &end).await;
    let mut leg = stage.next_leg().await;
    assert_ne!(leg.backend, first, "the other backend comes first");
    exchange(&mut client, &mut leg, "second").await;
}

/// The backend refuses connections, and this end is a failover.
async fn fails_over_when_dying(flags: &[&str], end: End) {
    let mut stage = Stage::start(2, flags).await;
    let (mut client, leg) = session(&stage).await;
    stage.backends[leg.backend].refuse();
    let _closed = self::end(leg, &end).await;
    let mut leg = stage.next_leg().await;
    exchange(&mut client, &mut leg, "second").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_of_the_application_reaches_the_client_as_it_came() {
    let _machine = machine_shared();
    for code in [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3000, 4001, 4999] {
        passes(&[], close(code)).await;
    }
    passes(&[], End::Close(Frame::close(1000, ""))).await;
    passes(&[], End::Close(Frame::close(4001, &"r".repeat(123)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_of_the_application_ends_the_session_also_while_its_backend_is_dying() {
    let _machine = machine_shared();
    let mut stage = Stage::start(2, &[]).await;
    let (client, leg) = session(&stage).await;
    stage.backends[leg.backend].refuse();
    let backend = end(leg, &close(4001)).await;
    stage.without_failover(client_sees(client, &close(4001), backend)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_says_it_goes_away_is_left_for_another() {
    let _machine = machine_shared();
    for code in [1001, 1012, 1013, 1014] {
        fails_over_without_proof(&[], close(code)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ambiguous_end_of_a_healthy_backend_reaches_the_client() {
    let _machine = machine_shared();
    for end in ambiguous() {
        passes(&[], end).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ambiguous_end_of_a_dying_backend_is_a_failover() {
    let _machine = machine_shared();
    for end in ambiguous() {
        fails_over_when_dying(&[], end).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_ambiguous_failover_needs_no_proof() {
    let _machine = machine_shared();
    for end in ambiguous() {
        fails_over_without_proof(&["--on-ambiguous", "failover"], end).await;
    }
    passes(&["--on-ambiguous", "failover"], close(4001)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_ambiguous_end_asks_for_none() {
    let _machine = machine_shared();
    for end in ambiguous() {
        let mut stage = Stage::start(2, &["--on-ambiguous", "end"]).await;
        let (client, leg) = session(&stage).await;
        stage.backends[leg.backend].refuse();
        let backend = self::end(leg, &end).await;
        stage.without_failover(client_sees(client, &end, backend)).await;
    }
    fails_over_without_proof(&["--on-ambiguous", "end"], close(1012)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn which_codes_mean_what_is_configured() {
    let _machine = machine_shared();
    let flags = ["--failover-codes", "4500", "--ambiguous", "4600,codeless"];
    fails_over_without_proof(&flags, close(4500)).await;
    passes(&flags, close(1012)).await;
    passes(&flags, close(4600)).await;
    fails_over_when_dying(&flags, close(4600)).await;
    fails_over_when_dying(&flags, End::Close(codeless())).await;
    // No longer ambiguous: the client sees them, dying or not.
    for end in [close(1011), End::Stream(Death::Eof)] {
        let mut stage = Stage::start(2, &flags).await;
        let (client, leg) = session(&stage).await;
        stage.backends[leg.backend].refuse();
        let backend = self::end(leg, &end).await;
        stage.without_failover(client_sees(client, &end, backend)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reattach_never_passes_every_end() {
    let _machine = machine_shared();
    for end in ambiguous().into_iter().chain([close(1001), close(1012), close(4001)]) {
        passes(&["--reattach", "never"], end).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reattach_whole_gives_up_a_session_of_which_something_was_forgotten() {
    let _machine = machine_shared();
    let flags = ["--reattach", "whole", "--ack-linger", "0"];
    // Nothing forgotten: nothing was acknowledged, as this backend answers no ping.
    let stage = Stage::start(2, &flags).await;
    let (mut client, mut leg) = stage.session().await;
    client.send(&Frame::text("kept")).await.expect("sent");
    while leg.connection.next(SOON).await.expect("a frame").payload != b"kept" {}
    let _closed = end(leg, &close(1012)).await;
    assert_eq!(stage.next_leg().await.frame().await.as_text(), "kept");

    let stage = Stage::start(2, &flags).await;
    let (mut client, mut leg) = session(&stage).await;
    acknowledge(&mut client, &mut leg).await;
    let _closed = end(leg, &close(1012)).await;
    let seen = stage.without_failover(client.next_answering_pings(SOON)).await.expect("a Close");
    assert_eq!(seen.close_code().map(|(code, _)| code), Some(1012));
}

/// Makes the proxy forget something. A barrier that was answered before the leg read "behind" was sent before it; the
/// proxy has taken the pong when it has passed on what the backend sent behind it.
async fn acknowledge(client: &mut Connection, leg: &mut Leg) {
    let ping = loop {
        let frame = leg.connection.next(SOON).await.expect("a frame");
        if frame.opcode == tideover_tests::raw::opcode::PING {
            break frame;
        }
    };
    leg.connection.send(&Frame::pong(&ping)).await.expect("sent");
    leg.connection.send(&Frame::text("behind")).await.expect("sent");
    assert_eq!(client.next_answering_pings(SOON).await.expect("a frame").as_text(), "behind");
}

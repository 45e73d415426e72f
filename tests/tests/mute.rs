//! Whether a backend counts as one that answers no pings: only if it answers none on a leg of its own either.

use std::time::Duration;

use tideover_tests::{
    Proxy,
    deadline::eventually,
    lock::machine_shared,
    proxy::says,
    raw::{Connection, Ended, Frame, RawBackend, SESSION_PATH, opcode},
};
use tokio::join;

const SOON: Duration = Duration::from_secs(10);
const FLAGS: [&str; 4] = ["--commit", "barrier", "--ack-timeout", "3s"];

/// A proxy before a backend, and a session whose backend has answered "question" and not the ping behind it. Then the
/// proxy has asked on a leg of its own, which is the third connection.
async fn asked(backend: &RawBackend) -> (Proxy, Connection, Connection, Connection) {
    let proxy = Proxy::before([backend.address()], &FLAGS);
    let (mut client, mut leg) = join!(Connection::client(proxy.address(), SESSION_PATH, &[]), backend.session(SOON));
    client.send(&Frame::text("question")).await.expect("sent");
    assert_eq!(leg.next(SOON).await.expect("a message").as_text(), "question");
    assert_eq!(leg.next(SOON).await.expect("its barrier").opcode, opcode::PING);
    leg.send(&Frame::text("first answer")).await.expect("sent");
    let asking = backend.session(SOON).await;
    (proxy, client, leg, asking)
}

fn counts_as_mute(proxy: &Proxy) -> bool {
    proxy.log_text().contains("the backend answers no pings")
}

#[tokio::test]
async fn who_answers_pings_where_it_is_not_busy_is_waited_for() {
    let _machine = machine_shared();
    let mut backend = RawBackend::bind().await;
    let (proxy, mut client, leg, mut asking) = asked(&backend).await;
    let ping = asking.next(SOON).await.expect("a ping");
    asking.send(&Frame::text("a greeting")).await.expect("sent");
    asking.send(&Frame::pong(&ping)).await.expect("sent");
    assert_eq!(asking.next(SOON).await.expect("a Close").opcode, opcode::CLOSE);
    assert_eq!(asking.rest(SOON).await.1, Ended::Eof);
    assert!(!counts_as_mute(&proxy));

    // What is held back for the barrier is not released: the next leg gives the one answer that the client sees.
    backend.refuse();
    leg.reset();
    let noticed = || proxy.log_lines().iter().any(|line| says(line, "no backend this time"));
    eventually(SOON, "the proxy notices", noticed).await;
    backend.listen();
    let mut next = backend.session(SOON).await;
    assert_eq!(next.next(SOON).await.expect("the replay").as_text(), "question");
    next.send(&Frame::text("second answer")).await.expect("sent");
    let ping = next.next(SOON).await.expect("a barrier");
    next.send(&Frame::pong(&ping)).await.expect("sent");
    assert_eq!(client.next_answering_pings(SOON).await.expect("an answer").as_text(), "second answer");
}

#[tokio::test]
async fn who_answers_no_pings_anywhere_is_not_waited_for() {
    let _machine = machine_shared();
    let backend = RawBackend::bind().await;
    let (proxy, mut client, _leg, mut asking) = asked(&backend).await;
    assert_eq!(asking.next(SOON).await.expect("a ping").opcode, opcode::PING);
    assert_eq!(client.next_answering_pings(SOON).await.expect("what was held back").as_text(), "first answer");
    eventually(SOON, "the log says why", || counts_as_mute(&proxy)).await;
}

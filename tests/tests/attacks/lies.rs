//! Backends that lie in their handshake, one lie at a time.

use std::time::Duration;

use tideover_tests::{
    Backend, Kind, Proxy,
    attack::{Liar, Lie},
    client::Client,
    deadline::within,
    lock::machine_shared,
    raw::{Connection, RawBackend, upgrade_request},
};

const SOON: Duration = Duration::from_secs(20);

/// Each of these lies, and a backend that tells nothing else.
fn liars(lies: &'static [Lie]) -> impl Iterator<Item = (Lie, Liar)> {
    lies.iter().map(|lie| (*lie, Liar::telling(std::slice::from_ref(lie))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lie_reaches_a_client() {
    let _machine = machine_shared();
    for (lie, liar) in liars(&Lie::SEEN).chain(liars(&Lie::WITHHELD)) {
        let proxy = Proxy::before([liar.address()], &["--connect-timeout", "1s"]);
        let mut client = Connection::dial(proxy.address()).await.expect("connected");
        client.send_bytes(upgrade_request("/", "proxy", &["Sec-WebSocket-Protocol: good"])).await.expect("sent");
        let (answer, _) = client.rest(SOON).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{lie:?}: {answer}");
        assert_eq!((answer.contains("evil"), answer.matches("HTTP/1.").count()), (false, 1), "{lie:?}: {answer}");
        assert!(!proxy.log_text().contains("panicked"), "{lie:?}: {}", proxy.log_text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_to_an_honest_backend_when_another_lies() {
    let _machine = machine_shared();
    let honest = Backend::start(Kind::Rust);
    for (lie, liar) in liars(&Lie::SEEN) {
        // The first in the list is asked first.
        let proxy = Proxy::before([liar.address(), honest.address()], &["--connect-timeout", "10s"]);
        for _ in 0..2 {
            let client = within(SOON, format_args!("{lie:?}: a session"), Client::connect(1, proxy.url("/echo"))).await;
            let mut client = client.unwrap_or_else(|error| panic!("{lie:?}: {error}\n{}", proxy.log_text()));
            assert!(!format!("{:?}", client.response().headers()).contains("evil"), "{lie:?}");
            let sent = client.send_numbered().await;
            assert_eq!(client.next(SOON).await.expect("an echo").text, sent, "{lie:?}");
        }
    }
}

/// Whoever got a handshake is waited for, since its handler may be running: but in time, and the next client goes elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withheld_answer_costs_a_client_its_handshake_and_the_liar_its_place() {
    let _machine = machine_shared();
    let honest = Backend::start(Kind::Rust);
    for (lie, liar) in liars(&Lie::WITHHELD) {
        let proxy = Proxy::before([liar.address(), honest.address()], &["--connect-timeout", "4s"]);
        let refused = within(SOON, format_args!("{lie:?}: an answer"), Client::connect(1, proxy.url("/echo"))).await;
        let refused = refused.expect_err("the liar was asked first").to_string();
        assert!(refused.contains("503"), "{lie:?}: {refused}");
        let client = within(SOON, format_args!("{lie:?}: a session"), Client::connect(2, proxy.url("/echo"))).await;
        let mut client = client.unwrap_or_else(|error| panic!("{lie:?}: {error}\n{}", proxy.log_text()));
        let sent = client.send_numbered().await;
        assert_eq!(client.next(SOON).await.expect("an echo").text, sent, "{lie:?}");
    }
}

/// An answer to a handshake that is a refusal, but whose end two readers could see in two places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_with_two_lengths_is_no_answer() {
    let _machine = machine_shared();
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n\r\nevil!",
        "Content-Length: 4, 4\r\n\r\nevil",
    ] {
        let backend = RawBackend::bind().await;
        let proxy = Proxy::before([backend.address()], &[]);
        let refuse = async {
            let mut leg = backend.connection(SOON).await;
            leg.head(SOON).await.expect("a handshake");
            leg.send_bytes(format!("HTTP/1.1 403 Forbidden\r\n{fields}")).await.expect("sent");
            leg
        };
        let ask = async {
            let mut client = Connection::dial(proxy.address()).await.expect("connected");
            client.send_bytes(upgrade_request("/", "proxy", &[])).await.expect("sent");
            client.rest(SOON).await
        };
        let (_leg, (answer, _)) = tokio::join!(refuse, ask);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 503 ") && !answer.contains("evil"), "{fields:?}: {answer}");
    }
}

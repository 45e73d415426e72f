//! Sessions over TLS, on both legs.

use std::time::Duration;

use tideover_tests::{
    Backend, Kind, Proxy,
    client::{Client, Load, run_many},
    deadline::within,
    judge::Judge,
    lock::{machine_alone, machine_shared},
    raw::Frame,
    tls::{Authority, Files, connect, path_text},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{SOON, localhost, upgrade};

const SECONDS: u32 = 8;

/// A proxy with TLS on both legs.
fn secured(files: &Files, backends: &[Backend]) -> (Proxy, String) {
    let pair = localhost(files);
    let ca = Authority::shared().ca(files, "ca.pem");
    let urls: Vec<_> = backends.iter().map(|backend| format!("wss://localhost:{}", backend.address().port())).collect();
    let mut flags = pair.flags().to_vec();
    flags.extend(["--backend-ca", path_text(&ca)]);
    flags.extend(urls.iter().flat_map(|url| ["--backend", url.as_str()]));
    let proxy = Proxy::before([], &flags);
    let url = format!("wss://localhost:{}/echo", proxy.address().port());
    (proxy, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_backends_under_tls_on_both_legs_loses_nothing_and_closes_nobody() {
    let _machine = machine_alone();
    let files = Files::default();
    let pair = localhost(&files);
    let mut backends = [(); 3].map(|()| Backend::start_tls(Kind::Rust, &pair));
    let (proxy, url) = secured(&files, &backends);
    let clients = tokio::spawn(async move { run_many(&url, 0..30, Load::new(50, SECONDS)).await });
    for second in 1..SECONDS as usize {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let chosen = second % backends.len();
        backends[chosen].kill();
        backends[chosen].restart();
    }
    let judge = Judge::new(&backends, clients.await.expect("the clients end"));
    judge.assert_nothing_lost_and_nobody_closed();
    let again = judge.legs.len();
    assert!(again > 30, "no kill met a session: {again} legs");
    assert!(!proxy.log_text().contains("panicked"), "{}", proxy.log_text());
}

/// A message of several records, larger than every buffer on the way: it is written in parts, and held parts go out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_pass_whole_through_tls_on_both_legs() {
    let _machine = machine_shared();
    let files = Files::default();
    let backends = [Backend::start_tls(Kind::Rust, &localhost(&files))];
    let (_proxy, url) = secured(&files, &backends);
    let mut client = Client::connect(1, url.as_str()).await.expect("a session");
    for bytes in [1, 16_383, 16_385, 300_000, 4_000_000] {
        let sent: Vec<u8> = (0..bytes).map(|n: usize| (n % 251) as u8).collect();
        client.send(sent).await;
        let got = client.next(SOON).await.expect("an echo");
        let sent = client.transcript().sent.last().expect("what was sent");
        assert!(got.text == sent.text, "{bytes} bytes came back as others");
    }
    assert_eq!(client.close(1000, "", SOON).await.got.len(), 5);
}

/// RFC 8446 6.1: who ends a connection says so; only what is cut off ends without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_words_are_a_close_and_a_close_notify() {
    let _machine = machine_shared();
    let files = Files::default();
    let backends = [Backend::start_tls(Kind::Rust, &localhost(&files))];
    let (proxy, _) = secured(&files, &backends);
    let mut client = connect(proxy.address(), "localhost", Authority::shared().client(None)).await.expect("TLS");
    assert!(upgrade(&mut client).await.expect("an answer").starts_with("HTTP/1.1 101 "));
    client.write_all(&Frame::text("last").encode(Some([1, 2, 3, 4]))).await.expect("sent");
    client.write_all(&Frame::close(1000, "").encode(Some([1, 2, 3, 4]))).await.expect("sent");
    let mut read = Vec::new();
    let ended = within(SOON, "the proxy ends the stream", client.read_to_end(&mut read)).await;
    assert!(ended.is_ok(), "no close_notify: {ended:?}");
    let expected = [Frame::text("last").encode(None), Frame::close(1000, "").encode(None)].concat();
    assert_eq!(read, expected);
}

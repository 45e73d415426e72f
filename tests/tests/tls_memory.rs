//! What an idle session takes in memory, with TLS and without: the numbers of docs/tls.md.

use std::time::Duration;

use tideover_tests::{
    Backend, Kind, Proxy,
    client::Client,
    deadline::eventually,
    lock::machine_alone,
    tls::{Authority, Files, VALID, path_text},
};

const SESSIONS: u32 = 1000;
/// Beyond what the same session takes without TLS, for both legs. Four times what was measured would be a fault.
const TLS_KIB: f64 = 64.0;

/// Opens the sessions, each with one message there and back, and gives the proxy's KiB a session.
async fn kib_a_session(proxy: &Proxy, url: &str) -> f64 {
    // What the first session alone takes once: code, roots, buffers of the workers.
    let mut clients = Vec::with_capacity(SESSIONS as usize + 1);
    clients.push(exchanged(0, url).await);
    let before = proxy.pss_kib();
    for id in 1..=SESSIONS {
        clients.push(exchanged(id, url).await);
    }
    // Rings give their memory back with the acknowledgement, which is due by now.
    let mut last = u64::MAX;
    eventually(Duration::from_secs(10), "memory is given back", || {
        let now = proxy.pss_kib();
        std::mem::replace(&mut last, now) == now
    })
    .await;
    (proxy.pss_kib() as f64 - before as f64) / f64::from(SESSIONS)
}

async fn exchanged(id: u32, url: &str) -> Client {
    let mut client = Client::connect(id, url).await.expect("a session");
    let text = client.send_numbered().await;
    assert_eq!(client.next(Duration::from_secs(10)).await.map(|message| message.text), Some(text));
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_session_with_tls_on_both_legs_takes_little_more_than_one_without() {
    let _machine = machine_alone();
    tideover_tests::environment::raise_descriptor_limit();
    let (files, authority) = (Files::default(), Authority::shared());
    let pair = authority.pair(&files, "localhost", &["localhost"], VALID);
    let ca = authority.ca(&files, "ca.pem");

    let plain = Backend::start(Kind::Rust);
    let proxy = Proxy::start([&plain], &[]);
    let without = kib_a_session(&proxy, &proxy.url("/echo")).await;
    drop(proxy);

    let proxy = Proxy::start([&plain], &pair.flags());
    let url = format!("wss://localhost:{}/echo", proxy.address().port());
    let downstream = kib_a_session(&proxy, &url).await;
    drop(proxy);

    let secure = Backend::start_tls(Kind::Rust, &pair);
    let backend = format!("wss://localhost:{}", secure.address().port());
    let proxy =
        Proxy::before([], &[&pair.flags()[..], &["--backend", &backend, "--backend-ca", path_text(&ca)]].concat());
    let url = format!("wss://localhost:{}/echo", proxy.address().port());
    let both = kib_a_session(&proxy, &url).await;
    println!("KiB an idle session: plain {without:.1}, TLS to the client {downstream:.1}, TLS on both legs {both:.1}");
    assert!(both - without < TLS_KIB, "{both:.1} KiB against {without:.1}");
}

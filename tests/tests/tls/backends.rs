//! Backends with TLS: whom the proxy trusts, and what it says of those that it does not.

use std::net::SocketAddr;

use tideover_tests::{
    Backend, Kind, Proxy,
    client::Client,
    deadline::eventually,
    lock::machine_shared,
    tls::{Authority, Files, Pair, VALID, acceptor, path_text},
};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Error;

use super::SOON;

/// A proxy before a `wss://` backend at this place; the listener of the proxy is plain.
fn proxy_before(host: &str, address: SocketAddr, flags: &[&str]) -> Proxy {
    let url = format!("wss://{host}:{}", address.port());
    Proxy::before([], &[&["--backend", &url], flags].concat())
}

async fn status_of(proxy: &Proxy) -> u16 {
    match Client::connect(1, proxy.url("/echo").as_str()).await {
        Ok(client) => client.response().status().as_u16(),
        Err(error) => match *error {
            Error::Http(response) => response.status().as_u16(),
            other => panic!("{other}"),
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_with_a_good_certificate_is_trusted_and_others_are_refused_with_a_reason() {
    let _machine = machine_shared();
    let (files, authority, strangers) = (Files::default(), Authority::shared(), Authority::new("strangers"));
    let ca = authority.ca(&files, "ca.pem");
    let good = super::localhost(&files);
    let other = authority.pair(&files, "other", &["other.test"], VALID);
    let old = authority.pair(&files, "old", &["localhost"], (-30, -1));
    let strange = strangers.pair(&files, "strange", &["localhost"], VALID);
    let trust = ["--backend-ca", path_text(&ca)];
    let named = [&trust[..], &["--backend-server-name", "other.test"]].concat();
    for (pair, flags, status, why) in [
        (&good, &trust[..], 101, ""),
        (&other, &named[..], 101, ""),
        (&other, &trust[..], 503, "its certificate is for other.test, not for localhost"),
        (&old, &trust[..], 503, "its certificate has expired on 2"),
        (&strange, &trust[..], 503, "its certificate is of an authority that is not trusted here"),
        (&good, &[], 503, "its certificate is of an authority that is not trusted here"),
    ] {
        let backend = Backend::start_tls(Kind::Rust, pair);
        let proxy = proxy_before("localhost", backend.address(), flags);
        assert_eq!(status_of(&proxy).await, status, "{why}\n{}", proxy.log_text());
        assert!(proxy.log_text().contains(why), "{why} is not in:\n{}", proxy.log_text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_no_tls_server_is_a_failed_dial_and_another_is_taken() {
    let _machine = machine_shared();
    let (files, authority) = (Files::default(), Authority::shared());
    let ca = authority.ca(&files, "ca.pem");
    let plain = Backend::start(Kind::Rust);
    let secure = Backend::start_tls(Kind::Rust, &super::localhost(&files));
    let urls = [&plain, &secure].map(|backend| format!("wss://localhost:{}", backend.address().port()));
    let flags = ["--backend", &urls[0], "--backend", &urls[1], "--backend-ca", path_text(&ca)];
    let proxy = Proxy::before([], &flags);
    for client in 0..4 {
        let connected = Client::connect(client, proxy.url("/echo").as_str()).await;
        connected.unwrap_or_else(|error| panic!("{error}\n{}", proxy.log_text()));
    }
    eventually(SOON, "the backend with TLS has all", || secure.events().len() > 4).await;
}

/// Backends that ask for a certificate, played by the test.
async fn asking_backend(pair: &Pair, clients: &Authority) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (address, acceptor) = (listener.local_addr().expect("its address"), acceptor(pair, Some(clients)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while futures_util::StreamExt::next(&mut socket).await.is_some_and(|next| next.is_ok()) {}
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_asks_is_shown_the_proxys_certificate() {
    let _machine = machine_shared();
    let (files, authority) = (Files::default(), Authority::shared());
    let ca = authority.ca(&files, "ca.pem");
    let own = authority.pair(&files, "proxy", &["proxy.test"], VALID);
    let address = asking_backend(&super::localhost(&files), authority).await;
    let trust = ["--backend-ca", path_text(&ca)];
    let shown = [&trust[..], &["--backend-cert", path_text(&own.certificate), "--backend-key", path_text(&own.key)]];
    let proxy = proxy_before("localhost", address, &shown.concat());
    assert_eq!(status_of(&proxy).await, 101, "{}", proxy.log_text());
    let proxy = proxy_before("localhost", address, &trust);
    assert_eq!(status_of(&proxy).await, 503);
    assert!(proxy.log_text().contains("it wants a certificate of ours"), "{}", proxy.log_text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_never_answers_a_tls_handshake_is_a_failed_dial() {
    let _machine = machine_shared();
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("its address");
    let (files, authority) = (Files::default(), Authority::shared());
    let ca = authority.ca(&files, "ca.pem");
    let flags = ["--backend-ca", path_text(&ca), "--connect-timeout", "3s"];
    let proxy = proxy_before("localhost", address, &flags);
    assert_eq!(status_of(&proxy).await, 503);
    assert!(proxy.log_text().contains("no TLS handshake in time"), "{}", proxy.log_text());
}

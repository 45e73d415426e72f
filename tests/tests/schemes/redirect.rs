//! `--mode redirect`: who follows, and where to.

use tideover_tests::{
    Backend, Kind, Proxy,
    backend::What,
    client::{Client, Follower},
    deadline::eventually,
    lock::machine_shared,
    raw::{Connection, upgrade_request},
};
use tokio_tungstenite::tungstenite::Error;

use crate::SOON;

/// A proxy that sends everybody to these backends, whose public URLs are their own.
fn redirecting(backends: &[Backend], more: &[&str]) -> Proxy {
    let mut flags = vec!["--mode".to_owned(), "redirect".to_owned()];
    for backend in backends {
        flags.extend(["--public-url".into(), format!("{}=ws://{0}", backend.address())]);
    }
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    Proxy::start(backends, &flags.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What the backends were asked for.
fn targets(backends: &[Backend]) -> Vec<String> {
    let events = backends.iter().flat_map(Backend::events);
    events.filter_map(|event| if let What::Open(target) = event.what { Some(target) } else { None }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_clients_follow_to_a_backend_with_their_path_and_query() {
    let _machine = machine_shared();
    let backends = [Backend::start(Kind::Rust), Backend::start(Kind::Rust)];
    let proxy = redirecting(&backends, &[]);
    for (n, client) in [Follower::NodeFollowing, Follower::Websockets, Follower::Aiohttp].into_iter().enumerate() {
        let outcome = client.connect(&proxy.url(&format!("/echo?client={n}"))).await;
        eprintln!("{client:?} {}: {outcome:?}", outcome.version);
        assert_eq!(outcome.echo.as_deref(), Some("hello"), "{client:?}: {outcome:?}");
        assert!(targets(&backends).contains(&format!("/echo?client={n}")), "{client:?} is on a backend");
    }
    assert_eq!(backends.each_ref().map(|backend| backend.has_served()), [true, true], "the load is spread");
    eventually(SOON, "each is logged", || proxy.log_text().matches("handshake redirected").count() >= 3).await;
    let log = proxy.log_text();
    assert_eq!(log.matches("handshake redirected").count(), 3, "one line each:\n{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_follow_see_the_307() {
    let _machine = machine_shared();
    let backends = [Backend::start(Kind::Rust)];
    let proxy = redirecting(&backends, &[]);
    let outcome = Follower::Node.connect(&proxy.url("/echo")).await;
    assert!(outcome.error.as_ref().is_some_and(|error| error.contains("307")), "{outcome:?}");
    let Error::Http(response) = *Client::connect(1, proxy.url("/echo")).await.expect_err("no session") else {
        panic!("tokio-tungstenite gives the response");
    };
    assert_eq!(response.status(), 307);
    assert_eq!(response.headers()["location"], format!("//{}/echo", backends[0].address()));
    assert_eq!(targets(&backends), [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scheme_is_named_where_it_changes_and_bad_handshakes_are_refused_as_ever() {
    let _machine = machine_shared();
    let backend = Backend::start(Kind::Rust);
    let public = format!("{}=wss://chat.example.com/one", backend.address());
    let flags = ["--mode", "redirect", "--public-url", &public, "--trust-forwarded", "127.0.0.0/8", "--http", "reject"];
    let proxy = Proxy::start([&backend], &flags);
    for (fields, location) in [
        (&[][..], "wss://chat.example.com/one/room?id=7"),
        (&["X-Forwarded-Proto: https"], "//chat.example.com/one/room?id=7"),
    ] {
        let mut client = Connection::dial(proxy.address()).await.expect("connected");
        client.send_bytes(upgrade_request("/room?id=7", "proxy", fields)).await.expect("sent");
        let head = client.head(SOON).await.expect("an answer");
        assert_eq!((head.status(), head.header("location")), (307, Some(location)));
        assert_eq!((head.header("cache-control"), head.header("connection")), (Some("no-store"), Some("close")));
    }
    let mut client = Connection::dial(proxy.address()).await.expect("connected");
    client.send_bytes("GET / HTTP/1.1\r\nHost: proxy\r\n\r\n").await.expect("sent");
    assert_eq!(client.head(SOON).await.expect("an answer").status(), 426);
}

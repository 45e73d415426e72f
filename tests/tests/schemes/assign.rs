//! `GET /.tideover/assign`, as web pages and other clients ask.

use std::{collections::BTreeSet, net::SocketAddr};

use serde_json::Value;
use tideover_tests::{
    Backend, Kind, Proxy, client::Client, deadline::wait_for, deadline::within, lock::machine_shared, raw::Head,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::SOON;

const PAGE: &str = "Origin: https://app.example.com\r\n";

struct Answer {
    head: Head,
    body: Value,
}

/// Sends a request with these header lines and reads its answer to the end.
async fn request(address: SocketAddr, line: &str, fields: &str) -> Answer {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = format!("{line} HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    };
    let answer = within(SOON, "an answer", exchange).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    Answer { head: Head::parse(head), body: serde_json::from_str(body).unwrap_or_default() }
}

fn assigning(backends: &[Backend], more: &[&str]) -> Proxy {
    let mut flags: Vec<String> = vec!["--assign".into(), "on".into()];
    for backend in backends {
        flags.extend(["--public-url".into(), format!("{}=ws://{0}", backend.address())]);
    }
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    Proxy::start(backends, &flags.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_gets_the_url_of_the_least_loaded_backend_and_can_connect_to_it() {
    let _machine = machine_shared();
    let backends = [Backend::start(Kind::Rust), Backend::start(Kind::Rust)];
    let proxy = assigning(&backends, &["--assign-ttl", "30s"]);
    let mut urls = Vec::new();
    for n in 0..6 {
        let answer = request(proxy.address(), &format!("GET /.tideover/assign/echo?n={n}"), "").await;
        assert_eq!(answer.head.status(), 200);
        assert_eq!(answer.head.header("cache-control"), Some("no-store"));
        assert_eq!(answer.body["expires_in"], 30);
        urls.push(answer.body["url"].as_str().expect("a URL").to_owned());
    }
    let expected: BTreeSet<_> =
        (0..6).flat_map(|n| backends.each_ref().map(|backend| backend.url(&format!("/echo?n={n}")))).collect();
    assert!(urls.iter().all(|url| expected.contains(url)), "{urls:?}");
    // Each assignment counts at once, though the proxy sees no session of it.
    let to_first = urls.iter().filter(|url| url.contains(&backends[0].address().to_string())).count();
    assert_eq!(to_first, 3, "{urls:?}");
    let mut client = Client::connect(1, urls[0].as_str()).await.expect("connected without the proxy");
    client.send("hello").await;
    assert_eq!(client.next(SOON).await.map(|message| message.text), Some("hello".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_relayed_count_too() {
    let _machine = machine_shared();
    let backends = [Backend::start(Kind::Rust), Backend::start(Kind::Rust)];
    // What was assigned fades at once, so that even the second time one less than the relayed session counts.
    let proxy = assigning(&backends, &["--assigned-lifetime", "1ms"]);
    let _client = Client::connect(1, proxy.url("/echo")).await.expect("a session");
    // A backend logs a session behind its 101.
    let busy = wait_for(SOON, "a backend logs the session", || backends.iter().position(Backend::has_served));
    let idle = &backends[1 - busy];
    for _ in 0..2 {
        let answer = request(proxy.address(), "GET /.tideover/assign/x", "").await;
        assert_eq!(answer.body["url"].as_str(), Some(&*idle.url("/x")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_listed_origins_may_ask_and_others_may_not() {
    let _machine = machine_shared();
    let backends = [Backend::start(Kind::Rust)];
    let proxy = assigning(&backends, &["--assign-origin", "https://app.example.com"]);
    let preflight = format!("{PAGE}Access-Control-Request-Method: GET\r\n");
    let answer = request(proxy.address(), "OPTIONS /.tideover/assign", &preflight).await;
    assert_eq!(answer.head.status(), 204);
    assert_eq!(answer.head.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(answer.head.header("access-control-allow-methods"), Some("GET"));
    let answer = request(proxy.address(), "GET /.tideover/assign", PAGE).await;
    assert_eq!((answer.head.status(), answer.head.header("vary")), (200, Some("Origin")));
    assert_eq!(answer.head.header("access-control-allow-origin"), Some("https://app.example.com"));
    for method in ["GET", "OPTIONS"] {
        let line = format!("{method} /.tideover/assign");
        let answer = request(proxy.address(), &line, "Origin: https://evil.example\r\n").await;
        assert_eq!((answer.head.status(), answer.head.header("access-control-allow-origin")), (403, None));
        assert!(answer.body["url"].is_null());
    }
    let answer = request(proxy.address(), "DELETE /.tideover/assign", PAGE).await;
    assert_eq!((answer.head.status(), answer.head.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_may_ask_so_often_and_another_one_still() {
    let _machine = machine_shared();
    let backends = [Backend::start(Kind::Rust)];
    let proxy = assigning(&backends, &["--assign-rate", "1", "--trust-forwarded", "127.0.0.1"]);
    let ask = async |client: &str| {
        let fields = format!("X-Forwarded-For: {client}\r\n");
        request(proxy.address(), "GET /.tideover/assign", &fields).await
    };
    let mut answers = Vec::new();
    for n in 0..20 {
        // All of one /64.
        answers.push(ask(&format!("2001:db8::{n}")).await);
    }
    let refused = answers.iter().find(|answer| answer.head.status() != 200).expect("20 requests are too many");
    assert_eq!((refused.head.status(), refused.head.header("retry-after")), (429, Some("1")));
    assert_eq!(ask("2001:db8:0:1::1").await.head.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_off_unless_it_is_switched_on() {
    let _machine = machine_shared();
    let backend = Backend::start(Kind::Rust);
    let proxy = Proxy::start([&backend], &["--http", "reject"]);
    assert_eq!(request(proxy.address(), "GET /.tideover/assign", "").await.head.status(), 426);
}

//! The DNS responder, asked by `dig`.

use std::{collections::BTreeSet, fmt::Write, net::SocketAddr};

use tideover_tests::{
    Backend, Kind, Proxy,
    client::Client,
    deadline::{eventually, wait_for},
    lock::machine_shared,
    proxy::{field, says},
    questions::{Answer, ask},
    scratch::Scratch,
};

use crate::SOON;

/// A proxy whose backends have public addresses 192.0.2.1, 192.0.2.2, … and, the first, 2001:db8::1.
struct Site {
    backends: Vec<Backend>,
    proxy: Proxy,
    scratch: Scratch,
}

impl Site {
    fn start(backends: usize, flags: &[&str]) -> Self {
        let backends: Vec<_> = (0..backends).map(|_| Backend::start(Kind::Rust)).collect();
        let scratch = Scratch::new("dns");
        write_config(&scratch, &backends);
        let config = scratch.path("tideover.toml");
        let mut all = vec!["--config", config.to_str().expect("a path of text")];
        all.extend(["--dns-listen", "127.0.0.1:0", "--dns-name", "ws.example.com"]);
        all.extend(flags);
        let proxy = Proxy::before([], &all);
        Self { backends, proxy, scratch }
    }

    fn server(&self) -> SocketAddr {
        // It is logged behind what a start waits for.
        wait_for(SOON, "the log says where the DNS responder is", || {
            let lines = self.proxy.log_lines();
            let line = lines.iter().find(|line| says(line, "DNS"))?;
            field(line, "addr").parse().ok()
        })
    }

    fn ask(&self, name: &str, kind: &str) -> Answer {
        ask(self.server(), name, kind, false)
    }
}

fn write_config(scratch: &Scratch, backends: &[Backend]) {
    let mut text = String::new();
    for (n, backend) in backends.iter().enumerate() {
        let addresses =
            if n == 0 { r#""192.0.2.1", "2001:db8::1""#.to_owned() } else { format!("\"192.0.2.{}\"", n + 1) };
        let url = backend.address();
        writeln!(text, "[[backend]]\nurl = \"ws://{url}\"\npublic-address = [{addresses}]")
            .expect("a string takes all");
    }
    std::fs::write(scratch.path("tideover.toml"), text).expect("a configuration");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dig_sees_an_authoritative_name_with_the_addresses_of_backends() {
    let _machine = machine_shared();
    let site = Site::start(3, &["--dns-ttl", "7s"]);
    let answer = site.ask("wS.exAmple.COM", "A");
    assert_eq!(answer.status, "NOERROR");
    assert!(answer.flags.contains(&"aa".to_owned()) && !answer.flags.contains(&"ra".to_owned()), "{answer:?}");
    assert_eq!((answer.question, answer.edns), (vec!["wS.exAmple.COM. IN A".to_owned()], true));
    assert_eq!(answer.answers.len(), 2, "--dns-answers");
    for record in &answer.answers {
        assert!(record.starts_with("wS.exAmple.COM. 7 IN A 192.0.2."), "{record}");
    }
    assert_eq!(site.ask("ws.example.com", "AAAA").answers, ["ws.example.com. 7 IN AAAA 2001:db8::1"]);
    let by_tcp = ask(site.server(), "ws.example.com", "A", true);
    assert_eq!((by_tcp.status.as_str(), by_tcp.answers.len()), ("NOERROR", 2));
    // Each answer counts for those it names, so that all take turns.
    let seen: BTreeSet<_> = (0..6).flat_map(|_| site.ask("ws.example.com", "A").answers).collect();
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dig_is_told_what_is_not_there_and_what_is_not_ours() {
    let _machine = machine_shared();
    let site = Site::start(2, &[]);
    let unknown = site.ask("no.ws.example.com", "A");
    assert_eq!((unknown.status.as_str(), unknown.answers.len()), ("NXDOMAIN", 0));
    assert!(unknown.authorities[0].starts_with("ws.example.com. 5 IN SOA ns.ws.example.com. "), "{unknown:?}");
    let no_data = site.ask("ws.example.com", "TXT");
    assert_eq!((no_data.status.as_str(), no_data.answers.len(), no_data.authorities.len()), ("NOERROR", 0, 1));
    for other in ["example.com", "example.org"] {
        let refused = site.ask(other, "A");
        assert_eq!((refused.status.as_str(), refused.answers.len()), ("REFUSED", 0), "no recursion for {other}");
    }
    assert_eq!(site.ask("ws.example.com", "NS").answers, ["ws.example.com. 5 IN NS ns.ws.example.com."]);
    assert_eq!(site.ask("ns.ws.example.com", "A").data(), ["127.0.0.1"]);
    assert_eq!(site.ask("ws.example.com", "SOA").answers.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_with_sessions_comes_after_one_without_and_a_drained_one_disappears() {
    let _machine = machine_shared();
    let site = Site::start(2, &["--dns-answers", "1", "--assigned-lifetime", "1ms"]);
    let _client = Client::connect(1, site.proxy.url("/echo")).await.expect("a session");
    // A backend logs a session behind its 101.
    let busy = wait_for(SOON, "a backend logs the session", || site.backends.iter().position(Backend::has_served));
    let idle = format!("192.0.2.{}", 2 - busy);
    for _ in 0..5 {
        assert_eq!(site.ask("ws.example.com", "A").data(), [&idle]);
    }
    // Taken out of the configuration, the idle one drains, and with it goes its address.
    let kept = std::slice::from_ref(&site.backends[0]);
    write_config(&site.scratch, kept);
    eventually(SOON, "the drained backend disappears", || {
        (0..3).all(|_| site.ask("ws.example.com", "A").data() == ["192.0.2.1"])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_by_udp_is_cut_short_and_tcp_still_answers() {
    let _machine = machine_shared();
    let site = Site::start(1, &["--dns-rate", "1"]);
    let flood: Vec<Vec<u8>> = flood(site.server(), 40);
    let whole = flood.iter().filter(|answer| answer[7] > 0).count();
    let shortened = flood.iter().filter(|answer| answer[2] & 0x02 != 0).count();
    assert!((1..10).contains(&whole), "{whole} whole answers");
    assert!(shortened > 10, "{shortened} told to ask by TCP");
    assert!(flood.len() < 40, "some were dropped");
    assert!(flood.iter().filter(|answer| answer[7] == 0).all(|answer| answer.len() <= QUESTION.len()));
    assert_eq!(ask(site.server(), "ws.example.com", "A", true).status, "NOERROR");
}

/// `ws.example.com IN A`, by hand.
const QUESTION: &[u8] = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02ws\x07example\x03com\x00\x00\x01\x00\x01";

/// The answers to so many questions that are sent at once; the last is waited for until it is silent for some seconds.
fn flood(server: SocketAddr, questions: usize) -> Vec<Vec<u8>> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a UDP socket");
    socket.set_read_timeout(Some(std::time::Duration::from_secs(4))).expect("a time-out");
    for _ in 0..questions {
        socket.send_to(QUESTION, server).expect("sent");
    }
    let mut buffer = [0; 1500];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())).collect()
}

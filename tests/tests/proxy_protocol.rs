//! The PROXY protocol: what a balancer says of a connection reaches the backend, and nobody else is believed.

use std::time::{Duration, Instant};

use tideover_tests::{
    Proxy,
    deadline::{eventually, within},
    lock::machine_shared,
    proxy::{field, says},
    raw::{Connection, RawBackend, upgrade_request},
    tls::{Authority, Files, VALID, handshake},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SOON: Duration = Duration::from_secs(10);
const IN: [&str; 4] = ["--proxy-protocol", "in", "--trust-proxies", "127.0.0.1"];

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 for what [`V1`] says, with TLVs of so many bytes.
fn v2(tlvs: usize) -> Vec<u8> {
    let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];
    let len = u16::try_from(addresses.len() + tlvs).expect("a length");
    [SIGNATURE, &[0x21, 0x11], &len.to_be_bytes(), &addresses, &vec![0xee; tlvs]].concat()
}

/// A proxy that takes PROXY headers, before a backend that the test plays.
async fn stage(flags: &[&str]) -> (Proxy, RawBackend) {
    let backend = RawBackend::bind().await;
    (Proxy::before([backend.address()], flags), backend)
}

/// Both ends of sessions: the end of a leg would bring probes, which would pass for the next leg.
type Kept = Vec<(Connection, Connection)>;

/// The X-Forwarded-For that the backend gets of a client whose connection begins with these pieces, sent one by one.
async fn forwarded_for(kept: &mut Kept, proxy: &Proxy, backend: &RawBackend, pieces: &[&[u8]]) -> String {
    let mut client = Connection::dial(proxy.address()).await.expect("the port is open");
    for piece in pieces {
        client.send_bytes(piece).await.expect("sent");
        // So that each is a segment of its own.
        tokio::task::yield_now().await;
    }
    let request = upgrade_request("/", "localhost", &[]);
    client.send_bytes(request).await.expect("sent");
    let mut leg = backend.connection(SOON).await;
    let head = leg.accept(&[]).await;
    assert_eq!(client.head(SOON).await.expect("an answer").status(), 101);
    kept.push((client, leg));
    head.header("X-Forwarded-For").expect("the header").to_owned()
}

#[tokio::test]
async fn both_versions_say_whose_a_connection_is() {
    let _machine = machine_shared();
    let ((proxy, backend), mut kept) = (stage(&IN).await, Kept::new());
    assert_eq!(forwarded_for(&mut kept, &proxy, &backend, &[V1]).await, "192.0.2.7");
    assert_eq!(forwarded_for(&mut kept, &proxy, &backend, &[&v2(0)]).await, "192.0.2.7");
    assert_eq!(forwarded_for(&mut kept, &proxy, &backend, &[&v2(300)]).await, "192.0.2.7");
    let six = b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n";
    assert_eq!(forwarded_for(&mut kept, &proxy, &backend, &[six]).await, "2001:db8::7");
}

#[tokio::test]
async fn a_connection_of_the_balancers_own_has_its_address() {
    let _machine = machine_shared();
    let ((proxy, backend), mut kept) = (stage(&IN).await, Kept::new());
    let local = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
    for header in [b"PROXY UNKNOWN\r\n", &local[..]] {
        assert_eq!(forwarded_for(&mut kept, &proxy, &backend, &[header]).await, "127.0.0.1");
    }
}

#[tokio::test]
async fn a_header_may_come_in_any_pieces() {
    let _machine = machine_shared();
    let ((proxy, backend), mut kept) = (stage(&IN).await, Kept::new());
    for header in [V1.to_vec(), v2(9)] {
        for cut in 1..header.len() {
            let (begin, end) = header.split_at(cut);
            assert_eq!(forwarded_for(&mut kept, &proxy, &backend, &[begin, end]).await, "192.0.2.7", "cut at {cut}");
        }
        let bytes: Vec<_> = header.chunks(1).collect();
        assert_eq!(forwarded_for(&mut kept, &proxy, &backend, &bytes).await, "192.0.2.7", "byte by byte");
    }
}

/// The reasons in the log for closed connections, each with the peer.
fn closed(proxy: &Proxy) -> Vec<(String, String)> {
    let lines = proxy.log_lines();
    let closed = lines.iter().filter(|line| says(line, "connection closed"));
    closed.map(|line| (field(line, "peer").to_owned(), field(line, "reason").to_owned())).collect()
}

/// Sends these bytes and waits until the proxy closes; not a byte must come back.
async fn is_closed(proxy: &Proxy, bytes: &[u8]) {
    let mut client = TcpStream::connect(proxy.address()).await.expect("the port is open");
    // It may be closed already.
    let _ = client.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ended_or_reset = within(SOON, "the connection ends", client.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"", "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn what_is_no_header_is_disconnected_with_a_line_in_the_log() {
    let _machine = machine_shared();
    let (proxy, _backend) = stage(&IN).await;
    let request = upgrade_request("/", "localhost", &[]);
    let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
    let wrong_length = [SIGNATURE, &[0x21, 0x11, 0, 4, 1, 2, 3, 4]].concat();
    let cases: [(&[u8], &str); 7] = [
        (request.as_bytes(), "no PROXY header"),
        (b"PROXY TCP4 1.2.3.4 nonsense 1 2\r\n", "a malformed PROXY header"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "a malformed PROXY header"),
        (&long, "a PROXY header that is too long"),
        (&v2(5000), "a PROXY header that is too long"),
        (&wrong_length, "a malformed PROXY header"),
        (&[0xff; 64], "no PROXY header"),
    ];
    for (n, (bytes, reason)) in cases.iter().enumerate() {
        is_closed(&proxy, bytes).await;
        eventually(SOON, "the log says so", || closed(&proxy).len() == n + 1).await;
        assert_eq!(closed(&proxy)[n].1, *reason);
    }
}

#[tokio::test]
async fn who_is_not_trusted_is_disconnected_whatever_it_says() {
    let _machine = machine_shared();
    let (proxy, _backend) = stage(&["--proxy-protocol", "in", "--trust-proxies", "192.0.2.0/24"]).await;
    let request = upgrade_request("/", "localhost", &[]);
    for bytes in [V1, request.as_bytes()] {
        is_closed(&proxy, bytes).await;
    }
    eventually(SOON, "the log says so", || closed(&proxy).len() == 2).await;
    for (peer, reason) in closed(&proxy) {
        assert!(peer.starts_with("127.0.0.1:") && reason == "not among trust-proxies", "{peer} {reason}");
    }
}

#[tokio::test]
async fn without_the_flag_a_header_is_a_bad_request() {
    let _machine = machine_shared();
    let (proxy, _backend) = stage(&[]).await;
    let mut client = Connection::dial(proxy.address()).await.expect("the port is open");
    client.send_bytes([V1, upgrade_request("/", "localhost", &[]).as_bytes()].concat()).await.expect("sent");
    assert_eq!(client.head(SOON).await.expect("an answer").status(), 400);
}

#[tokio::test]
async fn a_header_that_does_not_end_is_given_up_in_time() {
    let _machine = machine_shared();
    let (proxy, _backend) = stage(&IN).await;
    let began = Instant::now();
    let mut client = TcpStream::connect(proxy.address()).await.expect("the port is open");
    client.write_all(&V1[..V1.len() - 1]).await.expect("sent");
    let end = within(2 * SOON, "the connection ends", client.read_u8()).await;
    assert!(end.is_err() && began.elapsed() >= Duration::from_secs(9), "{end:?} after {:?}", began.elapsed());
    eventually(SOON, "the log says so", || closed(&proxy).iter().any(|(_, why)| why == "no handshake in time")).await;
}

#[tokio::test]
async fn a_header_comes_before_tls() {
    let _machine = machine_shared();
    let (files, authority) = (Files::default(), Authority::shared());
    let pair = authority.pair(&files, "localhost", &["localhost"], VALID);
    let (proxy, backend) = stage(&[&pair.flags()[..], &IN].concat()).await;
    let mut stream = TcpStream::connect(proxy.address()).await.expect("the port is open");
    stream.write_all(&v2(0)).await.expect("sent");
    let mut client = handshake(stream, "localhost", authority.client(None)).await.expect("TLS");
    client.write_all(upgrade_request("/", "localhost", &[]).as_bytes()).await.expect("sent");
    let head = backend.connection(SOON).await.head(SOON).await.expect("a request");
    assert_eq!(head.header("Forwarded"), Some("for=192.0.2.7;proto=https;host=localhost"));
}

#[tokio::test]
async fn a_backend_is_sent_the_ends_of_the_clients_connection_also_on_a_later_leg() {
    let _machine = machine_shared();
    let flags = [&IN[..], &["--send-proxy", "v2"]].concat();
    let (proxy, backend) = stage(&flags).await;
    let mut client = Connection::dial(proxy.address()).await.expect("the port is open");
    client.send_bytes([V1, upgrade_request("/", "localhost", &[]).as_bytes()].concat()).await.expect("sent");
    let expected = v2(0);
    let mut leg = backend.connection(SOON).await;
    assert_eq!(leg.bytes(expected.len(), SOON).await.expect("a header"), expected);
    leg.accept(&[]).await;
    assert_eq!(client.head(SOON).await.expect("an answer").status(), 101);
    // The leg is cut: what comes is the session's next leg, or a probe of the proxy's own before it.
    drop(leg);
    let local = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
    let mut next = backend.connection(SOON).await;
    let mut header = next.bytes(local.len(), SOON).await.expect("a header");
    while header == local {
        next = backend.connection(SOON).await;
        header = next.bytes(local.len(), SOON).await.expect("a header");
    }
    header.extend(next.bytes(expected.len() - local.len(), SOON).await.expect("the rest"));
    assert_eq!(header, expected);
    next.accept(&[]).await;
}

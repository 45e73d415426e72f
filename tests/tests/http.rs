//! Plain HTTP through the proxy: large bodies in little memory, beside sessions that notice nothing.

use std::net::SocketAddr;
use std::time::Duration;

use tideover_tests::{deadline::within, lock::machine_shared, raw::Stage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

mod honest;
use honest::Honest;

const SOON: Duration = Duration::from_secs(60);
const LARGE: usize = 100 << 20;
/// What the proxy may hold more than before while it passes that on.
const MORE_KIB: u64 = 8 << 10;

/// Serves a body of so many bytes at `/down`, and counts one at `/up`.
async fn file_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(mut stream: TcpStream) {
    let head = read_head(&mut stream).await;
    let block = vec![b'x'; 64 << 10];
    if head.starts_with("GET /down ") {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("written");
        for _ in 0..LARGE / block.len() {
            stream.write_all(&block).await.expect("written");
        }
    } else {
        let read = drain(&mut stream, LARGE).await;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Read: {read}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.expect("written");
    }
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    String::from_utf8(head).expect("ASCII")
}

/// Reads up to so many bytes.
async fn drain(stream: &mut TcpStream, most: usize) -> usize {
    let mut block = vec![0; 64 << 10];
    let mut read = 0;
    while read < most {
        match stream.read(&mut block).await {
            Ok(length) if length > 0 => read += length,
            _ => break,
        }
    }
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_pass_in_little_memory_beside_sessions() {
    let _machine = machine_shared();
    let files = file_server().await;
    let stage = Stage::start(1, &[]).await;
    let honest = Honest::begin(&stage).await;
    let proxy = tideover_tests::Proxy::before([files], &["--workers", "1"]);
    let before = proxy.rss_kib();

    let mut down = TcpStream::connect(proxy.address()).await.expect("connected");
    down.write_all(b"GET /down HTTP/1.1\r\nHost: files\r\n\r\n").await.expect("sent");
    let head = within(SOON, "the head of the answer", read_head(&mut down)).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(within(SOON, "the answer's body", drain(&mut down, LARGE)).await, LARGE);

    // On the same connection.
    let head = format!("PUT /up HTTP/1.1\r\nHost: files\r\nContent-Length: {LARGE}\r\n\r\n");
    down.write_all(head.as_bytes()).await.expect("sent");
    let block = vec![b'y'; 64 << 10];
    for _ in 0..LARGE / block.len() {
        within(SOON, "the body is taken", down.write_all(&block)).await.expect("sent");
    }
    let head = within(SOON, "the answer", read_head(&mut down)).await;
    assert!(head.to_lowercase().contains(&format!("x-read: {LARGE}\r\n")), "{head}");
    let more = proxy.peak_rss_kib() - before;
    assert!(more < MORE_KIB, "{more} KiB more");
    honest.end(&stage).await;
}

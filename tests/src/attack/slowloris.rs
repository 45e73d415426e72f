//! Handshakes that never end.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{interval, sleep},
};

use super::Done;

/// How often each sends a byte.
const EVERY: Duration = Duration::from_secs(1);
/// How soon one that was ended comes again.
const AGAIN: Duration = Duration::from_millis(50);

/// One handshake after the other, each begun well and never finished.
pub(super) async fn half_open(proxy: SocketAddr, number: u64, done: Arc<Done>) {
    // Not all of them at once: the listening queue is short.
    sleep(Duration::from_micros(number * 500)).await;
    loop {
        if let Ok(mut stream) = TcpStream::connect(proxy).await {
            let open = done.opened();
            trickle(&mut stream).await;
            done.answered.fetch_add(1, Ordering::Relaxed);
            drop(open);
        }
        sleep(AGAIN).await;
    }
}

/// Sends the beginning of a handshake and then a byte a second, until the proxy has had enough.
async fn trickle(stream: &mut TcpStream) {
    let head = "GET /echo HTTP/1.1\r\nHost: proxy\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Slow: ";
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    let (mut reader, mut writer) = stream.split();
    let mut due = interval(EVERY);
    let bytes = async {
        loop {
            due.tick().await;
            if writer.write_all(b"x").await.is_err() {
                return;
            }
        }
    };
    let end = async {
        let mut answer = [0; 512];
        while reader.read(&mut answer).await.is_ok_and(|read| read > 0) {}
    };
    tokio::select! {
        () = bytes => {}
        () = end => {}
    }
}

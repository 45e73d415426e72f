//! Sessions that send as much as they can.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use super::{Attack, Done, measure::ATTACKER};
use crate::raw::{Frame, opcode, upgrade_request};

/// How soon one that was ended or refused comes again.
const AGAIN: Duration = Duration::from_millis(20);
/// How long one looks for what ended it.
const LAST_WORDS: Duration = Duration::from_secs(1);
const KEY: Option<[u8; 4]> = Some([0x5A, 0x01, 0xFE, 0x37]);
/// The receive buffer of those who never read.
const SMALL_BUFFER: u32 = 4 << 10;

/// One session after the other.
pub(super) async fn flood(attack: Attack, proxy: SocketAddr, number: u64, done: Arc<Done>) {
    let (begin, more, frames) = frames(attack);
    let reads = attack == Attack::Fragments || attack == Attack::Pings && number.is_multiple_of(2);
    loop {
        let open = done.opened();
        if let Some(stream) = session(proxy, attack == Attack::NeverReads).await {
            let (mut reader, mut writer) = stream.into_split();
            let writing = async {
                if writer.write_all(&begin).await.is_err() {
                    return;
                }
                while writer.write_all(&more).await.is_ok() {
                    done.sent.fetch_add(frames, Ordering::Relaxed);
                }
            };
            let reading = async {
                let mut pongs = vec![0; 64 << 10];
                while reads && reader.read(&mut pongs).await.is_ok_and(|read| read > 0) {}
                if !reads {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = writing => {}
                () = reading => {}
            }
            done.answered.fetch_add(1, Ordering::Relaxed);
            let _ = timeout(LAST_WORDS, reader.read_to_end(&mut Vec::new())).await;
        }
        drop(open);
        sleep(AGAIN).await;
    }
}

/// What is sent first, what is sent then again and again, and how many frames that has.
fn frames(attack: Attack) -> (Vec<u8>, Vec<u8>, u64) {
    let many = |frame: &Frame, times: usize| (frame.encode(KEY).repeat(times), times as u64);
    let (begin, (more, frames)) = match attack {
        Attack::Fragments => {
            let fragment = Frame::new(opcode::CONTINUATION, "").unfinished();
            (Frame::text("").unfinished().encode(KEY), many(&fragment, 8 << 10))
        }
        Attack::Pings => (Vec::new(), many(&Frame::new(opcode::PING, vec![b'p'; 125]), 512)),
        _ => (Vec::new(), many(&Frame::new(opcode::BINARY, vec![b'n'; 64 << 10]), 1)),
    };
    (begin, more, frames)
}

/// A session's stream behind its handshake; `None` if it was refused.
async fn session(proxy: SocketAddr, small: bool) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    if small {
        socket.set_recv_buffer_size(SMALL_BUFFER).ok()?;
    }
    let mut stream = socket.connect(proxy).await.ok()?;
    stream.write_all(upgrade_request("/echo", "proxy", &[ATTACKER]).as_bytes()).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    head.starts_with(b"HTTP/1.1 101 ").then_some(stream)
}

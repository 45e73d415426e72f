//! Sessions that send numbered messages of many sizes and check each echo to its last byte.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::super::account::Account;
use crate::{
    client::{End, Received, received},
    random::Random,
    tls::Authority,
};

/// With TLS or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Plain,
    Tls,
}

/// What a client is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// One session to the end, a few messages at a time, most of them small.
    Stays,
    /// A session of a few messages, then another; one in four leaves without a Close.
    ComesAndGoes,
    /// Large messages, of which it takes its time to read each, behind a small receive buffer.
    ReadsSlowly,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// An echo that has not come by now is lost.
const PATIENCE: Duration = Duration::from_secs(45);
/// The receive buffer of those who read slowly.
const SMALL_BUFFER: u32 = 16 << 10;

/// Talks until `over` says so, and leaves when all echoes have come.
pub(super) async fn run(
    address: SocketAddr,
    way: Way,
    manner: Manner,
    number: u64,
    over: watch::Receiver<bool>,
) -> Account {
    let mut random = Random::new(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1);
    let mut account = Account::default();
    while !*over.borrow() {
        let messages = (manner == Manner::ComesAndGoes).then(|| 1 + random.below(20));
        match connect(address, way, manner).await {
            Ok(socket) => {
                account.sessions += 1;
                let told = talk(socket, manner, messages, &mut random, &over, &mut account).await;
                account.breaches.extend(told.err().map(|what| format!("client {number}, {way:?}, {manner:?}: {what}")));
            }
            Err(why) => account.breaches.push(format!("client {number}, {way:?}, {manner:?}: no session: {why}")),
        }
        if manner != Manner::ComesAndGoes {
            break;
        }
        sleep(random.up_to(Duration::from_millis(400))).await;
    }
    account
}

async fn connect(address: SocketAddr, way: Way, manner: Manner) -> Result<Socket, String> {
    let socket = TcpSocket::new_v4().map_err(|error| error.to_string())?;
    if manner == Manner::ReadsSlowly {
        socket.set_recv_buffer_size(SMALL_BUFFER).map_err(|error| error.to_string())?;
    }
    let stream = socket.connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let scheme = if way == Way::Tls { "wss" } else { "ws" };
    let limits = WebSocketConfig::default().read_buffer_size(8 << 10);
    let trust = Connector::Rustls(Authority::shared().client(None));
    let url = format!("{scheme}://{address}/echo");
    let connected = Box::pin(client_async_tls_with_config(url, stream, Some(limits), Some(trust))).await;
    connected.map(|(socket, _)| socket).map_err(|error| error.to_string())
}

/// So many messages, or until it is over.
///
/// # Errors
/// What should not be, in words.
async fn talk(
    mut socket: Socket,
    manner: Manner,
    messages: Option<u64>,
    random: &mut Random,
    over: &watch::Receiver<bool>,
    account: &mut Account,
) -> Result<(), String> {
    let mut number = 0;
    let is_over = |number| messages.map_or_else(|| *over.borrow(), |messages| number >= messages);
    while !is_over(number) {
        let first = number + 1;
        for _ in 0..=random.below(4) {
            number += 1;
            account.sent += 1;
            let sent = timeout(PATIENCE, socket.send(Message::binary(payload(number, size(manner, random))))).await;
            // If it failed, what can be read says how the session ended.
            sent.map_err(|_| format!("message {number} was not taken"))?.unwrap_or(());
        }
        for expected in first..=number {
            echo(&mut socket, expected, account).await?;
            if manner == Manner::ReadsSlowly {
                sleep(Duration::from_millis(50)).await;
            }
        }
        pause(manner, random, over).await;
    }
    if manner == Manner::ComesAndGoes && random.below(4) == 0 {
        return Ok(());
    }
    close(socket, account).await
}

/// Between two handfuls of messages.
async fn pause(manner: Manner, random: &mut Random, over: &watch::Receiver<bool>) {
    let longest = match manner {
        Manner::Stays => Duration::from_secs(4),
        Manner::ComesAndGoes | Manner::ReadsSlowly => Duration::from_millis(200),
    };
    let mut over = over.clone();
    tokio::select! {
        () = sleep(random.up_to(longest)) => {}
        _ = over.wait_for(|over| *over) => {}
    }
}

fn size(manner: Manner, random: &mut Random) -> usize {
    let most = match (manner, random.below(100)) {
        (Manner::ReadsSlowly, _) => 128 << 10,
        (_, 0) => 256 << 10,
        (_, 1..10) => 8 << 10,
        _ => 256,
    };
    8 + random.below(most) as usize
}

/// The number, and bytes that only it has.
fn payload(number: u64, length: usize) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(length, number as u8);
    payload
}

/// Waits for an echo. Echoes that were seen before are passed over, and counted.
async fn echo(socket: &mut Socket, expected: u64, account: &mut Account) -> Result<(), String> {
    loop {
        let next = timeout(PATIENCE, next(socket)).await.map_err(|_| format!("no echo of message {expected}"))?;
        let message = next.map_err(|end| format!("{end:?} before the echo of message {expected}"))?;
        let number = message.first_chunk().map_or(0, |number| u64::from_be_bytes(*number));
        if message != payload(number, message.len()) || number == 0 {
            return Err(format!("an echo that is not what was sent, instead of {expected}"));
        }
        match number.cmp(&expected) {
            std::cmp::Ordering::Less => account.repeated += 1,
            std::cmp::Ordering::Greater => return Err(format!("the echo of {number} before that of {expected}")),
            std::cmp::Ordering::Equal => {
                (account.echoed, account.bytes) = (account.echoed + 1, account.bytes + message.len() as u64);
                return Ok(());
            }
        }
    }
}

/// The next message's bytes, or how the session ended.
async fn next(socket: &mut Socket) -> Result<Vec<u8>, End> {
    loop {
        match socket.next().await {
            Some(Ok(message @ (Message::Binary(_) | Message::Text(_)))) => return Ok(message.into_data().to_vec()),
            other => {
                if let Received::End(end) = received(other) {
                    return Err(end);
                }
            }
        }
    }
}

/// Closes with 1000, which must come back.
async fn close(mut socket: Socket, account: &mut Account) -> Result<(), String> {
    let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame { code: 1000.into(), reason: "".into() };
    socket.close(Some(frame)).await.map_err(|error| format!("its Close was not taken: {error}"))?;
    let end = timeout(PATIENCE, async {
        loop {
            match next(&mut socket).await {
                Ok(_) => account.repeated += 1,
                Err(end) => return end,
            }
        }
    });
    match end.await {
        Ok(End::Peer { code: 1000, .. }) => Ok(()),
        Ok(end) => Err(format!("{end:?} instead of the answer to its Close")),
        Err(_) => Err("no answer to its Close".to_owned()),
    }
}

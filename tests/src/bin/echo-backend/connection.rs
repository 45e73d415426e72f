//! One connection from handshake to end.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tideover_tests::backend::{ConnectionLog, EventLog};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
};
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        Error, Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::behaviour::{Behaviour, End};

type Socket<S> = WebSocketStream<S>;

/// A connection that can be reset.
pub(crate) trait Peer: AsyncRead + AsyncWrite + Unpin {
    /// Its TCP connection.
    fn tcp(&self) -> &TcpStream;
}

impl Peer for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Peer for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Serves a fresh connection until it ends, and logs it.
pub(crate) async fn handle(stream: impl Peer, log: Arc<EventLog>, mut stop: watch::Receiver<()>) {
    let mut target = String::new();
    #[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let remember_target = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        target = request.uri().to_string();
        Ok(response)
    };
    let limits = WebSocketConfig::default().max_frame_size(None).max_message_size(None).read_buffer_size(16 << 10);
    let Ok(mut socket) = accept_hdr_async_with_config(stream, remember_target, Some(limits)).await else { return };
    let log = log.open(&target);
    tokio::select! {
        () = behave(&mut socket, Behaviour::of_target(&target), &log) => return,
        _ = stop.changed() => {}
    }
    let going_away = CloseFrame { code: CloseCode::Away, reason: "".into() };
    if socket.close(Some(going_away)).await.is_ok() {
        let _ = tokio::time::timeout(Duration::from_secs(2), read_to_the_end(&mut socket, &log)).await;
    }
}

async fn behave(socket: &mut Socket<impl Peer>, behaviour: Behaviour, log: &ConnectionLog) {
    match behaviour {
        Behaviour::Echo => echo(socket, log, Handling::default()).await,
        Behaviour::Slow(pause) => echo(socket, log, Handling { pause, ..Handling::default() }).await,
        Behaviour::Answer(pause) => echo(socket, log, Handling { pause, prefix: "re:", poison: None }).await,
        Behaviour::Poison(text) => echo(socket, log, Handling { poison: Some(&text), ..Handling::default() }).await,
        Behaviour::Push(every, bytes) => push(socket, every, bytes).await,
        Behaviour::EndAfter(messages, end) => {
            for _ in 0..messages {
                if echo_one(socket, log, Handling::default()).await.is_break() {
                    return;
                }
            }
            end_connection(socket, end, log).await;
        }
    }
}

/// What is done with a message.
#[derive(Clone, Copy, Default)]
struct Handling<'a> {
    /// How long it takes.
    pause: Duration,
    /// What stands before the message in its answer.
    prefix: &'a str,
    /// A message that holds this ends the process.
    poison: Option<&'a str>,
}

async fn echo(socket: &mut Socket<impl Peer>, log: &ConnectionLog, handling: Handling<'_>) {
    while echo_one(socket, log, handling).await.is_continue() {}
}

/// Reads up to the next message and echoes it; breaks at the connection's end.
async fn echo_one(socket: &mut Socket<impl Peer>, log: &ConnectionLog, handling: Handling<'_>) -> ControlFlow<()> {
    loop {
        match socket.next().await {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                let payload = message.clone().into_data();
                log.read(&payload);
                if handling.poison.is_some_and(|text| String::from_utf8_lossy(&payload).contains(text)) {
                    std::process::exit(1);
                }
                if !handling.pause.is_zero() {
                    tokio::time::sleep(handling.pause).await;
                }
                // A write error is not yet the end: what the client sent before may still be there to read.
                let _ = socket.send(prefixed(handling.prefix, message)).await;
                log.done(&payload);
                return ControlFlow::Continue(());
            }
            Some(Ok(Message::Close(close))) => {
                log.close(close.as_ref().map(|frame| (frame.code.into(), frame.reason.as_str())));
                let _ = socket.flush().await;
                return ControlFlow::Break(());
            }
            Some(Ok(_)) => {}
            Some(Err(Error::ConnectionClosed)) => return ControlFlow::Break(()),
            Some(Err(_)) | None => {
                log.eof();
                return ControlFlow::Break(());
            }
        }
    }
}

fn prefixed(prefix: &str, message: Message) -> Message {
    match message {
        Message::Text(text) if !prefix.is_empty() => Message::text(format!("{prefix}{text}")),
        Message::Binary(bytes) if !prefix.is_empty() => Message::binary([prefix.as_bytes(), &bytes].concat()),
        other => other,
    }
}

async fn push(socket: &mut Socket<impl Peer>, every: Duration, bytes: usize) {
    let mut number = 0_u64;
    loop {
        number += 1;
        let text = format!("push-{number}");
        if socket.send(Message::text(format!("{text:.<bytes$}"))).await.is_err() {
            return;
        }
        tokio::time::sleep(every).await;
    }
}

async fn end_connection(socket: &mut Socket<impl Peer>, end: End, log: &ConnectionLog) {
    let close = match end {
        End::Drop => return,
        End::Panic => panic!("the handler raises, as it was told to"),
        End::Reset => {
            let _ = socket.send(Message::text("before-reset")).await;
            // A zero linger makes the close(2) that follows send RST.
            let _ = socket2::SockRef::from(socket.get_ref().tcp()).set_linger(Some(Duration::ZERO));
            return;
        }
        End::Close(code, reason) => Some(CloseFrame { code: code.into(), reason: reason.into() }),
        End::CloseCodeless => None,
    };
    if socket.close(close).await.is_ok() {
        read_to_the_end(socket, log).await;
    }
}

/// After our Close: waits for the client's Close or the end of its stream.
async fn read_to_the_end(socket: &mut Socket<impl Peer>, log: &ConnectionLog) {
    while let Some(received) = socket.next().await {
        match received {
            Ok(Message::Close(close)) => {
                return log.close(close.as_ref().map(|frame| (frame.code.into(), frame.reason.as_str())));
            }
            Ok(_) => {}
            Err(_) => return log.eof(),
        }
    }
}

//! One tokio-tungstenite client, led by the test step by step.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::{
        self, Error,
        client::IntoClientRequest,
        handshake::client::Response,
        protocol::{CloseFrame, WebSocketConfig},
    },
};

use super::{End, Message, Transcript};
use crate::{clock::now_ns, deadline::within, tls::Authority};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connected client that records what it sends and gets.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    response: Response,
    transcript: Transcript,
    ended: bool,
}

impl Client {
    /// Connects; `request` is a URL or a request with headers of its own.
    ///
    /// # Errors
    /// What the client library says, for example the HTTP response of a refusal.
    pub async fn connect(id: u32, request: impl IntoClientRequest + Unpin) -> Result<Self, Box<Error>> {
        let (socket, response) = connect(request).await?;
        let transcript = Transcript { client: id, sent: Vec::new(), got: Vec::new(), end: End::Client, ended_at: 0 };
        Ok(Self { socket, response, transcript, ended: false })
    }

    /// The 101 response, with its headers.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// Sends a message; a write error shows as the end that [`Client::next`] then gives.
    pub async fn send(&mut self, message: impl Into<tungstenite::Message>) {
        let message = message.into();
        let payload = message.clone().into_data();
        self.transcript.sent.push(Message::new(now_ns(), &payload, message.is_binary()));
        let _ = self.socket.send(message).await;
    }

    /// Sends this client's next numbered message, `c<client>-<n>`, and gives its text.
    pub async fn send_numbered(&mut self) -> String {
        let text = format!("c{}-{}", self.transcript.client, self.transcript.sent.len() + 1);
        self.send(text.as_str()).await;
        text
    }

    /// The next message, or `None` at the end, which the transcript then has.
    ///
    /// # Panics
    /// When neither comes within `deadline`.
    pub async fn next(&mut self, deadline: Duration) -> Option<Message> {
        within(deadline, "the client gets a message or its connection ends", self.receive()).await
    }

    /// Gets messages until the connection ends, and gives the transcript.
    ///
    /// # Panics
    /// When the connection has not ended within `deadline`.
    pub async fn finish(mut self, deadline: Duration) -> Transcript {
        within(deadline, "the client's connection ends", async { while self.receive().await.is_some() {} }).await;
        self.transcript
    }

    /// Sends Close, then does as [`Client::finish`].
    ///
    /// # Panics
    /// As [`Client::finish`].
    pub async fn close(mut self, code: u16, reason: &str, deadline: Duration) -> Transcript {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        let _ = self.socket.close(Some(frame)).await;
        let mut transcript = self.finish(deadline).await;
        transcript.end = End::Client;
        transcript
    }

    /// What it did and saw up to now.
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    async fn receive(&mut self) -> Option<Message> {
        if self.ended {
            return None;
        }
        loop {
            match received(self.socket.next().await) {
                Received::Message(message) => {
                    self.transcript.got.push(message.clone());
                    return Some(message);
                }
                Received::Control => {}
                Received::End(end) => break self.transcript.end = end,
            }
        }
        self.transcript.ended_at = now_ns();
        self.ended = true;
        // The library answers a Close while it is read on, to the end of the stream.
        let drain = async { while self.socket.next().await.is_some_and(|next| next.is_ok()) {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), drain).await;
        None
    }
}

pub(crate) enum Received {
    Message(Message),
    /// A ping or pong, which the library has seen to.
    Control,
    End(End),
}

/// Sorts what the library gave.
pub(crate) fn received(next: Option<Result<tungstenite::Message, Error>>) -> Received {
    use tungstenite::Message as Ws;
    match next {
        Some(Ok(Ws::Close(Some(CloseFrame { code, reason })))) => {
            Received::End(End::Peer { code: code.into(), reason: reason.to_string() })
        }
        Some(Ok(Ws::Close(None))) => Received::End(End::Peer { code: 1005, reason: String::new() }),
        Some(Ok(Ws::Ping(_) | Ws::Pong(_) | Ws::Frame(_))) => Received::Control,
        Some(Ok(message)) => {
            let binary = message.is_binary();
            Received::Message(Message::new(now_ns(), &message.into_data(), binary))
        }
        Some(Err(error)) => Received::End(End::Lost { error: error.to_string() }),
        None => Received::End(End::Lost { error: "end of stream".to_owned() }),
    }
}

pub(crate) async fn connect(request: impl IntoClientRequest + Unpin) -> Result<(Socket, Response), Box<Error>> {
    // The default read buffer of 128 KiB costs more than all the rest of a small message's way.
    let limits = WebSocketConfig::default().max_frame_size(None).max_message_size(None).read_buffer_size(8 << 10);
    let trust = Connector::Rustls(Authority::shared().client(None));
    // A TLS handshake is a large future, which each of a test's would hold.
    Box::pin(connect_async_tls_with_config(request, Some(limits), true, Some(trust))).await.map_err(Box::new)
}

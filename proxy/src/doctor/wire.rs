//! One connection to the backend, and what comes on it when.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hyper::header::{self, HeaderMap, HeaderValue};
use tokio::time::timeout_at;
use tokio_tungstenite::WebSocketStream;
use tungstenite::protocol::Role;
use tungstenite::{Error, Message};

use super::findings::{Ending, millis};
use super::options::Plan;
use crate::deflate::{Agreement, Offers};
use crate::net::Stream;
use crate::pool::{AckCarrier, KnockError, knock};

/// How long nothing comes before it is taken that nothing more will.
pub(super) const QUIET: Duration = Duration::from_millis(300);

/// What came.
#[derive(Clone, Debug)]
pub(super) enum Came {
    /// A message, text or binary.
    Message(Message),
    /// The pong of the ping with this number.
    Pong(u32),
    /// The end of the connection.
    End(Ending),
}

/// A connection whose handshake is done.
pub(super) struct Wire {
    socket: WebSocketStream<Stream>,
    pings: u32,
}

/// What a handshake agreed to.
#[derive(Clone, Debug)]
pub(super) struct Agreed {
    pub(super) subprotocol: Option<String>,
    pub(super) deflate: Option<Agreement>,
    pub(super) explicit: Option<AckCarrier>,
    pub(super) took: f64,
}

impl Wire {
    /// A handshake as the plan has it, with these subprotocols and offers of compression.
    pub(super) async fn connect(
        plan: &Plan,
        subprotocols: &[String],
        offers: Offers,
    ) -> Result<(Self, Agreed), KnockError> {
        let mut headers: HeaderMap = plan.headers.clone();
        if !subprotocols.is_empty() {
            let offered = HeaderValue::try_from(subprotocols.join(", "));
            let offered = offered.map_err(|_| KnockError::Failed("--subprotocol is no name of one".into()))?;
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offered);
        }
        let begun = Instant::now();
        let knocked = knock(&plan.url, &plan.transport, plan.target.clone(), headers, offers, plan.wait).await?;
        let agreed = Agreed {
            subprotocol: knocked.subprotocol.map(Into::into),
            deflate: knocked.deflate,
            explicit: knocked.explicit,
            took: millis(begun.elapsed()),
        };
        let leftover = knocked.leftover.to_vec();
        let socket = WebSocketStream::from_partially_read(knocked.stream, leftover, Role::Client, None).await;
        Ok((Self { socket, pings: 0 }, agreed))
    }

    /// Sends a message.
    pub(super) async fn send(&mut self, message: Message) -> Result<(), Ending> {
        self.socket.send(message).await.map_err(ending)
    }

    /// Sends a message, if there is one, and a ping right behind it, in one write. The ping's number.
    pub(super) async fn send_with_ping(&mut self, message: Option<Message>) -> Result<u32, Ending> {
        self.pings += 1;
        if let Some(message) = message {
            self.socket.feed(message).await.map_err(ending)?;
        }
        let ping = Message::Ping(format!("tideover-doctor {}", self.pings).into());
        self.socket.feed(ping).await.map_err(ending)?;
        self.socket.flush().await.map_err(ending)?;
        Ok(self.pings)
    }

    /// What comes next; `None` if nothing does until then.
    pub(super) async fn next(&mut self, until: Instant) -> Option<Came> {
        loop {
            let next = timeout_at(until.into(), self.socket.next()).await.ok()?;
            return Some(match next {
                None => Came::End(Ending::Eof),
                Some(Err(error)) => Came::End(ending(error)),
                Some(Ok(Message::Close(None))) => Came::End(Ending::Codeless),
                Some(Ok(Message::Close(Some(frame)))) => {
                    Came::End(Ending::Close { code: frame.code.into(), reason: frame.reason.as_str().to_owned() })
                }
                Some(Ok(Message::Pong(payload))) => match number(&payload) {
                    Some(number) => Came::Pong(number),
                    None => continue,
                },
                // Answered underneath.
                Some(Ok(Message::Ping(_) | Message::Frame(_))) => continue,
                Some(Ok(message)) => Came::Message(message),
            });
        }
    }

    /// All messages until nothing came for `quiet`, or to `until`; and how the connection ended, if it did.
    pub(super) async fn listen(&mut self, quiet: Duration, until: Instant) -> (Vec<Message>, Option<Ending>) {
        let mut messages = Vec::new();
        loop {
            match self.next(until.min(Instant::now() + quiet)).await {
                Some(Came::Message(message)) => messages.push(message),
                Some(Came::Pong(_)) => {}
                Some(Came::End(ending)) => return (messages, Some(ending)),
                None => return (messages, None),
            }
        }
    }

    /// Leaves with Close 1000.
    pub(super) async fn close(mut self) {
        let polite = async {
            let _ = self.socket.close(None).await;
            while self.socket.next().await.is_some_and(|next| next.is_ok()) {}
        };
        // Whatever comes of it, what was to be known is known.
        let _ = tokio::time::timeout(Duration::from_secs(1), polite).await;
    }
}

fn number(payload: &[u8]) -> Option<u32> {
    std::str::from_utf8(payload).ok()?.strip_prefix("tideover-doctor ")?.parse().ok()
}

fn ending(error: Error) -> Ending {
    match error {
        Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ending::Reset,
        Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_) => Ending::Eof,
        Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => Ending::Eof,
        other => Ending::Broken { why: other.to_string() },
    }
}

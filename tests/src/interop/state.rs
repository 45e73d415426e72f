//! The states that a session is in when its server is killed, and how each is seen on the wire.

use serde::{Deserialize, Serialize};

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// The server has the handshake's request, and nobody its answer.
    Connecting,
    /// The server has the first message of the protocol, such as a login; its answer is not seen.
    InitSent,
    /// The server has a subscription, and nothing has come back since.
    Unacknowledged,
    /// A message of a subscription has just come.
    Streaming,
    /// The server has asked its client something, and the answer is on its way.
    ServerAsks,
    /// All is said and answered.
    Idle,
}

impl State {
    /// All, in the order of a session's life.
    pub const ALL: [Self; 6] =
        [Self::Connecting, Self::InitSent, Self::Unacknowledged, Self::Streaming, Self::ServerAsks, Self::Idle];

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::InitSent => "init sent",
            Self::Unacknowledged => "subscribe unacknowledged",
            Self::Streaming => "streaming",
            Self::ServerAsks => "server's call pending",
            Self::Idle => "idle",
        }
    }
}

/// Where the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// To the server.
    Up,
    /// To the client.
    Down,
}

/// What tells that a connection between the proxy and a server is in a state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sign {
    /// What passes just then.
    pub(super) passes: Passing,
    /// What does not pass any more from then on: with [`Direction::Up`], the sign itself does not.
    pub(super) held: Option<Direction>,
}

/// Something that passes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Passing {
    /// The request for an upgrade.
    Request,
    /// A message of which this is true.
    Message(Direction, fn(&[u8]) -> bool),
}

impl Sign {
    /// The handshake's answer is held.
    pub(super) const CONNECTING: Self = Self { passes: Passing::Request, held: Some(Direction::Down) };

    /// Such a message reaches the server, and nothing of what the server says from then on the client.
    pub(super) const fn sent(message: fn(&[u8]) -> bool) -> Self {
        Self { passes: Passing::Message(Direction::Up, message), held: Some(Direction::Down) }
    }

    /// The client has sent such a message, and the server does not get it.
    pub(super) const fn on_its_way(message: fn(&[u8]) -> bool) -> Self {
        Self { passes: Passing::Message(Direction::Up, message), held: Some(Direction::Up) }
    }

    /// Such a message reaches the client.
    pub(super) const fn came(message: fn(&[u8]) -> bool) -> Self {
        Self { passes: Passing::Message(Direction::Down, message), held: None }
    }
}

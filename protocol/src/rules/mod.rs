//! What messages say: the seam between replay rules and the session engine.
//!
//! A [`Rules`] looks at one whole message, unmasked and inflated, and answers what is to be done with it, as data. It
//! keeps no state of a session. What a verdict *does* is the engine's.

mod compile;
mod condition;
mod explain;
mod graphql;
mod json;
pub mod model;
mod mqtt;
mod set;
mod template;
mod verdict;

use std::fmt::Debug;

pub use explain::Trial;
pub use mqtt::Mqtt;
pub use set::RuleSet;
pub use verdict::{Again, BackendVerdict, ClientVerdict, Key, Pin, Replay, Unpin, UnpinWhen};

/// Whether a message is of text or of bytes (RFC 6455 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Anything.
    Binary,
}

/// A whole message, as the application that sent it meant it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Text or bytes.
    pub kind: Kind,
    /// What it says, unmasked and inflated. Text is not checked to be UTF-8.
    pub payload: &'a [u8],
    /// Its number, from 1: of a backend's messages on this leg, of the client's in this session.
    pub nth: u64,
}

/// How rules see messages. The engine knows no more of them than this.
///
/// Answers must depend on nothing but the message: the same one is always answered the same.
pub trait Rules: Send + Sync + Debug {
    /// What is to be done with a message of the client.
    fn client(&self, message: &Message<'_>) -> ClientVerdict;

    /// What is to be done with a message of a backend.
    fn backend(&self, message: &Message<'_>) -> BackendVerdict;

    /// Whether a message of that side that cannot be looked into (too large to inflate or to copy, or no DEFLATE)
    /// closes the session; else it passes as if no rule matched.
    fn closes_opaque(&self, from_client: bool) -> bool;

    /// Whether there is any rule for messages of that side. A side without costs nothing.
    fn looks_at(&self, from_client: bool) -> bool;

    /// How messages are cut anew before they are looked at; `None` leaves them as they are.
    fn packets(&self) -> Option<&dyn Packets> {
        None
    }
}

/// Cuts a stream of payload bytes, whose messages have no meaning of their own, into packets (as MQTT's). Each packet
/// becomes one binary message.
pub trait Packets {
    /// Bytes of the packet that `bytes` begin with, more than 0; `None` if `bytes` are too few to tell.
    ///
    /// # Errors
    /// If no packet begins so.
    fn len(&self, bytes: &[u8]) -> Result<Option<usize>, BadPacket>;
}

/// Bytes of which no packet can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPacket;

impl std::fmt::Display for BadPacket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no packet begins so")
    }
}

impl std::error::Error for BadPacket {}

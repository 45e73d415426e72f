//! STUB of the session driver.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::net::TcpStream;

use crate::edge::SessionSlot;
use crate::pool::{Attached, KeptHandshake};

/// What a session starts with: both legs, upgraded.
#[derive(Debug)]
pub struct Start {
    /// The client leg.
    pub client: TcpStream,
    /// What the client sent right behind its handshake.
    pub client_leftover: Bytes,
    /// The client's address.
    pub peer: SocketAddr,
    /// The first backend leg.
    pub attached: Attached,
    /// The client's handshake, for a re-attach.
    pub handshake: KeptHandshake,
    /// The session's name.
    pub id: uuid::Uuid,
    /// The session's place among `--max-sessions`; given back when dropped.
    pub slot: SessionSlot,
}

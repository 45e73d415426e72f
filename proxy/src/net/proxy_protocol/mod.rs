//! The PROXY protocol (haproxy.org, doc/proxy-protocol.txt, versions 1 and 2): what a load balancer says before
//! anything else of a connection about whose it is.
//!
//! In, both versions are read; out, version 2 is written. The parsers are pure; [`read`] feeds them from a socket
//! without taking a byte of what follows.

mod read;
mod v1;
mod v2;

use std::fmt;
use std::net::SocketAddr;

pub use read::{ReadError, read};
pub use v2::encode;

/// The longest header that is taken, in bytes: one of version 2 with its TLVs. The addresses take 36 at most in TCP;
/// the TLVs of known senders take a few hundred bytes.
pub const MAX_HEADER: usize = 4096;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Who opened it.
    pub source: SocketAddr,
    /// To where.
    pub destination: SocketAddr,
}

/// Whose a connection is, as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// These ends'.
    Proxied(Ends),
    /// The sender's own (a health check of it), or one that is not known or not over TCP/IP: the connection's own
    /// addresses hold.
    Own,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// They begin like none.
    Signature,
    /// It is longer than [`MAX_HEADER`], or in version 1 than 107 bytes.
    TooLong,
    /// What it says has no meaning.
    Malformed,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature => "no PROXY header",
            Self::TooLong => "a PROXY header that is too long",
            Self::Malformed => "a malformed PROXY header",
        })
    }
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole header.
    Header {
        /// What it says.
        origin: Origin,
        /// How many bytes it takes.
        len: usize,
    },
    /// The beginning of one.
    Partial,
}

/// Reads the header at the beginning of `bytes`, of either version.
///
/// # Errors
/// They are not the beginning of one.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Invalid> {
    match bytes.first() {
        None => Ok(Parsed::Partial),
        Some(b'P') => v1::parse(bytes),
        Some(_) => v2::parse(bytes),
    }
}

#[cfg(test)]
mod tests;

//! Reading a header from a socket.

use std::{fmt, io};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::{Invalid, MAX_HEADER, Origin, Parsed, parse};

/// Why there is no header.
#[derive(Debug)]
pub enum ReadError {
    /// What came is none.
    Invalid(Invalid),
    /// The connection ended before it was complete. Nothing may have come at all: so look health checks that only
    /// connect.
    Ended,
    /// The connection failed.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Ended => f.write_str("ended within the PROXY header"),
            Self::Io(error) => write!(f, "no PROXY header: {error}"),
        }
    }
}

/// Reads the header, of either version, and nothing behind it: what follows may be a TLS handshake.
///
/// What has come is looked at first and taken then, up to the header's end; so a header that comes in pieces is waited
/// for, not asked for over and over. Takes no time limit of its own.
///
/// # Errors
/// See [`ReadError`].
pub async fn read(stream: &mut TcpStream) -> Result<Origin, ReadError> {
    let mut header = [0; MAX_HEADER];
    let mut taken = 0;
    loop {
        let seen = taken + stream.peek(&mut header[taken..]).await.map_err(ReadError::Io)?;
        if seen == taken {
            return Err(ReadError::Ended);
        }
        let parsed = parse(&header[..seen]).map_err(ReadError::Invalid)?;
        let end = match parsed {
            Parsed::Header { len, .. } => len,
            Parsed::Partial => seen,
        };
        stream.read_exact(&mut header[taken..end]).await.map_err(ReadError::Io)?;
        if let Parsed::Header { origin, .. } = parsed {
            return Ok(origin);
        }
        taken = end;
    }
}

//! The client's side of a handshake.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tungstenite::handshake::derive_accept_key;

use crate::backend::NAME_HEADER;

/// One key for all: nothing here depends on its being fresh.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const PATIENCE: Duration = Duration::from_secs(20);

/// An upgraded connection.
pub(crate) struct Opened {
    pub(crate) stream: TcpStream,
    /// The port of the backend behind it.
    pub(crate) backend: u16,
}

/// Opens a WebSocket connection, with a cookie of so many bytes.
pub(crate) fn open(address: SocketAddr, cookie: usize) -> io::Result<Opened> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let cookie = match cookie {
        0 => String::new(),
        len => format!("Cookie: session={}\r\n", "c".repeat(len.saturating_sub("session=".len()))),
    };
    let request = format!(
        "GET /echo HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{cookie}\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let head = read_head(&mut stream)?;
    let backend = check(&head).ok_or_else(|| io::Error::other(format!("not a good 101: {head}")))?;
    Ok(Opened { stream, backend })
}

/// Reads up to the empty line. The backend speaks only when spoken to, so nothing comes behind it but a ping, which
/// waits for its answer: what is read at once is small.
fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        let len = stream.read(&mut byte)?;
        if len == 0 {
            break;
        }
        head.extend_from_slice(&byte[..len]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn check(head: &str) -> Option<u16> {
    let field = |wanted: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let accepted = field("sec-websocket-accept") == Some(&derive_accept_key(KEY.as_bytes()));
    (head.starts_with("HTTP/1.1 101") && accepted).then(|| field(NAME_HEADER)?.parse().ok())?
}

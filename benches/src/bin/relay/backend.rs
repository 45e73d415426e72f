//! The echo server behind the proxies: one thread, as little work as possible.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use tideover_protocol::frame::{FrameHeader, Opcode};
use tungstenite::handshake::derive_accept_key;

use crate::options::Pongs;
use crate::wire::{frame_head, mask};

const LISTENER: Token = Token(0);
const READ_BYTES: usize = 256 * 1024;

/// The response header in which a backend says its port.
pub(crate) const NAME_HEADER: &str = "x-backend";

/// Serves until the process is killed. Prints the port once it listens.
pub(crate) fn run(pongs: Pongs, port: u16) -> io::Result<()> {
    let poll = Poll::new()?;
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let port = listener.local_addr()?.port();
    println!("{port}");
    let mut server =
        Server { poll, listener, port, pongs, connections: HashMap::new(), next: 1, work: Work::default() };
    let mut events = Events::with_capacity(1024);
    loop {
        match server.poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => server.accept()?,
                token => server.serve(token),
            }
        }
    }
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    port: u16,
    pongs: Pongs,
    connections: HashMap<Token, Connection>,
    next: usize,
    work: Work,
}

/// Buffers of whoever is served now.
#[derive(Default)]
struct Work {
    input: Vec<u8>,
    pongs: Vec<u8>,
    answers: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// Whether its handshake is done.
    open: bool,
    /// What came and is not whole.
    partial: Vec<u8>,
    /// What the socket would not take yet.
    unsent: Vec<u8>,
}

impl Server {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.next);
            self.next += 1;
            self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            let connection = Connection { stream, open: false, partial: Vec::new(), unsent: Vec::new() };
            self.connections.insert(token, connection);
        }
    }

    fn serve(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        if !connection.serve(&mut self.work, self.pongs, self.port) {
            self.connections.remove(&token);
        }
    }
}

impl Connection {
    /// Reads what there is and answers it. Returns whether the connection goes on.
    fn serve(&mut self, work: &mut Work, pongs: Pongs, port: u16) -> bool {
        work.input.resize(READ_BYTES, 0);
        loop {
            let len = match self.stream.read(&mut work.input) {
                Ok(0) => return false,
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.send(&[]).is_ok(),
                Err(_) => return false,
            };
            work.pongs.clear();
            work.answers.clear();
            let Work { input, pongs: early, answers } = work;
            let goes_on = self.answer(&input[..len], early, answers, pongs, port);
            // Two writes: who answers pings early does not wait for the answers to be ready.
            let sent =
                [&*early, &*answers].into_iter().filter(|bytes| !bytes.is_empty()).all(|it| self.send(it).is_ok());
            if !goes_on || !sent {
                return false;
            }
            // A short read has emptied the socket: epoll tells when there is more.
            if len < READ_BYTES {
                return self.send(&[]).is_ok();
            }
        }
    }

    fn answer(&mut self, input: &[u8], early: &mut Vec<u8>, out: &mut Vec<u8>, pongs: Pongs, port: u16) -> bool {
        let mut partial = std::mem::take(&mut self.partial);
        let mut rest = if partial.is_empty() {
            input
        } else {
            partial.extend_from_slice(input);
            &partial
        };
        if !self.open {
            let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else {
                self.partial = rest.to_vec();
                return true;
            };
            let Some(accept) = accept(&rest[..end]) else { return false };
            let _ = write!(
                out,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n{NAME_HEADER}: {port}\r\n\r\n"
            );
            self.open = true;
            rest = &rest[end + 4..];
        }
        let closed = !echo(&mut rest, early, out, pongs);
        self.partial = rest.to_vec();
        !closed
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unsent.extend_from_slice(bytes);
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.drain(..sent);
        Ok(())
    }
}

/// Answers whole frames and leaves the rest. Returns whether no Close came.
fn echo(rest: &mut &[u8], early: &mut Vec<u8>, out: &mut Vec<u8>, pongs: Pongs) -> bool {
    while let Ok(Some(header)) = FrameHeader::parse(rest) {
        let len = header.frame_len() as usize;
        let (Some(frame), Some(key)) = (rest.get(..len), header.mask) else { break };
        let payload = &frame[header.len..];
        let out = match (header.opcode, pongs) {
            (Opcode::Ping, Pongs::Early) => &mut *early,
            _ => &mut *out,
        };
        let begin = match header.opcode {
            Opcode::Close => return false,
            Opcode::Pong => out.len(),
            Opcode::Ping => {
                out.extend_from_slice(&[0x8A, payload.len() as u8]);
                out.len()
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                out.extend(frame_head(frame[0] & 0x0F, payload.len(), false));
                out.len()
            }
        };
        if header.opcode != Opcode::Pong {
            out.extend_from_slice(payload);
            mask(&mut out[begin..], key);
        }
        *rest = &rest[len..];
    }
    true
}

fn accept(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let key = fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?;
    Some(derive_accept_key(key.1.trim().as_bytes()))
}

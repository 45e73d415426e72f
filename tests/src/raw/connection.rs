//! One TCP connection, of either side.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Frame, Head, accept_response, opcode, upgrade_request};
use crate::deadline::within;

/// A connection on which nothing happens but what the test does. Dropping it closes the socket.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    /// A client masks what it sends.
    key: Option<[u8; 4]>,
}

/// How the other side's sending ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By the end of its stream.
    Eof,
    /// By a reset.
    Reset,
}

/// Every frame from a raw client has this key: a test that wants another gives the frame its own.
const CLIENT_KEY: [u8; 4] = [0x5A, 0x01, 0xFE, 0x37];

impl Connection {
    /// A client's TCP connection; nothing is sent yet.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn dial(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new(), key: Some(CLIENT_KEY) })
    }

    /// A client after its opening handshake on `path`, with more header lines.
    ///
    /// # Panics
    /// When it is refused or not answered with 101 within ten seconds.
    pub async fn client(address: SocketAddr, path: &str, headers: &[&str]) -> Self {
        let mut client = Self::dial(address).await.expect("the connection is accepted");
        client.send_bytes(upgrade_request(path, &address.to_string(), headers)).await.expect("the request is sent");
        let response = client.head(Duration::from_secs(10)).await.expect("a response");
        assert_eq!(response.status(), 101, "{response:?}");
        client
    }

    /// A server's side of an accepted connection; nothing is read yet.
    pub(super) fn accepted(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Self { stream, unread: Vec::new(), key: None }
    }

    /// The server's opening handshake: reads the request, answers 101 with more header lines, gives the request.
    ///
    /// # Panics
    /// When no request comes within ten seconds.
    pub async fn accept(&mut self, headers: &[&str]) -> Head {
        let request = self.head(Duration::from_secs(10)).await.expect("a request");
        let key = request.header("Sec-WebSocket-Key").expect("an upgrade request has a key");
        self.send_bytes(accept_response(key, headers)).await.expect("the response is sent");
        request
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send_bytes(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Sends a frame, masked with its own key, or as this side has to.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.send_bytes(frame.encode(frame.key.or(self.key))).await
    }

    /// The key that [`Connection::send`] masks with: a client's, or none.
    pub fn key(&self) -> Option<[u8; 4]> {
        self.key
    }

    /// The head of the request or response that comes next; what follows it stays unread.
    ///
    /// # Errors
    /// When the stream ends before it.
    ///
    /// # Panics
    /// When it does not come within `deadline`.
    pub async fn head(&mut self, deadline: Duration) -> Result<Head, Ended> {
        within(deadline, "a head of HTTP comes", async {
            loop {
                if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                    let head: Vec<u8> = self.unread.drain(..end + 4).collect();
                    return Ok(Head::parse(&String::from_utf8_lossy(&head)));
                }
                self.read_more().await?;
            }
        })
        .await
    }

    /// The next bytes, so many of them.
    ///
    /// # Errors
    /// When the stream ends before.
    ///
    /// # Panics
    /// When they do not come within `deadline`.
    pub async fn bytes(&mut self, len: usize, deadline: Duration) -> Result<Vec<u8>, Ended> {
        within(deadline, "bytes come", async {
            while self.unread.len() < len {
                self.read_more().await?;
            }
            Ok(self.unread.drain(..len).collect())
        })
        .await
    }

    /// The frame that comes next, control frames too.
    ///
    /// # Errors
    /// When the stream ends before it.
    ///
    /// # Panics
    /// When neither comes within `deadline`.
    pub async fn next(&mut self, deadline: Duration) -> Result<Frame, Ended> {
        within(deadline, "a frame or the end comes", self.frame()).await
    }

    /// As [`Connection::next`], but answers pings on the way, as a healthy peer does.
    ///
    /// # Errors
    /// As [`Connection::next`].
    ///
    /// # Panics
    /// As [`Connection::next`].
    pub async fn next_answering_pings(&mut self, deadline: Duration) -> Result<Frame, Ended> {
        within(deadline, "a frame or the end comes", async {
            loop {
                let frame = self.frame().await?;
                if frame.opcode != opcode::PING {
                    return Ok(frame);
                }
                // If this fails, the next read says how the connection ended.
                let _ = self.send(&Frame::pong(&frame)).await;
            }
        })
        .await
    }

    /// Waits for the stream's end and gives the bytes before it that no one has read.
    ///
    /// # Panics
    /// When it does not end within `deadline`.
    pub async fn rest(mut self, deadline: Duration) -> (Vec<u8>, Ended) {
        let ended = within(deadline, "the stream ends", async {
            loop {
                if let Err(ended) = self.read_more().await {
                    return ended;
                }
            }
        })
        .await;
        (self.unread, ended)
    }

    /// Another handle to the same connection, for writing while this one reads. The connection is closed when both are
    /// dropped.
    ///
    /// # Panics
    /// When the process has no descriptor left.
    pub fn writer(&self) -> Self {
        let twin = SockRef::from(&self.stream).try_clone().expect("a descriptor");
        let stream = TcpStream::from_std(twin.into()).expect("a socket of the runtime");
        Self { stream, unread: Vec::new(), key: self.key }
    }

    /// Half close: the other side sees the end of our stream, and can still send.
    ///
    /// # Panics
    /// When the connection has ended.
    pub async fn shutdown(&mut self) {
        self.try_shutdown().await.expect("an open connection can be half closed");
    }

    /// As [`Connection::shutdown`], for a connection that the other side may have ended.
    ///
    /// # Errors
    /// When it has.
    pub async fn try_shutdown(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Ends the connection with RST: close(2) with a linger time of zero.
    ///
    /// # Panics
    /// When the socket option cannot be set.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }

    /// Makes the kernel's receive buffer small, so that not reading soon slows the sender. Best before the handshake.
    ///
    /// # Panics
    /// When the socket option cannot be set.
    pub fn set_receive_buffer(&self, bytes: usize) {
        SockRef::from(&self.stream).set_recv_buffer_size(bytes).expect("SO_RCVBUF");
    }

    /// Makes the kernel's send buffer small (it takes twice this), so that little is on its way that nobody has read.
    ///
    /// # Panics
    /// When the socket option cannot be set.
    pub fn set_send_buffer(&self, bytes: usize) {
        SockRef::from(&self.stream).set_send_buffer_size(bytes).expect("SO_SNDBUF");
    }

    async fn frame(&mut self) -> Result<Frame, Ended> {
        loop {
            if let Some(frame) = Frame::take(&mut self.unread) {
                return Ok(frame);
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Result<(), Ended> {
        match self.stream.read_buf(&mut self.unread).await {
            Ok(0) => Err(Ended::Eof),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Err(Ended::Reset),
            Err(error) => panic!("unexpected end of a connection: {error}"),
        }
    }
}

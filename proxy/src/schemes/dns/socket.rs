//! The sockets of the responder.
//!
//! hickory-server's own loops bound neither the connections of its TCP listener nor the lines that it logs, so these are
//! ours; its messages are read and written with hickory.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Responder;
use super::respond::Channel;

/// The largest question by UDP in bytes; longer ones are cut off and found malformed.
const UDP_QUESTION: usize = 4096;
/// TCP connections to one address at a time; further ones wait.
const CONNECTIONS: usize = 64;
/// How long a connection may wait for a question, or take to write or read one (RFC 7766 6.2.3).
const IDLE: Duration = Duration::from_secs(5);
/// How long a connection may live.
const LIFETIME: Duration = Duration::from_secs(30);
/// Pause after a socket said that something is wrong with the system.
const PAUSE: Duration = Duration::from_millis(50);
/// Clients that may wait to be accepted.
const BACKLOG: i32 = 128;
/// Tries to find a port that is free for both protocols.
const TRIES: usize = 16;

/// One address, open for both protocols.
#[derive(Debug)]
pub(super) struct Sockets {
    udp: StdUdpSocket,
    tcp: StdTcpListener,
}

impl Sockets {
    /// Opens an address for both protocols, on the same port.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let mut failed = None;
        for _ in 0..if address.port() == 0 { TRIES } else { 1 } {
            match Self::try_bind(address) {
                Ok(sockets) => return Ok(sockets),
                Err(error) => failed = Some(error),
            }
        }
        let error = failed.expect("there was a try");
        Err(io::Error::new(error.kind(), format!("--dns-listen {address}: {error}")))
    }

    fn try_bind(address: SocketAddr) -> io::Result<Self> {
        let udp = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        udp.set_nonblocking(true)?;
        udp.bind(&address.into())?;
        let udp: StdUdpSocket = udp.into();
        let tcp = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        tcp.set_reuse_address(true)?;
        tcp.set_nonblocking(true)?;
        tcp.bind(&udp.local_addr()?.into())?;
        tcp.listen(BACKLOG)?;
        Ok(Self { udp, tcp: tcp.into() })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    /// Answers for ever.
    pub(super) async fn serve(self, responder: Arc<Responder>) -> io::Result<()> {
        let (udp, tcp) = (UdpSocket::from_std(self.udp)?, TcpListener::from_std(self.tcp)?);
        tokio::join!(answer_datagrams(&udp, &responder), answer_connections(&tcp, &responder));
        Ok(())
    }
}

/// One at a time: the system keeps the others, and drops what is too many.
async fn answer_datagrams(socket: &UdpSocket, responder: &Responder) {
    let mut buffer = vec![0; UDP_QUESTION];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, client)) if is_answerable(client) => {
                if let Some(answer) = responder.answer_datagram(&buffer[..length], client) {
                    // Lost like any datagram.
                    let _ = socket.send_to(&answer, client).await;
                }
            }
            Ok(_) => {}
            // Among others what a client's host said to an earlier answer.
            Err(error) => {
                tracing::debug!(%error, "the DNS socket cannot receive; trying again");
                sleep(PAUSE).await;
            }
        }
    }
}

/// What no client can have sent is not answered.
fn is_answerable(client: SocketAddr) -> bool {
    let impossible = match client.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    client.port() != 0 && !impossible
}

async fn answer_connections(listener: &TcpListener, responder: &Arc<Responder>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, client)) => {
                let responder = responder.clone();
                tokio::spawn(async move {
                    // How a client goes away is its own matter.
                    let _ = timeout(LIFETIME, answer_stream(stream, client, &responder)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "the DNS listener cannot accept; trying again");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Questions and answers in turn, each behind its length in two bytes (RFC 1035 4.2.2).
async fn answer_stream(mut stream: TcpStream, client: SocketAddr, responder: &Responder) -> io::Result<()> {
    loop {
        let question = timeout(IDLE, read_message(&mut stream)).await??;
        let Some(answer) = responder.answer(question, client, Channel::Tcp) else { return Ok(()) };
        timeout(IDLE, write_message(&mut stream, &answer)).await??;
    }
}

async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// In one piece, so that a client that reads once gets all of it.
async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

//! What comes before HTTP on a client's connection: the PROXY header of a balancer, and the TLS handshake.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::{EdgeContext, Reason};
use crate::net::Stream;
use crate::net::proxy_protocol::{self, Ends, Origin, ReadError};
use crate::tls::{self, Server};

/// Whose a connection is, and whether it is TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    /// The client's address and the one that it connected to: what a trusted balancer says, else the connection's own.
    pub(super) ends: Ends,
    /// Whether the client speaks TLS with us.
    pub(super) tls: bool,
}

impl Client {
    pub(super) fn peer(&self) -> SocketAddr {
        self.ends.source
    }
}

/// Why a connection ends before HTTP.
enum Failure {
    /// The peer may not say whose connection it is, and without that may not connect (`--proxy-protocol in`).
    Untrusted,
    /// No good PROXY header.
    Proxy(ReadError),
    /// No good TLS handshake.
    Tls(io::Error),
    /// Not done in time.
    Timeout,
    /// The connection was gone.
    Gone,
}

/// Makes of a fresh connection one that speaks HTTP, before `by`. A failure is logged and counted.
pub(super) async fn open(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<&Server>,
    context: &EdgeContext,
    by: Instant,
) -> Option<(Stream, Client)> {
    match timeout_at(by, open_at_leisure(stream, peer, tls, context)).await.unwrap_or(Err((peer, Failure::Timeout))) {
        Ok(opened) => Some(opened),
        Err((client, failure)) => {
            failure.log(peer, client, context);
            None
        }
    }
}

async fn open_at_leisure(
    mut stream: TcpStream,
    peer: SocketAddr,
    tls: Option<&Server>,
    context: &EdgeContext,
) -> Result<(Stream, Client), (SocketAddr, Failure)> {
    stream.set_nodelay(true).map_err(|_| (peer, Failure::Gone))?;
    let ends = ends(&mut stream, peer, context).await.map_err(|failure| (peer, failure))?;
    let client = Client { ends, tls: tls.is_some() };
    let stream = match tls {
        None => Stream::Plain(stream),
        // On the heap: the state of a handshake is large, and most connections never need it again.
        Some(server) => Box::pin(server.accept(stream)).await.map_err(|error| (client.peer(), Failure::Tls(error)))?,
    };
    Ok((stream, client))
}

async fn ends(stream: &mut TcpStream, peer: SocketAddr, context: &EdgeContext) -> Result<Ends, Failure> {
    if let Some(trusted) = &context.config.proxy_protocol {
        if !trusted.iter().any(|net| net.contains(&canonical(peer))) {
            return Err(Failure::Untrusted);
        }
        // On the heap, as above: it holds the longest header.
        let origin = Box::pin(proxy_protocol::read(stream)).await.map_err(Failure::Proxy)?;
        if let Origin::Proxied(ends) = origin {
            return Ok(ends);
        }
    }
    let destination = stream.local_addr().map_err(|_| Failure::Gone)?;
    Ok(Ends { source: peer, destination })
}

fn canonical(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

impl Failure {
    /// `peer` is who connected, `client` whose connection that is.
    fn log(&self, peer: SocketAddr, client: SocketAddr, context: &EdgeContext) {
        let (reason, why) = match self {
            // So look the health checks of balancers: they connect and go.
            Self::Proxy(ReadError::Ended | ReadError::Io(_)) | Self::Gone => {
                return tracing::debug!(%peer, "the connection was gone before it was served");
            }
            Self::Tls(error) if error.kind() != io::ErrorKind::InvalidData => {
                let reason = tls::explain(error);
                return tracing::debug!(peer = %client, reason, "the client went away before its session began");
            }
            Self::Untrusted => (Reason::Proxy, "not among trust-proxies".to_owned()),
            Self::Proxy(error) => (Reason::Proxy, error.to_string()),
            Self::Tls(error) => (Reason::Tls, tls::explain(error)),
            Self::Timeout => (Reason::Timeout, "no handshake in time".to_owned()),
        };
        context.refused.count(reason);
        tracing::info!(peer = %client, reason = why, "connection closed");
    }
}

//! Connections: a leg's byte stream, plain or TLS, and the PROXY protocol in front of it.

pub mod proxy_protocol;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// What TLS may hold of what a session wrote and the socket has not taken, in bytes a leg. Two records (RFC 8446 5.1)
/// keep a fast socket busy; more would only lie beside the session's own bounds.
pub const TLS_BUFFER: usize = 32 << 10;

/// A connection to a client or a backend. The plain one costs a branch and nothing else; what TLS keeps is on the heap.
///
/// The end of the reading is the peer's end of stream, whether a close_notify (RFC 8446 6.1) came before it or not: a
/// WebSocket ends with a Close frame, so a cut connection shows without it. Without close_notify, TLS gives an error
/// in place of the end, as a reset does.
///
/// Shutting down sends close_notify and ends the writing; the reading goes on, as with TCP. A TLS stream is to be
/// flushed: it may hold up to [`TLS_BUFFER`] of what it took.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// A TLS connection whose handshake is done.
    #[must_use]
    pub fn tls(stream: impl Into<TlsStream<TcpStream>>) -> Self {
        let mut stream = Box::new(stream.into());
        match stream.as_mut() {
            TlsStream::Client(stream) => stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER)),
            TlsStream::Server(stream) => stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER)),
        }
        Self::Tls(stream)
    }

    /// Whether there is TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Writes what TLS holds. A plain connection holds nothing.
    ///
    /// # Errors
    /// The connection takes no more.
    pub fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) if stream.get_ref().1.wants_write() => Pin::new(stream).poll_flush(cx),
            Self::Tls(_) => Poll::Ready(Ok(())),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(stream)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_held(cx))?;
        match this {
            // One piece costs the system less than a vector of one.
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    /// Takes nothing before what is held has gone: so what is held stays within [`TLS_BUFFER`], and a blocked
    /// connection shows at once.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_held(cx))?;
        match this {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_held(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_no_larger_for_what_tls_needs() {
        assert_eq!(size_of::<Stream>(), size_of::<TcpStream>());
    }
}

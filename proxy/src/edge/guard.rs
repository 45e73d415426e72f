//! The client's connection while it speaks HTTP: what is not strictly that is not read, what stands behind a handshake is
//! kept for the session, and one that takes nothing of its answers is cut off.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::strict::{Strict, Violation};
use crate::net::Stream;

/// How long a client may take nothing of what is written to it. What it asked for may change that.
#[derive(Clone, Debug)]
pub(super) struct Patience(Arc<AtomicU64>);

impl Patience {
    pub(super) fn new(time: Duration) -> Self {
        let patience = Self(Arc::default());
        patience.set(time);
        patience
    }

    pub(super) fn set(&self, time: Duration) {
        self.0.store(time.as_millis() as u64, Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A client's connection until its session begins.
#[derive(Debug)]
pub(super) struct Guard {
    stream: Stream,
    patience: Patience,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
    strict: Strict,
    /// What stands behind the last byte that was read.
    violation: Option<Violation>,
    /// What came behind a request that ends HTTP. It is nobody's to read as a request, whatever that one is answered.
    behind: Vec<u8>,
}

impl Guard {
    /// Request heads may have `max_head` bytes.
    pub(super) fn new(stream: Stream, patience: Patience, max_head: usize) -> Self {
        Self { stream, patience, waiting: None, strict: Strict::new(max_head), violation: None, behind: Vec::new() }
    }

    /// Whether a request has begun of which not even the head is complete.
    pub(super) fn is_within_head(&self) -> bool {
        self.strict.is_within_head()
    }

    /// The connection, and what came on it behind a handshake.
    pub(super) fn into_parts(self) -> (Stream, Bytes) {
        (self.stream, self.behind.into())
    }

    /// What came of a write, or that it has waited for too long.
    fn written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.waiting = None;
            return result;
        }
        let patience = &self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience.get())));
        match waiting.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Guard {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(violation) = this.violation {
            return Poll::Ready(Err(violation.into()));
        }
        // Until something comes behind a handshake, it matters whether the client is still there.
        if !this.behind.is_empty() {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let read = &buffer.filled()[before..];
        if read.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let good = match this.strict.accept(read) {
            Ok(good) => {
                this.behind.extend_from_slice(&read[good..]);
                good
            }
            Err((good, violation)) => {
                this.violation = Some(violation);
                good
            }
        };
        buffer.set_filled(before + good);
        match this.violation {
            Some(violation) if good == 0 => Poll::Ready(Err(violation.into())),
            // Nothing of it is HTTP, nor will more be: there is nothing to be woken for.
            None if good == 0 => Poll::Pending,
            None | Some(_) => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Guard {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, pieces);
        this.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.written(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

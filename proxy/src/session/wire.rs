//! One leg's socket, with what was read from it and could not be used yet.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A leg's socket.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// Bytes read but not used: the leftover of a handshake, or what came while the session could take no more. At
    /// most one read's worth; of a leg that the session is not on yet, two.
    held: Bytes,
    /// The stream was read to its end.
    ended: bool,
}

/// What a read brought.
pub(super) enum Read {
    /// So many bytes in the buffer.
    Bytes(usize),
    /// The end, orderly or not.
    End,
    /// Nothing for now; the task is woken when there is.
    Nothing,
}

/// What a write achieved.
pub(super) enum Write {
    /// So many bytes, perhaps not all.
    Bytes(usize),
    /// None for now; the task is woken when there is room.
    Blocked,
    /// The peer takes no more.
    Failed,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, held: Bytes) -> Self {
        Self { stream, held, ended: false }
    }

    /// Takes out what is held.
    pub(super) fn take_held(&mut self) -> Bytes {
        std::mem::take(&mut self.held)
    }

    /// Keeps `rest` for later. What is cut from a worker's buffer is copied.
    pub(super) fn hold(&mut self, rest: Bytes) {
        debug_assert!(self.held.is_empty());
        self.held = rest;
    }

    /// Keeps this too, behind what is held.
    pub(super) fn hold_more(&mut self, more: &[u8]) {
        self.held = [&self.held, more].concat().into();
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held.len()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    pub(super) fn read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Read {
        if self.ended {
            return Read::Nothing;
        }
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => Read::Bytes(buffer.filled().len()),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => Read::Nothing,
            Poll::Ready(Ok(()) | Err(_)) => {
                self.ended = true;
                Read::End
            }
            Poll::Pending => Read::Nothing,
        }
    }

    pub(super) fn write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Write {
        let stream = Pin::new(&mut self.stream);
        // The usual case, and one that costs the system less.
        let written = match pieces {
            [one] => stream.poll_write(cx, one),
            several => stream.poll_write_vectored(cx, several),
        };
        match written {
            Poll::Ready(Ok(len)) if len > 0 => Write::Bytes(len),
            Poll::Ready(Ok(_) | Err(_)) => Write::Failed,
            Poll::Pending => Write::Blocked,
        }
    }
}

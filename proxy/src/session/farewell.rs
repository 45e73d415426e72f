//! Closing a leg without taking the last words off the wire.

use std::time::Duration;

use tideover_protocol::frame::ControlFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::Stream;

/// How long a peer may take for the last words and to close its side.
const LINGER_TIME: Duration = Duration::from_secs(2);
/// How much a peer may still send meanwhile.
const LINGER_BYTES: u64 = 1 << 20;

/// Closes `stream` in the background: the farewell, an end of stream (before it, with TLS, a close_notify), then what the peer still sends is read and
/// dropped. Closing a socket with unread bytes resets the connection, and a reset takes a Close frame with it that
/// the peer has not read yet (RFC 6455 7.1.1). `kept` is dropped when it is over.
pub(super) fn close<T: Send + 'static>(mut stream: Stream, farewell: Option<ControlFrame>, kept: T) {
    let farewell = farewell.map(|frame| frame.as_bytes().to_vec());
    tokio::spawn(async move {
        let orderly = async {
            if let Some(frame) = farewell {
                stream.write_all(&frame).await?;
            }
            stream.shutdown().await?;
            tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
        };
        // Whatever comes of it, the leg is over.
        let _ = tokio::time::timeout(LINGER_TIME, orderly).await;
        drop(kept);
    });
}

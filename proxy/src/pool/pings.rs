//! Finding out whether a backend answers pings at all, where a session waited for its first pong in vain.
//!
//! A backend that handles one message after another pongs when it comes to the ping: with enough messages before it,
//! that is late on every leg that works. So a backend is mute only if it does not answer on a leg that has nothing else
//! to do either.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tideover_protocol::frame::{ControlFrame, Opcode};
use tideover_protocol::scan::{MessageLimits, Scanner, Sender, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::backend::Backend;
use super::dial::Answer;
use super::handshake::KeptHandshake;
use super::{Pool, polite, probe};
use crate::net::Stream;

/// What is read at a time: a greeting may come before the pong.
const READ: usize = 4096;

impl Pool {
    /// Whether `backend` answers a ping of its own leg within `patience`, or ever answered one. Found out once, for all
    /// who ask; a pong on any leg corrects it.
    ///
    /// The handshake is that of a [probe](Self::probe). A backend that refuses it counts as one that answers none.
    pub async fn answers_pings(&self, backend: &Arc<Backend>, handshake: &KeptHandshake, patience: Duration) -> bool {
        if !backend.answers_pings() {
            let (settings, upstream) = (self.settings(), handshake.probe());
            let asking = async {
                let by = settings.connect_timeout.min(patience);
                let answer = probe::handshake(backend, &settings.transport, upstream, by).await;
                let Ok(Answer::Switched(_, stream, leftover)) = answer else { return false };
                tokio::time::timeout(patience, ping(stream, leftover)).await.unwrap_or(false)
            };
            if *backend.pinged.get_or_init(|| asking).await {
                backend.set_answers_pings();
            }
        }
        backend.answers_pings()
    }
}

/// Whether the pong comes before the end.
async fn ping(mut stream: Stream, leftover: Bytes) -> bool {
    let mut random = [0; 12];
    getrandom::fill(&mut random).expect("the system has random numbers");
    let [payload, mask] = [&random[..8], &random[8..]];
    let frame = ControlFrame::new(Opcode::Ping, payload, mask.try_into().ok());
    if stream.write_all(frame.as_bytes()).await.is_err() {
        return false;
    }
    let answered = hear(&mut stream, leftover, payload).await;
    if answered {
        tokio::spawn(polite::close(stream));
    }
    answered
}

async fn hear(stream: &mut Stream, leftover: Bytes, payload: &[u8]) -> bool {
    // Whatever it says besides is no concern of ours, and nothing of it is kept.
    let mut scanner = Scanner::new(Sender::Server, MessageLimits { bytes: usize::MAX, frames: u32::MAX });
    let mut buffer = Vec::from(leftover);
    loop {
        let mut input = &buffer[..];
        loop {
            match scanner.step(&mut input) {
                Ok(Step::Starved) => break,
                Ok(Step::Announced(_)) => scanner.admit(),
                Ok(Step::Payload { .. } | Step::Ping(_)) => {}
                Ok(Step::Pong(pong)) if pong.as_bytes() == payload => return true,
                Ok(Step::Pong(_)) => {}
                Ok(Step::Close(_)) | Err(_) => return false,
            }
        }
        buffer.clear();
        buffer.reserve(READ);
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

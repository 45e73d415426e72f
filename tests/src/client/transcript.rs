//! What a client did and saw.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::clock::ms;

/// How much of a payload a transcript keeps, in bytes.
pub(super) const PREFIX: usize = 64;

/// All that one client sent and got, by its own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// The client's number: its messages are `c<client>-1`, `c<client>-2`, ….
    pub client: u32,
    /// Each message when it was handed to the client library.
    pub sent: Vec<Message>,
    /// Each message when the client library gave it.
    pub got: Vec<Message>,
    /// How it ended.
    pub end: End,
    /// When it ended, in nanoseconds of [`crate::clock::now_ns`].
    pub ended_at: u64,
}

/// A message in a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Nanoseconds of [`crate::clock::now_ns`].
    pub at: u64,
    /// The payload's length in bytes.
    pub len: usize,
    /// The payload's first 64 bytes; what is not UTF-8 is replaced.
    pub text: String,
    /// Whether it was a binary message.
    pub binary: bool,
}

/// How a client's connection ended, as the client saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum End {
    /// The client closed, and the closing handshake was completed or given up.
    Client,
    /// A Close came that the client had not asked for; 1005 is one without a code.
    Peer {
        /// The code as it came.
        code: u16,
        /// The reason as it came.
        reason: String,
    },
    /// The stream ended or was reset without a Close; the client library's words.
    Lost {
        /// What the library said.
        error: String,
    },
}

impl Transcript {
    /// The texts it got, without their times: what Law 10 compares.
    pub fn texts(&self) -> Vec<&str> {
        self.got.iter().map(|message| message.text.as_str()).collect()
    }

    /// This client's part of [`crate::judge::Judge::round_trip_before`].
    pub(crate) fn round_trip_before(&self, time: u64) -> u64 {
        let mut echoed: HashMap<&str, u64> = HashMap::new();
        for got in &self.got {
            echoed.entry(&got.text).or_insert(got.at);
        }
        let waits = self.sent.iter().filter(|sent| sent.at < time).filter_map(|sent| {
            let until = echoed.get(sent.text.as_str()).map_or(time, |at| time.min(*at));
            (until + ms(500) >= time).then(|| until.saturating_sub(sent.at))
        });
        waits.max().unwrap_or(0)
    }
}

impl Message {
    pub(super) fn new(at: u64, payload: &[u8], binary: bool) -> Self {
        let prefix = &payload[..payload.len().min(PREFIX)];
        Self { at, len: payload.len(), text: String::from_utf8_lossy(prefix).into_owned(), binary }
    }
}

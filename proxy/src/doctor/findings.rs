//! What was seen of a backend. Its JSON is what `tideover doctor --json` prints under `findings`.

use std::time::Duration;

use serde::Serialize;

use super::profile::Guess;

/// Everything that was seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Findings {
    /// The backend, without a query.
    pub(super) backend: String,
    /// How long its handshake took, in milliseconds.
    pub(super) handshake_ms: f64,
    /// The subprotocols that were offered.
    pub(super) offered: Vec<String>,
    /// What it chose of them.
    pub(super) subprotocol: Option<String>,
    /// What it makes of an offer of compression.
    pub(super) compression: Compression,
    /// Whether it says that it acknowledges explicitly.
    pub(super) explicit: bool,
    /// What it sends before it was sent anything.
    pub(super) greeting: Greeting,
    /// How long it took to answer a ping that nothing stood before, in milliseconds; `None`: it did not.
    pub(super) ping_ms: Option<f64>,
    /// What it made of what it was sent; `None` if it was sent nothing.
    pub(super) answers: Option<Answers>,
    /// How it left; `None` if it was not restarted.
    pub(super) restart: Option<Departure>,
    /// What it seems to speak.
    pub(super) profile: Option<Spoken>,
}

/// What a backend makes of an offer of permessage-deflate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(super) enum Compression {
    /// It agrees to it without context takeover, as the proxy needs it.
    Accepted {
        /// What it answered.
        answer: String,
    },
    /// It does not compress.
    Declined,
    /// It does not take the handshake with that offer.
    Failed {
        /// Why.
        why: String,
    },
}

/// What comes before anything was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(super) enum Greeting {
    /// So many messages on each connection; 0: it waits.
    Messages {
        /// How many.
        count: usize,
    },
    /// Not as many on one connection as on the next.
    Varies {
        /// On the first.
        first: usize,
        /// On the second.
        second: usize,
    },
    /// They do not end.
    Pushes {
        /// How many came while it was listened.
        count: usize,
    },
}

/// Where the pong of a ping right behind a message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PongOrder {
    /// Behind the answer, each time.
    After,
    /// Before the answer, each time.
    Before,
    /// Now so, now so.
    Mixed,
    /// There were no answers, or no pongs, or messages that are no answers.
    Unknown,
}

/// What a backend made of what it was sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Answers {
    /// How many messages came for each that was sent, in order.
    pub(super) counts: Vec<usize>,
    /// How long the first answers took, the shortest and the longest, in milliseconds.
    pub(super) took_ms: Option<[f64; 2]>,
    /// How often the pong came behind the answer.
    pub(super) pongs_after: usize,
    /// How often it came before the answer.
    pub(super) pongs_before: usize,
    /// How often it did not come at all.
    pub(super) pongs_missing: usize,
    /// What follows from these.
    pub(super) order: PongOrder,
    /// The longest time from a pong to the answer behind it, in milliseconds.
    pub(super) lag_ms: Option<f64>,
    /// Whether a second connection gave the same answers to the same messages; `None` if there were none.
    pub(super) repeatable: Option<bool>,
    /// How the connection ended while it was sent something, if it did.
    pub(super) ended: Option<Ending>,
}

impl Answers {
    /// Whether each message had one answer.
    pub(super) fn is_one_each(&self) -> bool {
        !self.counts.is_empty() && self.counts.iter().all(|count| *count == 1)
    }

    /// Whether none had any.
    pub(super) fn is_silent(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }
}

/// How a connection ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub(super) enum Ending {
    /// With a Close.
    Close {
        /// Its code.
        code: u16,
        /// Its reason.
        reason: String,
    },
    /// With a Close without a code.
    Codeless,
    /// With an end of stream.
    Eof,
    /// With a reset.
    Reset,
    /// With something that is no WebSocket.
    Broken {
        /// What.
        why: String,
    },
}

/// How a backend left when it was restarted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Departure {
    /// How; `None`: it did not.
    pub(super) ending: Option<Ending>,
    /// After how many milliseconds.
    pub(super) after_ms: f64,
    /// What the command said that should have restarted it, if it failed.
    pub(super) command_failed: Option<String>,
}

/// What a backend seems to speak, or was said to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Spoken {
    /// The profile's name.
    pub(super) name: &'static str,
    /// What shows it.
    pub(super) why: String,
}

impl From<Guess> for Spoken {
    fn from(Guess { name, why }: Guess) -> Self {
        Self { name, why }
    }
}

/// In milliseconds, with microseconds behind the point.
pub(super) fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

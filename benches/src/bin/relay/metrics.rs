//! What tideover says of itself, by its operator's API.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};

/// Sums that show that it did keep messages.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Kept {
    /// Client messages taken.
    pub(crate) received: u64,
    /// Those forgotten after they were acknowledged.
    pub(crate) forgotten: u64,
    /// Those held at the moment.
    pub(crate) retained: u64,
    /// Pings of ours that a backend answered.
    pub(crate) barriers: u64,
    /// Messages that their answer acknowledged, as rules say.
    pub(crate) keyed: u64,
}

impl Kept {
    /// Reads the metrics behind the unix socket at `admin`.
    pub(crate) fn read(admin: &Path) -> Result<Self> {
        let mut stream = UnixStream::connect(admin)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: tideover\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse().ok())
                .ok_or_else(|| Error::Other(format!("no {name} in the metrics")))
        };
        Ok(Self {
            received: value("tideover_messages_received_total")?,
            forgotten: value("tideover_messages_forgotten_total")?,
            retained: value("tideover_messages_retained")?,
            barriers: value("tideover_barriers_total")?,
            keyed: value("tideover_messages_keyed_total")?,
        })
    }

    /// What was counted since `before`, and what is retained now.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            received: self.received - before.received,
            forgotten: self.forgotten - before.forgotten,
            retained: self.retained,
            barriers: self.barriers - before.barriers,
            keyed: self.keyed - before.keyed,
        }
    }

    /// Fails unless every one of `sent` messages was taken and is either held or was forgotten after a barrier was
    /// answered; with `keyed`, after its own answer came. `peak` is what was seen retained at one moment on the way; with
    /// `busy`, that must be something.
    pub(crate) fn check(self, sent: u64, peak: u64, busy: bool, keyed: bool) -> Result<()> {
        let kept = self.received == sent && self.forgotten + self.retained == sent;
        let acknowledged = if keyed { self.keyed == self.forgotten } else { self.barriers > 0 };
        if kept && acknowledged && self.forgotten > 0 && (peak > 0 || !busy) {
            return Ok(());
        }
        let text = format!("tideover did not keep what it relayed: {sent} sent, {peak} retained on the way, {self:?}");
        Err(Error::Other(text))
    }
}

//! What the clients saw, counted as they see it: half an hour of transcripts would not fit into memory.

use std::ops::AddAssign;

/// Counts of clients.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    /// Sessions that began.
    pub(super) sessions: u64,
    /// Messages sent.
    pub(super) sent: u64,
    /// Messages whose echo came, whole and in order.
    pub(super) echoed: u64,
    /// Bytes of those.
    pub(super) bytes: u64,
    /// Echoes that came again.
    pub(super) repeated: u64,
    /// Plain requests answered with 200.
    pub(super) answered: u64,
    /// Plain requests answered with 502, 503 or 504, because a backend had died: none is sent twice.
    pub(super) refused: u64,
    /// What should not be: lost messages, sessions closed by others, in words.
    pub(super) breaches: Vec<String>,
}

impl Account {
    /// Messages sent and not echoed.
    pub(super) fn lost(&self) -> u64 {
        self.sent - self.echoed
    }
}

impl AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        let Self { sessions, sent, echoed, bytes, repeated, answered, refused, breaches } = other;
        for (sum, part) in [
            (&mut self.sessions, sessions),
            (&mut self.sent, sent),
            (&mut self.echoed, echoed),
            (&mut self.bytes, bytes),
            (&mut self.repeated, repeated),
            (&mut self.answered, answered),
            (&mut self.refused, refused),
        ] {
            *sum += part;
        }
        self.breaches.extend(breaches);
    }
}

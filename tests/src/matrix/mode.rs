//! The columns of the matrix.

/// A set of the proxy's promises, as flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Re-attach only: what the dead backend had is gone.
    None,
    /// Acknowledged by pong, and nothing else.
    Pong,
    /// The proxy without a flag: pong, `--ack-linger auto`, reply de-duplication.
    Default,
    /// Pong with output commit.
    Commit,
    /// Acknowledged by the reply.
    Reply,
}

impl Mode {
    /// Every one, as the columns stand.
    pub const ALL: [Self; 5] = [Self::None, Self::Pong, Self::Default, Self::Commit, Self::Reply];

    /// The name on the command line and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pong => "pong",
            Self::Default => "default",
            Self::Commit => "commit",
            Self::Reply => "reply",
        }
    }

    /// The proxy's flags.
    pub fn flags(self) -> &'static [&'static str] {
        match self {
            Self::None => &["--ack", "none"],
            Self::Pong => &["--ack", "pong", "--ack-linger", "0", "--dedupe-replies", "off"],
            Self::Default => &[],
            Self::Commit => &["--ack", "pong", "--ack-linger", "0", "--commit", "barrier"],
            Self::Reply => &["--ack", "reply"],
        }
    }

    /// Whether anything is replayed at all.
    pub fn replays(self) -> bool {
        self != Self::None
    }

    /// Whether answers of a later process are compared with those of an earlier one, and swallowed.
    pub fn dedupes(self) -> bool {
        self == Self::Default
    }
}

//! Why a run is not a result.

use std::fmt;

use crate::wire::Wrong;

pub(crate) type Result<T> = std::result::Result<T, Error>;

#[derive(Debug)]
pub(crate) enum Error {
    Io(std::io::Error),
    /// A byte that came is not what it must be.
    Wrong {
        connection: usize,
        wrong: Wrong,
    },
    /// An answer to nothing.
    Unasked {
        connection: u32,
    },
    Ended {
        connection: usize,
    },
    /// Nothing came for a long time.
    Silent {
        pending: usize,
    },
    /// Something else, in words.
    Other(String),
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Wrong { connection, wrong: Wrong::Content { number, at } } => {
                write!(f, "connection {connection}: byte {at} of answer {number} is not what was sent")
            }
            Self::Wrong { connection, wrong: Wrong::Close(frame) } => {
                write!(f, "connection {connection} was closed: {:?}", String::from_utf8_lossy(frame))
            }
            Self::Unasked { connection } => write!(f, "connection {connection}: an answer to nothing"),
            Self::Ended { connection } => write!(f, "connection {connection} ended"),
            Self::Silent { pending } => write!(f, "no answer any more; {pending} are missing"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

//! What is wrong with a configuration, and where.

use std::fmt;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the command line: the flag's name, without dashes.
    Flag(&'static str),
    /// In this environment variable.
    Env(String),
    /// In the file: its path, the line counted from 1, the key.
    File {
        /// The path, as given.
        path: String,
        /// The line.
        line: usize,
        /// The key; empty where the line cannot be read.
        key: String,
    },
    /// Nowhere: this flag's default.
    Default(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Env(variable) => f.write_str(variable),
            Self::File { path, line, key } if key.is_empty() => write!(f, "{path}:{line}"),
            Self::File { path, line, key } => write!(f, "{path}:{line}: {}", key.escape_debug()),
            Self::Default(name) => write!(f, "--{name} (default)"),
        }
    }
}

/// One thing wrong. Its `Display` is one line: where, what was given, what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; several places if values that are fine each do not fit each other.
    pub places: Vec<Place>,
    /// What was given and what is allowed.
    pub message: String,
}

impl Problem {
    pub(super) fn at(place: &Place, message: impl Into<String>) -> Self {
        Self { places: vec![place.clone()], message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, place) in self.places.iter().enumerate() {
            write!(f, "{}{place}", if n == 0 { "" } else { ", " })?;
        }
        write!(f, ": {}", self.message.replace('\n', " "))
    }
}

/// Everything wrong with a configuration. Its `Display` has one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// The program's exit code for a bad configuration; clap's for bad usage is the same.
    pub const EXIT_CODE: u8 = 2;
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if n == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

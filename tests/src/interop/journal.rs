//! What the programs of `tests/interop` saw: a JSON object a line, each written at once, so that a SIGKILL loses nothing
//! that was written. The scripts write the same lines.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::clock::now_ns;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A server accepts connections.
    Ready,
    /// A server has a new connection.
    Open,
    /// A server was told who the client is.
    Login,
    /// A server was asked for a subscription.
    Subscribe,
    /// A server did what it was asked for.
    Did,
    /// A server's connection ended.
    Close,
    /// Something was asked that must be answered, once: by a client, or by a server of its client.
    Ask,
    /// An answer came, as often as it came.
    Answer,
    /// An answer came to what was never asked.
    Stray,
    /// A client must be pushed this, at least once.
    Want,
    /// It was pushed.
    Get,
    /// A client's library said what it would not have said on a connection that lasts: an error, an end, a reconnect.
    Fault,
    /// A client is where it wants to be: logged in, subscribed, answered.
    Settled,
    /// A client's life is over.
    Done,
}

/// A line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When, in nanoseconds of [`now_ns`].
    pub at: u64,
    /// The process that wrote it.
    pub pid: u32,
    /// What happened.
    #[serde(rename = "event")]
    pub what: What,
    /// The client's number, or the server's name for a connection.
    pub session: String,
    /// What was asked, answered, pushed, …; of a fault the text.
    pub id: String,
}

/// A journal that is written.
#[derive(Debug)]
pub struct Journal {
    file: File,
}

impl Journal {
    /// Opens it for appending: a restarted program writes on behind its predecessor.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn append(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::options().create(true).append(true).open(path)? })
    }

    /// Writes a line.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn log(&self, what: What, session: &str, id: &str) {
        let (session, id) = (session.to_owned(), id.to_owned());
        let entry = Entry { at: now_ns(), pid: std::process::id(), what, session, id };
        let line = serde_json::to_string(&entry).expect("an entry is JSON") + "\n";
        (&self.file).write_all(line.as_bytes()).expect("the journal can be written");
    }
}

/// All that a journal has by now; none if there is no such file yet. A line that a kill tore is left out.
///
/// # Panics
/// When a whole line is not an entry.
pub fn read(path: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}: {line}", path.display()));
    whole.lines().map(parse).collect()
}

//! The backends' event log: a line an event, written at once, so that a SIGKILL loses nothing that was written.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::clock::now_ns;

/// How much of a payload is logged, in bytes.
const PREFIX: usize = 64;

/// The Rust backend's end of the log file; the scripts write the same lines.
#[derive(Debug)]
pub struct EventLog {
    file: File,
    connections: AtomicU64,
}

impl EventLog {
    /// Opens the log for appending: a restarted backend writes on behind its predecessor.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn append(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::options().create(true).append(true).open(path)?, connections: AtomicU64::new(0) })
    }

    /// Says that the backend accepts connections.
    pub fn ready(&self, port: u16) {
        self.line("ready", &std::process::id().to_string(), port);
    }

    /// Logs a new connection and names it.
    pub fn open(self: &Arc<Self>, target: &str) -> ConnectionLog {
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let name = format!("{}-{number}", std::process::id());
        self.line("open", &name, target);
        ConnectionLog { log: self.clone(), name }
    }

    /// A health check was answered with this status.
    pub fn check(&self, status: u16) {
        self.line("check", &std::process::id().to_string(), status);
    }

    /// One write(2) a line: nothing stays behind in this process, and lines of many threads do not mix.
    fn line(&self, event: &str, connection: &str, rest: impl std::fmt::Display) {
        let line = format!("{} {event} {connection} {rest}\n", now_ns());
        (&self.file).write_all(line.as_bytes()).expect("the event log can be written");
    }
}

/// The log of one connection.
#[derive(Debug)]
pub struct ConnectionLog {
    log: Arc<EventLog>,
    name: String,
}

impl ConnectionLog {
    /// A message was handed to the handler.
    pub fn read(&self, payload: &[u8]) {
        self.log.line("read", &self.name, format_args!("{} {}", payload.len(), prefix(payload)));
    }

    /// The handler has finished with a message.
    pub fn done(&self, payload: &[u8]) {
        self.log.line("done", &self.name, format_args!("{} {}", payload.len(), prefix(payload)));
    }

    /// A Close came; 1005 is logged for one without a code.
    pub fn close(&self, close: Option<(u16, &str)>) {
        let (code, reason) = close.unwrap_or((1005, ""));
        let reason = reason.replace(char::is_control, "?");
        self.log.line("close", &self.name, format_args!("{code} {reason}"));
    }

    /// The stream ended without a Close, by its end or by a reset.
    pub fn eof(&self) {
        self.log.line("eof", &self.name, "");
    }
}

/// The payload's first bytes; what is not printable ASCII becomes `?`.
fn prefix(payload: &[u8]) -> String {
    let shown = |&byte: &u8| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '?' };
    payload.iter().take(PREFIX).map(shown).collect()
}

/// A line of a backend's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, in nanoseconds of [`crate::clock::now_ns`].
    pub at: u64,
    /// The connection as `PID-NUMBER`, unique over all backends and restarts; for [`What::Ready`] the PID alone.
    pub connection: String,
    /// What happened.
    pub what: What,
}

impl Event {
    /// The process that wrote the line.
    pub fn pid(&self) -> u32 {
        let pid = self.connection.split('-').next().unwrap_or_default();
        pid.parse().unwrap_or_else(|_| panic!("connection {:?} does not begin with a process id", self.connection))
    }
}

/// What a line of a backend's log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The backend accepts connections on this port.
    Ready(u16),
    /// A WebSocket connection opened, with this request target.
    Open(String),
    /// A message of so many bytes, beginning so, was handed to the handler.
    Read(usize, String),
    /// The handler has finished with it.
    Done(usize, String),
    /// The client's Close came, with code (1005: none) and reason.
    Close(u16, String),
    /// The stream ended without a Close.
    Eof,
    /// `GET /health` was answered with this status (connection: the PID alone).
    Check(u16),
}

/// All events of one log, in the order they were written. A last line that was cut off by a kill is left out.
///
/// # Panics
/// When the file cannot be read or a line is not of the log's form.
pub fn read_log(path: &Path) -> Vec<Event> {
    read_log_from(path, 0).0
}

/// As [`read_log`], from so many bytes on, which a line must begin at; also where the last whole line ended.
///
/// # Panics
/// As [`read_log`].
pub fn read_log_from(path: &Path, offset: u64) -> (Vec<Event>, u64) {
    // A restart cuts off a torn line, and whoever reads in pieces just then may see neither the old file nor the new.
    let mut attempts_left = 3;
    loop {
        let text = read_text_from(path, offset).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let events: Result<Vec<_>, _> = whole.lines().map(|line| parse(line).ok_or(line)).collect();
        attempts_left -= 1;
        match events {
            Ok(events) => return (events, offset + whole.len() as u64),
            Err(line) => assert!(attempts_left > 0, "{}: bad line {line:?}", path.display()),
        }
    }
}

/// Whether a connection opened among the first lines behind so many bytes: before it nothing can be read.
pub(crate) fn log_has_open(path: &Path, offset: u64) -> bool {
    const FIRST_LINES: u64 = 16 << 10;
    let mut text = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(offset))?;
        file.take(FIRST_LINES).read_to_end(&mut text)
    });
    read.is_ok() && text.windows(6).any(|window| window == b" open ")
}

/// Cuts off what a killed process left of its last line, so that the next one begins a line of its own. Gives the
/// length that remains; 0 if there is no log yet.
pub(super) fn cut_torn_line(path: &Path) -> io::Result<u64> {
    const LONGEST_LINE: u64 = 64 << 10;
    let mut file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        file => file?,
    };
    let length = file.seek(SeekFrom::End(0))?;
    let from = file.seek(SeekFrom::Start(length.saturating_sub(LONGEST_LINE)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end as u64 + 1);
    file.set_len(from + whole)?;
    Ok(from + whole)
}

fn read_text_from(path: &Path, offset: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn parse(line: &str) -> Option<Event> {
    let mut words = line.splitn(4, ' ');
    let at = words.next()?.parse().ok()?;
    let event = words.next()?;
    let connection = words.next()?.to_owned();
    let rest = words.next().unwrap_or_default();
    let (number, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let what = match event {
        "ready" => What::Ready(rest.parse().ok()?),
        "open" => What::Open(rest.to_owned()),
        "read" => What::Read(number.parse().ok()?, text.to_owned()),
        "done" => What::Done(number.parse().ok()?, text.to_owned()),
        "close" => What::Close(number.parse().ok()?, text.to_owned()),
        "eof" => What::Eof,
        "check" => What::Check(rest.parse().ok()?),
        _ => return None,
    };
    Some(Event { at, connection, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_peer_says_an_event_is_one_line() {
        let path = std::env::temp_dir().join(format!("tideover-one-line-{}.log", std::process::id()));
        let connection = Arc::new(EventLog::append(&path).unwrap()).open("/echo");
        connection.read(b"two\nlines");
        connection.close(Some((1000, "b\nye\r")));
        let events: Vec<_> = read_log(&path).into_iter().map(|event| event.what).collect();
        let open = What::Open("/echo".into());
        assert_eq!(events, [open, What::Read(9, "two?lines".into()), What::Close(1000, "b?ye?".into())]);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_line_that_a_kill_tore_is_cut_off_and_whole_ones_stay() {
        let path = std::env::temp_dir().join(format!("tideover-torn-{}.log", std::process::id()));
        assert_eq!(cut_torn_line(&path).unwrap(), 0, "there is no log yet");
        for (text, left) in [("1 ready 2 3\n12", "1 ready 2 3\n"), ("1 rea", ""), ("1 ready 2 3\n", "1 ready 2 3\n")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(cut_torn_line(&path).unwrap(), left.len() as u64);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), left);
        }
        std::fs::remove_file(&path).unwrap();
    }
}

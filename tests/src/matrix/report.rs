//! The measured cells as JSON lines and as the page in `docs/`.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Cell, Counts, ExactlyOnce, Mode, Outcome, Plan, page::rows_of};
use crate::{Kind, example::Language};

/// A measured cell, as a line of the JSON file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// [`Kind::name`], or [`Language::name`] of an example that speaks the session protocol.
    pub server: String,
    /// [`Mode::name`], or `explicit`.
    pub mode: String,
    /// The handler's time in milliseconds.
    pub handler_ms: u32,
    /// What was counted; `None` if the server cannot be run here.
    pub counts: Option<Counts>,
    /// Why it proves nothing; empty if it does.
    pub void: Vec<String>,
    /// [`Outcome::notes`].
    #[serde(default)]
    pub notes: Vec<String>,
    /// How long the cell took, in seconds.
    pub seconds: u64,
}

impl Row {
    /// The row of a cell that has been run.
    pub fn measured(cell: Cell, plan: &Plan, outcome: Outcome) -> Self {
        let void = plan.void(cell.mode, &outcome.counts);
        Self {
            counts: Some(outcome.counts),
            void,
            notes: outcome.notes,
            seconds: outcome.took.as_secs(),
            ..Self::empty(cell)
        }
    }

    /// The row of an example that speaks the session protocol.
    pub fn exactly_once(language: Language, fire: &ExactlyOnce, outcome: Outcome) -> Self {
        Self {
            server: language.name().to_owned(),
            mode: EXPLICIT.to_owned(),
            handler_ms: 0,
            void: fire.void(&outcome),
            counts: Some(outcome.counts),
            notes: outcome.notes,
            seconds: outcome.took.as_secs(),
        }
    }

    /// The row of a cell whose server cannot be run here.
    pub fn missing(cell: Cell, reason: &str) -> Self {
        Self { void: vec![reason.to_owned()], ..Self::empty(cell) }
    }

    fn empty(cell: Cell) -> Self {
        Self {
            server: cell.kind.name().to_owned(),
            mode: cell.mode.name().to_owned(),
            handler_ms: cell.handler_ms,
            counts: None,
            void: Vec::new(),
            notes: Vec::new(),
            seconds: 0,
        }
    }

    fn proves(&self) -> bool {
        self.counts.is_some() && self.void.is_empty()
    }

    pub(super) fn is_of(&self, server: &str, mode: &str, handler_ms: u32) -> bool {
        self.server == server && self.mode == mode && self.handler_ms == handler_ms
    }
}

/// All measured cells: the file of JSON lines, to which each is added as it comes, and the page made of it.
#[derive(Debug)]
pub struct Report {
    lines: PathBuf,
    page: PathBuf,
    rows: Vec<Row>,
}

impl Report {
    /// Reads what earlier runs have left: the file of JSON lines or, where there is none, the page.
    ///
    /// # Errors
    /// When a file of that name cannot be read or written, or is not such a file.
    pub fn open(lines: &Path, page: &Path) -> io::Result<Self> {
        let mut report = Self { lines: lines.to_owned(), page: page.to_owned(), rows: Vec::new() };
        if lines.exists() {
            report.rows = fs::read_to_string(lines)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        } else if page.exists() {
            report.rows = rows_of(&fs::read_to_string(page)?);
            report.rows.iter().try_for_each(|row| report.note(row))?;
        }
        Ok(report)
    }

    fn note(&self, row: &Row) -> io::Result<()> {
        let mut lines = File::options().create(true).append(true).open(&self.lines)?;
        writeln!(lines, "{}", serde_json::to_string(row)?)
    }

    /// Adds a cell, in place of an older measurement of it, and writes the page again.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn add(&mut self, row: Row) -> io::Result<()> {
        self.note(&row)?;
        self.rows.retain(|old| !old.is_of(&row.server, &row.mode, row.handler_ms));
        self.rows.push(row);
        self.publish()
    }

    /// Writes the page again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn publish(&self) -> io::Result<()> {
        fs::write(&self.page, self.text())
    }

    /// Whether a cell has been measured and proves something.
    pub fn has(&self, cell: Cell) -> bool {
        self.find(cell.kind.name(), cell.mode.name(), cell.handler_ms).is_some_and(Row::proves)
    }

    /// Whether an example has been measured and proves something.
    pub fn has_example(&self, language: Language) -> bool {
        self.find(language.name(), EXPLICIT, 0).is_some_and(Row::proves)
    }

    fn find(&self, server: &str, mode: &str, handler_ms: u32) -> Option<&Row> {
        // A file of several runs has the latest last.
        self.rows.iter().rfind(|row| row.is_of(server, mode, handler_ms))
    }

    fn text(&self) -> String {
        let mut text = INTRODUCTION.to_owned();
        let cells = self.rows.iter().filter(|row| row.mode != EXPLICIT);
        let mut handlers: Vec<u32> = cells.map(|row| row.handler_ms).collect();
        handlers.sort_unstable();
        handlers.dedup();
        for &handler in &handlers {
            let _ = writeln!(text, "\n## Handlers of {handler} ms\n");
            self.write_summary(&mut text, handler);
        }
        self.write_exactly_once(&mut text);
        let _ = writeln!(text, "\n## Every count\n\n{DETAILS}");
        for kind in Kind::ALL {
            for &handler in &handlers {
                let rows = Mode::ALL.iter().filter_map(|mode| self.find(kind.name(), mode.name(), handler));
                rows.for_each(|row| write_details(&mut text, row));
            }
        }
        text
    }

    fn write_exactly_once(&self, text: &mut String) {
        let _ = writeln!(text, "\n{EXACTLY_ONCE_HEADING}\n\n{EXACTLY_ONCE}");
        for language in Language::ALL {
            let row = self.find(language.name(), EXPLICIT, 0);
            let counts = row.and_then(|row| Some((row, row.counts.as_ref()?)));
            let cells = counts.map_or_else(|| "not run |  |  |  |  |  |  |  | ".to_owned(), exactly_once_cells);
            let _ = writeln!(text, "| {} | {cells} |", language.title());
        }
    }

    fn write_summary(&self, text: &mut String, handler: u32) {
        let names: Vec<&str> = Mode::ALL.iter().map(|mode| mode.name()).collect();
        let _ = writeln!(text, "| server | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
        for kind in Kind::ALL {
            let cells: Vec<String> = names.iter().map(|mode| summary(self.find(kind.name(), mode, handler))).collect();
            let _ = writeln!(text, "| {} | {} |", kind.title(), cells.join(" | "));
        }
    }
}

/// The mode of a row of the session protocol.
pub(super) const EXPLICIT: &str = "explicit";
/// What a cell says that was not selected.
pub(super) const NOT_RUN: &str = "not run";
/// The heading above [`EXACTLY_ONCE`].
pub(super) const EXACTLY_ONCE_HEADING: &str = "## With the session protocol";

fn exactly_once_cells((row, counts): (&Row, &Counts)) -> String {
    let Counts { kills, sent, lost, repeated_backend, lost_answers, repeated_client, rescued, .. } = counts;
    let mut others = row.void.join(", ");
    if counts.disordered + counts.strange + counts.closed > 0 {
        let Counts { disordered, strange, closed, .. } = counts;
        others = format!("{others} {disordered} out of order, {strange} strange, {closed} sessions closed");
    }
    format!(
        "{kills} | {rescued} | {sent} | {lost} | {repeated_backend} | {lost_answers} | {repeated_client} | {} | {others}",
        row.seconds
    )
}

const EXACTLY_ONCE: &str = "\
`--ack explicit`, before the backends of `examples/session-protocol`, which keep what they did and answered in the
transaction of the work. A pool of four over one SQLite database, 12 sessions with 8 messages in flight each, SIGKILL of a
random backend at random times, started again at once. An answer is the running total, so no message can be lost or
applied twice without all later answers being wrong. Counted from the database and from what the clients saw; *void*
unless sessions were attached again at least as often as a backend was killed.

| backend | kills | attached again | sent | lost | applied twice | answers lost | answers repeated | seconds | void |
|---|---|---|---|---|---|---|---|---|---|";

const INTRODUCTION: &str = "\
# What is lost and repeated, measured

Written by `cargo run --release -p tideover-tests --bin guarantees`; do not edit. Each cell: a pool of three of that
server, 50 sessions with 32 messages in flight each, 100 times SIGKILL of a server that has sessions, started again on
its port; at least 20 of the kills end a leg in the middle of its replay. The answer is the message behind a prefix, so
a function of its bytes. Everything is counted from the servers' own logs and from what the clients saw.

A cell reads **lost / answers lost / repeated to the client / out of order**, then what the servers read twice:

- lost: no server ever read the message. answers lost: the client never got the answer.
- repeated to the client: second and further answers to a message.
- read twice: second and further readings of a message by a later process. No proxy can avoid these without the
  backend's help: the work was done and nobody could say so (see the session protocol for exactly once).

A cell is *void*, and proves nothing, unless more than 1,000 messages were replayed: read by a second process, or on
their way when the session's server was killed and first read by a later one; and with de-duplication more than 100
answers of a later process were kept from a client that had the earlier one's.

Modes: `none` is `--ack none`; `pong` is `--ack pong --ack-linger 0 --dedupe-replies off`; `default` is no flag at all:
pong, `--ack-linger auto`, reply de-duplication; `commit` is `--commit barrier`; `reply` is `--ack reply`.

A handler of Node `ws` that blocks the one thread leaves the server deaf while it handles what all its sessions have in
flight: for 5 ms, 2.7 s. There the pace of the kills is slower by as much, and the proxy has `--connect-timeout 30s` and
`--failover-timeout 10m`, or half of the sessions end with Close 1013 for want of an answered handshake.
";

const DETAILS: &str = "\
| server | handler | mode | kills | in a replay | sent | lost | answers lost | repeated to client | read twice | rescued \
| swallowed | out of order | closed | seconds | void |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

fn summary(row: Option<&Row>) -> String {
    let Some(row) = row else { return NOT_RUN.to_owned() };
    let Some(counts) = &row.counts else { return row.void.join(", ") };
    let Counts { lost, lost_answers, repeated_client, disordered, .. } = counts;
    let mut text = format!("{lost} / {lost_answers} / {repeated_client} / {disordered}");
    if lost + lost_answers + repeated_client + disordered == 0 {
        text = format!("**{text}**");
    }
    let _ = write!(text, "; {} twice", counts.repeated_backend);
    if counts.closed + counts.strange > 0 {
        let _ = write!(text, "; {} sessions closed, {} strange answers", counts.closed, counts.strange);
    }
    if !row.void.is_empty() {
        let _ = write!(text, "; *void*");
    }
    text
}

fn write_details(text: &mut String, row: &Row) {
    let Some(counts) = &row.counts else { return };
    let numbers = [
        counts.kills,
        counts.kills_in_replay,
        counts.sent,
        counts.lost,
        counts.lost_answers,
        counts.repeated_client,
        counts.repeated_backend,
        counts.rescued,
        counts.swallowed,
        counts.disordered,
        counts.closed,
    ];
    let numbers = numbers.map(|number| number.to_string()).join(" | ");
    let Row { server, handler_ms, mode, seconds, .. } = row;
    let _ = writeln!(text, "| {server} | {handler_ms} ms | {mode} | {numbers} | {seconds} | {} |", row.void.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_page_can_be_made_of_itself() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guarantees.md");
        let text = fs::read_to_string(&page).expect("the page is committed");
        let rows = rows_of(&text);
        assert!(rows.len() > 100, "{} rows", rows.len());
        let report = Report { lines: PathBuf::new(), page, rows };
        assert!(report.text() == text, "it is not what `guarantees` makes of its counts: run it without a cell");
    }
}

//! What was measured, as JSON lines, and as tables between two markers of the page in `docs/`.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Counts, Outcome, Software, State, account::Kills};

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// One software with or without its profile, as a line of the JSON file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// [`Software::name`].
    pub software: String,
    /// Whether the proxy had the profile.
    pub profile: bool,
    /// What was counted.
    pub counts: Counts,
    /// [`Outcome::notes`].
    pub notes: Vec<String>,
    /// How long it took, in seconds.
    pub seconds: u64,
}

impl Row {
    /// Of a run.
    pub fn new(software: Software, profile: bool, outcome: Outcome) -> Self {
        let Outcome { counts, notes, took } = outcome;
        Self { software: software.name().to_owned(), profile, counts, notes, seconds: took.as_secs() }
    }
}

/// All rows: the file of JSON lines, to which each is added as it comes, and the page that they are part of.
#[derive(Debug)]
pub struct Report {
    lines: PathBuf,
    page: PathBuf,
    rows: Vec<Row>,
}

impl Report {
    /// Reads what earlier runs have left.
    ///
    /// # Errors
    /// When a file of that name cannot be read or is not such a file.
    pub fn open(lines: &Path, page: &Path) -> io::Result<Self> {
        let text = if lines.exists() { fs::read_to_string(lines)? } else { String::new() };
        let rows = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Self { lines: lines.to_owned(), page: page.to_owned(), rows })
    }

    /// Adds a row, in place of an older one of the same, and writes the tables again.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn add(&mut self, row: Row) -> io::Result<()> {
        let mut lines = File::options().create(true).append(true).open(&self.lines)?;
        writeln!(lines, "{}", serde_json::to_string(&row)?)?;
        self.rows.push(row);
        let page = if self.page.exists() { fs::read_to_string(&self.page)? } else { format!("{BEGIN}\n{END}\n") };
        fs::write(&self.page, put_between(&page, &self.text())?)
    }

    fn text(&self) -> String {
        let mut text = format!("{WITH}\n");
        self.write_rows(&mut text, true);
        let _ = write!(text, "\n{WITHOUT}\n");
        self.write_rows(&mut text, false);
        let titles = State::ALL.map(State::title).join(" | ");
        let _ = write!(text, "\n{KILLS}\n\n| software | {titles} |\n|---|{}\n", "---|".repeat(State::ALL.len()));
        for software in Software::ALL {
            if let Some(row) = self.find(software, true) {
                let kills = State::ALL.map(|state| kills(software, state, row.counts.kills.get(&state))).join(" | ");
                let _ = writeln!(text, "| {} | {kills} |", software.title());
            }
        }
        text
    }

    fn write_rows(&self, text: &mut String, profile: bool) {
        let _ = writeln!(text, "{HEAD}");
        for software in Software::ALL {
            let cells = self.find(software, profile).map_or_else(|| "not run".to_owned(), cells);
            let _ = writeln!(text, "| {} | {cells} |", software.title());
        }
    }

    fn find(&self, software: Software, profile: bool) -> Option<&Row> {
        // A file of several runs has the latest last.
        self.rows.iter().rfind(|row| row.software == software.name() && row.profile == profile)
    }
}

fn cells(row: &Row) -> String {
    let Counts { kills, sessions, asked, unanswered, answered_again, server_asked, server_unanswered, .. } =
        &row.counts;
    let Counts { strays, wanted, missed, pushed_again, faults, done_again, .. } = &row.counts;
    let kills: usize = kills.values().map(|kills| kills.all).sum();
    let cells = [
        kills,
        *sessions,
        *asked,
        *unanswered,
        *answered_again,
        *server_asked,
        *server_unanswered,
        *strays,
        *wanted,
        *missed,
        *pushed_again,
        *done_again,
        *faults,
    ];
    cells.map(|count| count.to_string()).join(" | ")
}

fn kills(software: Software, state: State, kills: Option<&Kills>) -> String {
    match kills {
        Some(Kills { all, on_a_later_leg }) => format!("{all}, {on_a_later_leg} on a later leg"),
        None if !software.states().contains(&state) => "has none".to_owned(),
        None => "not reached".to_owned(),
    }
}

/// The page with `text` in place of what stood between the markers.
fn put_between(page: &str, text: &str) -> io::Result<String> {
    let missing = || io::Error::other(format!("the page has no {BEGIN} … {END}"));
    let (before, rest) = page.split_once(BEGIN).ok_or_else(missing)?;
    let (_, behind) = rest.split_once(END).ok_or_else(missing)?;
    Ok(format!("{before}{BEGIN}\n{text}{END}{behind}"))
}

const HEAD: &str = "\
| software | kills | clients | asked | unanswered | answered again | server asked | unanswered | strays | to be pushed \
| missed | pushed again | done again | faults |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

const WITH: &str = "\
Written by `cargo run --release -p tideover-tests --bin profiles`; do not edit between the markers. Real servers and
clients, two servers each (one for the persistent broker), several clients that ask numbered things all the time. A server
is killed by SIGKILL when a session is seen on the wire to be in the state, and started again on its port; then the clients
ask a last time and everything must have come. Counted from what clients and servers wrote down themselves.

- asked, unanswered, answered again: by clients, over all their requests. server asked: what servers asked their clients,
  without those that were killed.
- strays: answers to what was never asked, on either side.
- to be pushed, missed, pushed again: what a subscription, room or topic had to bring. Pushes may come again.
- done again: what servers did a second time, because the first died before its answer was out.
- faults: errors, ends and reconnects that a client library showed its application.

### With the profile
";

const WITHOUT: &str = "\
### The same without the profile
";

const KILLS: &str = "\
### Kills in each state, with the profile

On a later leg: the state was reached while the session was being attached after another kill, just before.";

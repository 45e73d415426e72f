//! What the demo prints: a table that is redrawn on a terminal, a line a second elsewhere, and the summary.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::fleet::Row;
use super::ledger::Totals;

/// The demo as it stands at one moment.
pub(super) struct Snapshot {
    /// Time since the clients began to send.
    pub(super) elapsed: Duration,
    /// The backends.
    pub(super) backends: Vec<Row>,
    /// The clients' books.
    pub(super) totals: Totals,
}

impl Snapshot {
    fn kills(&self) -> u32 {
        self.backends.iter().map(|row| row.kills).sum()
    }
}

/// Prints to stdout.
pub(super) struct Display {
    terminal: bool,
    /// Lines of the table that stands on the terminal now.
    drawn: usize,
}

impl Display {
    pub(super) fn new() -> Self {
        Self { terminal: io::stdout().is_terminal(), drawn: 0 }
    }

    /// Time between two calls of [`Self::draw`].
    pub(super) fn interval(&self) -> Duration {
        // A killed backend is away for half a second: on a terminal that is to be seen.
        Duration::from_millis(if self.terminal { 200 } else { 1000 })
    }

    /// Shows how things stand, on a terminal in place of what it showed before.
    pub(super) fn draw(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        if !self.terminal {
            return self.say(&line(snapshot));
        }
        let table = table(snapshot);
        // Up to the table's first line, then clear from there to the end of the screen.
        let back = if self.drawn == 0 { String::new() } else { format!("\x1b[{}A\x1b[J", self.drawn) };
        self.drawn = table.lines().count();
        self.say(&(back + &table))
    }

    /// Brings a table on the terminal up to date; prints nothing elsewhere.
    pub(super) fn redraw(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        if self.terminal { self.draw(snapshot) } else { Ok(()) }
    }

    /// Prints text that stays.
    pub(super) fn say(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }
}

fn line(snapshot: &Snapshot) -> String {
    let Snapshot { elapsed, totals, .. } = snapshot;
    format!(
        "{:>4}s  sent {}  echoed {}  lost {}  repeated {}  kills {}  failovers {}  gap median {}  worst {}\n",
        elapsed.as_secs(),
        totals.sent,
        totals.echoed,
        totals.lost,
        totals.repeated,
        snapshot.kills(),
        totals.failovers,
        totals.median_gap.map_or_else(|| "-".to_owned(), human),
        human(totals.worst_silence),
    )
}

/// No line is wider than 80 columns: one that wraps could not be redrawn in place.
fn table(snapshot: &Snapshot) -> String {
    let Snapshot { elapsed, backends, totals } = snapshot;
    let mut text = format!("  {:<22}{:>9}  {:<8}{:>6}\n", "backend", "process", "state", "kills");
    for Row { address, process, kills } in backends {
        let state = if process.is_some() { "up" } else { "killed" };
        let process = process.map_or_else(|| "-".to_owned(), |process| process.to_string());
        let _ = writeln!(text, "  {:<22}{process:>9}  {state:<8}{kills:>6}", address.to_string());
    }
    let _ = writeln!(
        text,
        "\n{:>6}{:>10}{:>10}{:>7}{:>10}{:>11}{:>12}{:>11}",
        "time", "sent", "echoed", "lost", "repeated", "failovers", "median gap", "worst gap"
    );
    let _ = writeln!(
        text,
        "{:>5}s{:>10}{:>10}{:>7}{:>10}{:>11}{:>12}{:>11}",
        elapsed.as_secs(),
        totals.sent,
        totals.echoed,
        totals.lost,
        totals.repeated,
        totals.failovers,
        totals.median_gap.map_or_else(|| "-".to_owned(), human),
        human(totals.worst_silence),
    );
    text
}

/// The last word. `snapshot.totals` must be settled.
pub(super) fn summary(snapshot: &Snapshot) -> String {
    let totals = &snapshot.totals;
    let mut text = format!(
        "\n{} messages sent in {:.1} s, {} echoed, {} kills, {} failovers\n",
        totals.sent,
        snapshot.elapsed.as_secs_f64(),
        totals.echoed,
        snapshot.kills(),
        totals.failovers
    );
    let mut row = |count: u64, what: &str| {
        let _ = writeln!(text, "{count:>8} {what}");
    };
    row(totals.lost, "lost");
    row(totals.out_of_order, "out of order");
    row(totals.closed.len() as u64, "clients closed");
    row(totals.repeated, "repeated (the backend died before it had acknowledged them)");
    if totals.foreign > 0 {
        row(totals.foreign, "answers that no client had asked for");
    }
    if let Some(median) = totals.median_gap {
        let worst = human(totals.worst_silence);
        let _ =
            writeln!(text, "A client waited {} at a failover (median); the longest silence: {worst}", human(median));
    }
    for (reason, clients) in counted(&totals.closed) {
        let _ = writeln!(text, "Closed with \"{reason}\": {clients}");
    }
    text.push_str(if totals.kept() {
        "Nothing lost, order kept, no client closed.\n"
    } else {
        "FAILED: the promise was not kept.\n"
    });
    text
}

/// Each reason once, with how often it occurs.
fn counted(reasons: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason.as_str()).or_default() += 1;
    }
    counts
}

/// A duration with the precision that an eye can use.
fn human(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1e3;
    match milliseconds {
        ..10.0 => format!("{milliseconds:.1} ms"),
        10.0..1000.0 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.2} s", milliseconds / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn snapshot() -> Snapshot {
        let address = SocketAddr::from(([127, 0, 0, 1], 65535));
        let totals = Totals {
            sent: 4_000_000,
            echoed: 3_999_990,
            outstanding: 10,
            repeated: 99_999,
            failovers: 99_999,
            median_gap: Some(Duration::from_micros(3140)),
            worst_silence: Duration::from_millis(29_870),
            ..Totals::default()
        };
        let up = Row { address, process: Some(4_194_304), kills: 3 };
        let down = Row { address, process: None, kills: 4 };
        Snapshot { elapsed: Duration::from_secs(86_399), backends: vec![up, down], totals }
    }

    #[test]
    fn a_line_says_it_all() {
        assert_eq!(
            line(&snapshot()),
            "86399s  sent 4000000  echoed 3999990  lost 0  repeated 99999  kills 7  failovers 99999  \
             gap median 3.1 ms  worst 29.87 s\n"
        );
    }

    #[test]
    fn the_table_fits_a_narrow_terminal_and_shows_who_is_down() {
        let table = table(&snapshot());
        assert!(table.lines().all(|line| line.len() <= 80), "{table}");
        assert!(table.contains("4194304  up") && table.contains("-  killed"), "{table}");
    }

    #[test]
    fn the_summary_names_what_went_wrong() {
        let mut snapshot = snapshot();
        assert!(summary(&snapshot).ends_with("no client closed.\n"));
        snapshot.totals.settle();
        snapshot.totals.closed = vec!["Close 1013".to_owned(); 2];
        let text = summary(&snapshot);
        assert!(text.contains("      10 lost\n") && text.contains("Closed with \"Close 1013\": 2\n"), "{text}");
        assert!(text.ends_with("not kept.\n"), "{text}");
    }

    #[test]
    fn durations_read_well() {
        let texts = [0, 1_250, 45_000, 1_500_000].map(|micros| human(Duration::from_micros(micros)));
        assert_eq!(texts, ["0.0 ms", "1.2 ms", "45 ms", "1.50 s"]);
    }
}

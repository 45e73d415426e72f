//! What an earlier run has measured, read back from the page that was made of it: the counts are committed there, the
//! file of JSON lines is not.

use std::{collections::BTreeMap, str::FromStr};

use super::{Counts, Mode, Row, report};
use crate::{Kind, example::Language};

/// A row of a table: its cells by the names of their columns.
type Cells<'a> = BTreeMap<&'a str, &'a str>;

/// The rows that the page shows.
pub(super) fn rows_of(page: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = table(page, "## Every count").iter().filter_map(measured).collect();
    let not_run = handlers(page).into_iter().flat_map(|handler| not_run(page, handler, &rows)).collect::<Vec<_>>();
    rows.extend(not_run);
    rows.extend(table(page, report::EXACTLY_ONCE_HEADING).iter().filter_map(exactly_once));
    rows
}

/// The first table behind a heading.
fn table<'a>(page: &'a str, heading: &str) -> Vec<Cells<'a>> {
    let behind = page.lines().skip_while(|line| *line != heading).skip(1);
    let mut lines = behind.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let names = cells(lines.next().unwrap_or_default());
    lines.skip(1).map(|line| names.iter().copied().zip(cells(line)).collect()).collect()
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

fn number<T: FromStr>(cells: &Cells<'_>, column: &str) -> Option<T> {
    cells.get(column)?.split(' ').next()?.parse().ok()
}

fn reasons(cells: &Cells<'_>) -> Vec<String> {
    let text = cells.get("void").copied().unwrap_or_default();
    text.split(", ").filter(|reason| !reason.is_empty()).map(str::to_owned).collect()
}

fn measured(cells: &Cells<'_>) -> Option<Row> {
    let count = |column| number(cells, column);
    let counts = Counts {
        kills: count("kills")?,
        kills_in_replay: count("in a replay")?,
        sent: count("sent")?,
        lost: count("lost")?,
        lost_answers: count("answers lost")?,
        repeated_client: count("repeated to client")?,
        repeated_backend: count("read twice")?,
        rescued: count("rescued")?,
        swallowed: count("swallowed")?,
        disordered: count("out of order")?,
        strange: count("strange").unwrap_or(0),
        closed: count("closed")?,
    };
    Some(Row {
        server: (*cells.get("server")?).to_owned(),
        mode: (*cells.get("mode")?).to_owned(),
        handler_ms: number(cells, "handler")?,
        counts: Some(counts),
        void: reasons(cells),
        notes: Vec::new(),
        seconds: number(cells, "seconds")?,
    })
}

fn exactly_once(cells: &Cells<'_>) -> Option<Row> {
    let count = |column| number(cells, column);
    let language = Language::ALL.into_iter().find(|language| cells.get("backend") == Some(&language.title()))?;
    let counts = Counts {
        kills: count("kills")?,
        rescued: count("attached again")?,
        sent: count("sent")?,
        lost: count("lost")?,
        repeated_backend: count("applied twice")?,
        lost_answers: count("answers lost")?,
        repeated_client: count("answers repeated")?,
        ..Counts::default()
    };
    Some(Row {
        server: language.name().to_owned(),
        mode: report::EXPLICIT.to_owned(),
        handler_ms: 0,
        counts: Some(counts),
        void: reasons(cells),
        notes: Vec::new(),
        seconds: number(cells, "seconds")?,
    })
}

fn handlers(page: &str) -> Vec<u32> {
    let heading = |line: &str| line.strip_prefix("## Handlers of ")?.strip_suffix(" ms")?.parse().ok();
    page.lines().filter_map(heading).collect()
}

/// The cells of which the page says why they were not measured.
fn not_run(page: &str, handler: u32, measured: &[Row]) -> Vec<Row> {
    let mut rows = Vec::new();
    for cells in table(page, &format!("## Handlers of {handler} ms")) {
        let Some(kind) = Kind::ALL.into_iter().find(|kind| cells.get("server") == Some(&kind.title())) else {
            continue;
        };
        for mode in Mode::ALL {
            let known = measured.iter().any(|row| row.is_of(kind.name(), mode.name(), handler));
            let reason = cells.get(mode.name()).filter(|text| !known && **text != report::NOT_RUN);
            rows.extend(reason.map(|reason| Row::missing(super::Cell { kind, mode, handler_ms: handler }, reason)));
        }
    }
    rows
}

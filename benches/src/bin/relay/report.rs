//! Medians over the rounds, their spread, and ratios to the best peer: as JSON and as Markdown.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::{failover, idle, opening, relaying};

/// What the Markdown is put between.
const BEGIN: &str = "<!-- relay benchmark: begin -->";
const END: &str = "<!-- relay benchmark: end -->";

/// A contestant and its version; `None`: it was not installed, and has no numbers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entrant {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    /// Whether ratios are taken against it.
    pub(crate) is_measure: bool,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) pinned: bool,
    pub(crate) rounds: usize,
    pub(crate) entrants: Vec<Entrant>,
    pub(crate) relaying: Vec<relaying::Turn>,
    pub(crate) opening: Vec<opening::Turn>,
    pub(crate) idle: Vec<idle::Turn>,
    pub(crate) failover: Vec<failover::Turn>,
    pub(crate) scaling: Vec<relaying::Turn>,
}

/// Median, least and greatest of the rounds.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    /// `None` without a round.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let (first, last) = (*values.first()?, *values.last()?);
        let middle = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
        Some(Self { median: middle, least: first, most: last })
    }

    fn show(self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$}–{:.digits$})", self.median, self.least, self.most)
    }
}

/// Which of two numbers is the better one.
#[derive(Clone, Copy)]
enum Better {
    Less,
    More,
}

impl Results {
    /// Writes JSON.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::Other(error.to_string()))?;
        Ok(std::fs::write(path, text + "\n")?)
    }

    /// Puts the tables between the markers of a file, at its end if it has none.
    pub(crate) fn write_markdown(&self, path: &Path) -> Result<()> {
        let old = std::fs::read_to_string(path).unwrap_or_default();
        let section = format!("{BEGIN}\n{}{END}\n", self.markdown());
        let text = match (old.split_once(BEGIN), old.split_once(END)) {
            (Some((head, _)), Some((_, tail))) => format!("{head}{section}{}", tail.trim_start_matches('\n')),
            _ => format!("{old}{section}"),
        };
        Ok(std::fs::write(path, text)?)
    }

    /// All tables.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        self.write_machine(&mut out);
        self.write_relaying(&mut out);
        self.write_opening(&mut out);
        self.write_idle(&mut out);
        self.write_failover(&mut out);
        self.write_scaling(&mut out);
        out
    }

    fn write_machine(&self, out: &mut String) {
        let Machine { processor, cores, memory_gib, kernel, load_average, .. } = &self.machine;
        let pinned =
            if self.pinned { "load and backend on the first core, the proxy on the last" } else { "not pinned" };
        let _ = writeln!(
            out,
            "{processor}, {cores} cores, {memory_gib} GiB, Linux {kernel}; {pinned}; {} rounds, interleaved; load average \
             at the start {load_average}. A cell is the median of the rounds, with the least and the greatest; a ratio \
             is one of medians, against the better of HAProxy and nginx.\n",
            self.rounds
        );
        for entrant in &self.entrants {
            let _ = writeln!(out, "- {}: {}", entrant.name, entrant.version.as_deref().unwrap_or("missing"));
        }
    }

    fn best(&self, better: Better, value: impl Fn(&str) -> Option<Spread>) -> Option<f64> {
        let peers = self.entrants.iter().filter(|entrant| entrant.is_measure);
        let medians = peers.filter_map(|entrant| Some(value(&entrant.name)?.median));
        match better {
            Better::Less => medians.min_by(f64::total_cmp),
            Better::More => medians.max_by(f64::total_cmp),
        }
    }

    fn write_relaying(&self, out: &mut String) {
        if self.relaying.is_empty() {
            return;
        }
        out.push_str(
            "\n### Messages\n\nA case is connections x messages in flight x bytes. CPU is user and system time of the \
             proxy for a message and its answer; the last two columns are shares of a core.\n\n\
             | case | proxy | CPU µs | ratio | messages/s | ratio | p50 µs | p99 µs | ratio | p99.9 µs | proxy | load |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        let mut cases: Vec<&str> = self.relaying.iter().map(|turn| &*turn.case).collect();
        cases.dedup();
        for case in cases {
            for entrant in &self.entrants {
                self.write_relaying_row(out, case, entrant);
            }
        }
    }

    fn write_relaying_row(&self, out: &mut String, case: &str, entrant: &Entrant) {
        let spread = |name: &str, value: fn(&relaying::Turn) -> f64| {
            let turns = self.relaying.iter().filter(|turn| turn.case == case && turn.contestant == name);
            Spread::of(turns.map(value))
        };
        let ratio = |better, value: fn(&relaying::Turn) -> f64| {
            let (own, best) = (spread(&entrant.name, value), self.best(better, |name| spread(name, value)));
            show_ratio(own, best)
        };
        let cell = |digits, value| spread(&entrant.name, value).map_or("–".into(), |spread| spread.show(digits));
        if entrant.version.is_none() {
            let _ = writeln!(out, "| {case} | {} | missing | | | | | | | | | |", entrant.name);
            return;
        }
        let no_proxy = spread(&entrant.name, |turn| turn.proxy_cpu).is_some_and(|cpu| cpu.most == 0.0);
        let or_none = |text: String| if no_proxy { "–".to_owned() } else { text };
        let _ = writeln!(
            out,
            "| {case} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            entrant.name,
            or_none(cell(2, relaying::Turn::cpu_per_message)),
            or_none(ratio(Better::Less, relaying::Turn::cpu_per_message)),
            cell(0, relaying::Turn::rate),
            ratio(Better::More, relaying::Turn::rate),
            cell(0, |turn| turn.p50),
            cell(0, |turn| turn.p99),
            ratio(Better::Less, |turn| turn.p99),
            cell(0, |turn| turn.p999),
            or_none(cell(2, relaying::Turn::proxy_share)),
            cell(2, relaying::Turn::load_share),
        );
    }

    fn write_opening(&self, out: &mut String) {
        if self.opening.is_empty() {
            return;
        }
        out.push_str(
            "\n### Opening\n\nA session is open with its first answer. 16 clients at a time.\n\n\
             | proxy | CPU µs a session | ratio | sessions/s | ratio | p50 µs | p99 µs |\n|---|---|---|---|---|---|---|\n",
        );
        for entrant in &self.entrants {
            let spread = |name: &str, value: fn(&opening::Turn) -> f64| {
                Spread::of(self.opening.iter().filter(|turn| turn.contestant == name).map(value))
            };
            let cell = |digits, value| spread(&entrant.name, value).map_or("–".into(), |spread| spread.show(digits));
            let ratio = |better, value: fn(&opening::Turn) -> f64| {
                show_ratio(spread(&entrant.name, value), self.best(better, |name| spread(name, value)))
            };
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} |",
                entrant.name,
                cell(0, opening::Turn::cpu_per_session),
                ratio(Better::Less, opening::Turn::cpu_per_session),
                cell(0, opening::Turn::rate),
                ratio(Better::More, opening::Turn::rate),
                cell(0, |turn| turn.p50),
                cell(0, |turn| turn.p99),
            );
        }
    }

    fn write_idle(&self, out: &mut String) {
        let Some(first) = self.idle.first() else { return };
        let _ = write!(
            out,
            "\n### Idle sessions\n\nProportional set size with {} sessions, each opened with a cookie of 1 KiB and after \
             one message, on a fresh process.\n\n\
             | proxy | KiB a session | ratio | process before, MiB | after the last has ended, MiB |\n|---|---|---|---|---|\n",
            first.sessions
        );
        for entrant in &self.entrants {
            let spread = |name: &str, value: fn(&idle::Turn) -> f64| {
                Spread::of(self.idle.iter().filter(|turn| turn.contestant == name).map(value))
            };
            let kib = |turn: &idle::Turn| turn.per_session() / 1024.0;
            let cell = |value| spread(&entrant.name, value).map_or("–".into(), |spread| spread.show(2));
            let ratio = show_ratio(spread(&entrant.name, kib), self.best(Better::Less, |name| spread(name, kib)));
            let _ = writeln!(
                out,
                "| {} | {} | {ratio} | {} | {} |",
                entrant.name,
                cell(kib),
                cell(|turn| turn.before as f64 / f64::from(1 << 20)),
                cell(|turn| turn.after as f64 / f64::from(1 << 20)),
            );
        }
    }

    fn write_failover(&self, out: &mut String) {
        if self.failover.is_empty() {
            return;
        }
        out.push_str(
            "\n### Failover\n\nFrom just before a backend's SIGKILL to the first answer of the other backend, in \
             milliseconds, over the sessions of one turn. No other proxy here fails over: its clients' connections \
             end.\n\n| proxy | sessions | median ms | p99 ms | last ms |\n|---|---|---|---|---|\n",
        );
        let mut sizes: Vec<usize> = self.failover.iter().map(|turn| turn.sessions).collect();
        sizes.sort_unstable();
        sizes.dedup();
        for (entrant, size) in self.entrants.iter().flat_map(|entrant| sizes.iter().map(move |size| (entrant, *size))) {
            let turns = || self.failover.iter().filter(|turn| turn.contestant == entrant.name && turn.sessions == size);
            let cell = |value: fn(&failover::Turn) -> f64| Spread::of(turns().map(value)).map(|spread| spread.show(1));
            if let (Some(p50), Some(p99), Some(last)) = (cell(|it| it.p50), cell(|it| it.p99), cell(|it| it.last)) {
                let _ = writeln!(out, "| {} | {size} | {p50} | {p99} | {last} |", entrant.name);
            }
        }
    }
}

impl Results {
    fn write_scaling(&self, out: &mut String) {
        let mut names: Vec<&str> = self.scaling.iter().map(|turn| &*turn.contestant).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return;
        }
        let _ = write!(
            out,
            "\n### Scaling\n\nCPU µs of the proxy for a message and its answer, and messages a second in brackets. The \
             messages in flight are the retained ones. Two workers have both cores, which they share with the load and \
             the backend.\n\n| case | {} |\n|{}\n",
            names.join(" | "),
            "---|".repeat(names.len() + 1)
        );
        let mut cases: Vec<&str> = self.scaling.iter().map(|turn| &*turn.case).collect();
        cases.dedup();
        for case in cases {
            let cell = |name: &str| {
                let spread = |value: fn(&relaying::Turn) -> f64| {
                    let turns = self.scaling.iter().filter(|turn| turn.case == case && turn.contestant == name);
                    Spread::of(turns.map(value)).map_or(0.0, |spread| spread.median)
                };
                format!("{:.2} ({:.0})", spread(relaying::Turn::cpu_per_message), spread(relaying::Turn::rate))
            };
            let cells: Vec<_> = names.iter().map(|name| cell(name)).collect();
            let _ = writeln!(out, "| {case} | {} |", cells.join(" | "));
        }
    }
}

fn show_ratio(own: Option<Spread>, best: Option<f64>) -> String {
    match (own, best) {
        (Some(own), Some(best)) if best > 0.0 => format!("{:.2}", own.median / best),
        _ => "–".into(),
    }
}

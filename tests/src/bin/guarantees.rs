//! Measures the guarantee matrix and writes `docs/guarantees.md`; the counts also go to `target/guarantees.jsonl`, a
//! line a cell as it comes, so that an interrupted run keeps what it has. Without that file, what was measured before is
//! read from the page. The whole matrix takes about an hour and a
//! half on two cores, on which nothing else should run.
//!
//! `guarantees [--server NAME,…] [--mode NAME,…] [--handler MS,…] [--kills N] [--parallel N] [--again]`
//!
//! Without a selection: every server and mode, handlers of 0, 5 and 400 ms, and the two examples that speak the session
//! protocol, `session-python` and `session-node`, with twice the kills. Where modes or handlers are selected, the examples
//! must be selected too. A cell that has been measured and is not void is not run again without `--again`. `--kills`
//! scales the other demands on a cell too; with fewer than 100 it is a trial: its files are `guarantees-trial` under
//! `target`, and it does not wait until no test runs. `--parallel` is how many cells with handlers of 100 ms or more run at
//! once (6): they only wait.

use std::{
    error::Error,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tideover_tests::{
    Kind, environment,
    example::Language,
    lock::{machine_alone, machine_shared},
    matrix::{Cell, ExactlyOnce, Mode, Plan, Report, Row},
    program,
};

/// 17 sessions x 32 messages x 400 ms, one after the other.
const BLOCKED: &str = "not run: a handler that blocks the only thread so long leaves the server deaf for minutes";

struct Options {
    cells: Vec<Cell>,
    examples: Vec<Language>,
    plan: Plan,
    parallel: usize,
    again: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Options { mut cells, mut examples, plan, parallel, again } = Options::from_arguments(std::env::args().skip(1))?;
    let published = plan.kills >= Plan::FULL.kills;
    let _machine = if published { machine_alone() } else { machine_shared() };
    let target = program::target_directory();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut report = if published {
        Report::open(&target.join("guarantees.jsonl"), &docs.join("guarantees.md"))?
    } else {
        Report::open(&target.join("guarantees-trial.jsonl"), &target.join("guarantees-trial.md"))?
    };
    cells.retain(|cell| again || !report.has(*cell));
    examples.retain(|language| again || !report.has_example(*language));
    let (slow, quick): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(|cell| cell.is_slow());
    let report = Mutex::new(&mut report);
    run_all(&quick, plan, 1, &report);
    run_all(&slow, plan, parallel, &report);
    for language in examples {
        add(&report, measure_example(language, plan));
    }
    report.into_inner().expect("no thread panicked").publish()?;
    Ok(())
}

/// Runs the cells in their order, so many at a time.
fn run_all(cells: &[Cell], plan: Plan, parallel: usize, report: &Mutex<&mut Report>) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..parallel {
            scope.spawn(|| {
                while let Some(&cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    add(report, measure(cell, plan));
                }
            });
        }
    });
}

fn add(report: &Mutex<&mut Report>, row: Row) {
    eprintln!("{}", serde_json::to_string(&row).expect("a row is JSON"));
    report.lock().expect("no thread panicked").add(row).expect("the report can be written");
}

fn measure_example(language: Language, plan: Plan) -> Row {
    let fire = ExactlyOnce { pool: vec![language; 4], kills: 2 * plan.kills };
    let outcome = fire.run();
    Row::exactly_once(language, &fire, outcome)
}

fn measure(cell: Cell, plan: Plan) -> Row {
    if cell.kind == Kind::Gorilla
        && let Err(reason) = environment::gorilla_backend()
    {
        return Row::missing(cell, reason);
    }
    if cell.is_deaf() {
        return Row::missing(cell, BLOCKED);
    }
    Row::measured(cell, &plan, cell.run(plan))
}

/// What `--server` selects.
#[derive(Clone, Copy)]
enum Server {
    Plain(Kind),
    Example(Language),
}

impl Server {
    fn all() -> Vec<Self> {
        Kind::ALL.into_iter().map(Self::Plain).chain(Language::ALL.into_iter().map(Self::Example)).collect()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plain(kind) => kind.name(),
            Self::Example(language) => language.name(),
        }
    }
}

impl Options {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let (mut servers, mut modes, mut handlers) = (None, Mode::ALL.to_vec(), vec![0, 5, 400]);
        let mut narrowed = false;
        let (mut plan, mut parallel, mut again) = (Plan::FULL, 6, false);
        while let Some(flag) = arguments.next() {
            if flag == "--again" {
                again = true;
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
            narrowed |= matches!(flag.as_str(), "--mode" | "--handler");
            match flag.as_str() {
                "--server" => servers = Some(select(&value, &Server::all(), Server::name)?),
                "--mode" => modes = select(&value, &Mode::ALL, Mode::name)?,
                "--handler" => handlers = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
                "--kills" => plan = plan.with_kills(value.parse()?),
                "--parallel" => parallel = value.parse()?,
                _ => return Err(format!("unknown flag {flag}").into()),
            }
        }
        let (mut cells, mut examples) = (Vec::new(), Vec::new());
        let asked = servers.is_some() || !narrowed;
        for server in servers.unwrap_or_else(Server::all) {
            match server {
                Server::Plain(kind) => {
                    for &handler_ms in &handlers {
                        cells.extend(modes.iter().map(|&mode| Cell { kind, mode, handler_ms }));
                    }
                }
                Server::Example(language) => examples.extend(asked.then_some(language)),
            }
        }
        Ok(Self { cells, examples, plan, parallel, again })
    }
}

/// Those of `all` whose names are in the comma-separated list.
fn select<T: Copy>(list: &str, all: &[T], name: fn(T) -> &'static str) -> Result<Vec<T>, String> {
    let named = |wanted| all.iter().copied().find(|one| name(*one) == wanted);
    let known = || all.iter().map(|one| name(*one)).collect::<Vec<_>>().join(", ");
    list.split(',').map(|wanted| named(wanted).ok_or_else(|| format!("{wanted} is none of {}", known()))).collect()
}

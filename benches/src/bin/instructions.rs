//! Instructions of the engine, counted by callgrind and compared with what is kept in `baseline.txt`.
//!
//! Time varies from run to run, and with what else the machine does; instructions do not. They say nothing of caches
//! and of the system, so this is an alarm, not a measure of speed. A count depends on the compiler, which is pinned, and
//! a little on the C library.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use tideover_benches::{KEY, Rig, message};

/// How much more than the baseline is too much.
const TOLERANCE: f64 = 0.05;
/// A scenario is run so many times, and twice as many: the difference is without what beginning and ending cost.
const TIMES: usize = 500;

/// Count the instructions of the engine's turns with callgrind, and compare them with the baseline.
#[derive(Debug, Parser)]
#[command(name = "instructions")]
struct Options {
    /// Keep what was counted as the new baseline.
    #[arg(long)]
    write: bool,
    /// Run a scenario so many times, counting nothing: what callgrind looks at.
    #[arg(long, num_args = 2, value_names = ["SCENARIO", "TIMES"], hide = true)]
    run: Vec<String>,
}

/// What is counted: a name, and what runs so many times.
type Scenario = (&'static str, fn(usize));

const SCENARIOS: [Scenario; 5] = [
    ("turn of 1 message of 64 bytes", |times| turns(times, 64, 1)),
    ("turn of 1 message of 1 KiB", |times| turns(times, 1024, 1)),
    ("turn of 1 message of 64 KiB", |times| turns(times, 64 * 1024, 1)),
    ("turn of 32 messages of 64 bytes", |times| turns(times, 64, 32)),
    ("failover with 100 retained messages", failovers),
];

fn turns(times: usize, payload: usize, messages: usize) {
    let mut rig = Rig::batched(payload, messages);
    let answers = message(payload, None).len() * messages;
    for _ in 0..times {
        assert_eq!(black_box(rig.turn()), answers);
    }
    let expected = (times * messages) as u64;
    assert_eq!((rig.counters().forgotten, rig.counters().barriers), (expected, times as u64));
}

fn failovers(times: usize) {
    let (retained, barrier) = (100, 2 + 4 + 20);
    let written = retained * message(64, Some(KEY)).len() + barrier;
    for _ in 0..times {
        let mut rig = Rig::new(64);
        rig.retain(retained);
        assert_eq!(black_box(rig.fail_over()), written);
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let [scenario, times] = &options.run[..] {
        return run(scenario, times);
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        return fail("valgrind is not installed: nothing was counted");
    }
    match count_all() {
        Ok(counts) if options.write => write(&counts),
        Ok(counts) => compare(&counts),
        Err(error) => fail(&error),
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}

fn run(scenario: &str, times: &str) -> ExitCode {
    let known = SCENARIOS.iter().find(|(name, _)| *name == scenario);
    match (known, times.parse()) {
        (Some((_, work)), Ok(times)) => work(times),
        _ => return fail("no such scenario, or no number"),
    }
    ExitCode::SUCCESS
}

fn count_all() -> Result<BTreeMap<&'static str, u64>, String> {
    let per_run = |name| -> Result<u64, String> { Ok((count(name, 2 * TIMES)? - count(name, TIMES)?) / TIMES as u64) };
    SCENARIOS.iter().map(|(name, _)| Ok((*name, per_run(name)?))).collect()
}

fn count(scenario: &str, times: usize) -> Result<u64, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(this);
    let output = command.args(["--run", scenario, &times.to_string()]).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.split_once("Collected : ")).filter(|_| output.status.success());
    let counted = line.and_then(|(_, count)| count.trim().parse().ok());
    counted.ok_or_else(|| format!("valgrind did not count {scenario}:\n{text}"))
}

fn baseline() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.txt")
}

fn write(counts: &BTreeMap<&str, u64>) -> ExitCode {
    let mut text = String::from(
        "# Instructions of the engine, counted by callgrind. `just instructions` compares; `just instructions --write`\n\
         # keeps new counts. The commit that changes this file says why.\n",
    );
    for (name, count) in counts {
        let _ = writeln!(text, "{count:>9} {name}");
    }
    match std::fs::write(baseline(), text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{}: {error}", baseline().display())),
    }
}

fn compare(counts: &BTreeMap<&str, u64>) -> ExitCode {
    let text = match std::fs::read_to_string(baseline()) {
        Ok(text) => text,
        Err(error) => return fail(&format!("{}: {error}", baseline().display())),
    };
    let lines = text.lines().filter_map(|line| line.trim().split_once(' '));
    let kept: BTreeMap<&str, u64> = lines.filter_map(|(count, name)| Some((name, count.parse().ok()?))).collect();
    let mut code = ExitCode::SUCCESS;
    for (name, count) in counts {
        let Some(before) = kept.get(name) else {
            code = fail(&format!("{name}: not in the baseline"));
            continue;
        };
        let change = *count as f64 / *before as f64 - 1.0;
        println!("{name}: {count} instructions, {:+.1} % of {before}", change * 100.0);
        if change > TOLERANCE {
            code = fail(&format!("{name}: more than {:.0} % above the baseline", TOLERANCE * 100.0));
        } else if change < -TOLERANCE {
            println!("  less than it was: keep that with --write");
        }
    }
    code
}

//! The swarm: thousands of sessions of the real engine and ring on a virtual clock, with simulated clients and
//! backends and everything that can go wrong between them, judged by a shadow that computes from the wires what must
//! be.
//!
//! A failing run prints how to replay it. `TIDEOVER_SWARM_SEED=n` runs one seed, `TIDEOVER_SWARM_SEEDS=n` so many from
//! `TIDEOVER_SWARM_FIRST=n` on, `TIDEOVER_SWARM_STEPS=n` so many steps each, `TIDEOVER_SWARM_TRACE=1` tells what
//! happens (with `-- --nocapture`). Seeds that failed once stand in `regressions.txt` and are always run.

mod backend;
mod client;
mod codec;
mod coverage;
mod dice;
mod faults;
mod judge;
mod plan;
mod ruled;
mod run;
mod sabotage;
mod shadow;
mod world;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use coverage::Coverage;

const SEEDS: u64 = 2000;
const STEPS: u64 = 2000;
/// A broken engine fails in many runs; so many are shown.
const MOST_SHOWN: usize = 10;
/// Seeds and steps, a pair a line; `#` begins a comment.
const REGRESSIONS: &str = include_str!("regressions.txt");

#[expect(clippy::disallowed_methods, reason = "the engine's configuration is an argument, a test's is not")]
fn knob(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// One run: as many sessions as fill its steps. What failed, if anything did.
fn swarm(seed: u64, steps: u64) -> Result<Coverage, String> {
    let sessions = || {
        let mut sum = Coverage::new();
        for session in 0.. {
            let left = steps.saturating_sub(sum.steps);
            if left == 0 {
                break;
            }
            sum.add(&run::Run::new(seed << 16 | session, left).go());
        }
        sum
    };
    report_once();
    RUNNING.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(sessions));
    RUNNING.set(false);
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    })
}

thread_local! {
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// A run that fails is reported by who ran it; that of an engine which is broken on purpose need not be.
fn report_once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if world::trace() || !RUNNING.get() {
                loud(panic);
            }
        }));
    });
}

/// Runs them all; what they have met, or how to replay those that fail.
fn swarm_all(runs: impl Iterator<Item = (u64, u64)>) -> Result<Coverage, String> {
    let mut sum = Coverage::new();
    let mut failed = Vec::new();
    for (seed, steps) in runs {
        match swarm(seed, steps) {
            Ok(coverage) => sum.add(&coverage),
            Err(why) => failed.push(format!(
                "TIDEOVER_SWARM_SEED={seed} TIDEOVER_SWARM_STEPS={steps} cargo test -p tideover-protocol --test swarm \
                 every_run\n    {why}"
            )),
        }
    }
    if failed.is_empty() {
        return Ok(sum);
    }
    let shown = &failed[..failed.len().min(MOST_SHOWN)];
    Err(format!("{} runs fail:\n{}", failed.len(), shown.join("\n")))
}

#[test]
fn every_run_keeps_the_laws() {
    let steps = knob("TIDEOVER_SWARM_STEPS").unwrap_or(STEPS);
    let first = knob("TIDEOVER_SWARM_FIRST").unwrap_or(0);
    let seeds = match knob("TIDEOVER_SWARM_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + knob("TIDEOVER_SWARM_SEEDS").unwrap_or(SEEDS),
    };
    let enough = seeds.end - seeds.start >= SEEDS && steps >= STEPS;
    let sum = swarm_all(seeds.map(|seed| (seed, steps))).unwrap_or_else(|failed| panic!("{failed}"));
    println!("{sum}");
    assert!(!enough || sum.missing().is_empty(), "never met, so never tested: {:?}", sum.missing());
}

#[test]
fn every_run_that_failed_once_keeps_the_laws() {
    let lines = REGRESSIONS.lines().map(|line| line.split('#').next().unwrap_or_default());
    let runs = lines.filter_map(|line| {
        let (seed, steps) = line.trim().split_once(' ')?;
        Some((seed.parse().expect("a seed"), steps.trim().parse().expect("steps")))
    });
    swarm_all(runs).unwrap_or_else(|failed| panic!("{failed}"));
}

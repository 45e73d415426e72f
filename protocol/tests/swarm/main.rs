//! The swarm: thousands of sessions of the real engine and ring on a virtual clock, with simulated clients and
//! backends and everything that can go wrong between them, judged by a shadow that computes from the wires what must
//! be.
//!
//! A failing run prints how to replay it. `TIDEOVER_SWARM_SEED=n` runs one seed, `TIDEOVER_SWARM_SEEDS=n` so many
//! (from `TIDEOVER_SWARM_FIRST`), `TIDEOVER_SWARM_STEPS=n` so many steps each. Seeds that failed once stand in
//! `regressions.txt` and are always run.

mod backend;
mod client;
mod codec;
mod coverage;
mod dice;
mod plan;
mod run;
mod shadow;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use coverage::Coverage;

const SEEDS: u64 = 2000;
const STEPS: u64 = 2000;
/// A broken engine fails in many runs; so many are shown.
const MOST_SHOWN: usize = 10;

fn knob(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// One run; what failed, if anything.
fn swarm(seed: u64, steps: u64) -> Result<Coverage, String> {
    let run = AssertUnwindSafe(|| {
        let mut sum = Coverage::new();
        // Sessions end early: a run is as many of them as fill its steps.
        for session in 0.. {
            let left = steps.saturating_sub(sum.steps);
            if left == 0 {
                break;
            }
            sum.add(&run::Run::new(seed << 16 | session, left as usize).go());
        }
        sum
    });
    catch_unwind(run).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    })
}

/// How to replay a run exactly.
fn replay(seed: u64, steps: u64) -> String {
    format!("TIDEOVER_SWARM_SEED={seed} TIDEOVER_SWARM_STEPS={steps} cargo test -p tideover-protocol --test swarm")
}

#[test]
fn every_run_keeps_the_laws() {
    let steps = knob("TIDEOVER_SWARM_STEPS").unwrap_or(STEPS);
    let seeds = match knob("TIDEOVER_SWARM_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = knob("TIDEOVER_SWARM_FIRST").unwrap_or(0);
            first..first + knob("TIDEOVER_SWARM_SEEDS").unwrap_or(SEEDS)
        }
    };
    let mut sum = Coverage::new();
    let mut failed = Vec::new();
    for seed in seeds {
        match swarm(seed, steps) {
            Ok(coverage) => sum.add(&coverage),
            Err(why) => failed.push(format!("{}\n  {why}", replay(seed, steps))),
        }
    }
    let shown = failed.iter().take(MOST_SHOWN).cloned().collect::<Vec<_>>().join("\n");
    if knob("SURVEY").is_some() {
        for f in &failed {
            println!("FAIL {}", f.replace('\n', " "));
        }
        println!("{sum:?}");
    }
    assert!(failed.is_empty(), "{} runs fail:\n{shown}", failed.len());
}

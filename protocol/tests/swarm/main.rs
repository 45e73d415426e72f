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

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use coverage::Coverage;

const SEEDS: u64 = 2000;
const STEPS: u64 = 2000;

fn knob(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn swarm(seed: u64, steps: u64) -> Coverage {
    let run = AssertUnwindSafe(|| run::Run::new(seed, steps as usize).go());
    catch_unwind(run).unwrap_or_else(|panic| {
        eprintln!("the swarm fails: TIDEOVER_SWARM_SEED={seed} TIDEOVER_SWARM_STEPS={steps} cargo test -p tideover-protocol --test swarm");
        resume_unwind(panic);
    })
}

#[test]
fn every_run_keeps_the_laws() {
    let steps = knob("TIDEOVER_SWARM_STEPS").unwrap_or(STEPS);
    if let Some(seed) = knob("TIDEOVER_SWARM_SEED") {
        swarm(seed, steps);
        return;
    }
    let first = knob("TIDEOVER_SWARM_FIRST").unwrap_or(0);
    let mut sum = Coverage::new();
    for seed in first..first + knob("TIDEOVER_SWARM_SEEDS").unwrap_or(SEEDS) {
        sum.add(&swarm(seed, steps));
    }
    eprintln!("{sum:?}");
}

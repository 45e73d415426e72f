//! The swarm must be able to fail: it is given engines that are broken on purpose.

use tideover_protocol::sabotage::{Sabotage, choose};

use crate::{STEPS, ruled, swarm};

/// Every broken engine is caught within so many runs.
const WITHIN: u64 = 300;

/// What only shows in sessions with rules.
const OF_RULES: [Sabotage; 6] = [
    Sabotage::PinSentTwice,
    Sabotage::PinsOutOfOrder,
    Sabotage::HoldIgnored,
    Sabotage::SwallowedPassed,
    Sabotage::LegLocalReplayed,
    Sabotage::KeyForgetsAnother,
];

/// The first run that catches the engine broken in this way, and what it says.
fn catch(sabotage: Sabotage) -> Option<(u64, String)> {
    if OF_RULES.contains(&sabotage) {
        return ruled::catch(sabotage, WITHIN);
    }
    choose(Some(sabotage));
    let caught = (0..WITHIN).find_map(|seed| Some((seed, swarm(seed, STEPS).err()?)));
    choose(None);
    caught
}

#[test]
fn every_broken_engine_is_caught() {
    let mut missed = Vec::new();
    for sabotage in Sabotage::ALL {
        match catch(sabotage) {
            Some((seed, why)) => {
                println!("{:<22} run {seed:>3}: {:.100}", format!("{sabotage:?}"), why.replace('\n', " "))
            }
            None => missed.push(sabotage),
        }
    }
    assert!(missed.is_empty(), "not noticed in {WITHIN} runs: {missed:?}");
}

//! What the journals say, counted.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    journal::{Entry, What},
    state::State,
};

/// What was counted over all episodes of one software.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// SIGKILLs in each state, with which of them hit a leg that was being attached after another kill.
    pub kills: BTreeMap<State, Kills>,
    /// Clients.
    pub sessions: usize,
    /// What clients asked.
    pub asked: usize,
    /// Of that, what was never answered.
    pub unanswered: usize,
    /// Second and further answers.
    pub answered_again: usize,
    /// What servers asked their clients, those apart that were killed: there nobody waits any more.
    pub server_asked: usize,
    /// Of that, what was never answered.
    pub server_unanswered: usize,
    /// Answers, on either side, to what was not asked.
    pub strays: usize,
    /// What clients were to be pushed.
    pub wanted: usize,
    /// Of that, what never came.
    pub missed: usize,
    /// What was pushed again.
    pub pushed_again: usize,
    /// Errors, ends and reconnects that client libraries showed.
    pub faults: usize,
    /// What servers did a second time: the work was done and nobody could say so.
    pub done_again: usize,
}

/// How often servers were killed in one state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kills {
    /// In all.
    pub all: usize,
    /// Of these, on a leg that was being attached after another kill.
    pub on_a_later_leg: usize,
}

impl Counts {
    /// Counts; `killed` are the processes that were.
    pub(super) fn of(clients: &[Entry], servers: &[Entry], killed: &HashSet<u32>) -> Self {
        let mut counts =
            Self { sessions: clients.iter().filter(|entry| entry.what == What::Done).count(), ..Self::default() };
        let Tally { expected, missing, again, strays } = Tally::of(clients, What::Ask, What::Answer);
        (counts.asked, counts.unanswered, counts.answered_again, counts.strays) = (expected, missing, again, strays);
        let Tally { expected, missing, again, .. } = Tally::of(clients, What::Want, What::Get);
        (counts.wanted, counts.missed, counts.pushed_again) = (expected, missing, again);

        let living: Vec<Entry> = servers.iter().filter(|entry| !killed.contains(&entry.pid)).cloned().collect();
        let Tally { expected, missing, again, strays } = Tally::of(&living, What::Ask, What::Answer);
        (counts.server_asked, counts.server_unanswered) = (expected, missing);
        counts.strays += again + strays + servers.iter().filter(|entry| entry.what == What::Stray).count();
        counts.faults = clients.iter().filter(|entry| entry.what == What::Fault).count();

        let mut done = HashSet::new();
        counts.done_again =
            servers.iter().filter(|entry| entry.what == What::Did && !done.insert(entry.id.as_str())).count();
        counts
    }

    /// What a client must never see of a kill, and a server of its clients.
    pub fn breaches(&self) -> [usize; 6] {
        [self.unanswered, self.answered_again, self.server_unanswered, self.strays, self.missed, self.faults]
    }

    /// What is wrong with a run with the profile that was to kill so often in each of these states; empty if nothing is.
    pub fn complaints(&self, states: &[State], kills: usize) -> Vec<String> {
        const NAMES: [&str; 6] =
            ["unanswered", "answered again", "unanswered questions of a server", "strays", "missed", "faults"];
        let breaches = NAMES.iter().zip(self.breaches()).filter(|(_, count)| *count > 0);
        let breaches = breaches.map(|(name, count)| format!("{count} {name}"));
        let reached = |state: &State| self.kills.get(state).map_or(0, |kills| kills.all);
        let missing = states.iter().filter(|state| reached(state) < kills);
        let missing = missing.map(|state| format!("{}: {} of {kills} kills", state.title(), reached(state)));
        breaches.chain(missing).collect()
    }
}

/// What was to come against what came.
struct Tally {
    expected: usize,
    missing: usize,
    again: usize,
    strays: usize,
}

impl Tally {
    fn of(entries: &[Entry], expected: What, came: What) -> Self {
        // A name may be wanted again later, such as the next block: each time it must come once more.
        let mut owed: HashMap<(&str, &str), (usize, usize)> = HashMap::new();
        for entry in entries {
            let count = || (entry.session.as_str(), entry.id.as_str());
            if entry.what == expected {
                owed.entry(count()).or_default().0 += 1;
            } else if entry.what == came {
                owed.entry(count()).or_default().1 += 1;
            }
        }
        let asked = || owed.values().filter(|(expected, _)| *expected > 0);
        Self {
            expected: owed.values().map(|(expected, _)| expected).sum(),
            missing: owed.values().map(|(expected, came)| expected.saturating_sub(*came)).sum(),
            again: asked().map(|(expected, came)| came.saturating_sub(*expected)).sum(),
            strays: owed.values().filter(|(expected, _)| *expected == 0).map(|(_, came)| came).sum(),
        }
    }
}

//! Which backend a session goes to. Pure: the candidates, the session's key and a random number are arguments.
//!
//! `docs/balancing.md` has the formulas. Whatever the algorithm: only candidates of the best rank that have a weight and
//! room are looked at, a backend that the session sticks to comes first among them, and of equals the one that was
//! picked longest ago is taken, so that none starves.

mod hash;
mod random;
mod round_robin;
#[cfg(test)]
mod tests;
mod turns;

use super::backend::BackendId;
use super::score;
use crate::config::Balance;
use turns::Turns;

pub(super) use hash::{key_hash, seed};

/// A backend that may be picked, as it is now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: BackendId,
    /// Lower ranks go first; others are looked at only when none of these has room.
    pub(super) rank: u32,
    /// Its weight in effect: configured, times what an agent says, times what a slow start leaves. Not above 0: none.
    pub(super) weight: f64,
    /// Sessions on it, those being attached included.
    pub(super) live: usize,
    /// Sessions that it may have. `None`: any number.
    pub(super) max_sessions: Option<usize>,
    /// Names it to the hash: the same for the same backend, whatever else is in the pool, in every process.
    pub(super) seed: u64,
    /// Its round trip time in seconds. `None`: not known yet.
    pub(super) latency: Option<f64>,
    /// The part of it that is in use, 0 to 1, as it reports. `None`: it does not, or not lately.
    pub(super) utilisation: Option<f64>,
}

impl Candidate {
    /// Sessions for its weight, if it were picked.
    fn share(&self) -> f64 {
        (self.live as f64 + 1.0) / self.weight
    }

    /// Its score where `mean` is the utilisation of one that reports none: sessions for its weight and what is left of
    /// it, if it were picked.
    fn score(&self, mean: f64) -> f64 {
        self.share() / score::headroom(self.utilisation.unwrap_or(mean))
    }

    fn has_room(&self) -> bool {
        self.max_sessions.is_none_or(|most| self.live < most)
    }

    fn is_open(&self) -> bool {
        self.has_room() && self.weight > 0.0
    }
}

/// What a session wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// The backend that it sticks to.
    pub(super) sticky: Option<BackendId>,
    /// The hash of its key. `None`: it has none, so [`Balance::Hash`] takes the fewest sessions for the weight.
    pub(super) key: Option<u64>,
}

/// How to choose: settings of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    balance: Balance,
    /// No backend gets more than so many times its part of the sessions, with [`Balance::Hash`]. Above 1.
    bound: f64,
}

impl Policy {
    /// `bound` as `--hash-balance-factor` has it, in percent.
    pub(super) fn new(balance: Balance, bound: u32) -> Self {
        Self { balance, bound: f64::from(bound) / 100.0 }
    }
}

/// Chooses for a pool, and remembers whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Balancer {
    turns: Turns,
}

impl Balancer {
    /// The backend for a session that wants `wish`, or `None` if no candidate may be picked. `random` is a fresh random
    /// number. The caller counts the session on it before it asks again.
    pub(super) fn pick(&mut self, by: Policy, candidates: &[Candidate], wish: Wish, random: u64) -> Option<BackendId> {
        let chosen = match wish.sticky.and_then(|sticky| stuck(candidates, sticky)) {
            Some(sticky) => sticky,
            None => self.choose(by, &best(candidates)?, wish.key, random)?,
        };
        self.turns.picked(chosen);
        Some(chosen)
    }

    /// Forgets a backend that is gone for good.
    pub(super) fn forget(&mut self, id: BackendId) {
        self.turns.forget(id);
    }

    fn choose(&mut self, by: Policy, open: &[Candidate], key: Option<u64>, random: u64) -> Option<BackendId> {
        match (by.balance, key) {
            (Balance::LeastConn, _) | (Balance::Hash, None) => self.least(open, Candidate::share),
            (Balance::Latency, _) => self.latency(open),
            (Balance::Score, _) => self.score(open),
            (Balance::RoundRobin, _) => Some(round_robin::pick(open, &mut self.turns)),
            (Balance::RandomTwo, _) => Some(random::pick(open, &self.turns, random)),
            (Balance::Hash, Some(key)) => Some(hash::pick(open, key, by.bound)),
        }
    }

    fn latency(&self, open: &[Candidate]) -> Option<BackendId> {
        // One that nobody knows yet is taken for the fastest, so that it is found out.
        let fastest = open.iter().filter_map(|candidate| candidate.latency).fold(f64::INFINITY, f64::min);
        let known =
            |candidate: &Candidate| candidate.latency.unwrap_or(if fastest.is_finite() { fastest } else { 0.0 });
        self.least(open, |candidate| known(candidate).max(score::LEAST_LATENCY) * candidate.share())
    }

    fn score(&self, open: &[Candidate]) -> Option<BackendId> {
        let mean = mean_utilisation(open);
        self.least(open, |candidate| candidate.score(mean))
    }

    fn least(&self, open: &[Candidate], cost: impl Fn(&Candidate) -> f64) -> Option<BackendId> {
        let by_cost = |a: &&Candidate, b: &&Candidate| {
            cost(a).total_cmp(&cost(b)).then_with(|| self.turns.last(a.id).cmp(&self.turns.last(b.id)))
        };
        open.iter().min_by(by_cost).map(|candidate| candidate.id)
    }
}

/// What is known of a backend's load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Its weight in effect.
    pub weight: f64,
    /// The part of it that is in use, 0 to 1, as it reports. `None`: it does not, or not lately.
    pub utilisation: Option<f64>,
    /// Its round trip time in seconds. `None`: not known yet.
    pub latency: Option<f64>,
    /// What [`Balance::Score`] compares, for a weight of 100: the least goes first. `None`: it has no weight.
    pub score: Option<f64>,
}

/// The loads of all backends of a pool.
pub(super) fn loads(all: &[Candidate]) -> Vec<Load> {
    let mean = mean_utilisation(all);
    let load = |candidate: &Candidate| {
        let &Candidate { weight, utilisation, latency, .. } = candidate;
        let score = (weight > 0.0).then(|| 100.0 * candidate.score(mean));
        Load { weight, utilisation, latency, score }
    };
    all.iter().map(load).collect()
}

fn mean_utilisation(candidates: &[Candidate]) -> f64 {
    score::mean(candidates.iter().filter_map(|candidate| candidate.utilisation))
}

/// The backend that a session sticks to, if it may have it: no other candidate has a better rank, so that a backend
/// whose dials fail is not waited for.
fn stuck(candidates: &[Candidate], sticky: BackendId) -> Option<BackendId> {
    let found = candidates.iter().find(|candidate| candidate.id == sticky && candidate.has_room())?;
    let better = candidates.iter().any(|other| other.is_open() && other.rank < found.rank);
    (!better).then_some(sticky)
}

/// The open candidates of the best rank that has any.
fn best(candidates: &[Candidate]) -> Option<Vec<Candidate>> {
    let open = || candidates.iter().filter(|candidate| candidate.is_open());
    let rank = open().map(|candidate| candidate.rank).min()?;
    Some(open().filter(|candidate| candidate.rank == rank).copied().collect())
}

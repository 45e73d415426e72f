//! Consistent hashing with bounded loads: weighted rendezvous hashing (Thaler and Ravishankar 1998; weights as in
//! Schindelhauer and Schomaker 2005), and the bound of Mirrokni, Thorup and Zadimoghaddam 2018.
//!
//! A key's place among the backends depends on nothing but the key, their names and their weights. So when a backend
//! leaves, only its keys move, and when one comes, keys move only to it. There is no table to build: a pick is one pass.

use std::hash::Hasher;

use twox_hash::XxHash3_64;

use super::super::backend::BackendId;
use super::Candidate;

/// Different from that of keys, so that a key with the name of a backend is nothing special.
const BACKEND: u64 = 0x6261_636b_656e_6400;

/// The hash of a session's key. The same in every process, so that several proxies agree.
pub(in super::super) fn key_hash(key: &[u8]) -> u64 {
    XxHash3_64::oneshot(key)
}

/// What stands for the backend of this name.
pub(in super::super) fn seed(name: &str) -> u64 {
    XxHash3_64::oneshot_with_seed(BACKEND, name.as_bytes())
}

/// The first candidate in the order of the key that is below the bound.
pub(super) fn pick(open: &[Candidate], key: u64, bound: f64) -> BackendId {
    let sessions: usize = open.iter().map(|candidate| candidate.live).sum();
    let weight: f64 = open.iter().map(|candidate| candidate.weight).sum();
    // Rounded up, the parts hold at least `bound` times all sessions and this one: somebody is below.
    let most = |candidate: &Candidate| (bound * (sessions as f64 + 1.0) * candidate.weight / weight).ceil();
    let below = open.iter().filter(|candidate| (candidate.live as f64) < most(candidate));
    let drawn = below.min_by(|a, b| distance(key, a).total_cmp(&distance(key, b)));
    drawn.expect("the parts hold more than there are").id
}

/// How far a candidate is from a key: exponentially distributed, with its weight as the rate, so that the nearest one is
/// drawn by weight.
fn distance(key: u64, candidate: &Candidate) -> f64 {
    let mut hasher = XxHash3_64::with_seed(candidate.seed);
    hasher.write_u64(key);
    // 53 bits are what a double can tell apart; never 0, whose logarithm is none.
    let uniform = ((hasher.finish() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -uniform.ln() / candidate.weight
}

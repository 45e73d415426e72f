//! Smooth weighted round robin: a backend of weight 3 among 3, 2 and 1 gets every second session, not three in a row.

use super::super::backend::BackendId;
use super::Candidate;
use super::turns::Turns;

/// Parts that a session is divided into: whole numbers, so that equals stay equal.
const PARTS: f64 = (1_u64 << 32) as f64;

/// Each pick owes every candidate its part of one session; the one that is owed most gets it. Parts, not weights, are
/// added up, so that what is owed stays below one session a candidate when weights change.
pub(super) fn pick(open: &[Candidate], turns: &mut Turns) -> BackendId {
    let weights: f64 = open.iter().map(|candidate| candidate.weight).sum();
    let part = |candidate: &Candidate| (candidate.weight / weights * PARTS).max(1.0) as i64;
    let owed: Vec<_> = open.iter().map(|candidate| (candidate.id, turns.owe(candidate.id, part(candidate)))).collect();
    let longest_ago = |id| std::cmp::Reverse(turns.last(id));
    let chosen = owed.iter().max_by_key(|(id, owed)| (*owed, longest_ago(*id), std::cmp::Reverse(*id)));
    let (chosen, _) = *chosen.expect("there is a candidate");
    turns.owe(chosen, -open.iter().map(part).sum::<i64>());
    chosen
}

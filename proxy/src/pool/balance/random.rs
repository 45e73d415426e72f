//! Random of two choices: nearly as even as looking at all, and two proxies that do not know of each other do not
//! all pick the same backend.

use super::super::backend::BackendId;
use super::Candidate;
use super::turns::Turns;

/// Draws two different candidates by weight, and takes the one with fewer sessions for its weight.
pub(super) fn pick(open: &[Candidate], turns: &Turns, random: u64) -> BackendId {
    // 32 bits each: a weight's part is met within 1 in 4 thousand million.
    let [first, second] =
        [random as u32, (random >> 32) as u32].map(|half| f64::from(half) / (f64::from(u32::MAX) + 1.0));
    let a = draw(open.iter(), first);
    let others = || open.iter().filter(|candidate| candidate.id != a.id);
    if others().next().is_none() {
        return a.id;
    }
    let b = draw(others(), second);
    let order = a.share().total_cmp(&b.share()).then_with(|| turns.last(a.id).cmp(&turns.last(b.id)));
    if order.is_le() { a.id } else { b.id }
}

/// The candidate at `point` (0 to 1) of a line on which each has a part as long as its weight.
fn draw<'a>(candidates: impl Iterator<Item = &'a Candidate> + Clone, point: f64) -> &'a Candidate {
    let total: f64 = candidates.clone().map(|candidate| candidate.weight).sum();
    let mut rest = point * total;
    let mut last = None;
    for candidate in candidates {
        rest -= candidate.weight;
        last = Some(candidate);
        if rest < 0.0 {
            break;
        }
    }
    // Rounding may leave a rest behind the last one.
    last.expect("there is a candidate")
}

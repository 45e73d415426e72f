//! Which backend comes next. Pure.

use std::collections::BTreeMap;

use super::backend::BackendId;
use crate::config::ReattachOrder;

/// What the choice among backends goes by, besides their live legs.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The turn at which each was picked last.
    picked: BTreeMap<BackendId, u64>,
    turn: u64,
}

/// A backend that may be picked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: BackendId,
    /// Lower ones go first, whatever else is known.
    pub(super) rank: u8,
    /// Within its rank it does not go last.
    pub(super) eligible: bool,
    /// Its live legs.
    pub(super) live: usize,
    /// Of those that are eligible, all of a lower number go first.
    pub(super) priority: u16,
    /// Its share, above 0.
    pub(super) weight: f32,
}

impl Candidate {
    /// Legs a weight if it got one more.
    fn load(&self) -> f64 {
        (self.live as f64 + 1.0) / f64::from(self.weight)
    }
}

impl Table {
    /// The next backend: of the best rank, eligible if possible, of the lowest priority number, with the fewest legs by
    /// weight; of equals the one picked longest ago.
    pub(super) fn pick(&mut self, candidates: impl Iterator<Item = Candidate>) -> Option<BackendId> {
        let turn = |candidate: &Candidate| self.picked.get(&candidate.id).copied().unwrap_or(0);
        let Candidate { id, .. } = candidates.min_by(|a, b| {
            (a.rank, !a.eligible, a.priority)
                .cmp(&(b.rank, !b.eligible, b.priority))
                .then(a.load().total_cmp(&b.load()))
                .then_with(|| turn(a).cmp(&turn(b)))
        })?;
        self.turn += 1;
        self.picked.insert(id, self.turn);
        Some(id)
    }

    /// The backend is gone for good.
    pub(super) fn forget(&mut self, id: BackendId) {
        self.picked.remove(&id);
    }
}

/// Rank of a backend at a re-attach, where `last` is the one that the session was on; `None`: not a candidate.
pub(super) fn reattach_rank(order: ReattachOrder, last: Option<BackendId>, id: BackendId) -> Option<u8> {
    let Some(last) = last else { return Some(0) };
    match order {
        ReattachOrder::OtherFirst => Some(u8::from(id == last)),
        ReattachOrder::SameFirst => Some(u8::from(id != last)),
        ReattachOrder::SameOnly => (id == last).then_some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: BackendId = BackendId(0);
    const B: BackendId = BackendId(1);
    const C: BackendId = BackendId(2);

    /// Backends A, B and so on with so many live legs, and the same weight.
    fn pick(table: &mut Table, live: &[usize]) -> Option<BackendId> {
        let candidate = |(n, live): (u32, &usize)| Candidate {
            id: BackendId(n),
            rank: 0,
            eligible: true,
            priority: 0,
            live: *live,
            weight: 100.0,
        };
        table.pick((0..).zip(live).map(candidate))
    }

    fn order_of(order: ReattachOrder, last: Option<BackendId>, live: [usize; 3]) -> Vec<BackendId> {
        let mut table = Table::default();
        let mut tried = Vec::new();
        let candidate = |(n, live)| {
            let id = BackendId(n);
            Some(Candidate {
                id,
                rank: reattach_rank(order, last, id)?,
                eligible: true,
                priority: 0,
                live,
                weight: 100.0,
            })
        };
        let candidates: Vec<_> = (0..).zip(live).filter_map(candidate).collect();
        let left =
            |tried: &[BackendId]| candidates.iter().filter(|one| !tried.contains(&one.id)).copied().collect::<Vec<_>>();
        while let Some(id) = table.pick(left(&tried).into_iter()) {
            tried.push(id);
        }
        tried
    }

    #[test]
    fn fewest_live_legs_come_first_and_equals_take_turns() {
        let mut table = Table::default();
        let mut pick = |live: [usize; 3]| pick(&mut table, &live);
        assert_eq!(pick([2, 1, 2]), Some(B));
        let turns: Vec<_> = (0..4).map(|_| pick([1, 1, 1])).collect();
        assert_eq!(turns, [Some(A), Some(C), Some(B), Some(A)]);
    }

    #[test]
    fn legs_are_shared_out_by_weight() {
        let mut table = Table::default();
        let mut live = [0_usize; 2];
        for _ in 0..300 {
            let both = [(A, 200.0), (B, 100.0)].map(|(id, weight)| Candidate {
                id,
                rank: 0,
                eligible: true,
                priority: 0,
                live: live[id.0 as usize],
                weight,
            });
            let id = table.pick(both.into_iter()).unwrap();
            live[id.0 as usize] += 1;
        }
        assert_eq!(live, [200, 100]);
    }

    #[test]
    fn what_is_not_eligible_goes_last_within_its_rank() {
        let of = |id, rank, eligible| Candidate { id, rank, eligible, priority: 0, live: 0, weight: 1.0 };
        let candidates = [of(A, 1, true), of(B, 0, false), of(C, 0, true)];
        let pick = |candidates: &[Candidate]| Table::default().pick(candidates.iter().copied());
        assert_eq!(pick(&candidates), Some(C));
        assert_eq!(pick(&candidates[..2]), Some(B));
        assert_eq!(pick(&[of(A, 1, false)]), Some(A), "it is tried when nobody else is left");
    }

    #[test]
    fn a_higher_priority_number_waits_until_all_lower_ones_failed() {
        let of = |id, eligible, priority, live| Candidate { id, rank: 0, eligible, priority, live, weight: 1.0 };
        let pick = |a, b| Table::default().pick([of(A, a, 0, 9), of(B, b, 0, 9), of(C, true, 1, 0)].into_iter());
        assert_ne!(pick(true, true), Some(C));
        assert_eq!(pick(false, true), Some(B));
        assert_eq!(pick(false, false), Some(C));
    }

    #[test]
    fn reattach_orders() {
        use ReattachOrder::{OtherFirst, SameFirst, SameOnly};
        assert_eq!(order_of(OtherFirst, Some(A), [0, 2, 1]), [C, B, A]);
        assert_eq!(order_of(SameFirst, Some(B), [1, 2, 0]), [B, C, A]);
        assert_eq!(order_of(SameOnly, Some(B), [0, 2, 0]), [B]);
        assert_eq!(order_of(SameOnly, None, [0, 2, 1]), [A, C, B]);
    }
}

//! Which backend comes next. Pure: time comes in as an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::backend::BackendId;
use crate::config::ReattachOrder;

/// How long a backend goes to the end of the order after a failed dial, at least.
const LEAST_DEMOTION: Duration = Duration::from_secs(1);

/// What the choice among backends goes by, besides their live legs.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<BackendId, Row>,
    turn: u64,
}

/// A backend that may be picked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: BackendId,
    /// Lower ones go first, whatever else is known.
    pub(super) rank: u8,
    /// Its live legs.
    pub(super) live: usize,
    /// Of those that did not fail lately, all of a lower number go first.
    pub(super) priority: u16,
    /// Its share, not 0.
    pub(super) weight: u16,
}

impl Candidate {
    /// Legs a weight if it got one more, in fixed point.
    fn load(&self) -> u64 {
        ((self.live as u64 + 1) << 20) / u64::from(self.weight.max(1))
    }
}

#[derive(Debug, Default)]
struct Row {
    /// The turn at which it was picked last; 0 if never.
    picked: u64,
    demoted_until: Option<Instant>,
    /// Failed dials so far.
    failures: u64,
    /// When the latest dial failed, unless one was answered since.
    failed_at: Option<Instant>,
}

/// What dials have shown of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It stands at the end of the order for now.
    pub demoted: bool,
    /// Failed dials so far.
    pub failures: u64,
    /// When the latest dial failed; `None` if none did, or one was answered since.
    pub failed_at: Option<Instant>,
}

impl Row {
    fn demoted(&self, now: Instant) -> bool {
        self.demoted_until.is_some_and(|until| now < until)
    }
}

impl Table {
    /// The next backend: of the best rank, not demoted if possible, of the lowest priority number, with the fewest legs by
    /// weight; of equals the one picked longest ago.
    pub(super) fn pick(&mut self, candidates: impl Iterator<Item = Candidate>, now: Instant) -> Option<BackendId> {
        let Candidate { id, .. } = candidates.min_by_key(|candidate| {
            let row = self.rows.get(&candidate.id);
            let demoted = row.is_some_and(|row| row.demoted(now));
            (candidate.rank, demoted, candidate.priority, candidate.load(), row.map_or(0, |row| row.picked))
        })?;
        self.turn += 1;
        self.row(id).picked = self.turn;
        Some(id)
    }

    fn row(&mut self, id: BackendId) -> &mut Row {
        self.rows.entry(id).or_default()
    }

    /// The backend is gone for good.
    pub(super) fn forget(&mut self, id: BackendId) {
        self.rows.remove(&id);
    }

    /// A dial that took `took` failed. The backend goes to the end of the order for as long as that, so that one that
    /// lets dials time out does not eat most of the time of those who try it; at least for a second.
    pub(super) fn demote(&mut self, id: BackendId, took: Duration, now: Instant) {
        let row = self.row(id);
        row.demoted_until = Some(now + took.max(LEAST_DEMOTION));
        row.failures += 1;
        row.failed_at = Some(now);
    }

    /// What dials have shown of the backend.
    pub(super) fn standing(&self, id: BackendId, now: Instant) -> Standing {
        let Some(row) = self.rows.get(&id) else { return Standing::default() };
        Standing { demoted: row.demoted(now), failures: row.failures, failed_at: row.failed_at }
    }

    /// The backend is proven to be dying: it goes to the end of the order for a second, if it is not there for longer.
    pub(super) fn lost(&mut self, id: BackendId, now: Instant) {
        let row = self.row(id);
        row.demoted_until = row.demoted_until.max(Some(now + LEAST_DEMOTION));
    }

    /// A dial or a probe was answered.
    pub(super) fn restore(&mut self, id: BackendId) {
        let row = self.row(id);
        row.demoted_until = None;
        row.failed_at = None;
    }

    /// How many dials failed so far: a mark for [`Table::failed_since`].
    pub(super) fn failures(&self, id: BackendId) -> u64 {
        self.rows.get(&id).map_or(0, |row| row.failures)
    }

    /// Whether a dial failed since the mark was taken, and none was answered after it.
    pub(super) fn failed_since(&self, id: BackendId, mark: u64, now: Instant) -> bool {
        self.rows.get(&id).is_some_and(|row| row.failures != mark && row.demoted(now))
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
    fn pick(table: &mut Table, live: &[usize], now: Instant) -> Option<BackendId> {
        let candidate =
            |(n, live): (u32, &usize)| Candidate { id: BackendId(n), rank: 0, live: *live, priority: 0, weight: 100 };
        table.pick((0..).zip(live).map(candidate), now)
    }

    fn order_of(order: ReattachOrder, last: Option<BackendId>, live: [usize; 3]) -> Vec<BackendId> {
        let mut table = Table::default();
        let mut tried = Vec::new();
        let candidate = |(n, live)| {
            let id = BackendId(n);
            Some(Candidate { id, rank: reattach_rank(order, last, id)?, live, priority: 0, weight: 100 })
        };
        let candidates: Vec<_> = (0..).zip(live).filter_map(candidate).collect();
        let left =
            |tried: &[BackendId]| candidates.iter().filter(|one| !tried.contains(&one.id)).copied().collect::<Vec<_>>();
        while let Some(id) = table.pick(left(&tried).into_iter(), Instant::now()) {
            tried.push(id);
        }
        tried
    }

    #[test]
    fn fewest_live_legs_come_first_and_equals_take_turns() {
        let mut table = Table::default();
        let now = Instant::now();
        let mut pick = |live: [usize; 3]| pick(&mut table, &live, now);
        assert_eq!(pick([2, 1, 2]), Some(B));
        let turns: Vec<_> = (0..4).map(|_| pick([1, 1, 1])).collect();
        assert_eq!(turns, [Some(A), Some(C), Some(B), Some(A)]);
    }

    #[test]
    fn legs_are_shared_out_by_weight() {
        let mut table = Table::default();
        let mut live = [0_usize; 2];
        for _ in 0..300 {
            let both = [(A, 200), (B, 100)].map(|(id, weight)| Candidate {
                id,
                rank: 0,
                live: live[id.0 as usize],
                priority: 0,
                weight,
            });
            let id = table.pick(both.into_iter(), Instant::now()).unwrap();
            live[id.0 as usize] += 1;
        }
        assert_eq!(live, [200, 100]);
    }

    #[test]
    fn a_higher_priority_number_waits_until_all_lower_ones_failed() {
        let mut table = Table::default();
        let now = Instant::now();
        let candidates = [(A, 0), (B, 0), (C, 1)].map(|(id, priority)| {
            let live = if id == C { 0 } else { 9 };
            Candidate { id, rank: 0, live, priority, weight: 100 }
        });
        assert_ne!(table.pick(candidates.into_iter(), now), Some(C));
        table.demote(A, Duration::ZERO, now);
        assert_eq!(table.pick(candidates.into_iter(), now), Some(B));
        table.demote(B, Duration::ZERO, now);
        assert_eq!(table.pick(candidates.into_iter(), now), Some(C));
    }

    #[test]
    fn a_failed_backend_goes_last_for_as_long_as_its_dial_took() {
        let mut table = Table::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let live = [0, 5];
        table.demote(A, 5 * second, now);
        assert_eq!(pick(&mut table, &live, now + 4 * second), Some(B));
        assert_eq!(pick(&mut table, &live, now + 5 * second), Some(A));
        table.demote(A, Duration::ZERO, now);
        assert_eq!(pick(&mut table, &live, now + second / 2), Some(B));
        assert_eq!(pick(&mut table, &live, now + second), Some(A));
    }

    #[test]
    fn a_dying_backend_goes_last_until_it_answers() {
        let mut table = Table::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let pick = |table: &mut Table, now| pick(table, &[0, 5], now);
        table.lost(A, now);
        assert_eq!(pick(&mut table, now), Some(B));
        assert!(!table.failed_since(A, table.failures(A), now), "nobody's dial failed");
        table.restore(A);
        assert_eq!(pick(&mut table, now), Some(A));
        table.demote(A, 5 * second, now);
        table.lost(A, now);
        assert_eq!(pick(&mut table, now + 4 * second), Some(B), "it is never forgiven earlier");
    }

    #[test]
    fn a_failure_is_news_until_a_dial_is_answered() {
        let mut table = Table::default();
        let now = Instant::now();
        table.demote(A, Duration::ZERO, now);
        let mark = table.failures(A);
        assert!(!table.failed_since(A, mark, now), "that one was before");
        table.demote(A, Duration::ZERO, now);
        assert!(table.failed_since(A, mark, now));
        table.restore(A);
        assert!(!table.failed_since(A, mark, now));
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

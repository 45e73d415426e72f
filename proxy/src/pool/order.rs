//! Which backend comes next. Pure: time comes in as an argument.

use std::time::{Duration, Instant};

use super::backend::BackendId;
use crate::config::ReattachOrder;

/// How long a backend goes to the end of the order after a failed dial, at least.
const LEAST_DEMOTION: Duration = Duration::from_secs(1);

/// What the choice among backends goes by, besides their live legs.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Row>,
    turn: u64,
}

#[derive(Clone, Debug, Default)]
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
    pub(super) fn new(backends: usize) -> Self {
        Self { rows: vec![Row::default(); backends], turn: 0 }
    }

    /// The next backend: of the best rank (`None` is no candidate), not demoted if possible, with the fewest `live`
    /// legs; of equals the one picked longest ago.
    pub(super) fn pick(
        &mut self,
        rank: impl Fn(BackendId) -> Option<u8>,
        live: impl Fn(BackendId) -> usize,
        now: Instant,
    ) -> Option<BackendId> {
        let ranked = (0..self.rows.len()).map(BackendId).filter_map(|id| Some((rank(id)?, id)));
        let (_, id) = ranked.min_by_key(|(rank, id)| {
            let row = &self.rows[id.0];
            (*rank, row.demoted(now), live(*id), row.picked)
        })?;
        self.turn += 1;
        self.rows[id.0].picked = self.turn;
        Some(id)
    }

    /// A dial that took `took` failed. The backend goes to the end of the order for as long as that, so that one that
    /// lets dials time out does not eat most of the time of those who try it; at least for a second.
    pub(super) fn demote(&mut self, id: BackendId, took: Duration, now: Instant) {
        let row = &mut self.rows[id.0];
        row.demoted_until = Some(now + took.max(LEAST_DEMOTION));
        row.failures += 1;
        row.failed_at = Some(now);
    }

    /// What dials have shown of the backend.
    pub(super) fn standing(&self, id: BackendId, now: Instant) -> Standing {
        let row = &self.rows[id.0];
        Standing { demoted: row.demoted(now), failures: row.failures, failed_at: row.failed_at }
    }

    /// The backend is proven to be dying: it goes to the end of the order for a second, if it is not there for longer.
    pub(super) fn lost(&mut self, id: BackendId, now: Instant) {
        let row = &mut self.rows[id.0];
        row.demoted_until = row.demoted_until.max(Some(now + LEAST_DEMOTION));
    }

    /// A dial or a probe was answered.
    pub(super) fn restore(&mut self, id: BackendId) {
        self.rows[id.0].demoted_until = None;
        self.rows[id.0].failed_at = None;
    }

    /// How many dials failed so far: a mark for [`Table::failed_since`].
    pub(super) fn failures(&self, id: BackendId) -> u64 {
        self.rows[id.0].failures
    }

    /// Whether a dial failed since the mark was taken, and none was answered after it.
    pub(super) fn failed_since(&self, id: BackendId, mark: u64, now: Instant) -> bool {
        let row = &self.rows[id.0];
        row.failures != mark && row.demoted(now)
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

    fn order_of(order: ReattachOrder, last: Option<BackendId>, live: [usize; 3]) -> Vec<BackendId> {
        let mut table = Table::new(3);
        let mut tried = Vec::new();
        while let Some(id) = table.pick(
            |id| if tried.contains(&id) { None } else { reattach_rank(order, last, id) },
            |id| live[id.0],
            Instant::now(),
        ) {
            tried.push(id);
        }
        tried
    }

    #[test]
    fn fewest_live_legs_come_first_and_equals_take_turns() {
        let mut table = Table::new(3);
        let now = Instant::now();
        let mut pick = |live: [usize; 3]| table.pick(|_| Some(0), |id| live[id.0], now);
        assert_eq!(pick([2, 1, 2]), Some(B));
        let turns: Vec<_> = (0..4).map(|_| pick([1, 1, 1])).collect();
        assert_eq!(turns, [Some(A), Some(C), Some(B), Some(A)]);
    }

    #[test]
    fn a_failed_backend_goes_last_for_as_long_as_its_dial_took() {
        let mut table = Table::new(2);
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let live = |id: BackendId| [0, 5][id.0];
        table.demote(A, 5 * second, now);
        assert_eq!(table.pick(|_| Some(0), live, now + 4 * second), Some(B));
        assert_eq!(table.pick(|_| Some(0), live, now + 5 * second), Some(A));
        table.demote(A, Duration::ZERO, now);
        assert_eq!(table.pick(|_| Some(0), live, now + second / 2), Some(B));
        assert_eq!(table.pick(|_| Some(0), live, now + second), Some(A));
    }

    #[test]
    fn a_dying_backend_goes_last_until_it_answers() {
        let mut table = Table::new(2);
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let pick = |table: &mut Table, now| table.pick(|_| Some(0), |id| [0, 5][id.0], now);
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
        let mut table = Table::new(1);
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

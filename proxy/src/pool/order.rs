//! Which backends go first: what dials have shown of them, and the order at a re-attach. Pure: time comes in as an
//! argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::backend::BackendId;
use crate::config::ReattachOrder;

/// How long a backend goes to the end of the order after a failed dial, at least.
const LEAST_DEMOTION: Duration = Duration::from_secs(1);

/// What dials have shown of the backends of a pool.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<BackendId, Row>,
}

#[derive(Debug, Default)]
struct Row {
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

/// The rank of a candidate: first what the round says, then whether it failed lately, then its priority number.
pub(super) fn rank(round: u8, demoted: bool, priority: u16) -> u32 {
    u32::from(round) << 17 | u32::from(demoted) << 16 | u32::from(priority)
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

    #[test]
    fn what_failed_lately_goes_behind_and_then_priorities_count() {
        assert!(rank(0, false, u16::MAX) < rank(0, true, 0));
        assert!(rank(0, true, u16::MAX) < rank(1, false, 0));
        assert!(rank(0, false, 0) < rank(0, false, 1));
    }

    #[test]
    fn a_failed_backend_goes_last_for_as_long_as_its_dial_took() {
        let mut table = Table::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        table.demote(A, 5 * second, now);
        assert!(table.standing(A, now + 4 * second).demoted);
        assert!(!table.standing(A, now + 5 * second).demoted);
        assert!(!table.standing(B, now).demoted);
        table.demote(A, Duration::ZERO, now);
        assert!(table.standing(A, now + second / 2).demoted);
        assert!(!table.standing(A, now + second).demoted);
    }

    #[test]
    fn a_dying_backend_goes_last_until_it_answers() {
        let mut table = Table::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        table.lost(A, now);
        assert!(table.standing(A, now).demoted);
        assert!(!table.failed_since(A, table.failures(A), now), "nobody's dial failed");
        table.restore(A);
        assert!(!table.standing(A, now).demoted);
        table.demote(A, 5 * second, now);
        table.lost(A, now);
        assert!(table.standing(A, now + 4 * second).demoted, "it is never forgiven earlier");
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
        let ranks = |order, last| [A, B, C].map(|id| reattach_rank(order, last, id));
        assert_eq!(ranks(OtherFirst, Some(A)), [Some(1), Some(0), Some(0)]);
        assert_eq!(ranks(SameFirst, Some(B)), [Some(1), Some(0), Some(1)]);
        assert_eq!(ranks(SameOnly, Some(B)), [None, Some(0), None]);
        assert_eq!(ranks(SameOnly, None), [Some(0); 3]);
    }
}

//! Which backends go first, whatever else is known of them. Pure.

use super::backend::BackendId;
use crate::config::ReattachOrder;

/// The rank of a candidate; lower ones go first. First what the round says, then whether it is eligible by its health,
/// then its priority number.
pub(super) fn rank(round: u8, eligible: bool, priority: u16) -> u32 {
    u32::from(round) << 17 | u32::from(!eligible) << 16 | u32::from(priority)
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

    #[test]
    fn what_is_not_eligible_goes_last_within_its_round_and_then_priorities_count() {
        assert!(rank(0, true, u16::MAX) < rank(0, false, 0));
        assert!(rank(0, false, u16::MAX) < rank(1, true, 0));
        assert!(rank(0, true, 0) < rank(0, true, 1));
    }

    #[test]
    fn reattach_orders() {
        use ReattachOrder::{OtherFirst, SameFirst, SameOnly};
        let [a, b, c] = [0, 1, 2].map(BackendId);
        let ranks = |order, last| [a, b, c].map(|id| reattach_rank(order, last, id));
        assert_eq!(ranks(OtherFirst, Some(a)), [Some(1), Some(0), Some(0)]);
        assert_eq!(ranks(SameFirst, Some(b)), [Some(1), Some(0), Some(1)]);
        assert_eq!(ranks(SameOnly, Some(b)), [None, Some(0), None]);
        assert_eq!(ranks(SameOnly, None), [Some(0); 3]);
    }
}

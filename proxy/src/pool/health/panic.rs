//! How much of a pool may be out at once. Pure.

/// Whether checks are believed: at least `threshold` percent of the pool's backends are up by them. When most of a pool
/// seems to be down, what asks is more likely to be wrong than so many backends; and if they are down, the few that are
/// left would only follow under the load of all.
pub(super) fn are_checks_believed(up: usize, all: usize, threshold: u8) -> bool {
    up * 100 >= all * usize::from(threshold)
}

/// Whether one more may be ejected: at least half of the pool is left by it.
pub(super) fn may_eject(left: usize, all: usize) -> bool {
    left * 2 >= all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ejection_leaves_at_least_half_of_a_pool() {
        for (all, most_out) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (100, 50)] {
            let out = (1..=all).filter(|out| may_eject(all - out, all)).max().unwrap_or(0);
            assert_eq!(out, most_out, "of {all}");
        }
    }

    #[test]
    fn checks_are_believed_while_enough_are_up() {
        assert!(are_checks_believed(5, 10, 50));
        assert!(!are_checks_believed(4, 10, 50));
        assert!(are_checks_believed(1, 2, 50));
        assert!(!are_checks_believed(0, 1, 50), "all are down");
        assert!(are_checks_believed(0, 10, 0), "0 believes them always");
        assert!(!are_checks_believed(9, 10, 100));
        assert!(are_checks_believed(0, 0, 50), "there is nobody to disbelieve");
    }
}

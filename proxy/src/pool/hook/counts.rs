//! What came of asking hooks, for the operator.

use std::sync::atomic::{AtomicU64, Ordering};

/// What came of asking a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookResult {
    /// It answered.
    Answered,
    /// An earlier answer was still good; it was not asked.
    Cached,
    /// It denied the session.
    Denied,
    /// It could not be connected to, or the connection broke.
    Unreachable,
    /// It did not answer in time.
    Timeout,
    /// It answered with another status than 200 or 204.
    Status,
    /// Its answer was too long, or none that could be followed.
    Invalid,
    /// It was not asked, as another call had just failed to reach it.
    GaveUp,
}

/// All of them with their words, in this order.
pub const HOOK_RESULTS: [(HookResult, &str); 8] = [
    (HookResult::Answered, "answered"),
    (HookResult::Cached, "cached"),
    (HookResult::Denied, "denied"),
    (HookResult::Unreachable, "unreachable"),
    (HookResult::Timeout, "timeout"),
    (HookResult::Status, "status"),
    (HookResult::Invalid, "invalid"),
    (HookResult::GaveUp, "gave_up"),
];

/// How often each came.
#[derive(Debug, Default)]
pub(in super::super) struct HookCounts([AtomicU64; HOOK_RESULTS.len()]);

impl HookCounts {
    pub(super) fn count(&self, result: HookResult) {
        self.0[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often each came, with its word.
    pub(in super::super) fn get(&self) -> [(&'static str, u64); HOOK_RESULTS.len()] {
        HOOK_RESULTS.map(|(result, word)| (word, self.0[result as usize].load(Ordering::Relaxed)))
    }
}

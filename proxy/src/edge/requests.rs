//! What came of plain HTTP requests.

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;

use super::{Reason, Refused};

/// The classes of final statuses, by their first digit.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Counts of plain HTTP requests by what came of them. One whose client left before the answer is in none.
#[derive(Debug, Default)]
pub struct Requests {
    answered: [AtomicU64; CLASSES.len()],
    refused: Refused,
}

impl Requests {
    pub(super) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        self.answered[class].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, reason: Reason) {
        self.refused.count(reason);
    }

    /// Each result with its count: a class of the backends' statuses, or why the proxy itself refused.
    #[must_use]
    pub fn get(&self) -> Vec<(&'static str, u64)> {
        let answered = CLASSES.into_iter().zip(self.answered.iter().map(|count| count.load(Ordering::Relaxed)));
        answered.chain(Reason::REQUESTS.map(|reason| (reason.word(), self.refused.get(reason)))).collect()
    }
}

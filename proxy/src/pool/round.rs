//! One round of dials: who was tried and what came of it.

use hyper::StatusCode;

use super::backend::{Backend, BackendId};
use super::dial::DialError;

/// The backend that denied a session a new leg, of which one alone is not believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Denials(Option<BackendId>);

impl Denials {
    /// Adds a 401 or 403; gives it back if there are enough to believe it: two backends, or the only candidate.
    pub(super) fn add(&mut self, id: BackendId, status: StatusCode, candidates: usize) -> Option<StatusCode> {
        let first = *self.0.get_or_insert(id);
        (first != id || candidates == 1).then_some(status)
    }
}

/// One pass over the candidates.
pub(super) struct Round {
    /// How many there are.
    pub(super) candidates: usize,
    left: Vec<BackendId>,
    last_failure: String,
}

impl Round {
    pub(super) fn new(candidates: Vec<BackendId>) -> Self {
        Self { candidates: candidates.len(), left: candidates, last_failure: String::new() }
    }

    pub(super) fn is_left(&self, id: BackendId) -> bool {
        self.left.contains(&id)
    }

    pub(super) fn left(&self) -> usize {
        self.left.len()
    }

    fn tried(&self) -> usize {
        self.candidates - self.left.len()
    }

    pub(super) fn begin(&mut self, id: BackendId) {
        self.left.retain(|left| *left != id);
    }

    pub(super) fn failed(&mut self, backend: &Backend, error: &DialError) {
        tracing::debug!(backend = %backend.url, %error, "dial failed");
        self.last_failure = format!("{}: {error}", backend.url);
    }

    pub(super) fn summary(&self) -> String {
        if self.tried() == 0 {
            return format!("none of {} backends may be tried", self.candidates);
        }
        format!("{} of {} backends tried, the last one {}", self.tried(), self.candidates, self.last_failure)
    }

    pub(super) fn spared(&self) -> String {
        let tried = if self.tried() == 0 { "none tried".into() } else { self.summary() };
        format!("sparing the last healthy backend; {tried}")
    }
}

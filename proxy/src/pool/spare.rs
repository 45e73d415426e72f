//! Sparing the last healthy backend: a session whose messages may be what kills backends goes only where another
//! backend stays behind.

use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::backend::BackendId;
use super::handshake::KeptHandshake;
use super::probe::Verdict;
use super::{Backend, Pool};

/// Backends known to be healthy, as far as they were looked for: two are enough to go anywhere.
#[derive(Debug)]
pub(super) struct Spares(Vec<BackendId>);

impl Pool {
    /// Looks for two backends that answer a probe begun now. The past proves nothing here: the one that died last may
    /// have taken others along that nobody has dialled since.
    ///
    /// `None` if there is one backend only that may take sessions: nothing can be spared.
    pub(super) async fn spares(&self, handshake: &KeptHandshake) -> Option<Spares> {
        let backends = self.backends();
        let candidates: Vec<_> = backends.iter().filter(|backend| backend.takes_sessions()).collect();
        if candidates.len() <= 1 {
            return None;
        }
        let since = Instant::now();
        let ask = async |backend: &std::sync::Arc<Backend>| {
            (self.probe(backend, since, handshake).await == Verdict::Healthy).then_some(backend.id)
        };
        let answers: FuturesUnordered<_> = candidates.into_iter().map(ask).collect();
        Some(Spares(answers.filter_map(std::future::ready).take(2).collect().await))
    }
}

impl Spares {
    /// Whether a healthy backend stays behind if the session goes to `id` and kills it.
    pub(super) fn allow(&self, id: BackendId) -> bool {
        self.0.iter().any(|spare| *spare != id)
    }

    /// A dial failed: that one is no spare.
    pub(super) fn lose(&mut self, id: BackendId) {
        self.0.retain(|spare| *spare != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_goes_only_where_another_healthy_one_stays_behind() {
        let [a, b, c] = [0, 1, 2].map(BackendId);
        let mut spares = Spares(vec![a, b]);
        assert!([a, b, c].iter().all(|id| spares.allow(*id)));
        spares.lose(b);
        assert_eq!([a, b, c].map(|id| spares.allow(id)), [false, true, true]);
        spares.lose(a);
        assert!(![a, b, c].iter().any(|id| spares.allow(*id)));
    }
}

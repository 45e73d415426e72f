//! What `/metrics` says of the sessions that are moved away from backends that drain, or to even a pool.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::metrics::{Page, of_backend};
use crate::mover::spread;
use crate::pool::{Cause, Fleet};

/// What is read at each scrape.
#[derive(Debug)]
pub(super) struct Source {
    fleet: Arc<Fleet>,
}

impl Source {
    pub(super) fn new(fleet: Arc<Fleet>) -> Self {
        Self { fleet }
    }
}

impl Collector for Source {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let pools = self.fleet.pools();
        let of = |cause: Cause| {
            pools.iter().flat_map(move |pool| {
                let labels = |result| [("pool", &*pool.name), ("cause", cause.word()), ("result", result)];
                let moves = pool.moves();
                [(labels("moved"), moves.moved(cause)), (labels("failed"), moves.failed(cause))]
            })
        };
        let help = "Sessions that were to be moved because a backend drains or has too few";
        page.counters("moves", help, Cause::ALL.into_iter().flat_map(of))?;
        let spreads = pools.iter().map(|pool| ([("pool", &*pool.name)], spread(pool)));
        let help = "Largest distance of a backend from its part of the pool's sessions, as a fraction of the part";
        page.gauges("pool_spread", help, Some(&Unit::Other("ratio".into())), spreads)?;
        self.draining(&mut page)
    }
}

impl Source {
    fn draining(&self, page: &mut Page<'_>) -> fmt::Result {
        let mut rows: Vec<([String; 2], i64)> = Vec::new();
        for (pool, backend) in self.fleet.backends() {
            let labels = [pool.name.to_string(), backend.url.to_string()];
            // A removed backend may have come back under another id, and still have legs.
            if !rows.iter().any(|(others, _)| *others == labels) {
                rows.push((labels, backend.is_draining().into()));
            }
        }
        let rows = rows.iter().map(|(labels, draining)| (of_backend(labels), *draining));
        page.gauges("backend_draining", "Whether the backend's sessions are moved away", None, rows)
    }
}

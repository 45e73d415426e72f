//! What `/metrics` says of the schemes besides proxying.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::metrics::{Page, of_backend};
use crate::edge::EdgeContext;
use crate::pool::Fleet;
use crate::schemes::{Advice, Schemes};

/// What is read at each scrape.
#[derive(Debug)]
pub(super) struct Source {
    edge: Arc<EdgeContext>,
    fleet: Arc<Fleet>,
}

impl Source {
    pub(super) fn new(edge: Arc<EdgeContext>, fleet: Arc<Fleet>) -> Self {
        Self { edge, fleet }
    }
}

impl Collector for Source {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let schemes = self.edge.schemes();
        let mut page = Page(encoder);
        let counts = schemes.counts();
        let rows = counts.of_assignments().map(|(scheme, count)| ([("scheme", scheme)], count));
        page.counters("assignments", "Clients told which backend to go to", rows)?;
        let rows = counts.of_refusals().map(|(reason, count)| ([("reason", reason)], count));
        page.counters("assign_refused", "Requests for an assignment that got none", rows)?;
        let rows = counts.of_dns().map(|(result, count)| ([("result", result)], count));
        page.counters("dns_questions", "Questions to the DNS responder", rows)?;
        let rows = counts.of_commands().map(|(result, count)| ([("result", result)], count));
        page.counters("scale_commands", "Commands of --on-scale that have ended", rows)?;
        self.assigned(&mut page, schemes)?;
        advice(&mut page, schemes)
    }
}

impl Source {
    fn assigned(&self, page: &mut Page<'_>, schemes: &Schemes) -> fmt::Result {
        let help = "Sessions that the backend probably has beside the relayed ones";
        let mut family = page.0.encode_descriptor("backend_assigned_sessions", help, None, MetricType::Gauge)?;
        self.fleet.backends().iter().try_for_each(|(pool, backend)| {
            let labels = [pool.name.to_string(), backend.url.to_string()];
            let assigned = schemes.assigned_to(backend.id);
            family.encode_family(&of_backend(&labels))?.encode_gauge(&assigned)
        })
    }
}

fn advice(page: &mut Page<'_>, schemes: &Schemes) -> fmt::Result {
    let advice = schemes.advice();
    let mut gauges = |name: &str, help: &str, value: fn(&Advice) -> Option<f64>| {
        let mut family = page.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let rows = advice.iter().filter_map(|(pool, advice)| Some((pool, value(advice)?)));
        rows.into_iter().try_for_each(|(pool, value)| family.encode_family(&[("pool", &**pool)])?.encode_gauge(&value))
    };
    gauges("wanted_backends", "Backends that the pool should have", |advice| Some(advice.wanted.into()))?;
    gauges("present_backends", "Backends that it has", |advice| Some(advice.demand.present.into()))?;
    let help = "The part of the pool's target that is in use";
    gauges("pool_load_ratio", help, |advice| advice.demand.load(&advice.config))?;
    let help = "Sessions that fit before the pool's target is passed";
    gauges("pool_headroom_sessions", help, |advice| advice.demand.headroom(&advice.config))
}

//! What `/metrics` says. Read from where it is counted when it is asked for; nothing is kept here.
//!
//! docs/metrics.md lists the same names, and a test compares the two. No label has a value a session.

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::{moves, schemes};
use crate::edge::{EdgeContext, Reason};
use crate::pool::{Backend, Fleet, HealthState, Load, Pool, Standing};
use crate::session::{Cause, Context, FAILOVER_BUCKETS, SLOWING, Sums};

/// What is read at each scrape.
struct Source {
    sessions: Arc<Context>,
    edge: Arc<EdgeContext>,
    fleet: Arc<Fleet>,
    started: f64,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

/// A registry that reads from these.
pub(super) fn registry(sessions: Arc<Context>, edge: Arc<EdgeContext>, fleet: Arc<Fleet>) -> Registry {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut registry = Registry::with_prefix("tideover");
    registry.register_collector(Box::new(schemes::Source::new(edge.clone(), fleet.clone())));
    registry.register_collector(Box::new(moves::Source::new(fleet.clone())));
    registry.register_collector(Box::new(Source { sessions, edge, fleet, started }));
    registry
}

/// The metrics now, in the text format of OpenMetrics.
pub(super) fn text(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    Ok(text)
}

impl Collector for Source {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        page.info("build", "The program", &[("version", env!("CARGO_PKG_VERSION"))])?;
        page.gauge("start_time", "When the process began, in Unix time", Some(&Unit::Seconds), &self.started)?;
        page.gauge("draining", "Whether no new session is taken any more", None, &i64::from(self.edge.is_draining()))?;
        page.gauge("paused", "Whether an operator lets no session in", None, &i64::from(self.edge.is_paused()))?;
        let sums = self.sessions.totals().get();
        self.sessions(&mut page, &sums)?;
        messages(&mut page, &sums)?;
        failovers(&mut page, &sums)?;
        limits(&mut page, &sums)?;
        self.memory(&mut page)?;
        self.backends(&mut page)?;
        let refused = Reason::HANDSHAKES.map(|reason| ([("reason", reason.word())], self.edge.refused().get(reason)));
        page.counters("handshakes_refused", "Handshakes that led to no session", refused)?;
        let pauses = self.edge.accepting().pauses();
        page.counter("accept_pauses", "Times that accepting paused because descriptors ran out", pauses)?;
        let calls = self.fleet.hook_counts().map(|(result, count)| ([("result", result)], count));
        page.counters("reattach_hook_calls", "Questions to re-attach hooks by what came of them", calls)?;
        let live = self.edge.requests_live() as i64;
        page.gauge("http_requests_live", "Plain HTTP requests under way", None, &live)?;
        let requests = self.edge.requests().get().into_iter().map(|(result, count)| ([("result", result)], count));
        page.counters("http_requests", "Plain HTTP requests by what came of them", requests)
    }
}

impl Source {
    fn sessions(&self, page: &mut Page<'_>, sums: &Sums) -> fmt::Result {
        page.counter("sessions_opened", "Sessions that began", sums.opened)?;
        page.counter("sessions_ended", "Sessions that ended", sums.ended)?;
        page.counter("sessions_panicked", "Sessions that a panic ended", self.sessions.panicked())?;
        let live = self.sessions.registry().len();
        page.gauge("sessions_live", "Live sessions", None, &(live as i64))?;
        let help = "Live sessions without a backend leg";
        page.gauge("sessions_detached", help, None, &sums.detached.cast_signed())
    }

    fn memory(&self, page: &mut Page<'_>) -> fmt::Result {
        let budgets = self.sessions.budgets();
        let both = [("upstream", &budgets.upstream), ("downstream", &budgets.downstream)];
        let rows = |value: fn(&tideover_replay_store::Budget) -> usize| {
            both.map(|(direction, budget)| ([("direction", direction)], value(budget) as i64))
        };
        let bytes = Some(&Unit::Bytes);
        page.gauges("buffer_used", "Buffer memory that sessions hold", bytes, rows(|budget| budget.used()))?;
        page.gauges("buffer_limit", "Buffer memory that they may hold", bytes, rows(|budget| budget.limit()))?;
        page.gauges("buffer_waiting", "Sessions that wait for memory", None, rows(|budget| budget.waiting()))?;
        let kept = self.sessions.poisons().len();
        page.gauge("poisoned_kept", "Poisoned messages kept for the operator", None, &(kept as i64))
    }

    fn backends(&self, page: &mut Page<'_>) -> fmt::Result {
        let mut backends: Vec<Row> = Vec::new();
        for (pool, backend) in self.fleet.backends() {
            let row = Row::new(&pool, &backend);
            // A removed backend may have come back under another id, and still have legs.
            match backends.iter_mut().find(|other| other.labels() == row.labels()) {
                Some(other) => other.live += row.live,
                None => backends.push(row),
            }
        }
        let gauges = |of: fn(&Row) -> i64| backends.iter().map(move |row| (row.labels(), of(row)));
        let counters = |of: fn(&Row) -> u64| backends.iter().map(move |row| (row.labels(), of(row)));
        let help = "Live backend legs, those being attached included";
        page.gauges("backend_legs", help, None, gauges(|row| row.live as i64))?;
        let help = "Whether the backend is not down by its checks";
        page.gauges("backend_up", help, None, gauges(|row| (row.standing.state != HealthState::Down).into()))?;
        let help = "Whether the backend is ejected";
        page.gauges("backend_ejected", help, None, gauges(|row| (row.standing.state == HealthState::Ejected).into()))?;
        let help = "Whether the backend is tried last for now";
        page.gauges("backend_demoted", help, None, gauges(|row| row.demoted.into()))?;
        page.counters("backend_ejections", "Ejections of the backend", counters(|row| row.standing.ejections))?;
        page.counters("backend_dials_failed", "Dials that failed", counters(|row| row.standing.failures))?;
        page.counters("backend_checks", "Active health checks", backends.iter().flat_map(Row::checks))?;
        self.loads(page)
    }

    fn loads(&self, page: &mut Page<'_>) -> fmt::Result {
        let mut loads: Vec<([String; 2], Load)> = Vec::new();
        for pool in self.fleet.pools() {
            for (backend, load) in pool.loads() {
                let labels = [pool.name.to_string(), backend.url.to_string()];
                // A removed backend may have come back under another id, and still have legs.
                if !loads.iter().any(|(others, _)| *others == labels) {
                    loads.push((labels, load));
                }
            }
        }
        // What is not known is not a number: the series are those of the configuration all the time.
        let rows = |value: fn(&Load) -> Option<f64>| {
            loads.iter().map(move |([pool, backend], load)| {
                ([("pool", pool.as_str()), ("backend", backend.as_str())], value(load).unwrap_or(f64::NAN))
            })
        };
        page.gauges("backend_weight", "Weight in effect", None, rows(|load| Some(load.weight)))?;
        let help = "Part in use as the backend reports, smoothed; NaN if it does not";
        page.gauges("backend_utilisation", help, Some(&Unit::Other("ratio".into())), rows(|load| load.utilisation))?;
        let help = "Round trip time as --balance latency takes it; NaN if unknown";
        page.gauges("backend_latency", help, Some(&Unit::Seconds), rows(|load| load.latency))?;
        let help = "What --balance score compares, the least first; NaN without weight";
        page.gauges("backend_score", help, None, rows(|load| load.score))
    }
}

/// A backend at the time of a scrape.
struct Row {
    pool: String,
    url: String,
    live: usize,
    demoted: bool,
    standing: Standing,
    checks: [u64; 2],
}

impl Row {
    fn new(pool: &Pool, backend: &Backend) -> Self {
        Self {
            pool: pool.name.to_string(),
            url: backend.url.to_string(),
            live: backend.live(),
            demoted: !backend.eligible(Instant::now()),
            standing: backend.standing(),
            checks: backend.check_counts(),
        }
    }

    fn labels(&self) -> Labels<'_, 2> {
        [("pool", &self.pool), ("backend", &self.url)]
    }

    fn checks(&self) -> [(Labels<'_, 3>, u64); 2] {
        let [pool, backend] = self.labels();
        let [passed, failed] = self.checks;
        [("passed", passed), ("failed", failed)].map(|(result, count)| ([pool, backend, ("result", result)], count))
    }
}

fn messages(page: &mut Page<'_>, sums: &Sums) -> fmt::Result {
    let help = "Client messages that live sessions retain";
    page.gauge("messages_retained", help, None, &sums.retained.cast_signed())?;
    let counted = &sums.counters;
    let all = [
        ("messages_received", "Client messages received whole", counted.received),
        ("messages_forgotten", "Client messages forgotten after acknowledgement", counted.forgotten),
        ("messages_evicted", "Of those, forgotten before their linger time was over", counted.evicted),
        ("messages_slid", "Client messages forgotten unacknowledged for a mute backend", counted.slid),
        ("messages_dropped", "Client messages dropped by --on-full drop-oldest", counted.dropped),
        ("messages_skipped", "Client messages not replayed because a rule says so", counted.skipped),
        ("messages_abandoned", "Client messages retained when their session ended", counted.abandoned),
        ("messages_expired", "Client messages older than --replay-max-age", counted.expired),
        ("messages_poisoned", "Client messages set aside: backends died of them", counted.poisoned),
        ("messages_replayed", "Client messages written again to a later leg", counted.replayed),
        ("messages_passed", "Backend messages passed to clients", counted.passed),
        ("messages_swallowed", "Backend messages not passed: the client had them", counted.swallowed),
        ("holds_released", "Times that held output was released without a barrier", counted.released),
        ("barriers", "Barriers answered", counted.barriers),
        ("reply_fallbacks", "Times that --ack reply fell back to pongs", counted.fallbacks),
        ("isolations", "Times that messages were replayed one by one", counted.isolations),
    ];
    all.into_iter().try_for_each(|(name, help, value)| page.counter(name, help, value))?;
    rules(page, sums)?;
    page.counter_of("dead", "Bytes of legs that had already ended", &Unit::Bytes, counted.dead_bytes)
}

fn rules(page: &mut Page<'_>, sums: &Sums) -> fmt::Result {
    let counted = &sums.counters;
    let all = [
        ("messages_keyed", "Client messages forgotten that a key acknowledged", counted.keyed),
        ("messages_evicted_keyed", "Client messages with a key evicted before their answer", counted.evicted_keyed),
        ("messages_pinned", "Client messages pinned by rules", counted.pinned),
        ("pins_refused", "Client messages not pinned for want of room", counted.pins_refused),
        ("pins_sent", "Pinned messages written to later legs", counted.pins_sent),
        ("holds_failed", "Legs that did not get through their pinned messages", counted.holds_failed),
        ("messages_ruled_swallowed", "Backend messages that rules kept from clients", counted.ruled_swallowed),
        ("messages_translated", "Messages in which rules translated an id", counted.translated),
        ("messages_opaque", "Messages that rules could not look into", counted.opaque),
        ("rule_closes", "Sessions closed by a rule", counted.rule_closes),
    ];
    all.into_iter().try_for_each(|(name, help, value)| page.counter(name, help, value))
}

fn failovers(page: &mut Page<'_>, sums: &Sums) -> fmt::Result {
    page.counter("failovers", "Backend legs given up and looked for again", sums.counters.failovers)?;
    page.counter("migrations", "Sessions moved to another backend on purpose", sums.counters.migrations)?;
    let help = "Sessions that were to be moved and were not";
    page.counter("migrations_failed", help, sums.counters.migrations_failed)?;
    let bounds = FAILOVER_BUCKETS.iter().map(|millis| *millis as f64 / 1000.0).chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(sums.failover_times).collect();
    let count = sums.failover_times.iter().sum();
    let help = "Time from the loss of a backend leg to the next one";
    let (unit, kind) = (Some(&Unit::Seconds), MetricType::Histogram);
    let mut encoder = page.0.encode_descriptor("failover_duration", help, unit, kind)?;
    encoder.encode_histogram::<NoLabelSet>(sums.failover_micros as f64 / 1e6, count, &buckets, None)
}

fn limits(page: &mut Page<'_>, sums: &Sums) -> fmt::Result {
    let limited = Cause::ALL.iter().zip(sums.limited).map(|(cause, count)| ([("limit", cause.word())], count));
    page.counters("sessions_limited", "Sessions that ended for a limit", limited)?;
    let slowed = Cause::ALL[..SLOWING].iter().zip(sums.slowed);
    let slowed = slowed.map(|(cause, count)| ([("limit", cause.word())], count));
    page.counters("sessions_slowed", "Spells of clients that were read no faster than they may send", slowed)
}

/// The labels of a row.
pub(super) type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

pub(super) fn of_backend([pool, backend]: &[String; 2]) -> Labels<'_, 2> {
    [("pool", pool), ("backend", backend)]
}

pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

impl Page<'_> {
    fn info(&mut self, name: &str, help: &str, labels: &Labels<'_, 1>) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: &impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(value)
    }

    pub(super) fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: impl IntoIterator<Item = (Labels<'l, N>, impl EncodeGaugeValue)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        rows.into_iter().try_for_each(|(label, value)| family.encode_family(&label)?.encode_gauge(&value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn counter_of(&mut self, name: &str, help: &str, unit: &Unit, value: u64) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, Some(unit), MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    pub(super) fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        rows.into_iter().try_for_each(|(label, value)| {
            family.encode_family(&label)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
        })
    }
}

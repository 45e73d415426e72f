//! The verdict on a run, and the page about it.

use std::fmt::{self, Write as _};

use super::{
    Plan,
    account::Account,
    samples::{Sample, Samples},
};

/// What memory may grow by, beside a tenth: an allocator keeps what a burst took.
const SLACK_KIB: u64 = 4 << 10;
/// What descriptors may differ by: clients come and go while they are counted.
const SLACK_DESCRIPTORS: u64 = 24;
/// Rows of the page's table.
const ROWS: usize = 16;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    pub(super) plan: Plan,
    pub(super) kills: u32,
    pub(super) empty: Sample,
    pub(super) samples: Samples,
    pub(super) last: Sample,
    pub(super) given_back: bool,
    pub(super) account: Account,
    pub(super) panicked: bool,
}

impl Report {
    /// What should not be, in words; nothing if the run was as it should be.
    pub fn breaches(&self) -> Vec<String> {
        let mut breaches = self.account.breaches.clone();
        let mut must = |holds: bool, what: String| breaches.extend((!holds).then_some(what));
        let lost = self.account.lost();
        must(lost == 0, format!("{lost} messages lost"));
        must(self.account.sent > 0 && self.account.answered > 0, "there was no load".into());
        must(self.kills > 0, "nothing was killed".into());
        must(self.last.metrics.value("failovers_total") > 0, "no kill met a session".into());
        let (warm, last) = self.samples.warm_and_last(|sample| sample.rss_kib);
        must(last <= warm + warm / 10 + SLACK_KIB, format!("memory grew from {warm} to {last} KiB"));
        let (warm, last) = self.samples.warm_and_last(|sample| sample.descriptors as u64);
        must(last <= warm + SLACK_DESCRIPTORS, format!("descriptors grew from {warm} to {last}"));
        for (at, sample) in self.samples.all() {
            let unaccounted = sample.metrics.unaccounted();
            must(unaccounted == 0, format!("after {at:?}, {unaccounted} messages are in no account (law 8)"));
        }
        must(self.given_back, format!("not given back when all had left: {}", self.remains()));
        must(!self.panicked, "something panicked".into());
        breaches
    }

    fn remains(&self) -> String {
        let metrics = &self.last.metrics;
        let gauges = ["sessions_live", "messages_retained", "http_requests_live", "buffer_used_bytes"];
        let gauges: Vec<_> = gauges.iter().map(|name| format!("{name} {}", metrics.value(name))).collect();
        format!(
            "{}; {} descriptors, {} before; unaccounted {} messages, {} sessions",
            gauges.join(", "),
            self.last.descriptors,
            self.empty.descriptors,
            metrics.unaccounted(),
            metrics.sessions_unaccounted(),
        )
    }

    fn table(&self) -> String {
        let mut table = String::from(
            "| minute | RSS KiB | descriptors | live sessions | opened | received | retained | failovers | unaccounted |\n\
             |---|---|---|---|---|---|---|---|---|\n",
        );
        let all = self.samples.all();
        let step = all.len().div_ceil(ROWS).max(1);
        for (at, Sample { rss_kib, descriptors, metrics }) in all.iter().step_by(step) {
            let minute = at.as_secs_f64() / 60.0;
            let values = ["sessions_live", "sessions_opened_total", "messages_received_total", "messages_retained"];
            let values = values.map(|name| metrics.value(name).to_string()).join(" | ");
            let (failovers, unaccounted) = (metrics.value("failovers_total"), metrics.unaccounted());
            writeln!(table, "| {minute:.1} | {rss_kib} | {descriptors} | {values} | {failovers} | {unaccounted} |")
                .expect("a string takes all");
        }
        table
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { sessions, sent, echoed, bytes, repeated, answered, refused, .. } = &self.account;
        let rss = self.samples.warm_and_last(|sample| sample.rss_kib);
        let descriptors = self.samples.warm_and_last(|sample| sample.descriptors as u64);
        writeln!(f, "| what | measured | must be |\n|---|---|---|")?;
        writeln!(f, "| time under load | {:.1} min | |", self.plan.time.as_secs_f64() / 60.0)?;
        writeln!(f, "| kills (SIGKILL), each away for {:?} | {} | |", self.plan.away, self.kills)?;
        writeln!(f, "| failovers of sessions | {} | > 0 |", self.last.metrics.value("failovers_total"))?;
        writeln!(f, "| sessions | {sessions}, of them {} to the end | |", self.plan.sessions)?;
        writeln!(f, "| messages sent and echoed | {sent} and {echoed}, {} MiB | the same |", bytes >> 20)?;
        writeln!(f, "| messages lost | {} | 0 |", self.account.lost())?;
        writeln!(f, "| echoes that came twice | {repeated} | |")?;
        writeln!(f, "| plain requests answered 200, and 502 to 504 | {answered}, {refused} | all answered |")?;
        writeln!(f, "| clients closed, refused or left waiting | {} | 0 |", self.account.breaches.len())?;
        writeln!(f, "| RSS before the load | {} KiB | |", self.empty.rss_kib)?;
        writeln!(f, "| RSS, second and last fifth | {} and {} KiB | at most a tenth and 4 MiB more |", rss.0, rss.1)?;
        writeln!(
            f,
            "| descriptors, second and last fifth | {} and {} | at most {SLACK_DESCRIPTORS} more |",
            descriptors.0, descriptors.1
        )?;
        let (empty, last) = (self.empty.descriptors, self.last.descriptors);
        writeln!(f, "| descriptors before, and when all have left | {empty} and {last} | no more |")?;
        let worst = self.samples.all().iter().map(|(_, sample)| sample.metrics.unaccounted().abs()).max();
        let looks = self.samples.all().len();
        writeln!(f, "| messages in no account (law 8), the most of {looks} looks | {} | 0 |", worst.unwrap_or(0))?;
        writeln!(f, "\n{}", self.table())
    }
}

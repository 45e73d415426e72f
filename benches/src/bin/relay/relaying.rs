//! Messages to and fro: what each costs, how many a second, how late.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::Result;
use crate::load::Load;
use crate::metrics::Kept;
use crate::options::{Case, Drive};
use crate::peers::Variant;
use crate::process::own_cpu;
use crate::stage::{Running, pause};

/// How long the operator's API may lag behind what clients saw.
const COUNTED_WITHIN: Duration = Duration::from_secs(3);

/// What one turn gave.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Turn {
    pub(crate) case: String,
    pub(crate) contestant: String,
    pub(crate) round: usize,
    /// Answers while it was measured, and for how long that was.
    pub(crate) messages: u64,
    pub(crate) seconds: f64,
    /// User and system time in that time, in seconds.
    pub(crate) proxy_cpu: f64,
    pub(crate) load_cpu: f64,
    pub(crate) backend_cpu: f64,
    /// Time from a message to its answer, in microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// What tideover counted in the turn, from its first connection to its last answer.
    pub(crate) kept: Option<Kept>,
}

impl Turn {
    /// CPU time of the proxy for a message, in microseconds.
    pub(crate) fn cpu_per_message(&self) -> f64 {
        self.proxy_cpu * 1e6 / self.messages as f64
    }

    pub(crate) fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    /// Share of a core that the proxy took.
    pub(crate) fn proxy_share(&self) -> f64 {
        self.proxy_cpu / self.seconds
    }

    /// Share of a core that load and backend took.
    pub(crate) fn load_share(&self) -> f64 {
        (self.load_cpu + self.backend_cpu) / self.seconds
    }
}

/// Lets a contestant relay for so many seconds.
pub(crate) fn turn(running: &Running<'_>, case: Case, round: usize, seconds: f64) -> Result<Turn> {
    let admin = running.proxy.admin.as_deref();
    let before = admin.map(Kept::read).transpose()?;
    let mut load = Load::open(running.proxy.address, case.connections, case.bytes, 0)?;
    if let Drive::Window(window) = case.drive {
        load.begin(window)?;
    }
    let warm_up = warm_up(case, seconds);
    // Ahead of what is measured, because an answer of the API costs CPU time; from a thread of its own, because
    // nothing is retained for long while the load waits for that answer.
    let peak = std::thread::scope(|scope| {
        let looking = scope.spawn(|| admin.map(|admin| most_retained(admin, warm_up)).transpose());
        run(&mut load, case, warm_up)?;
        looking.join().expect("the thread that looks at the metrics")
    })?;
    let early = load.reset();
    let cpu = || (running.proxy.cpu(), own_cpu(), running.backend.cpu());
    let (proxy, own, backend) = cpu();
    let took = run(&mut load, case, seconds)?;
    let now = cpu();
    let tally = load.reset();
    load.finish()?;
    let sent = early.answers + tally.answers + load.reset().answers;
    let kept = before.zip(admin).map(|(before, admin)| settled(admin, before, sent)).transpose()?;
    if let Some(kept) = kept {
        let keyed = running.contestant.variant == Variant::Rules;
        kept.check(sent, peak.unwrap_or(0), matches!(case.drive, Drive::Window(_)), keyed)?;
    }
    drop(load);
    running.settle();
    let micros = |quantile| tally.latency.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Turn {
        case: case.to_string(),
        contestant: running.contestant.name.clone(),
        round,
        messages: tally.answers,
        seconds: took.as_secs_f64(),
        proxy_cpu: (now.0 - proxy).as_secs_f64(),
        load_cpu: (now.1 - own).as_secs_f64(),
        backend_cpu: (now.2 - backend).as_secs_f64(),
        p50: micros(0.5),
        p99: micros(0.99),
        p999: micros(0.999),
        kept,
    })
}

/// A connection on the clock needs some messages until its new legs are as any others: in its first second tideover
/// tries out whether they answer pings.
fn warm_up(case: Case, seconds: f64) -> f64 {
    match case.drive {
        Drive::Window(_) => seconds / 4.0,
        Drive::Pace(rate) => (seconds / 4.0).max(2.5 / rate),
    }
}

fn run(load: &mut Load, case: Case, seconds: f64) -> Result<Duration> {
    let time = Duration::from_secs_f64(seconds);
    match case.drive {
        Drive::Window(_) => load.run_for(time),
        Drive::Pace(rate) => load.run_paced(time, rate),
    }
}

/// The most messages that were seen retained at once within some seconds.
fn most_retained(admin: &std::path::Path, seconds: f64) -> Result<u64> {
    let (begin, mut most) = (Instant::now(), 0);
    while most == 0 && begin.elapsed().as_secs_f64() < seconds {
        pause(Duration::from_millis(10));
        most = Kept::read(admin)?.retained;
    }
    Ok(most)
}

/// A session publishes what it counted after its turn, which may be after the client has its answer.
fn settled(admin: &std::path::Path, before: Kept, sent: u64) -> Result<Kept> {
    let begin = Instant::now();
    loop {
        let kept = Kept::read(admin)?.since(before);
        if kept.received >= sent || begin.elapsed() > COUNTED_WITHIN {
            return Ok(kept);
        }
        pause(Duration::from_millis(5));
    }
}

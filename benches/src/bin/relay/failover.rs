//! A backend is killed: how long until each of its sessions has an answer again.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::load::Load;
use crate::options::Pongs;
use crate::peers::Contestant;
use crate::process::{Cores, Process};
use crate::stage::Scratch;

const BYTES: usize = 64;
/// How many sessions are opened at once until enough are on one backend.
const STEP: usize = 2;

/// What one turn gave.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Turn {
    pub(crate) contestant: String,
    pub(crate) round: usize,
    /// Sessions that the killed backend had.
    pub(crate) sessions: usize,
    /// From just before the SIGKILL to the first answer of the other backend, in milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) last: f64,
    /// CPU time of the proxy from the kill to the last answer, in seconds.
    pub(crate) proxy_cpu: f64,
}

/// Opens sessions on two backends until `wanted` are on one of them, kills that one, and has each of its sessions send
/// a message.
pub(crate) fn turn(
    contestant: &Contestant,
    cores: Option<Cores>,
    scratch: &Scratch,
    round: usize,
    wanted: usize,
) -> Result<Option<Turn>> {
    let (mut victim, port) = Process::start_backend(Pongs::InOrder, 0)?;
    let (_other, other) = Process::start_backend(Pongs::InOrder, 0)?;
    let Some(proxy) = contestant.start(&[port, other], cores, scratch.path())? else { return Ok(None) };
    let mut load = Load::open(proxy.address, wanted.max(1) * STEP, BYTES, 0)?;
    let all = load.connections().len();
    (0..all).try_for_each(|index| load.send(index, 1))?;
    load.finish()?;
    let hit: Vec<_> = (0..all).filter(|index| load.connections()[*index].backend == port).collect();
    if hit.is_empty() {
        return Err(Error::Other("no session is on the backend that is to be killed".into()));
    }
    let cpu = proxy.cpu();
    let killed = victim.kill()?;
    hit.iter().try_for_each(|index| load.send(*index, 1))?;
    load.finish()?;
    let proxy_cpu = (proxy.cpu() - cpu).as_secs_f64();
    let mut times: Vec<f64> = hit.iter().map(|index| since(killed, load.connections()[*index].answered)).collect();
    times.sort_by(f64::total_cmp);
    let quantile = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Ok(Some(Turn {
        contestant: contestant.name.clone(),
        round,
        sessions: hit.len(),
        p50: quantile(0.5),
        p99: quantile(0.99),
        last: quantile(1.0),
        proxy_cpu,
    }))
}

fn since(killed: Instant, answered: Option<Instant>) -> f64 {
    answered.map_or(Duration::ZERO, |at| at.saturating_duration_since(killed)).as_secs_f64() * 1e3
}

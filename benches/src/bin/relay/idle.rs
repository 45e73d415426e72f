//! Memory of an idle session.

use std::time::Duration;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::load::Load;
use crate::stage::Running;

/// Bytes of the cookie in each handshake.
const COOKIE: usize = 1024;
/// How long sessions are idle before memory is read: longer than anything lingers.
const IDLE: Duration = Duration::from_millis(2500);
const BYTES: usize = 64;

/// What one turn gave.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Turn {
    pub(crate) contestant: String,
    pub(crate) round: usize,
    pub(crate) sessions: usize,
    /// Proportional set size in bytes: before the first session, with all of them idle, after the last has ended.
    pub(crate) before: u64,
    pub(crate) idle: u64,
    pub(crate) after: u64,
}

impl Turn {
    /// Memory of a session in bytes.
    pub(crate) fn per_session(&self) -> f64 {
        self.idle.saturating_sub(self.before) as f64 / self.sessions as f64
    }
}

/// Opens sessions on a fresh process, each with a message and its answer, and lets them be idle.
pub(crate) fn turn(running: &Running<'_>, round: usize, sessions: usize) -> Result<Turn> {
    let before = running.proxy.pss();
    let mut load = Load::open(running.proxy.address, sessions, BYTES, COOKIE)?;
    (0..sessions).try_for_each(|index| load.send(index, 1))?;
    load.finish()?;
    load.run_for(IDLE)?;
    let idle = running.proxy.pss();
    if idle == 0 {
        return Err(Error::Other("the proxy's memory cannot be read".into()));
    }
    drop(load);
    running.settle();
    let after = running.proxy.pss();
    Ok(Turn { contestant: running.contestant.name.clone(), round, sessions, before, idle, after })
}

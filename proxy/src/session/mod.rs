//! Sessions on real sockets: one task a session drives the engine of `tideover-protocol`.
//!
//! The driver reads, writes, dials and waits; every decision about messages and legs is the engine's.

mod buffer;
mod driver;
mod farewell;
mod limited;
mod poisons;
mod registry;
mod totals;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tideover_protocol::session::Budgets;
use tideover_protocol::time::Instant;

use crate::config::Config;
use crate::edge::SessionSlot;
use crate::net::Stream;
use crate::pool::{Attached, KeptHandshake, Route};

use driver::Driver;
pub use limited::{Cause, SLOWING};
pub use poisons::{Poison, Poisons};
pub use registry::{Command, Handle, Leg, NotMigrated, Registry, Snapshot};
pub use totals::{FAILOVER_BUCKETS, Sums, Totals, become_worker};

/// What a session starts with: both legs, upgraded.
#[derive(Debug)]
pub struct Start {
    /// The client leg.
    pub client: Stream,
    /// What the client sent right behind its handshake.
    pub client_leftover: Bytes,
    /// The client's address.
    pub peer: SocketAddr,
    /// Where the session may be attached, and what it is configured with.
    pub route: Arc<Route>,
    /// The first backend leg.
    pub attached: Attached,
    /// The client's handshake, for a re-attach.
    pub handshake: KeptHandshake,
    /// The session's name.
    pub id: uuid::Uuid,
    /// The session's place among `--max-sessions`; given back when dropped.
    pub slot: SessionSlot,
}

/// What all sessions of the process share.
#[derive(Debug)]
pub struct Context {
    budgets: Budgets,
    registry: Registry,
    poisons: Poisons,
    totals: Totals,
    panicked: AtomicU64,
    origin: std::time::Instant,
}

impl Context {
    /// The context of a process with this configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            budgets: Budgets::new(config.buffer_total_bytes),
            registry: Registry::default(),
            poisons: Poisons::new(config.poison_entries),
            totals: Totals::new(config.workers),
            panicked: AtomicU64::new(0),
            origin: std::time::Instant::now(),
        }
    }

    /// The live sessions.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The messages that were set aside.
    #[must_use]
    pub fn poisons(&self) -> &Poisons {
        &self.poisons
    }

    /// What the sessions counted, live ones included.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Sessions that a panic ended: each is a mistake of this program. The other sessions go on.
    #[must_use]
    pub fn panicked(&self) -> u64 {
        self.panicked.load(Ordering::Relaxed)
    }

    /// The bounds on the memory of all sessions together.
    #[must_use]
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    fn now(&self) -> Instant {
        Instant::from_origin(self.origin.elapsed())
    }

    fn to_tokio(&self, instant: Instant) -> tokio::time::Instant {
        (self.origin + instant.since_origin()).into()
    }
}

/// Spawns the session's task on the current runtime. It ends when both legs are closed or left to be closed.
pub fn spawn(start: Start, context: Arc<Context>) {
    tokio::spawn(Driver::new(start, context).run());
}

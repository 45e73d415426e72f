//! Moves sessions without that anybody asked for a certain one: away from backends that drain, and, with `--rebalance`,
//! to those that have too few (`docs/migration.md`, `docs/balancing.md`).
//!
//! It looks at the pools a few times a second and tells sessions to migrate, each within its pool; how a session does
//! that is its own affair. What is decided is decided without a clock or a socket: `plan`, `drain`, `pace`.

mod drain;
mod even;
mod pace;
mod plan;
mod site;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tideover_protocol::session::OnMigrateTimeout;
use tokio::sync::oneshot;

use crate::pool::{BackendId, Cause, Fleet, Pool};
use crate::session::{Command, Context, Handle, NotMigrated};
use site::Site;

/// How often it looks what is to be done.
const LOOK: Duration = Duration::from_millis(100);

/// How far the backends of a pool are from their parts of its sessions, as a fraction of these: 0 if each has its part,
/// give or take one session.
#[must_use]
pub fn spread(pool: &Pool) -> f64 {
    plan::spread(&even::places(&pool.shares()))
}

/// A session that is to be moved.
struct Order {
    session: Arc<Handle>,
    from: BackendId,
    /// `None`: wherever the pool's balancing leads.
    to: Option<BackendId>,
    cause: Cause,
}

/// What came of it.
struct Ended {
    pool: Box<str>,
    order: Order,
    /// `None`: the session has ended.
    outcome: Option<Result<(), NotMigrated>>,
}

impl Ended {
    /// Whether the session is on another backend; `None` if it has ended.
    fn moved(&self) -> Option<bool> {
        // Past its deadline it may have failed over to the backend that it was to be moved to.
        let elsewhere = || self.order.session.leg().backend.is_some_and(|now| now != self.order.from);
        self.outcome.map(|outcome| outcome.is_ok() || elsewhere())
    }

    /// Why it is where it was.
    fn hindrance(&self) -> Option<NotMigrated> {
        self.outcome.and_then(Result::err)
    }
}

type Flight = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// Moves the sessions of all pools.
pub struct Mover {
    fleet: Arc<Fleet>,
    sessions: Arc<Context>,
    sites: HashMap<Box<str>, Site>,
    /// One a session on the move: `--migrate-at-once` of each pool at most.
    under_way: FuturesUnordered<Flight>,
}

impl Mover {
    /// One for these backends and sessions.
    #[must_use]
    pub fn new(fleet: Arc<Fleet>, sessions: Arc<Context>) -> Self {
        Self { fleet, sessions, sites: HashMap::new(), under_way: FuturesUnordered::new() }
    }

    /// Does so for ever.
    pub async fn run(mut self) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(ended) = self.under_way.next() => self.ended(&ended),
                _ = looks.tick() => self.look(Instant::now()),
            }
        }
    }

    fn look(&mut self, now: Instant) {
        let pools = self.fleet.pools();
        // Names are unique among them; a pool that comes back under its name is the same until it is forgotten.
        self.sites.retain(|_, site| pools.iter().any(|pool| site.is_of(pool)));
        for pool in pools {
            let site = self.sites.entry(pool.name.clone()).or_insert_with(|| Site::new(pool.clone(), now));
            let orders = site.look(now, self.sessions.registry());
            self.under_way.extend(orders.into_iter().map(|order| send(pool.name.clone(), order)));
        }
    }

    fn ended(&mut self, ended: &Ended) {
        if let Some(site) = self.sites.get_mut(&ended.pool) {
            site.ended(ended, Instant::now());
        }
    }
}

fn send(pool: Box<str>, order: Order) -> Flight {
    let (answer, answered) = oneshot::channel();
    let on_timeout = match order.cause {
        Cause::Drain => None,
        // It is well where it is: that is no reason to replay anything.
        Cause::Rebalance => Some(OnMigrateTimeout::Stay),
    };
    // One that has ended drops the command, and with it the other end of the answer.
    order.session.tell(Command::Migrate { to: order.to, on_timeout, answer: Some(answer) });
    Box::pin(async move {
        let outcome = answered.await.ok().map(|outcome| outcome.map(drop));
        Ended { pool, order, outcome }
    })
}

//! A pool, as far as its sessions are moved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::drain::{Drain, News};
use super::even::Even;
use super::pace::Pace;
use super::{Ended, Order};
use crate::pool::{Backend, BackendId, Cause, Pool};
use crate::session::{Handle, Registry};

/// What is under way in a pool.
pub(super) struct Site {
    pool: Arc<Pool>,
    /// Sessions that were told to move and have not answered yet.
    under_way: usize,
    pace: Pace,
    drains: BTreeMap<BackendId, (Arc<Backend>, Drain<Arc<Handle>>)>,
    even: Even,
}

impl Site {
    pub(super) fn new(pool: Arc<Pool>, now: Instant) -> Self {
        Self { pool, under_way: 0, pace: Pace::new(now), drains: BTreeMap::new(), even: Even::new(now) }
    }

    pub(super) fn is_of(&self, pool: &Arc<Pool>) -> bool {
        Arc::ptr_eq(&self.pool, pool)
    }

    /// Which sessions are to be told to move now. Those of backends that drain go first.
    pub(super) fn look(&mut self, now: Instant, registry: &Registry) -> Vec<Order> {
        let moving = self.pool.settings().moving;
        let free = moving.at_once.saturating_sub(self.under_way);
        let most = self.pace.fill(moving.drain_rate, now).min(free);
        let mut orders = self.drain(most, now, registry);
        let pool = self.pool.clone();
        orders.extend(self.even.look(&pool, free - orders.len(), now, registry));
        self.under_way += orders.len();
        orders
    }

    /// A session has answered, or ended.
    pub(super) fn ended(&mut self, ended: &Ended, now: Instant) {
        self.under_way -= 1;
        self.even.ended(ended);
        let (cause, moved) = (ended.order.cause, ended.moved());
        if let Some(moved) = moved {
            self.pool.moves().count(cause, moved);
        }
        let drain = self.drains.get_mut(&ended.order.from).filter(|_| cause == Cause::Drain);
        if let Some((backend, drain)) = drain
            && let Some(News::Stayed(sessions)) = drain.ended(moved, now)
        {
            let (pool, why) = (&*self.pool.name, ended.hindrance().map(|why| why.to_string()));
            tracing::warn!(
                pool, backend = %backend.url, sessions, why,
                "sessions of a backend that drains could not be moved; they are tried again"
            );
        }
    }

    fn drain(&mut self, most: usize, now: Instant, registry: &Registry) -> Vec<Order> {
        self.end_drains();
        let backends = self.pool.backends();
        let mut orders = Vec::new();
        for backend in backends.iter().filter(|backend| backend.is_draining() && backend.live() > 0) {
            let begin = || (backend.clone(), begin(&self.pool, backend, now));
            let (_, drain) = self.drains.entry(backend.id).or_insert_with(begin);
            let room = self.pool.room_beside(backend.id);
            if let Some(news) = drain.look(room > 0) {
                log(&self.pool, backend, news);
            }
            // Those under way may have their places already: better one too few than one that dials in vain.
            let most = most.min(orders.len() + room.saturating_sub(self.under_way + orders.len()));
            let list = || registry.on(|id| id == backend.id).into_iter().map(|(_, session)| session).collect();
            while orders.len() < most
                && let Some(session) = drain.next(now, list)
            {
                // Some have gone away since they were listed.
                if session.leg().backend == Some(backend.id) {
                    drain.begun();
                    self.pace.take();
                    self.even.rest(session.id, now);
                    orders.push(Order { session, from: backend.id, to: None, cause: Cause::Drain });
                }
            }
        }
        orders
    }

    /// Forgets the drains of backends that are empty, or wanted again.
    fn end_drains(&mut self) {
        let pool = &*self.pool.name;
        self.drains.retain(|_, (backend, drain)| {
            let (sessions, took) = (drain.moved_in_all(), drain.since().elapsed());
            let goes_on = drain.is_under_way() || backend.is_draining() && backend.live() > 0;
            match (goes_on, backend.is_draining()) {
                (true, _) => {}
                (false, true) => {
                    tracing::info!(pool, backend = %backend.url, sessions, ?took, "backend drained: no session is left");
                }
                (false, false) => tracing::info!(pool, backend = %backend.url, sessions, "backend drains no more"),
            }
            goes_on
        });
    }
}

fn begin(pool: &Pool, backend: &Backend, now: Instant) -> Drain<Arc<Handle>> {
    tracing::info!(pool = %pool.name, backend = %backend.url, legs = backend.live(), "backend drains: its sessions are moved");
    Drain::new(now)
}

fn log(pool: &Pool, backend: &Backend, news: News) {
    let (pool, backend) = (&*pool.name, &backend.url);
    match news {
        News::Stranded => {
            tracing::warn!(pool, %backend, "no other backend may have the sessions of one that drains; they wait");
        }
        News::GoesOn => tracing::info!(pool, %backend, "another backend may have the sessions of one that drains"),
        News::Stayed(_) => {}
    }
}

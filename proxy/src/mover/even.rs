//! The evening of a pool: which of its sessions go where, and when.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::pace::Pace;
use super::plan::{self, Evening, Move, Place};
use super::{Ended, Order};
use crate::config::Rebalance;
use crate::pool::{BackendId, Cause, Pool, Share};
use crate::session::{Handle, Registry};

/// How often it is looked how even a pool is.
const LOOK: Duration = Duration::from_millis(250);
/// For how long a session is not moved to even a pool after it was moved, or was to be.
const REST: Duration = Duration::from_secs(60);

/// How far the evening of a pool is.
pub(super) struct Even {
    evening: Evening,
    pace: Pace,
    next_look: Instant,
    /// Sessions that were told to move for this, and have not answered yet.
    on_the_way: HashMap<Uuid, Move>,
    /// When sessions were moved last: at most those of [`REST`], at the rates of the pool.
    resting: HashMap<Uuid, Instant>,
    /// How many were told since the pool was even.
    told: usize,
}

impl Even {
    pub(super) fn new(now: Instant) -> Self {
        let (evening, pace) = (Evening::default(), Pace::new(now));
        Self { evening, pace, next_look: now, on_the_way: HashMap::new(), resting: HashMap::new(), told: 0 }
    }

    /// A session is told to move, for whatever reason.
    pub(super) fn rest(&mut self, session: Uuid, now: Instant) {
        self.resting.insert(session, now);
    }

    pub(super) fn ended(&mut self, ended: &Ended) {
        self.on_the_way.remove(&ended.order.session.id);
    }

    /// Which sessions are to be told to move now, `most` at most.
    pub(super) fn look(&mut self, pool: &Pool, most: usize, now: Instant, registry: &Registry) -> Vec<Order> {
        if now < self.next_look {
            return Vec::new();
        }
        self.next_look = now + LOOK;
        self.resting.retain(|_, since| now - *since < REST);
        match pool.settings().moving.rebalance.filter(|_| pool.is_by_number()) {
            Some(wanted) => self.orders(pool, wanted, most, now, registry),
            None => {
                self.evening = Evening::default();
                Vec::new()
            }
        }
    }

    fn orders(&mut self, pool: &Pool, wanted: Rebalance, most: usize, now: Instant, registry: &Registry) -> Vec<Order> {
        let threshold = f64::from(wanted.threshold) / 100.0;
        let most = self.pace.fill(wanted.rate, now).min(most);
        let shares = pool.shares();
        let due = self.evening.is_going() || self.evening.is_due(threshold, &places(&shares));
        if most == 0 || !due {
            return Vec::new();
        }
        let (places, mut movable) = self.count(&shares, registry);
        let moves = self.evening.plan(threshold, &places, most);
        self.log(pool, plan::spread(&places), moves.len());
        let tell = |one: Move| {
            let session = movable.get_mut(&one.from)?.pop_front()?;
            self.pace.take();
            self.on_the_way.insert(session.id, one);
            self.rest(session.id, now);
            Some(Order { session, from: one.from, to: Some(one.to), cause: Cause::Rebalance })
        };
        moves.into_iter().filter_map(tell).collect()
    }

    /// What the backends really have: without legs that are being closed, and with sessions that are on the way where
    /// they go to. And who may be moved, the oldest first: who has stayed for long is likely to stay on.
    fn count(&self, shares: &[Share], registry: &Registry) -> (Vec<Place>, HashMap<BackendId, VecDeque<Arc<Handle>>>) {
        let mut places = places(shares);
        places.iter_mut().for_each(|place| (place.sessions, place.movable) = (0, 0));
        let mut movable: HashMap<BackendId, VecDeque<Arc<Handle>>> = HashMap::new();
        for (backend, session) in registry.on(|id| shares.iter().any(|share| share.backend == id)) {
            let way = self.on_the_way.get(&session.id);
            let at = way.map_or(backend, |way| way.to);
            let Some(place) = places.iter_mut().find(|place| place.backend == at) else { continue };
            place.sessions += 1;
            if way.is_some() {
                // Its leg may be counted already: better one too few than one too many.
                place.room = place.room.saturating_sub(1);
            } else if !self.resting.contains_key(&session.id) {
                place.movable += 1;
                movable.entry(backend).or_default().push_back(session);
            }
        }
        (places, movable)
    }

    fn log(&mut self, pool: &Pool, spread: f64, moves: usize) {
        let percent = (100.0 * spread).round();
        if self.told == 0 && moves > 0 {
            tracing::info!(pool = %pool.name, spread_percent = percent, "rebalancing: sessions are moved");
        }
        self.told += moves;
        if self.told > 0 && !self.evening.is_going() {
            let sessions = std::mem::take(&mut self.told);
            tracing::info!(pool = %pool.name, sessions, spread_percent = percent, "rebalanced");
        }
    }
}

/// The backends as their leases have them.
pub(super) fn places(shares: &[Share]) -> Vec<Place> {
    let place =
        |&Share { backend, live, room, weight }: &Share| Place { backend, sessions: live, movable: live, room, weight };
    shares.iter().map(place).collect()
}

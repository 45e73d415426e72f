//! What part of a pool's sessions each of its backends should have.

use std::sync::Arc;
use std::time::Instant;

use super::backend::{Backend, BackendId};
use super::balance::Candidate;
use super::score;
use super::{AdminState, Pool};
use crate::config::Balance;

/// A backend among those that sessions may be evened between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Which one.
    pub backend: BackendId,
    /// Sessions that it has, those being attached or closed included.
    pub live: usize,
    /// How many more it may have.
    pub room: usize,
    /// What its part is proportional to: its weight in effect, with [`Balance::Score`] times its headroom. 0 where it is
    /// to have none: it has no weight, or others are preferred to it by their priority.
    pub weight: f64,
}

impl Pool {
    /// Whether a session's place in it is a matter of numbers: not of its key or cookie, nor of how fast backends are.
    #[must_use]
    pub fn is_by_number(&self) -> bool {
        let settings = self.settings();
        let by_number = match settings.balancing.balance {
            Balance::LeastConn | Balance::RoundRobin | Balance::RandomTwo | Balance::Score => true,
            Balance::Latency | Balance::Hash => false,
        };
        by_number && settings.balancing.sticky_cookie.is_none()
    }

    /// The backends between which sessions may be evened. Those that are drained, disabled, in maintenance, down,
    /// ejected or doubted take no part: they neither give nor take.
    #[must_use]
    pub fn shares(&self) -> Vec<Share> {
        let (settings, smoothing, now) = (self.settings(), self.smoothing(), Instant::now());
        let backends = self.backends();
        let all: Vec<(&Arc<Backend>, Candidate)> = backends
            .iter()
            .filter(|backend| backend.takes_part(now))
            .map(|backend| (backend, backend.candidate(0, &smoothing, now)))
            .collect();
        let preferred = all.iter().filter(|(_, one)| one.weight > 0.0).map(|(backend, _)| backend.priority()).min();
        let mean = score::mean(all.iter().filter_map(|(_, one)| one.utilisation));
        let by_score = settings.balancing.balance == Balance::Score;
        let share = |(backend, one): &(&Arc<Backend>, Candidate)| {
            let headroom = if by_score { score::headroom(one.utilisation.unwrap_or(mean)) } else { 1.0 };
            let wanted = preferred == Some(backend.priority());
            Share {
                backend: one.id,
                live: one.live,
                room: backend.room(),
                weight: if wanted { one.weight * headroom } else { 0.0 },
            }
        };
        all.iter().map(share).collect()
    }

    /// How many sessions the other backends would take that are ready and well.
    #[must_use]
    pub fn room_beside(&self, id: BackendId) -> usize {
        let now = Instant::now();
        let backends = self.backends();
        let others = backends.iter().filter(|other| other.id != id && other.takes_sessions() && other.eligible(now));
        others.map(|other| other.room()).fold(0, usize::saturating_add)
    }
}

impl Backend {
    /// How many more sessions it may have.
    fn room(&self) -> usize {
        self.most(&self.agent()).saturating_sub(self.live())
    }

    fn takes_part(&self, now: Instant) -> bool {
        let open = self.admin_state() == AdminState::Ready && self.agent().lets_in();
        open && self.eligible(now)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lease;
    use super::*;
    use crate::config::{BackendConfig, Balancing, Config, CookieName, PoolConfig, PoolSettings};

    fn pool(balancing: Balancing, backends: Vec<BackendConfig>) -> Pool {
        let config = Config::with_backends(&[backends[0].url.clone()]).unwrap().pools.remove(0);
        let settings = PoolSettings { balancing, ..config.settings };
        Pool::new(&PoolConfig { settings, backends, ..config })
    }

    fn backend(port: u16) -> BackendConfig {
        BackendConfig::new(format!("ws://127.0.0.1:{port}").parse().unwrap())
    }

    #[test]
    fn who_takes_part_has_a_share_by_weight_and_its_room() {
        let bounded = BackendConfig { max_sessions: Some(3), weight: 50, ..backend(1) };
        let spare = BackendConfig { priority: 1, ..backend(2) };
        let pool = pool(Balancing::default(), vec![bounded, spare, backend(3), backend(4)]);
        let backends = pool.backends();
        let _leases = [0, 0, 1].map(|at: usize| Lease::new(backends[at].clone()));
        backends[2].set_admin_state(AdminState::Disabled);
        pool.drain(backends[3].id).unwrap();
        let shares: Vec<_> =
            pool.shares().iter().map(|share| (share.backend, share.live, share.room.min(9), share.weight)).collect();
        assert_eq!(shares, [(backends[0].id, 2, 1, 50.0), (backends[1].id, 1, 9, 0.0)]);
    }

    #[test]
    fn the_room_beside_a_backend_is_that_of_the_others_that_are_ready() {
        let bounded = BackendConfig { max_sessions: Some(3), ..backend(2) };
        let pool = pool(Balancing::default(), vec![backend(1), bounded, backend(3)]);
        let ids: Vec<_> = pool.backends().iter().map(|backend| backend.id).collect();
        assert!(pool.room_beside(ids[0]) > 1000);
        pool.disable(ids[2]).unwrap();
        let _lease = Lease::new(pool.backends()[1].clone());
        assert_eq!(pool.room_beside(ids[0]), 2);
        pool.drain(ids[1]).unwrap();
        assert_eq!(pool.room_beside(ids[0]), 0);
    }

    #[test]
    fn keys_cookies_and_latencies_are_no_numbers() {
        let is = |balance, cookie: Option<&str>| {
            let sticky_cookie = cookie.and_then(CookieName::new);
            pool(Balancing { balance, sticky_cookie, ..Balancing::default() }, vec![backend(1)]).is_by_number()
        };
        for balance in [Balance::LeastConn, Balance::RoundRobin, Balance::RandomTwo, Balance::Score] {
            assert!(is(balance, None) && !is(balance, Some("back")));
        }
        assert!(!is(Balance::Hash, None) && !is(Balance::Latency, None));
    }
}

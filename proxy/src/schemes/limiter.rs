//! How often one client network may ask.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Networks that are counted each for itself. Further ones share one allowance, until some of these have been quiet.
const NETWORKS: usize = 65_536;
/// Time between two looks for networks that have been quiet, at least: each passes over all of them.
const SWEEP: Duration = Duration::from_secs(1);

/// Bits that two addresses of one client have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prefixes {
    pub(crate) v4: u8,
    pub(crate) v6: u8,
}

/// A rate for each client network: at most so many entries of some 50 bytes, 4 MiB with the map's own room.
#[derive(Debug)]
pub(crate) struct Limiter<C: Clock = DefaultClock> {
    networks: RateLimiter<Key, DashMapStateStore<Key>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    prefixes: Prefixes,
    /// At most so many networks.
    most: usize,
    swept: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Network(IpNet),
    /// All for which there is no room.
    Others,
}

impl Limiter {
    /// `rate` requests a second from one network, and as many at once.
    pub(crate) fn new(rate: NonZeroU32, prefixes: Prefixes) -> Self {
        Self::with_clock(rate, prefixes, DefaultClock::default(), NETWORKS)
    }
}

impl<C: Clock + Clone> Limiter<C> {
    fn with_clock(rate: NonZeroU32, prefixes: Prefixes, clock: C, most: usize) -> Self {
        let networks = RateLimiter::dashmap_with_clock(Quota::per_second(rate), clock.clone());
        Self { networks, clock, prefixes, most, swept: Mutex::default() }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// It is one too many; says after which time one more may come.
    pub(crate) fn check(&self, client: IpAddr) -> Result<(), Duration> {
        let key = self.key(client);
        self.networks.check_key(&key).map_err(|refused| refused.wait_time_from(self.clock.now()))
    }

    fn key(&self, client: IpAddr) -> Key {
        if self.networks.len() >= self.most {
            self.sweep();
        }
        if self.networks.len() >= self.most { Key::Others } else { Key::Network(self.network(client)) }
    }

    fn network(&self, client: IpAddr) -> IpNet {
        match client.to_canonical() {
            IpAddr::V4(ip) => Ipv4Net::new_assert(ip, self.prefixes.v4).trunc().into(),
            IpAddr::V6(ip) => Ipv6Net::new_assert(ip, self.prefixes.v6).trunc().into(),
        }
    }

    fn sweep(&self) {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.is_none_or(|at| at.elapsed() >= SWEEP) {
            *swept = Some(Instant::now());
            self.networks.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    const CLIENTS: Prefixes = Prefixes { v4: 32, v6: 64 };

    fn limiter(rate: u32, most: usize) -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Limiter::with_clock(NonZeroU32::new(rate).unwrap(), CLIENTS, clock.clone(), most), clock)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_may_ask_so_often_a_second_and_is_told_when_again() {
        let (limiter, clock) = limiter(2, 10);
        let client = ip("192.0.2.1");
        assert_eq!([limiter.check(client), limiter.check(client)], [Ok(()), Ok(())]);
        let wait = limiter.check(client).unwrap_err();
        assert_eq!(wait, Duration::from_millis(500));
        assert_eq!(limiter.check(ip("192.0.2.2")), Ok(()), "another client");
        clock.advance(wait);
        assert_eq!(limiter.check(client), Ok(()));
    }

    #[test]
    fn the_addresses_of_a_v6_network_are_one_client() {
        let (limiter, _) = limiter(1, 10);
        assert_eq!(limiter.check(ip("2001:db8::1")), Ok(()));
        assert!(limiter.check(ip("2001:db8::ffff:1")).is_err());
        assert_eq!(limiter.check(ip("2001:db8:0:1::1")), Ok(()));
        assert_eq!(limiter.check(ip("192.0.2.1")), Ok(()));
        assert!(limiter.check(ip("::ffff:192.0.2.1")).is_err(), "a v4 address however written");
    }

    #[test]
    fn when_there_is_no_room_for_more_networks_further_ones_share_one_allowance() {
        let (limiter, clock) = limiter(1, 2);
        assert_eq!([limiter.check(ip("192.0.2.1")), limiter.check(ip("192.0.2.2"))], [Ok(()), Ok(())]);
        assert_eq!(limiter.check(ip("192.0.2.3")), Ok(()));
        assert!(limiter.check(ip("192.0.2.4")).is_err(), "the others' allowance is used up");
        assert!(limiter.networks.len() <= 3);
        clock.advance(Duration::from_secs(10));
        *limiter.swept.lock().unwrap() = None;
        assert_eq!([limiter.check(ip("192.0.2.5")), limiter.check(ip("192.0.2.6"))], [Ok(()), Ok(())], "room again");
    }
}

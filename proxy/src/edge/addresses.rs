//! How many sessions one client network has, and how fast it begins more. Touched when a session begins and ends.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use ipnet::{IpNet, Ipv6Net};

use super::refusal::Refusal;
use crate::config::EdgeLimits;
use crate::schemes::{Limiter, Prefixes};

/// One IPv4 address, or a /64 of IPv6: what one client usually has.
const CLIENTS: Prefixes = Prefixes { v4: 32, v6: 64 };

/// The client networks that have sessions: no more than there are sessions.
#[derive(Debug)]
pub(super) struct Addresses {
    rate: Option<Limiter>,
    most: Option<usize>,
    live: Arc<DashMap<IpNet, usize>>,
}

/// A session's place among those of its client network; given back when dropped.
#[derive(Debug)]
pub(super) struct AddressPlace {
    live: Arc<DashMap<IpNet, usize>>,
    network: IpNet,
}

impl Addresses {
    pub(super) fn new(limits: &EdgeLimits) -> Self {
        let rate = NonZeroU32::new(limits.session_rate_per_address).map(|rate| Limiter::new(rate, CLIENTS));
        let most = Some(limits.max_sessions_per_address).filter(|most| *most > 0);
        Self { rate, most, live: Arc::default() }
    }

    /// A place for one more session of this client. `None`: they are not counted.
    pub(super) fn take(&self, client: IpAddr) -> Result<Option<AddressPlace>, Refusal> {
        if self.rate.as_ref().is_some_and(|rate| rate.check(client).is_err()) {
            return Err(Refusal::Rate);
        }
        let Some(most) = self.most else { return Ok(None) };
        let network = network(client);
        let mut live = self.live.entry(network).or_default();
        if *live >= most {
            return Err(Refusal::Address);
        }
        *live += 1;
        Ok(Some(AddressPlace { live: self.live.clone(), network }))
    }
}

fn network(client: IpAddr) -> IpNet {
    match client.to_canonical() {
        IpAddr::V4(ip) => IpNet::from(IpAddr::V4(ip)),
        IpAddr::V6(ip) => Ipv6Net::new_assert(ip, CLIENTS.v6).trunc().into(),
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        if let Entry::Occupied(mut live) = self.live.entry(self.network) {
            *live.get_mut() -= 1;
            if *live.get() == 0 {
                live.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(most: usize, rate: u32) -> Addresses {
        let limits =
            EdgeLimits { max_sessions_per_address: most, session_rate_per_address: rate, ..EdgeLimits::default() };
        Addresses::new(&limits)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_its_places_and_nothing_of_it_is_kept_when_they_are_given_back() {
        let addresses = addresses(2, 0);
        let kept: Vec<_> = ["2001:db8::1", "2001:db8::ffff:2"].map(|client| addresses.take(ip(client)).unwrap()).into();
        assert_eq!(addresses.take(ip("2001:db8::3")).unwrap_err(), Refusal::Address);
        assert!(addresses.take(ip("2001:db8:0:1::3")).is_ok() && addresses.take(ip("192.0.2.1")).is_ok());
        drop(kept);
        assert!(addresses.live.is_empty());
        assert!(addresses.take(ip("2001:db8::3")).is_ok());
    }

    #[test]
    fn a_network_that_begins_sessions_too_fast_is_told_so_and_others_are_not() {
        let addresses = addresses(0, 3);
        let refused = (0..10).filter(|_| addresses.take(ip("192.0.2.1")).is_err()).count();
        assert!((6..=7).contains(&refused), "{refused}");
        assert!(addresses.take(ip("192.0.2.2")).is_ok());
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let addresses = addresses(0, 0);
        assert!((0..1000).all(|_| addresses.take(ip("192.0.2.1")).unwrap().is_none()));
    }
}

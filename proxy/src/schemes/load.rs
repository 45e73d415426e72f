//! How loaded the backends of a pool are, as the schemes see them, and which are loaded least. Pure.

use std::fmt;
use std::net::IpAddr;

use crate::config::{PublicUrl, ScaleConfig};
use crate::pool::{BackendId, headroom};

/// One backend of a pool at one moment.
#[derive(Clone, Debug)]
pub struct Load {
    /// Which one.
    pub backend: BackendId,
    /// Where clients reach it without the proxy; `None` if nobody said so.
    pub public_url: Option<PublicUrl>,
    /// Its addresses for the DNS, if somebody said so. Empty: those of its host.
    pub addresses: Vec<IpAddr>,
    /// The host that the proxy connects to: a name or an address.
    pub host: String,
    /// Only those of the lowest number that may get sessions do.
    pub priority: u16,
    /// Its share of the pool's sessions, relative to the others'. Not above 0: none.
    pub weight: f64,
    /// Sessions that this proxy relays to it.
    pub sessions: usize,
    /// The part of it that is in use, 0 to 1, as it reports. `None`: it does not.
    pub utilisation: Option<f64>,
    /// It is meant to have sessions, and is not known to be down.
    pub present: bool,
    /// It may get one more session.
    pub eligible: bool,
}

/// Where the schemes learn of pools and backends.
pub trait Loads: fmt::Debug + Send + Sync {
    /// The backends of a pool as they are now; empty if there is no such pool.
    fn loads(&self, pool: &str) -> Vec<Load>;

    /// The pools whose size is advised about, and by what.
    fn scale_targets(&self) -> Vec<(Box<str>, ScaleConfig)>;
}

/// The `most` least loaded of those that may get a session, the least first. `assigned` tells how many sessions were
/// sent to a backend of which the proxy sees nothing.
///
/// The load is `(sessions + assigned + 1) / weight / headroom`. The headroom is what a backend reports to have left, the
/// mean of the others where it does not report, and 1 where none does.
pub(super) fn least_loaded(loads: Vec<Load>, assigned: impl Fn(BackendId) -> f64, most: usize) -> Vec<Load> {
    let mut eligible: Vec<Load> = loads.into_iter().filter(|load| load.eligible && load.weight > 0.0).collect();
    let best = eligible.iter().map(|load| load.priority).min();
    eligible.retain(|load| Some(load.priority) == best);
    let mean = mean(eligible.iter().filter_map(|load| load.utilisation)).unwrap_or(0.0);
    let mut ranked: Vec<(f64, Load)> = eligible
        .into_iter()
        .map(|load| {
            let headroom = headroom(load.utilisation.unwrap_or(mean));
            let cost = (load.sessions as f64 + assigned(load.backend) + 1.0) / load.weight / headroom;
            (cost, load)
        })
        .collect();
    ranked.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    ranked.into_iter().take(most).map(|(_, load)| load).collect()
}

/// `None` of nothing.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A backend in good order, of weight 100, with nothing on it.
    pub(in crate::schemes) fn idle(number: u8) -> Load {
        Load {
            backend: BackendId::new(number.into()),
            public_url: Some(format!("ws://backend-{number}").parse().unwrap()),
            addresses: vec![[192, 0, 2, number].into()],
            host: format!("backend-{number}"),
            priority: 0,
            weight: 100.0,
            sessions: 0,
            utilisation: None,
            present: true,
            eligible: true,
        }
    }

    fn order(loads: &[Load], assigned: impl Fn(BackendId) -> f64) -> Vec<u64> {
        let least = least_loaded(loads.to_vec(), assigned, usize::MAX);
        least.iter().map(|load| load.backend.number() as u64).collect()
    }

    #[test]
    fn the_fewest_sessions_for_the_weight_come_first() {
        let loads = [
            Load { sessions: 10, ..idle(1) },
            Load { sessions: 15, weight: 200.0, ..idle(2) },
            Load { sessions: 9, ..idle(3) },
        ];
        assert_eq!(order(&loads, |_| 0.0), [2, 3, 1]);
        assert_eq!(least_loaded(loads.to_vec(), |_| 0.0, 1).len(), 1);
    }

    #[test]
    fn assignments_count_as_sessions() {
        let loads = [idle(1), Load { sessions: 3, ..idle(2) }];
        assert_eq!(order(&loads, |_| 0.0), [1, 2]);
        assert_eq!(order(&loads, |id| if id.number() == 1 { 3.5 } else { 0.0 }), [2, 1]);
    }

    #[test]
    fn what_a_backend_reports_divides_its_share() {
        let busy = Load { utilisation: Some(0.9), ..idle(1) };
        let half = Load { utilisation: Some(0.5), sessions: 2, ..idle(2) };
        assert_eq!(order(&[busy.clone(), half], |_| 0.0), [2, 1], "1 / 0.1 is more than 3 / 0.5");
        // One that does not report is taken for the mean of the others, so it is neither shunned nor flooded.
        let full = Load { utilisation: Some(1.0), ..idle(3) };
        assert_eq!(order(&[full, idle(4), Load { utilisation: Some(0.2), ..idle(5) }], |_| 0.0), [5, 4, 3]);
    }

    #[test]
    fn who_may_not_get_a_session_gets_none() {
        let loads = [Load { eligible: false, ..idle(1) }, Load { weight: 0.0, ..idle(2) }];
        assert_eq!(order(&loads, |_| 0.0), [0; 0]);
        let spare = Load { priority: 1, ..idle(3) };
        let busy = Load { sessions: 900, ..idle(4) };
        assert_eq!(order(&[spare.clone(), busy.clone()], |_| 0.0), [4], "a spare one waits");
        assert_eq!(order(&[spare, Load { eligible: false, ..busy }], |_| 0.0), [3]);
    }
}

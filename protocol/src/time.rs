//! Time as the engine sees it: a number of nanoseconds since an origin that its driver chose.

use std::num::NonZeroU64;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time, in nanoseconds since the driver's origin. Monotonic; 2^64 ns are 584 years.
///
/// Kept as one more than that, so that an `Option` of it takes no more room: a session has a dozen of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(NonZeroU64);

impl Instant {
    /// The origin itself.
    pub const ORIGIN: Self = Self(NonZeroU64::MIN);

    /// The point `since` after the origin, capped at the end of time.
    #[must_use]
    pub fn from_origin(since: Duration) -> Self {
        Self::ORIGIN + since
    }

    /// How long after the origin this is.
    #[must_use]
    pub fn since_origin(self) -> Duration {
        self.since(Self::ORIGIN)
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Default for Instant {
    fn default() -> Self {
        Self::ORIGIN
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        let nanos = u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::new(self.0.get().saturating_sub(nanos)).unwrap_or(NonZeroU64::MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_of_a_time_takes_no_more_room_than_a_time() {
        assert_eq!(size_of::<Option<Instant>>(), size_of::<u64>());
    }

    #[test]
    fn time_stops_at_its_ends() {
        let nanos = Duration::from_nanos;
        assert_eq!(Instant::ORIGIN - nanos(1), Instant::ORIGIN);
        assert_eq!((Instant::ORIGIN + nanos(5)) - nanos(7), Instant::ORIGIN);
        assert_eq!((Instant::ORIGIN + nanos(5) - nanos(2)).since_origin(), nanos(3));
        let end = Instant::from_origin(Duration::MAX);
        assert_eq!(end + nanos(1), end);
        assert_eq!(Instant::ORIGIN.since(end), Duration::ZERO);
    }
}

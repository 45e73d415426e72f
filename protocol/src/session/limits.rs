//! How much a client may ask of the proxy: messages, bytes, control frames and tiny fragments a second, and for how long it may be
//! idle, stay, or take nothing of what waits for it.
//!
//! Owns the clocks of these limits and says when one is passed; what that leads to is the session's to decide. A session
//! without limits has no memory for them beyond a few words.

use std::time::Duration;

use crate::close::CloseCode;
use crate::time::Instant;

use super::config::{OnRate, SessionLimits};

/// What a client went beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `--message-rate`.
    Messages,
    /// `--byte-rate`.
    Bytes,
    /// `--control-rate`.
    Controls,
    /// `--idle-timeout`.
    Idle,
    /// `--max-session-age`.
    Age,
    /// `--slow-client-timeout`.
    SlowClient,
}

impl Limit {
    /// The Close code that answers it: who came too fast, or is in the way, did wrong (1008); for who was only there for
    /// too long this end goes away (1001), so that clients come again.
    pub(super) fn close_code(self) -> CloseCode {
        match self {
            Self::Messages | Self::Bytes | Self::Controls | Self::SlowClient => CloseCode::POLICY,
            Self::Idle | Self::Age => CloseCode::GOING_AWAY,
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Messages => "more messages than message-rate",
            Self::Bytes => "more bytes than byte-rate",
            Self::Controls => "more control frames and tiny fragments than control-rate",
            Self::Idle => "no message for idle-timeout",
            Self::Age => "older than max-session-age",
            Self::SlowClient => "took nothing for slow-client-timeout",
        })
    }
}

/// A client that takes nothing is left alone for this long, and as long as nobody waits for memory.
const SLOW_CLIENT_GRACE: Duration = Duration::from_secs(30);
/// How soon to look again whether somebody does.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The shortest time between two pauses of one spell. What comes later is another spell, and told of.
const SPELL: Duration = Duration::from_secs(1);
/// A client that is slowed down is read about so many times a second.
const SIPS: u64 = 20;
/// Of a session's age, the part that chance takes off: 1 / so much at most.
const AGE_JITTER: u32 = 10;

const SECOND: u128 = 1_000_000_000;

/// Tokens that come at an even rate, a second's worth of them at most. All that it keeps is when it will be full.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    fn available(self, now: Instant, rate: u64) -> u64 {
        let left = SECOND.saturating_sub(self.full_at.since(now).as_nanos());
        u64::try_from(left * u128::from(rate) / SECOND).unwrap_or(u64::MAX)
    }

    /// Takes tokens, also such as are not there yet.
    fn take(&mut self, now: Instant, count: u64, rate: u64) {
        let nanos = u128::from(count) * SECOND / u128::from(rate);
        self.full_at = self.full_at.max(now) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    }

    /// Whether tokens were taken that are not there yet.
    fn is_overdrawn(self, now: Instant) -> bool {
        self.full_at.since(now).as_nanos() > SECOND
    }

    /// When it is worth while to take some again.
    fn worthwhile_at(self, rate: u64) -> Instant {
        let nanos = (u128::from((rate / SIPS).max(1)) * SECOND).div_ceil(u128::from(rate));
        self.full_at + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)) - Duration::from_secs(1)
    }
}

/// What may be taken of a client now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// What is said of something that a client did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    Within,
    /// It is not read for a while, for the first time in a spell.
    Slowed(Limit),
    /// It has had its fill.
    Over(Limit),
}

/// The limits of one session.
#[derive(Debug)]
pub(super) struct Limits {
    controls: Bucket,
    /// The client is not read until then.
    paused: Option<Instant>,
    /// When the latest pause ended, or will.
    spell: Option<Instant>,
    /// When to look again whether a client that takes nothing is in the way.
    look: Option<Instant>,
    /// What only some sessions need.
    more: Option<Box<More>>,
}

#[derive(Debug)]
struct More {
    messages: Bucket,
    bytes: Bucket,
    /// When a byte of a message last came, of either side.
    active: Instant,
    ends_at: Option<Instant>,
}

impl Limits {
    /// `chance` decides how far before its greatest age the session ends.
    pub(super) fn new(config: &SessionLimits, now: Instant, chance: u64) -> Self {
        let wanted = config.message_rate.is_some()
            || config.byte_rate.is_some()
            || config.idle_timeout.is_some()
            || config.max_age.is_some();
        let more = || {
            let bucket = Bucket::new(now);
            let ends_at = config.max_age.map(|age| now + age - jitter(age, chance));
            Box::new(More { messages: bucket, bytes: bucket, active: now, ends_at })
        };
        let controls = Bucket::new(now);
        Self { controls, paused: None, spell: None, look: None, more: wanted.then(more) }
    }

    /// Whether messages of the session count for anything here.
    pub(super) fn count_messages(&self) -> bool {
        self.more.is_some()
    }

    /// Whether the client is not to be read for now.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// What may be taken of the client now. Where it is closed for taking too much, that shows behind the reading.
    pub(super) fn allowance(&self, now: Instant, config: &SessionLimits) -> Allowance {
        let mut allowance = Allowance { messages: u64::MAX, bytes: u64::MAX };
        let Some(more) = self.more.as_ref().filter(|_| config.on_rate == OnRate::Throttle) else { return allowance };
        if let Some(rate) = config.message_rate {
            allowance.messages = more.messages.available(now, rate.get().into());
        }
        if let Some(rate) = config.byte_rate {
            allowance.bytes = more.bytes.available(now, rate.get());
        }
        allowance
    }

    /// Bytes of a message came, of either side.
    pub(super) fn handle_data(&mut self, now: Instant) {
        if let Some(more) = &mut self.more {
            more.active = now;
        }
    }

    /// So much was taken of the client.
    pub(super) fn handle_taken(
        &mut self,
        now: Instant,
        (messages, bytes): (u64, u64),
        config: &SessionLimits,
    ) -> Ruling {
        let Some(more) = &mut self.more else { return Ruling::Within };
        let mut passed = None;
        if let Some(rate) = config.byte_rate {
            more.bytes.take(now, bytes, rate.get());
            passed = Passed::of(Limit::Bytes, more.bytes, now, rate.get());
        }
        if let Some(rate) = config.message_rate.map(|rate| u64::from(rate.get())) {
            more.messages.take(now, messages, rate);
            passed = Passed::of(Limit::Messages, more.messages, now, rate).or(passed);
        }
        passed.map_or(Ruling::Within, |passed| self.rule(now, passed, config.on_rate))
    }

    /// A ping, a pong or a tiny fragment of the client came.
    pub(super) fn handle_control(&mut self, now: Instant, config: &SessionLimits) -> Ruling {
        let Some(rate) = config.control_rate.map(|rate| u64::from(rate.get())) else { return Ruling::Within };
        self.controls.take(now, 1, rate);
        let passed = Passed::of(Limit::Controls, self.controls, now, rate);
        passed.map_or(Ruling::Within, |passed| self.rule(now, passed, config.on_rate))
    }

    fn rule(&mut self, now: Instant, passed: Passed, on_rate: OnRate) -> Ruling {
        match on_rate {
            OnRate::Close if passed.overdrawn => Ruling::Over(passed.limit),
            OnRate::Close => Ruling::Within,
            OnRate::Throttle => self.pause(now, passed),
        }
    }

    fn pause(&mut self, now: Instant, passed: Passed) -> Ruling {
        let anew = self.spell.is_none_or(|ended| now > ended + SPELL);
        self.paused = self.paused.max(Some(passed.until));
        self.spell = self.paused;
        if anew { Ruling::Slowed(passed.limit) } else { Ruling::Within }
    }

    /// When [`Self::handle_timeout`] is to be called. `blocked`: since when the client takes nothing.
    pub(super) fn deadline(&self, blocked: Option<Instant>, config: &SessionLimits) -> Option<Instant> {
        let more = self.more.as_ref();
        let idle = more.and_then(|more| Some(more.active + config.idle_timeout?));
        let age = more.and_then(|more| more.ends_at);
        [self.paused, self.slow_at(blocked, config), idle, age].into_iter().flatten().min()
    }

    fn slow_at(&self, blocked: Option<Instant>, config: &SessionLimits) -> Option<Instant> {
        let at = blocked? + config.slow_client_timeout.unwrap_or(SLOW_CLIENT_GRACE);
        Some(self.look.map_or(at, |look| at.max(look)))
    }

    /// Time has passed. `contended`: others wait for memory that the client's messages take. Returns the limit that is
    /// passed.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        (blocked, contended): (Option<Instant>, bool),
        config: &SessionLimits,
    ) -> Option<Limit> {
        self.paused = self.paused.filter(|until| *until > now);
        if self.slow_at(blocked, config).is_some_and(|at| at <= now) {
            if contended || config.slow_client_timeout.is_some() {
                return Some(Limit::SlowClient);
            }
            self.look = Some(now + LOOK_AGAIN);
        }
        let more = self.more.as_ref()?;
        if more.ends_at.is_some_and(|at| at <= now) {
            return Some(Limit::Age);
        }
        config.idle_timeout.filter(|timeout| more.active + *timeout <= now).map(|_| Limit::Idle)
    }
}

/// A bucket that is empty.
struct Passed {
    limit: Limit,
    until: Instant,
    overdrawn: bool,
}

impl Passed {
    fn of(limit: Limit, bucket: Bucket, now: Instant, rate: u64) -> Option<Self> {
        let overdrawn = bucket.is_overdrawn(now);
        (bucket.available(now, rate) == 0).then(|| Self { limit, until: bucket.worthwhile_at(rate), overdrawn })
    }
}

fn jitter(age: Duration, chance: u64) -> Duration {
    (age / AGE_JITTER).mul_f64(f64::from((chance >> 32) as u32) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_origin(Duration::from_millis(1000 + millis))
    }

    #[test]
    fn a_bucket_gives_a_seconds_worth_at_once_and_then_its_rate() {
        for rate in [1, 3, 7, 1000, 999_999, 1 << 40] {
            let mut bucket = Bucket::new(at(0));
            assert_eq!(bucket.available(at(0), rate), rate);
            bucket.take(at(0), rate, rate);
            assert_eq!(bucket.available(at(0), rate), 0);
            assert!(!bucket.is_overdrawn(at(0)));
            let again = bucket.worthwhile_at(rate);
            assert!(bucket.available(again, rate) >= (rate / SIPS).max(1), "{rate}");
            assert_eq!(bucket.available(at(1000), rate), rate, "no more than a second's worth is saved");
            assert_eq!(bucket.available(at(9000), rate), rate);
        }
    }

    #[test]
    fn tokens_taken_one_by_one_are_as_many_as_those_taken_at_once() {
        for rate in [1, 3, 7, 1000] {
            let mut bucket = Bucket::new(at(0));
            for left in (0..rate).rev() {
                bucket.take(at(0), 1, rate);
                assert_eq!(bucket.available(at(0), rate), left, "of {rate}");
            }
            bucket.take(at(0), 1, rate);
            assert!(bucket.is_overdrawn(at(0)));
        }
    }

    #[test]
    fn chance_takes_a_tenth_of_the_age_at_most() {
        let age = Duration::from_secs(1000);
        assert_eq!(jitter(age, 0), Duration::ZERO);
        assert_eq!(jitter(age, u64::MAX), Duration::from_secs(100));
    }
}

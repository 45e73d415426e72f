//! The two legs of a session and what is between two backend legs.

use std::time::Duration;

use crate::frame::ControlPayload;
use crate::time::Instant;

use super::Config;
use super::ack::{AckCarrier, OrderWatch, Pings, PongOrder};
use super::liveness::Liveness;
use super::outlet::Outlet;

/// What is known of a backend when a leg to it begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct BackendTraits {
    /// It is known to answer no pings: the ring is a sliding window for it.
    pub mute: bool,
    /// Whether its pongs come before or after its answers.
    pub order: PongOrder,
    /// It speaks the session protocol, and how it acknowledges.
    pub carrier: Option<AckCarrier>,
    /// It agreed to permessage-deflate, without context from message to message (RFC 7692 7.1.1). What the first
    /// backend of a session agreed to, a later one must too; what is said of later ones is not looked at.
    pub deflate: bool,
}

/// A backend leg.
#[derive(Debug)]
pub(super) struct BackendLeg {
    pub(super) since: Instant,
    pub(super) outlet: Outlet,
    pub(super) pings: Pings,
    pub(super) live: Liveness,
    /// The backend answers no pings.
    pub(super) mute: bool,
    pub(super) order: OrderWatch,
    /// The last message that a barrier proved read.
    pub(super) proven: u64,
    /// When a barrier last proved a message read.
    pub(super) proven_at: Instant,
    /// When a barrier last proved a message read, or the last reply came.
    pub(super) answered: Instant,
    /// How the backend acknowledges, if it speaks the session protocol.
    pub(super) carrier: Option<AckCarrier>,
    /// It has not answered a ping for so long that a vanished client's messages wait for it no more.
    pub(super) unheard: bool,
    /// Whether its driver was asked to find out if the backend is mute.
    pub(super) mute_asked: bool,
    /// Something came of it behind its handshake.
    pub(super) heard: bool,
    /// It lived `--stable-after` and something came of it, or it answers no pings.
    pub(super) stable: bool,
    /// The client's Close is on this leg.
    pub(super) close_placed: bool,
    /// The client's Close is wholly written to this leg.
    pub(super) close_written: bool,
    /// A Close of the backend came: nothing after it counts.
    pub(super) closed: bool,
}

impl BackendLeg {
    pub(super) fn new(now: Instant, traits: BackendTraits) -> Self {
        Self {
            since: now,
            outlet: Outlet::new(),
            pings: Pings::default(),
            live: Liveness::new(now),
            mute: traits.mute,
            order: OrderWatch::default(),
            proven: 0,
            proven_at: now,
            answered: now,
            carrier: traits.carrier,
            unheard: false,
            mute_asked: false,
            heard: false,
            stable: false,
            close_placed: false,
            close_written: false,
            closed: false,
        }
    }
}

/// The client leg.
#[derive(Debug)]
pub(super) struct ClientLeg {
    pub(super) outlet: Outlet,
    pub(super) pings: Pings,
    pub(super) live: Liveness,
    /// Its stream has ended.
    pub(super) ended: bool,
    /// Its Close has come.
    pub(super) closed: bool,
}

impl ClientLeg {
    pub(super) fn new(now: Instant) -> Self {
        Self { outlet: Outlet::new(), pings: Pings::default(), live: Liveness::new(now), ended: false, closed: false }
    }
}

/// How a backend leg ended, as the client would see it.
#[derive(Debug)]
pub(super) enum LegEnd {
    Close(Box<ControlPayload>),
    EndOfStream,
}

/// Where the session stands with its backend.
///
/// ```text
///              ambiguous end            dying
///   Attached ----------------> Asking --------+
///    ^  |  |                      | healthy   |
///    |  |  +-------- final end ---+---> None  |
///    |  +------- loss ------------------------+--> Waiting <--+
///    |                                               | back-off | failed
///    +------------------ attached ------------- Dialling ------+
/// ```
#[derive(Debug)]
pub(super) enum Attachment {
    Attached(Box<BackendLeg>),
    /// The leg ended ambiguously and its backend is asked about. A leg that ended with a Close is still open.
    Asking {
        end: LegEnd,
        leg: Option<Box<BackendLeg>>,
        /// Its backend answered no pings.
        mute: bool,
    },
    /// No leg until the back-off is over.
    Waiting {
        since: Instant,
        until: Instant,
    },
    /// The driver looks for a backend.
    Dialling {
        since: Instant,
    },
    /// No leg, and none is wanted: the session ends.
    None,
}

/// The patience of a session: how long it waits between attempts and in all, until a leg is stable or brings the
/// session further.
#[derive(Debug)]
pub(super) struct Patience {
    /// Failed attempts and unstable legs so far.
    failures: u32,
    /// Time spent without a leg, without the current wait.
    waited: Duration,
    /// A share of the full delay between 0 and 255, drawn anew each time: the jitter.
    entropy: u64,
}

/// The delay after the first failure. It doubles with each.
const FIRST_DELAY: Duration = Duration::from_millis(25);
/// The longest delay.
const MAX_DELAY: Duration = Duration::from_secs(2);

impl Patience {
    pub(super) fn new(entropy: u64) -> Self {
        Self { failures: 0, waited: Duration::ZERO, entropy }
    }

    /// A stable leg, or progress: back-off and time in all start anew.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
        self.waited = Duration::ZERO;
    }

    /// The delay before the next attempt: none at first, then doubling up to two seconds, of which between half and
    /// all is taken at random.
    pub(super) fn next_delay(&mut self) -> Duration {
        let failures = self.failures;
        self.failures = self.failures.saturating_add(1);
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let full = FIRST_DELAY.saturating_mul(1 << doublings.min(16)).min(MAX_DELAY);
        // SplitMix64: jitter needs no secrecy.
        self.entropy = self.entropy.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.entropy ^ (self.entropy >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        full / 2 + full.mul_f64(f64::from((mixed >> 56) as u8) / 512.0)
    }

    /// The wait that began at `since` is over.
    pub(super) fn handle_attached(&mut self, since: Instant, now: Instant) {
        self.waited += now.since(since);
    }

    /// When a wait that began at `since` has used up `failover-timeout`.
    pub(super) fn over_at(&self, since: Instant, config: &Config) -> Instant {
        since + config.failover_timeout.saturating_sub(self.waited)
    }
}

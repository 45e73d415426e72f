//! What comes out of a session: things to do, things to tell the operator, and counts.

use crate::close::CloseCode;
use crate::frame::{ControlFrame, FrameError};

use super::Epoch;
use super::ack::PongOrder;
use super::limits::Limit;

/// One of the two connections of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Downstream: the client leg.
    Client,
    /// Upstream: the backend leg of the current epoch.
    Backend,
}

/// What the driver must do. Drained after every turn.
#[derive(Debug)]
pub enum Action {
    /// Find a backend for the session and report with `handle_attached` or `handle_attach_failed`.
    Attach(AttachRequest),
    /// Ask whether the backend of this epoch is dying, counting only what is learned from now on, and report with
    /// `handle_verdict`.
    Ask {
        /// Which leg.
        epoch: Epoch,
        /// The leg ended without a good Close, which is evidence; else it is only suspect.
        ended: bool,
    },
    /// The backend of this epoch never answered a ping of this session in time; if it never did for any session,
    /// report with `handle_mute`.
    Mute(Epoch),
    /// The backend of this epoch answered its first ping.
    AnswersPings(Epoch),
    /// It was found out whether pongs of this epoch's backend come before or after its answers.
    Order(Epoch, PongOrder),
    /// A message is set aside because backends died of it.
    Poisoned(Poisoned),
    /// Give the backend leg up: write the farewell if there is one, then close it in the background.
    Retire {
        /// A Close frame; `None` for an end of stream.
        farewell: Option<ControlFrame>,
    },
    /// Find another backend for the session, which stays on its leg meanwhile, and report with `handle_prepared` or
    /// `handle_prepare_failed`.
    Prepare(AttachRequest),
    /// The leg that was prepared is the session's now, of the new epoch: a [`Self::Retire`] has freed its place.
    Adopt,
    /// What was prepared, or is being prepared, is not wanted any more: close it.
    Discard,
    /// Something to log.
    Event(Event),
    /// The session is over: close both legs in the background. Nothing comes after this.
    End {
        /// A Close frame for the backend; `None` for an end of stream.
        farewell: Option<ControlFrame>,
    },
}

/// What the next leg must be, and what its handshake says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachRequest {
    /// The epoch of the leg that this may become.
    pub epoch: Epoch,
    /// Seq of the first message on it. `None` where that is not known yet: the session goes on with its leg meanwhile.
    pub next_seq: Option<u64>,
    /// Messages of backends that the client was passed so far. `None` like `next_seq`.
    pub delivered: Option<u64>,
    /// Pinned messages that the leg is written first, which have no part in the count of seqs. `None` like `next_seq`.
    pub pinned: Option<u32>,
    /// Only a backend that speaks the session protocol is a candidate.
    pub explicit: bool,
    /// The last healthy backend of a pool of several is no candidate: what is replayed may kill it.
    pub spare_last: bool,
}

/// A message that backends died of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poisoned {
    /// Its seq.
    pub seq: u64,
    /// The epoch that died of it last.
    pub epoch: Epoch,
    /// How many backends died while they had it alone.
    pub deaths: u8,
    /// Bytes of it, headers included.
    pub len: usize,
    /// Its frames as they came, masked, with `--keep-poison-payload`.
    pub frames: Option<Vec<u8>>,
}

/// Why a backend leg was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A Close with a code of `--failover-codes`.
    GoingAway(CloseCode),
    /// An ambiguous end, and the backend is proven to be dying or `--on-ambiguous failover`.
    Died,
    /// It was suspect, and the backend is proven to be dying or `--hang-timeout` passed.
    Hung,
    /// It broke the protocol.
    Protocol(FrameError),
    /// It acknowledged this seq, which it was not sent.
    AckAhead(u64),
    /// The operator said so.
    Operator,
    /// It was to be left, and did not come to rest within `--migrate-timeout`.
    Unsettled,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::GoingAway(code) => write!(f, "Close {code}"),
            Self::Died => f.write_str("died"),
            Self::Hung => f.write_str("hung"),
            Self::Protocol(error) => write!(f, "protocol error: {error}"),
            Self::Operator => f.write_str("the operator said so"),
            Self::Unsettled => f.write_str("did not come to rest within migrate-timeout"),
            Self::AckAhead(seq) => write!(f, "protocol error: acknowledged {seq}, which it was not sent"),
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The client closed and the closing handshake is done or timed out.
    ClientClosed,
    /// The client vanished without a Close.
    ClientVanished,
    /// The client broke the protocol.
    ClientError(FrameError),
    /// The backend closed; `None` for a Close without a code.
    BackendClosed(Option<CloseCode>),
    /// The backend ended the stream without Close and is healthy.
    BackendEndedStream,
    /// The backend's message is over `max-message-bytes` or `max-message-frames`.
    BackendOverLimit(FrameError),
    /// No backend within `--failover-timeout`.
    NoBackend,
    /// Backends denied the session (401 or 403).
    Denied,
    /// `--reattach` forbids another backend.
    NotWhole,
    /// The ring was full and `--on-full close`.
    RingFull,
    /// A message is older than `--replay-max-age` and `--on-expired close`.
    Expired,
    /// A rule allows no session with a message that came from this side.
    ClosedByRule(Side),
    /// The client went beyond a limit.
    OverLimit(Limit),
    /// The operator closed it with this code.
    Operator(CloseCode),
    /// The proxy shuts down.
    Shutdown,
}

impl std::fmt::Display for EndReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ClientClosed => f.write_str("client closed"),
            Self::ClientVanished => f.write_str("client vanished"),
            Self::ClientError(error) => write!(f, "client error: {error}"),
            Self::BackendClosed(Some(code)) => write!(f, "backend closed with {code}"),
            Self::BackendClosed(None) => f.write_str("backend closed without a code"),
            Self::BackendEndedStream => f.write_str("backend ended the stream"),
            Self::BackendOverLimit(error) => write!(f, "backend {error}"),
            Self::NoBackend => f.write_str("no backend within failover-timeout"),
            Self::Denied => f.write_str("denied"),
            Self::NotWhole => f.write_str("not whole, so not attached again"),
            Self::RingFull => f.write_str("replay ring full"),
            Self::Expired => f.write_str("message over replay-max-age"),
            Self::ClosedByRule(Side::Client) => f.write_str("closed by a rule for a message of the client"),
            Self::ClosedByRule(Side::Backend) => f.write_str("closed by a rule for a message of the backend"),
            Self::OverLimit(limit) => write!(f, "{limit}"),
            Self::Operator(code) => write!(f, "closed by the operator with {code}"),
            Self::Shutdown => f.write_str("shutdown"),
        }
    }
}

/// Why a session is not moved now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmovable {
    /// It is being moved.
    Busy,
    /// It has no backend leg, or one whose end is being judged.
    Detached,
    /// Its client has closed or vanished, or it ends for another reason.
    Ending,
    /// It replays one by one what may kill backends.
    Isolated,
    /// `--reattach` forbids another backend, or wants every message of the session there.
    Forbidden,
}

impl std::fmt::Display for Unmovable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Busy => "it is being migrated already",
            Self::Detached => "it has no backend leg now",
            Self::Ending => "it is ending",
            Self::Isolated => "it replays messages that may kill backends",
            Self::Forbidden => "its reattach setting forbids another backend",
        })
    }
}

/// Why a migration failed. Unless another leg was lost, the session is where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// No other backend took the session.
    NoBackend,
    /// The new leg ended before the session was on it.
    NewLegEnded,
    /// The old leg ended first: a failover, onto the new leg if it was there.
    OldLegEnded,
    /// The session ends, or its client is leaving.
    Ending,
    /// The ring filled up while the old leg came to rest, and `--on-full` would have lost messages.
    Crowded,
    /// The old leg did not come to rest within `--migrate-timeout`.
    Unsettled,
}

impl std::fmt::Display for Hindrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoBackend => "no other backend took it",
            Self::NewLegEnded => "the new leg ended first",
            Self::OldLegEnded => "the old leg ended first",
            Self::Ending => "it is ending",
            Self::Crowded => "its ring filled up",
            Self::Unsettled => "the old leg did not come to rest within migrate-timeout",
        })
    }
}

/// Why a new leg did not get through its pinned messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldFailure {
    /// The backend refused one.
    Refused,
    /// The leg ended first, or was given up.
    Ended,
    /// The answer did not come within `--hold-timeout`.
    TimedOut,
}

impl std::fmt::Display for HoldFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Refused => "the backend refused a pinned message",
            Self::Ended => "the leg ended before a pinned message was answered",
            Self::TimedOut => "a pinned message was not answered within hold-timeout",
        })
    }
}

/// Something that an operator may want to know. The driver adds session, epoch and backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The backend leg of this epoch was given up; another one is looked for.
    LegLost {
        /// Which leg.
        epoch: Epoch,
        /// Why.
        loss: Loss,
        /// Messages that the next leg will be given again or for the first time.
        retained: usize,
    },
    /// A new leg; so many retained messages that an earlier leg may have seen are written again.
    Attached {
        /// Which leg.
        epoch: Epoch,
        /// How many.
        replayed: usize,
    },
    /// The session is on another backend, of this epoch, on purpose.
    Migrated(Epoch),
    /// The session was to be moved and was not.
    MigrationFailed(Hindrance),
    /// The backend leg is suspect of being hung.
    Suspect(Epoch),
    /// A byte moved on a suspect leg: it is not.
    Cleared(Epoch),
    /// Replies turned out not to be one a message: from here on, pongs acknowledge.
    FellBack,
    /// A new leg did not get through the pinned messages that hold back the rest: it counts as a failed attempt.
    HoldFailed {
        /// Which leg.
        epoch: Epoch,
        /// Why.
        why: HoldFailure,
    },
    /// A message could not be pinned for want of room: the session is not attached again.
    PinRefused,
    /// The client is read no faster than it may send, for the first time in a spell.
    Slowed(Limit),
    /// The client leg ended without Close; what it sent is still delivered.
    ClientVanished,
    /// The session is ending, for this reason.
    Ending(EndReason),
}

/// Counts of a session. They only rise. Messages are the client's unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages received whole.
    pub received: u64,
    /// Messages forgotten after they were acknowledged, evicted ones included.
    pub forgotten: u64,
    /// Of those, forgotten before their linger time was over, because room was needed.
    pub evicted: u64,
    /// Messages that a backend which answers no pings was written, forgotten unacknowledged to make room.
    pub slid: u64,
    /// Messages dropped by `--on-full drop-oldest`.
    pub dropped: u64,
    /// Messages not replayed because a rule says so: they concern the old backend only, or are worth nothing late.
    pub skipped: u64,
    /// Messages still retained when the session ended.
    pub abandoned: u64,
    /// Messages dropped because they were older than `--replay-max-age`, or than a rule allows.
    pub expired: u64,
    /// Messages set aside because backends died of them.
    pub poisoned: u64,
    /// Times that messages were replayed one by one after two deaths.
    pub isolations: u64,
    /// Messages of backends not passed because the client was told before, greetings left out.
    pub swallowed: u64,
    /// Times that held output was released without a barrier: the hold buffer was full or the session ended.
    pub released: u64,
    /// Times that `--ack reply` fell back to pongs.
    pub fallbacks: u64,
    /// Messages written again to a later leg.
    pub replayed: u64,
    /// Backend legs given up and looked for again.
    pub failovers: u64,
    /// Times that the session was moved to another backend on purpose, without replay.
    pub migrations: u64,
    /// Times that it was to be and was not.
    pub migrations_failed: u64,
    /// Barriers answered.
    pub barriers: u64,
    /// Messages of backends passed downstream.
    pub passed: u64,
    /// Bytes that came from a leg that had already ended.
    pub dead_bytes: u64,
    /// Messages of those forgotten that a key acknowledged.
    pub keyed: u64,
    /// Of those forgotten, messages with a key whose answer had not come, because room was needed.
    pub evicted_keyed: u64,
    /// Messages pinned.
    pub pinned: u64,
    /// Messages that could not be pinned for want of room.
    pub pins_refused: u64,
    /// Pinned messages written to later legs.
    pub pins_sent: u64,
    /// Legs that did not get through their pinned messages.
    pub holds_failed: u64,
    /// Messages of backends that rules kept from the client.
    pub ruled_swallowed: u64,
    /// Messages, of either side, in which an id was translated.
    pub translated: u64,
    /// Messages, of either side, that rules could not look into.
    pub opaque: u64,
    /// Sessions closed by a rule.
    pub rule_closes: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        let Self {
            received,
            forgotten,
            evicted,
            slid,
            dropped,
            skipped,
            abandoned,
            expired,
            poisoned,
            isolations,
            swallowed,
            released,
            fallbacks,
            replayed,
            failovers,
            migrations,
            migrations_failed,
            barriers,
            passed,
            dead_bytes,
            keyed,
            evicted_keyed,
            pinned,
            pins_refused,
            pins_sent,
            holds_failed,
            ruled_swallowed,
            translated,
            opaque,
            rule_closes,
        } = other;
        self.received += received;
        self.forgotten += forgotten;
        self.evicted += evicted;
        self.slid += slid;
        self.dropped += dropped;
        self.skipped += skipped;
        self.abandoned += abandoned;
        self.expired += expired;
        self.poisoned += poisoned;
        self.isolations += isolations;
        self.swallowed += swallowed;
        self.released += released;
        self.fallbacks += fallbacks;
        self.replayed += replayed;
        self.failovers += failovers;
        self.migrations += migrations;
        self.migrations_failed += migrations_failed;
        self.barriers += barriers;
        self.passed += passed;
        self.dead_bytes += dead_bytes;
        self.keyed += keyed;
        self.evicted_keyed += evicted_keyed;
        self.pinned += pinned;
        self.pins_refused += pins_refused;
        self.pins_sent += pins_sent;
        self.holds_failed += holds_failed;
        self.ruled_swallowed += ruled_swallowed;
        self.translated += translated;
        self.opaque += opaque;
        self.rule_closes += rule_closes;
    }
}

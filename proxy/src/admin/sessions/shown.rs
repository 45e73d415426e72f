//! What the API shows of a session.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tideover_protocol::session::{Counters, RingSurvey};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::pool::{BackendId, Fleet};
use crate::session::{Handle, Leg, Snapshot};

/// A live session.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Session {
    pub(crate) id: Uuid,
    /// The client's address.
    #[schema(example = "192.0.2.1:51234")]
    pub(crate) peer: String,
    /// When it began (RFC 3339).
    #[schema(format = DateTime)]
    pub(crate) since: String,
    /// How long ago that is, in seconds.
    pub(crate) age_seconds: f64,
    /// Number of its latest backend leg, from 1.
    pub(crate) epoch: u32,
    /// The URL of that leg's backend; null while it is looking for another one.
    pub(crate) backend: Option<String>,
    /// Whether it has a backend leg.
    pub(crate) state: Attachment,
    /// The pool that it stays in.
    #[schema(example = "default")]
    pub(crate) pool: String,
    /// The route that it came by: hosts, paths and header fields as the configuration has them, `*` for all.
    #[schema(example = "*.example.com /chat")]
    pub(crate) route: String,
}

/// Whether a session has a backend leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Attachment {
    /// It has one.
    Attached,
    /// It is looking for one, or about to end.
    Detached,
}

/// A live session in detail.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Detail {
    #[serde(flatten)]
    pub(crate) session: Session,
    /// Client messages retained: not forgotten yet.
    pub(crate) retained: usize,
    /// Of those, messages that no backend has acknowledged.
    pub(crate) unacknowledged: usize,
    /// Bytes of buffer memory held, both ways.
    pub(crate) buffered_bytes: usize,
    /// How long it has had its backend leg, in seconds; null while it has none.
    pub(crate) leg_age_seconds: Option<f64>,
    pub(crate) ring: Ring,
    pub(crate) counters: Counts,
}

/// Where the replay ring stands. A message that was dropped leaves a gap: its seq counts as acknowledged and forgotten.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Ring {
    /// Seq of the last message that the client sent whole; 0 before the first.
    pub(crate) received_seq: u64,
    /// Seq of the last message wholly written to the current leg, or before the first retained one.
    pub(crate) written_seq: u64,
    /// No message up to this seq is unacknowledged.
    pub(crate) acknowledged_seq: u64,
    /// No message up to this seq is retained.
    pub(crate) forgotten_seq: u64,
    /// Messages that it may hold (`--buffer-messages`).
    pub(crate) max_messages: usize,
    /// Bytes of messages that it holds, frame headers and the message being received included.
    pub(crate) bytes: usize,
    /// Bytes that it may hold (`--buffer-bytes`).
    pub(crate) max_bytes: usize,
    /// How long ago its oldest message was received, in seconds; null if it holds no whole one.
    pub(crate) oldest_age_seconds: Option<f64>,
}

impl From<RingSurvey> for Ring {
    fn from(ring: RingSurvey) -> Self {
        Self {
            received_seq: ring.received,
            written_seq: ring.written,
            acknowledged_seq: ring.acknowledged,
            forgotten_seq: ring.forgotten,
            max_messages: ring.max_messages,
            bytes: ring.bytes,
            max_bytes: ring.max_bytes,
            oldest_age_seconds: ring.oldest.map(|age| age.as_secs_f64()),
        }
    }
}

/// Counts since the session began. Messages are the client's unless said otherwise.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Counts {
    /// Messages received whole.
    pub(crate) received: u64,
    /// Forgotten after they were acknowledged.
    pub(crate) forgotten: u64,
    /// Of those, forgotten before their linger time was over.
    pub(crate) evicted: u64,
    /// Forgotten unacknowledged, on a backend that answers no pings.
    pub(crate) slid: u64,
    /// Dropped by `--on-full drop-oldest`.
    pub(crate) dropped: u64,
    /// Not replayed because a rule says so.
    pub(crate) skipped: u64,
    /// Still retained when the session ended.
    pub(crate) abandoned: u64,
    /// Dropped because they were older than `--replay-max-age`.
    pub(crate) expired: u64,
    /// Set aside because backends died of them.
    pub(crate) poisoned: u64,
    /// Times that messages were replayed one by one.
    pub(crate) isolations: u64,
    /// Messages of backends not passed because the client had them.
    pub(crate) swallowed: u64,
    /// Times that held output was released without a barrier.
    pub(crate) released: u64,
    /// Times that `--ack reply` fell back to pongs.
    pub(crate) fallbacks: u64,
    /// Written again to a later leg.
    pub(crate) replayed: u64,
    /// Backend legs given up and looked for again.
    pub(crate) failovers: u64,
    /// Times that it was moved to another backend on purpose, without replay.
    pub(crate) migrations: u64,
    /// Times that it was to be and was not.
    pub(crate) migrations_failed: u64,
    /// Barriers answered.
    pub(crate) barriers: u64,
    /// Messages of backends passed to the client.
    pub(crate) passed: u64,
    /// Bytes that came from a leg that had already ended.
    pub(crate) dead_bytes: u64,
    /// Of those forgotten, acknowledged by a key.
    pub(crate) keyed: u64,
    /// Of those forgotten, with a key and not answered, because room was needed.
    pub(crate) evicted_keyed: u64,
    /// Pinned.
    pub(crate) pinned: u64,
    /// Not pinned for want of room: the session is not attached again.
    pub(crate) pins_refused: u64,
    /// Pinned messages written to later legs.
    pub(crate) pins_sent: u64,
    /// Legs that did not get through their pinned messages.
    pub(crate) holds_failed: u64,
    /// Messages of backends that rules kept from the client.
    pub(crate) ruled_swallowed: u64,
    /// Messages, of either side, in which an id was translated.
    pub(crate) translated: u64,
    /// Messages, of either side, that rules could not look into.
    pub(crate) opaque: u64,
    /// Sessions closed by a rule.
    pub(crate) rule_closes: u64,
}

impl From<Counters> for Counts {
    fn from(counters: Counters) -> Self {
        Self {
            received: counters.received,
            forgotten: counters.forgotten,
            evicted: counters.evicted,
            slid: counters.slid,
            dropped: counters.dropped,
            skipped: counters.skipped,
            abandoned: counters.abandoned,
            expired: counters.expired,
            poisoned: counters.poisoned,
            isolations: counters.isolations,
            swallowed: counters.swallowed,
            released: counters.released,
            fallbacks: counters.fallbacks,
            replayed: counters.replayed,
            failovers: counters.failovers,
            migrations: counters.migrations,
            migrations_failed: counters.migrations_failed,
            barriers: counters.barriers,
            passed: counters.passed,
            dead_bytes: counters.dead_bytes,
            keyed: counters.keyed,
            evicted_keyed: counters.evicted_keyed,
            pinned: counters.pinned,
            pins_refused: counters.pins_refused,
            pins_sent: counters.pins_sent,
            holds_failed: counters.holds_failed,
            ruled_swallowed: counters.ruled_swallowed,
            translated: counters.translated,
            opaque: counters.opaque,
            rule_closes: counters.rule_closes,
        }
    }
}

/// How long ago a session began.
pub(super) fn age(handle: &Handle) -> Duration {
    SystemTime::now().duration_since(handle.since).unwrap_or_default()
}

impl Attachment {
    pub(super) fn of(backend: Option<BackendId>) -> Self {
        if backend.is_some() { Self::Attached } else { Self::Detached }
    }
}

impl Session {
    pub(super) fn new(id: Uuid, handle: &Handle, fleet: &Fleet) -> Self {
        let Leg { epoch, backend } = handle.leg();
        Self {
            id,
            peer: handle.peer.to_string(),
            since: humantime::format_rfc3339_millis(handle.since).to_string(),
            age_seconds: age(handle).as_secs_f64(),
            epoch,
            backend: backend.and_then(|id| fleet.backend(id)).map(|backend| backend.url.to_string()),
            state: Attachment::of(backend),
            pool: handle.route.pool.name.to_string(),
            route: handle.route.title.to_string(),
        }
    }
}

impl Detail {
    pub(super) fn new(id: Uuid, handle: &Handle, snapshot: &Snapshot, fleet: &Fleet) -> Self {
        let backend = snapshot.backend.and_then(|id| fleet.backend(id)).map(|backend| backend.url.to_string());
        Self {
            session: Session {
                epoch: snapshot.epoch,
                backend,
                state: Attachment::of(snapshot.backend),
                ..Session::new(id, handle, fleet)
            },
            retained: snapshot.retained,
            unacknowledged: snapshot.unacknowledged,
            buffered_bytes: snapshot.buffered,
            leg_age_seconds: snapshot.leg_age.map(|age| age.as_secs_f64()),
            ring: snapshot.ring.into(),
            counters: snapshot.counters.into(),
        }
    }
}

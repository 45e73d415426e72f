//! Live sessions: list, inspect, fail over, close.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tideover_protocol::close::CloseCode;
use tideover_protocol::frame::MAX_CONTROL_PAYLOAD;
use tideover_protocol::session::Counters;
use tokio::sync::oneshot;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Site;
use super::error::Failure;
use super::extract::{Body, Path, Query};
use crate::pool::{Backend, BackendId, Fleet};
use crate::session::{Command, Handle, Leg, Snapshot};

/// How long a session may take to say how it is. It answers within a turn of its task.
const PATIENCE: Duration = Duration::from_secs(2);
/// Sessions on a page, unless asked for fewer or more.
const PAGE: usize = 100;
/// The most sessions on a page.
const LARGEST_PAGE: usize = 1000;
/// The longest reason of a Close, in bytes: its payload less the code (RFC 6455 5.5, 5.5.1).
const REASON_BYTES: usize = MAX_CONTROL_PAYLOAD - 2;

/// Which sessions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only sessions behind this one, in the order of their beginning: `next` of the page before.
    after: Option<Uuid>,
    /// How many at most, from 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// Only sessions on this backend, by its id or URL.
    backend: Option<String>,
    /// Only sessions of this client, by its IP address, or address and port.
    peer: Option<String>,
}

/// A page of sessions, the oldest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Page {
    pub(crate) sessions: Vec<Session>,
    /// `after` of the next page; null if this is the last.
    pub(crate) next: Option<Uuid>,
}

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
    /// The backend of that leg; null while it is looking for another one.
    pub(crate) backend: Option<String>,
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
    pub(crate) counters: Counts,
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
}

impl From<Counters> for Counts {
    fn from(counters: Counters) -> Self {
        Self {
            received: counters.received,
            forgotten: counters.forgotten,
            evicted: counters.evicted,
            slid: counters.slid,
            dropped: counters.dropped,
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
        }
    }
}

/// How to close a session.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Closing {
    /// A code that may be sent: 1000-1003, 1007-1014 or 3000-4999 (RFC 6455 7.4).
    #[schema(schema_with = close_codes)]
    pub(crate) code: u16,
    /// The reason, at most 123 bytes of UTF-8.
    #[serde(default)]
    #[schema(max_length = 123)]
    pub(crate) reason: String,
}

/// The codes that [`CloseCode::new`] takes.
fn close_codes() -> Schema {
    let range = |from: u16, to: u16| {
        ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(from)).maximum(Some(to)).build()
    };
    OneOfBuilder::new().item(range(1000, 1003)).item(range(1007, 1014)).item(range(3000, 4999)).into()
}

/// Where to move a session.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Migration {
    /// The backend, by its id, name or URL; any other one of its pool if null or left out.
    #[serde(default)]
    pub(crate) to: Option<String>,
}

/// The session is on another backend.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Migrated {
    /// The session.
    pub(crate) session: Uuid,
    /// The URL of the backend.
    pub(crate) backend: String,
}

/// The session was told.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Told {
    /// The session.
    pub(crate) session: Uuid,
}

/// The live sessions, page by page.
#[utoipa::path(get, path = "/v1/sessions", operation_id = "list_sessions", tag = "sessions",
    params(Wanted),
    responses((status = 200, body = Page),
        (status = 404, body = Failure, description = "No such backend")))]
pub(super) async fn list(site: Site, Query(wanted): Query<Wanted>) -> Result<Json<Page>, Failure> {
    let limit = wanted.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Failure::bad(format!("limit must be from 1 to {LARGEST_PAGE}")));
    }
    let fleet = &site.fleet;
    let backend = wanted.backend.as_deref().map(|name| find_backend(fleet, name)).transpose()?;
    let all = site.sessions.registry().list();
    let behind = wanted.after.map_or(0, |after| all.partition_point(|(id, _)| *id <= after));
    let is_wanted = |handle: &Handle| {
        backend.is_none_or(|backend| handle.leg().backend == Some(backend))
            && wanted.peer.as_deref().is_none_or(|peer| is_peer(handle, peer))
    };
    let mut found = all[behind..].iter().filter(|(_, handle)| is_wanted(handle));
    let sessions: Vec<_> = found.by_ref().take(limit).map(|(id, handle)| Session::new(*id, handle, fleet)).collect();
    let next = found.next().and_then(|_| sessions.last().map(|session| session.id));
    Ok(Json(Page { sessions, next }))
}

/// How a session is.
#[utoipa::path(get, path = "/v1/sessions/{id}", operation_id = "inspect_session", tag = "sessions",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Detail), (status = 404, body = Failure, description = "No such live session"),
        (status = 504, body = Failure, description = "It did not answer within 2 s")))]
pub(super) async fn inspect(site: Site, Path(id): Path<Uuid>) -> Result<Json<Detail>, Failure> {
    let (answer, answered) = oneshot::channel();
    let handle = tell(&site, id, Command::Inspect(answer))?;
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Ok(snapshot)) => Ok(Json(Detail::new(id, &handle, &snapshot, &site.fleet))),
        // It ended before its turn came.
        Ok(Err(_)) => Err(unknown(id)),
        Err(_) => Err(Failure::new(StatusCode::GATEWAY_TIMEOUT, "the session did not answer in time")),
    }
}

/// Give the session's backend leg up, as if it had died, and attach it to another backend.
///
/// What no backend has acknowledged is replayed there. A session that has no leg goes on looking for one.
#[utoipa::path(post, path = "/v1/sessions/{id}/failover", operation_id = "fail_over_session", tag = "sessions",
    params(("id" = Uuid, Path)),
    responses((status = 202, body = Told), (status = 404, body = Failure, description = "No such live session")))]
pub(super) async fn fail_over(site: Site, Path(id): Path<Uuid>) -> Result<(StatusCode, Json<Told>), Failure> {
    tell(&site, id, Command::FailOver { from: None })?;
    tracing::info!(session = %id, "the operator asks for a failover");
    Ok((StatusCode::ACCEPTED, Json(Told { session: id })))
}

/// Move the session to another backend of its pool, without replay: once the old one has answered all that it was sent.
///
/// It answers when that is done, or has failed, at the latest after `--migrate-timeout`. The client notices nothing.
#[utoipa::path(post, path = "/v1/sessions/{id}/migrate", operation_id = "migrate_session", tag = "sessions",
    params(("id" = Uuid, Path)),
    request_body = Migration,
    responses((status = 200, body = Migrated),
        (status = 404, body = Failure, description = "No such live session, or no such backend"),
        (status = 409, body = Failure, description = "It could not be moved; the text says why"),
        (status = 413, body = Failure, description = "The body is over 16 KiB"),
        (status = 422, body = Failure, description = "The body is not what is asked for")))]
pub(super) async fn migrate(
    site: Site,
    Path(id): Path<Uuid>,
    Body(migration): Body<Migration>,
) -> Result<Json<Migrated>, Failure> {
    let to = migration.to.as_deref().map(|name| find_backend(&site.fleet, name)).transpose()?;
    let (answer, answered) = oneshot::channel();
    tell(&site, id, Command::Migrate { to, on_timeout: None, answer: Some(answer) })?;
    tracing::info!(session = %id, "the operator asks for a migration");
    match answered.await {
        Ok(Ok(backend)) => Ok(Json(Migrated { session: id, backend: backend.url.to_string() })),
        Ok(Err(why)) => Err(Failure::new(StatusCode::CONFLICT, format!("not migrated: {why}"))),
        // It ended before its turn came.
        Err(_) => Err(unknown(id)),
    }
}

/// Close the session with this code and reason towards both sides.
#[utoipa::path(post, path = "/v1/sessions/{id}/close", operation_id = "close_session", tag = "sessions",
    params(("id" = Uuid, Path)),
    request_body = Closing,
    responses((status = 202, body = Told), (status = 404, body = Failure, description = "No such live session"),
        (status = 413, body = Failure, description = "The body is over 16 KiB"),
        (status = 422, body = Failure, description = "The code may not be sent, or the reason is too long")))]
pub(super) async fn close(
    site: Site,
    Path(id): Path<Uuid>,
    Body(closing): Body<Closing>,
) -> Result<(StatusCode, Json<Told>), Failure> {
    let refuse = |error: String| Failure::new(StatusCode::UNPROCESSABLE_ENTITY, error);
    let code = CloseCode::new(closing.code).ok_or_else(|| {
        refuse(format!("{} is no close code that may be sent: 1000-1003, 1007-1014, 3000-4999", closing.code))
    })?;
    if closing.reason.len() > REASON_BYTES {
        return Err(refuse(format!("the reason has {} bytes; at most {REASON_BYTES} fit", closing.reason.len())));
    }
    tell(&site, id, Command::Close(code, closing.reason))?;
    tracing::info!(session = %id, %code, "the operator closes a session");
    Ok((StatusCode::ACCEPTED, Json(Told { session: id })))
}

fn tell(site: &Site, id: Uuid, command: Command) -> Result<Arc<Handle>, Failure> {
    site.sessions.registry().get(&id).filter(|handle| handle.tell(command)).ok_or_else(|| unknown(id))
}

fn unknown(id: Uuid) -> Failure {
    Failure::not_found(format!("no live session {id}"))
}

fn find_backend(fleet: &Fleet, name: &str) -> Result<BackendId, Failure> {
    let number = name.parse().ok();
    let is_it = |backend: &Backend| {
        Some(backend.id.number()) == number || *backend.name == *name || backend.url.to_string() == name
    };
    let backends = fleet.backends();
    let found = backends.iter().find(|(_, backend)| is_it(backend));
    found
        .map(|(_, backend)| backend.id)
        .ok_or_else(|| Failure::not_found(format!("no backend {name:?}; see /v1/backends")))
}

fn is_peer(handle: &Handle, peer: &str) -> bool {
    handle.peer.to_string() == peer || handle.peer.ip().to_string() == peer
}

impl Session {
    fn new(id: Uuid, handle: &Handle, fleet: &Fleet) -> Self {
        let Leg { epoch, backend } = handle.leg();
        Self {
            id,
            peer: handle.peer.to_string(),
            since: humantime::format_rfc3339_millis(handle.since).to_string(),
            age_seconds: SystemTime::now().duration_since(handle.since).unwrap_or_default().as_secs_f64(),
            epoch,
            backend: backend.and_then(|id| fleet.backend(id)).map(|backend| backend.url.to_string()),
        }
    }
}

impl Detail {
    fn new(id: Uuid, handle: &Handle, snapshot: &Snapshot, fleet: &Fleet) -> Self {
        let backend = snapshot.backend.and_then(|id| fleet.backend(id)).map(|backend| backend.url.to_string());
        Self {
            session: Session { epoch: snapshot.epoch, backend, ..Session::new(id, handle, fleet) },
            retained: snapshot.retained,
            unacknowledged: snapshot.unacknowledged,
            buffered_bytes: snapshot.buffered,
            counters: snapshot.counters.into(),
        }
    }
}

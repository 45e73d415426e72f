//! What an operator may order of a session.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tideover_protocol::close::CloseCode;
use tideover_protocol::frame::MAX_CONTROL_PAYLOAD;
use tokio::sync::oneshot;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use uuid::Uuid;

use super::{tell, unknown};
use crate::admin::Site;
use crate::admin::backends::one_in_pool;
use crate::admin::error::Failure;
use crate::admin::extract::{Body, Path};
use crate::admin::whole::Whole;
use crate::session::Command;

/// The longest reason of a Close, in bytes: its payload less the code (RFC 6455 5.5, 5.5.1).
const REASON_BYTES: usize = MAX_CONTROL_PAYLOAD - 2;

/// How to close a session.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Closing {
    /// A code that may be sent: 1000-1003, 1007-1014 or 3000-4999 (RFC 6455 7.4).
    #[schema(schema_with = close_codes)]
    pub(crate) code: Whole,
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
pub(in crate::admin) struct Migration {
    /// The backend of its pool, by its id, name or URL; any other one of its pool if null or left out.
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

/// Give the session's backend leg up, as if it had died, and attach it to another backend.
///
/// What no backend has acknowledged is replayed there. A session that has no leg goes on looking for one.
#[utoipa::path(post, path = "/v1/sessions/{id}/failover", operation_id = "fail_over_session", tag = "sessions",
    params(("id" = Uuid, Path)),
    responses((status = 202, body = Told), (status = 404, body = Failure, description = "No such live session")))]
pub(in crate::admin) async fn fail_over(site: Site, Path(id): Path<Uuid>) -> Result<(StatusCode, Json<Told>), Failure> {
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
pub(in crate::admin) async fn migrate(
    site: Site,
    Path(id): Path<Uuid>,
    Body(migration): Body<Migration>,
) -> Result<Json<Migrated>, Failure> {
    let pool = &site.sessions.registry().get(&id).ok_or_else(|| unknown(id))?.route.pool;
    let to = migration.to.as_deref().map(|name| one_in_pool(pool, name)).transpose()?.map(|backend| backend.id);
    let (answer, answered) = oneshot::channel();
    tell(&site, id, Command::Migrate { to, on_timeout: None, answer: Some(answer) })?;
    tracing::info!(session = %id, "the operator asks for a migration");
    match answered.await {
        Ok(Ok(backend)) => Ok(Json(Migrated { session: id, backend: backend.url.to_string() })),
        Ok(Err(why)) => Err(Failure::conflict(format!("not migrated: {why}"))),
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
pub(in crate::admin) async fn close(
    site: Site,
    Path(id): Path<Uuid>,
    Body(closing): Body<Closing>,
) -> Result<(StatusCode, Json<Told>), Failure> {
    let refuse = |error: String| Failure::unprocessable(vec![error]);
    let code = u16::try_from(closing.code.0).ok().and_then(CloseCode::new).ok_or_else(|| {
        refuse(format!("code: {} is no close code that may be sent: 1000-1003, 1007-1014, 3000-4999", closing.code))
    })?;
    if closing.reason.len() > REASON_BYTES {
        return Err(refuse(format!("reason: it has {} bytes; at most {REASON_BYTES} fit", closing.reason.len())));
    }
    tell(&site, id, Command::Close(code, closing.reason))?;
    tracing::info!(session = %id, %code, "the operator closes a session");
    Ok((StatusCode::ACCEPTED, Json(Told { session: id })))
}

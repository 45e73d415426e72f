//! What an operator may order of backends.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{Backend, by_number, no_pool, schema, show};
use crate::admin::Site;
use crate::admin::error::Failure;
use crate::admin::extract::{Body, Path};
use crate::admin::whole::Whole;
use crate::config::{BackendConfig, DEFAULT_POOL};
use crate::pool::{self, Adjustment, BackendId, OrderError, Pool};
use crate::session::Command;

/// The largest weight.
const LARGEST_WEIGHT: u64 = 256;
/// The largest bound of sessions.
const MOST_SESSIONS: u64 = 10_000_000;

/// A backend to be added. The keys are those of `[[backend]]`, `name` for its `id`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct NewBackend {
    /// Where it is: `ws://host:port` or `wss://host:port`; no path, query or user.
    #[schema(schema_with = schema::url, required)]
    url: String,
    /// What people call it; unique in its pool. By default `host:port` of its URL.
    #[serde(default, deserialize_with = "given")]
    #[schema(schema_with = schema::name, required = false)]
    name: Option<String>,
    /// Its pool, `default` by default.
    #[serde(default, deserialize_with = "given")]
    #[schema(schema_with = schema::name, required = false)]
    pool: Option<String>,
    /// Its share of the pool's sessions, relative to the others'; 0 for none. By default 100.
    #[schema(value_type = Option<u16>, minimum = 0, maximum = 256)]
    weight: Option<Whole>,
    /// How many legs it may have; null, the default, for any number.
    #[schema(value_type = Option<usize>, minimum = 1, maximum = 10_000_000)]
    max_sessions: Option<Whole>,
    /// Those of a higher number get sessions when those of all lower ones failed lately or are full. By default 0.
    #[schema(value_type = Option<u16>, minimum = 0, maximum = 65535)]
    priority: Option<Whole>,
}

/// What is to be changed of a backend. What is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Change {
    /// Its share of the pool's sessions, relative to the others'; 0 for none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = u16, required = false, minimum = 0, maximum = 256)]
    weight: Option<Whole>,
    /// How many legs it may have; null for any number. Those beyond that stay.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<usize>, required = false, minimum = 1, maximum = 10_000_000)]
    max_sessions: Option<Option<Whole>>,
    /// Those of a higher number get sessions when those of all lower ones failed lately or are full.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = u16, required = false, minimum = 0, maximum = 65535)]
    priority: Option<Whole>,
}

/// A field that is there, null or not.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Sessions were told to leave a backend.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Leaving {
    /// The backend.
    pub(crate) backend: u32,
    /// How many sessions were told.
    pub(crate) sessions: usize,
}

impl NewBackend {
    fn config(&self) -> Result<BackendConfig, Failure> {
        let mut settings = vec![("url", self.url.clone())];
        settings.extend(self.name.clone().map(|name| ("id", name)));
        settings.extend(self.weight.map(|weight| ("weight", weight.to_string())));
        settings.extend(self.max_sessions.map(|most| ("max-sessions", most.to_string())));
        settings.extend(self.priority.map(|priority| ("priority", priority.to_string())));
        let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let config = BackendConfig::from_settings(&settings);
        let mut problems: Vec<_> = config.as_ref().err().into_iter().flatten().map(|why| in_json(why)).collect();
        problems.extend(self.max_sessions.and_then(none_is_null));
        match config {
            Ok(config) if problems.is_empty() => Ok(config),
            _ => Err(Failure::unprocessable(problems)),
        }
    }
}

/// The problem of a key of the file as one of the field of that meaning.
fn in_json(problem: &str) -> String {
    let (key, rest) = problem.split_once(':').unwrap_or((problem, ""));
    let field = if key == "id" { "name".to_owned() } else { key.replace('-', "_") };
    format!("{field}:{rest}")
}

/// In the file 0 is any number; here null is.
fn none_is_null(most: Whole) -> Option<String> {
    (most.0 == 0).then(|| format!("max_sessions: 0 is not from 1 to {MOST_SESSIONS}, nor null for any number"))
}

/// The number if it is not larger than `largest`; else notes that.
fn bounded<T: TryFrom<u64>>(field: &str, number: Whole, largest: u64, problems: &mut Vec<String>) -> Option<T> {
    if number.0 > largest {
        problems.push(format!("{field}: {number} is more than {largest}"));
        return None;
    }
    T::try_from(number.0).ok()
}

impl Change {
    fn adjustment(&self) -> Result<Adjustment, Failure> {
        let mut problems = Vec::new();
        problems.extend(self.max_sessions.flatten().and_then(none_is_null));
        let mut number = |field, number: Option<Whole>, largest| {
            number.and_then(|number| bounded(field, number, largest, &mut problems))
        };
        let weight = number("weight", self.weight, LARGEST_WEIGHT);
        let priority = number("priority", self.priority, u16::MAX.into());
        let most = self
            .max_sessions
            .map(|most| most.and_then(|most| bounded("max_sessions", most, MOST_SESSIONS, &mut problems)));
        match problems.is_empty() {
            true => Ok(Adjustment { weight, max_sessions: most, priority }),
            false => Err(Failure::unprocessable(problems)),
        }
    }
}

impl From<OrderError> for Failure {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Unknown => Self::not_found(error.to_string()),
            OrderError::Removed | OrderError::Exists | OrderError::Full => Self::conflict(error.to_string()),
        }
    }
}

/// Add a backend to a pool. New sessions may go there at once.
///
/// It belongs to the API: it stays until it is removed by `DELETE`, or the proxy is started anew, whatever a new
/// configuration says; one of the same name or URL in the configuration counts after it. A thousand a pool at most.
#[utoipa::path(post, path = "/v1/backends", operation_id = "add_backend", tag = "backends",
    request_body = NewBackend,
    responses((status = 201, body = Backend, description = "It is there"),
        (status = 404, body = Failure, description = "No such pool"),
        (status = 409, body = Failure, description = "The pool has a backend of this name or URL, or too many were added"),
        (status = 413, body = Failure, description = "The body is over 16 KiB"),
        (status = 422, body = Failure, description = "The body is not what is asked for; nothing was changed")))]
pub(in crate::admin) async fn add(
    site: Site,
    Body(new): Body<NewBackend>,
) -> Result<(StatusCode, Json<Backend>), Failure> {
    let config = new.config()?;
    let pool = new.pool.as_deref().unwrap_or(DEFAULT_POOL);
    let added = site.fleet.add(pool, config).ok_or_else(|| no_pool(&site.fleet, pool))?;
    let (pool, backend) = added?;
    tracing::info!(pool = %pool.name, id = %backend.name, backend = %backend.url, "the operator has added a backend");
    Ok((StatusCode::CREATED, Json(show(&pool, &backend)?)))
}

/// Change a backend in place, for the sessions to come.
///
/// A setting that was changed stays until it is changed again, or the configuration says another value of it than before.
#[utoipa::path(patch, path = "/v1/backends/{id}", operation_id = "change_backend", tag = "backends",
    params(("id" = u32, Path)),
    request_body = Change,
    responses((status = 200, body = Backend),
        (status = 404, body = Failure, description = "No such backend"),
        (status = 409, body = Failure, description = "It is removed"),
        (status = 413, body = Failure, description = "The body is over 16 KiB"),
        (status = 422, body = Failure, description = "The body is not what is asked for; nothing was changed")))]
pub(in crate::admin) async fn change(
    site: Site,
    Path(id): Path<u32>,
    Body(change): Body<Change>,
) -> Result<Json<Backend>, Failure> {
    let by = change.adjustment()?;
    order(&site, id, |pool, id| pool.adjust(id, by))
}

/// Remove a backend: it is drained, and forgotten with its last session.
///
/// One that the configuration names stays removed until the configuration has ceased to name it, or it is added again.
#[utoipa::path(delete, path = "/v1/backends/{id}", operation_id = "remove_backend", tag = "backends",
    params(("id" = u32, Path)),
    responses((status = 202, body = Backend, description = "It is removed; as it was, with the legs that are to go"),
        (status = 404, body = Failure, description = "No such backend")))]
pub(in crate::admin) async fn remove(site: Site, Path(id): Path<u32>) -> Result<(StatusCode, Json<Backend>), Failure> {
    let (pool, backend) = by_number(&site.fleet, id)?;
    let before = show(&pool, &backend)?;
    pool.remove(backend.id)?;
    tracing::info!(pool = %pool.name, id = %backend.name, backend = %backend.url, "the operator has removed a backend");
    let after = Backend { state: super::State::Draining, removed: true, added: false, ..before };
    Ok((StatusCode::ACCEPTED, Json(after)))
}

/// Let a backend have sessions again, after it was drained or disabled.
#[utoipa::path(post, path = "/v1/backends/{id}/enable", operation_id = "enable_backend", tag = "backends",
    params(("id" = u32, Path)),
    responses((status = 200, body = Backend), (status = 404, body = Failure, description = "No such backend"),
        (status = 409, body = Failure, description = "It is removed")))]
pub(in crate::admin) async fn enable(site: Site, Path(id): Path<u32>) -> Result<Json<Backend>, Failure> {
    order(&site, id, Pool::enable)
}

/// Let a backend have no new sessions. Those that it has stay.
#[utoipa::path(post, path = "/v1/backends/{id}/disable", operation_id = "disable_backend", tag = "backends",
    params(("id" = u32, Path)),
    responses((status = 200, body = Backend), (status = 404, body = Failure, description = "No such backend"),
        (status = 409, body = Failure, description = "It is removed")))]
pub(in crate::admin) async fn disable(site: Site, Path(id): Path<u32>) -> Result<Json<Backend>, Failure> {
    order(&site, id, Pool::disable)
}

/// Let a backend have no new sessions, and have those that it has go.
#[utoipa::path(post, path = "/v1/backends/{id}/drain", operation_id = "drain_backend", tag = "backends",
    params(("id" = u32, Path)),
    responses((status = 200, body = Backend), (status = 404, body = Failure, description = "No such backend")))]
pub(in crate::admin) async fn drain(site: Site, Path(id): Path<u32>) -> Result<Json<Backend>, Failure> {
    order(&site, id, Pool::drain)
}

/// Forget what is known of a backend's health: its ejection, its doubts, the results of its checks.
///
/// It is taken for well until something is found out. Counters go on.
#[utoipa::path(post, path = "/v1/backends/{id}/reset", operation_id = "reset_backend", tag = "backends",
    params(("id" = u32, Path)),
    responses((status = 200, body = Backend), (status = 404, body = Failure, description = "No such backend")))]
pub(in crate::admin) async fn reset(site: Site, Path(id): Path<u32>) -> Result<Json<Backend>, Failure> {
    let (pool, backend) = by_number(&site.fleet, id)?;
    backend.reset_health();
    tracing::info!(pool = %pool.name, id = %backend.name, backend = %backend.url, "the operator has reset a backend's health");
    show(&pool, &backend).map(Json)
}

/// Have all sessions of a backend leave it at once, as if it had died.
///
/// What is retained is replayed elsewhere. Their handshakes are paced as after a death (`--handshakes-per-backend`). The
/// backend may get sessions again; to prevent that, drain or disable it first.
#[utoipa::path(post, path = "/v1/backends/{id}/failover", operation_id = "fail_over_backend", tag = "backends",
    params(("id" = u32, Path)),
    responses((status = 202, body = Leaving), (status = 404, body = Failure, description = "No such backend")))]
pub(in crate::admin) async fn fail_over(
    site: Site,
    Path(id): Path<u32>,
) -> Result<(StatusCode, Json<Leaving>), Failure> {
    let (pool, backend) = by_number(&site.fleet, id)?;
    let from = Some(backend.id);
    let there = site.sessions.registry().list().into_iter().filter(|(_, handle)| handle.leg().backend == from);
    let sessions = there.filter(|(_, handle)| handle.tell(Command::FailOver { from })).count();
    let (pool, name) = (&pool.name, &backend.name);
    tracing::info!(%pool, id = %name, backend = %backend.url, sessions, "the operator asks for a failover of a backend");
    Ok((StatusCode::ACCEPTED, Json(Leaving { backend: id, sessions })))
}

fn order(
    site: &Site,
    id: u32,
    obey: impl FnOnce(&Pool, BackendId) -> Result<Arc<pool::Backend>, OrderError>,
) -> Result<Json<Backend>, Failure> {
    let (pool, backend) = by_number(&site.fleet, id)?;
    let backend = obey(&pool, backend.id)?;
    show(&pool, &backend).map(Json)
}

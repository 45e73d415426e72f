//! The live sessions: which there are, and how each is. What is ordered of them is in [`orders`].

pub(super) mod orders;
mod shown;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Site;
use super::backends::{named, no_pool};
use super::error::Failure;
use super::extract::{Path, Query};
use crate::pool::{BackendId, Fleet};
use crate::session::{Command, Handle};
pub(crate) use orders::Migrated;
use shown::age;
pub(crate) use shown::{Attachment, Detail, Session};

/// How long a session may take to say how it is. It answers within a turn of its task.
const PATIENCE: Duration = Duration::from_secs(2);
/// Sessions on a page, unless asked for fewer or more.
const PAGE: usize = 100;
/// The most sessions on a page.
const LARGEST_PAGE: usize = 1000;
/// The largest age to ask for, in seconds: 63 years.
const LARGEST_AGE: u32 = 2_000_000_000;

/// Which sessions to list. Those that all of it fits.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only sessions behind this one, in the order of their beginning: `next` of the page before.
    after: Option<Uuid>,
    /// How many at most, from 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u16>,
    /// Only sessions on this backend, by its id, name or URL.
    backend: Option<String>,
    /// Only sessions of this pool.
    pool: Option<String>,
    /// Only sessions that came by this route, as `route` of a session has it.
    route: Option<String>,
    /// Only sessions of this client, by its IP address, or address and port.
    peer: Option<String>,
    /// Only sessions that have a backend leg, or only those that look for one.
    state: Option<Attachment>,
    /// Only sessions that began at least so many seconds ago.
    #[param(minimum = 0, maximum = 2_000_000_000)]
    min_age_seconds: Option<u32>,
    /// Only sessions that began at most so many seconds ago.
    #[param(minimum = 0, maximum = 2_000_000_000)]
    max_age_seconds: Option<u32>,
}

/// A page of sessions, the oldest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Page {
    pub(crate) sessions: Vec<Session>,
    /// `after` of the next page; null if this is the last.
    pub(crate) next: Option<Uuid>,
}

/// What [`Wanted`] comes to.
struct Filter<'a> {
    /// Several if pools have backends of one name.
    backends: Option<Vec<BackendId>>,
    wanted: &'a Wanted,
}

impl<'a> Filter<'a> {
    fn new(fleet: &Fleet, wanted: &'a Wanted) -> Result<Self, Failure> {
        let backends = wanted.backend.as_deref().map(|text| named(fleet, text)).transpose()?;
        let backends = backends.map(|found| found.iter().map(|backend| backend.id).collect());
        if let Some(name) = &wanted.pool
            && !fleet.pools().iter().any(|pool| *pool.name == **name)
        {
            return Err(no_pool(fleet, name));
        }
        for (name, age) in [("min_age_seconds", wanted.min_age_seconds), ("max_age_seconds", wanted.max_age_seconds)] {
            if let Some(age) = age.filter(|age| *age > LARGEST_AGE) {
                return Err(Failure::bad(format!("{name}: {age} is more than {LARGEST_AGE}")));
            }
        }
        Ok(Self { backends, wanted })
    }

    fn takes(&self, handle: &Handle) -> bool {
        let (wanted, backend, age) = (self.wanted, handle.leg().backend, age(handle).as_secs());
        let is_there = |all: &Vec<BackendId>| backend.is_some_and(|backend| all.contains(&backend));
        self.backends.as_ref().is_none_or(is_there)
            && wanted.pool.as_deref().is_none_or(|pool| *handle.route.pool.name == *pool)
            && wanted.route.as_deref().is_none_or(|route| *handle.route.title == *route)
            && wanted.peer.as_deref().is_none_or(|peer| is_peer(handle, peer))
            && wanted.state.is_none_or(|state| state == Attachment::of(backend))
            && wanted.min_age_seconds.is_none_or(|least| age >= least.into())
            && wanted.max_age_seconds.is_none_or(|most| age <= most.into())
    }
}

/// The live sessions, page by page.
#[utoipa::path(get, path = "/v1/sessions", operation_id = "list_sessions", tag = "sessions",
    params(Wanted),
    responses((status = 200, body = Page),
        (status = 404, body = Failure, description = "No such backend, or no such pool")))]
pub(super) async fn list(site: Site, Query(wanted): Query<Wanted>) -> Result<Json<Page>, Failure> {
    let limit = wanted.limit.map_or(PAGE, usize::from);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Failure::bad(format!("limit: {limit} is not from 1 to {LARGEST_PAGE}")));
    }
    let filter = Filter::new(&site.fleet, &wanted)?;
    let all = site.sessions.registry().list();
    let behind = wanted.after.map_or(0, |after| all.partition_point(|(id, _)| *id <= after));
    let mut found = all[behind..].iter().filter(|(_, handle)| filter.takes(handle));
    let page = found.by_ref().take(limit).map(|(id, handle)| Session::new(*id, handle, &site.fleet));
    let sessions: Vec<_> = page.collect();
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

fn tell(site: &Site, id: Uuid, command: Command) -> Result<Arc<Handle>, Failure> {
    site.sessions.registry().get(&id).filter(|handle| handle.tell(command)).ok_or_else(|| unknown(id))
}

fn unknown(id: Uuid) -> Failure {
    Failure::not_found(format!("no live session {id}"))
}

fn is_peer(handle: &Handle, peer: &str) -> bool {
    handle.peer.to_string() == peer || handle.peer.ip().to_string() == peer
}

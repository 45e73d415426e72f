//! The backends: what is known of them. What is ordered of them is in [`orders`].

mod named;
pub(super) mod orders;
mod schema;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use serde::{Deserialize, Serialize};
use tideover_protocol::session::PongOrder;
use utoipa::{IntoParams, ToSchema};

use super::Site;
use super::error::Failure;
use super::extract::{Path, Query};
use crate::pool::{self, AdminState, BackendId, Fleet, HealthState, LastCheck};
pub(super) use named::{named, one_in_pool};

/// Which backends to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only those of this pool.
    pool: Option<String>,
}

/// All backends, pool by pool, in the order of the configuration.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Backends {
    pub(crate) backends: Vec<Backend>,
}

/// A backend.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Backend {
    /// Its number, from 0; never used again for another.
    pub(crate) id: u32,
    /// What the configuration calls it.
    #[schema(example = "127.0.0.1:9001")]
    pub(crate) name: String,
    /// Its pool.
    #[schema(example = "default")]
    pub(crate) pool: String,
    /// Where it is.
    #[schema(example = "ws://127.0.0.1:9001")]
    pub(crate) url: String,
    /// Its share of the pool's sessions, relative to the others'; 0 for none.
    pub(crate) weight: u16,
    /// How many legs it may have; null for any number.
    pub(crate) max_sessions: Option<usize>,
    /// Those of a higher number get sessions when those of all lower ones failed lately or are full.
    pub(crate) priority: u16,
    /// Whether it may get sessions.
    pub(crate) state: State,
    /// Whether it was added by an order: it stays until it is removed by one, whatever the configuration says.
    pub(crate) added: bool,
    /// Whether it is removed: it is forgotten with its last leg.
    pub(crate) removed: bool,
    /// Live legs, those that are being attached included.
    pub(crate) legs: usize,
    /// Whether it ever answered a ping.
    pub(crate) answers_pings: bool,
    /// Whether it was found to answer none: its sessions keep a sliding window.
    pub(crate) mute: bool,
    /// Whether its pongs come before its answers (`early`) or after them (`late`), as far as that is known.
    pub(crate) pongs: Pongs,
    /// Its health. Checks are shown as they are, whether they are believed or not.
    pub(crate) health: Health,
    /// Whether it is tried last for now: it is down by checks that are believed, ejected, or doubted.
    pub(crate) demoted: bool,
    /// Milliseconds until somebody is sent there for a trial, if it is doubted or ejected.
    pub(crate) out_for_ms: Option<u64>,
    /// Ejections so far.
    pub(crate) ejections: u64,
    /// The part of its weight that it has now: 1, or less while it starts slowly.
    pub(crate) weight_factor: f32,
    /// Its latest active check. `null`: it is not checked, or not yet.
    pub(crate) last_check: Option<Check>,
    /// Failed dials so far.
    pub(crate) failed_dials: u64,
    /// Whether the latest dial failed.
    pub(crate) failing: bool,
    /// Its weight in effect: configured, as its agent and its slow start change it.
    pub(crate) effective_weight: f64,
    /// The part of it that is in use, 0 to 1, as it reports, smoothed.
    pub(crate) utilisation: Option<f64>,
    /// Its round trip time in seconds, as far as it was measured.
    pub(crate) latency: Option<f64>,
    /// What `--balance score` compares, for a weight of 100: the least goes first. None without weight.
    pub(crate) score: Option<f64>,
    /// What its agent wants.
    pub(crate) agent: Agent,
}

/// What an agent wants of its backend, as far as it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Agent {
    /// Sessions, or it said nothing.
    Ready,
    /// No sessions, and those that it has are moved away.
    Drain,
    /// No sessions.
    Maint,
    /// No sessions: it does not work.
    Down,
}

impl From<pool::Agent> for Agent {
    fn from(agent: pool::Agent) -> Self {
        match (agent.health, agent.mode) {
            (pool::AgentHealth::Down, _) => Self::Down,
            (pool::AgentHealth::Up, pool::AgentMode::Ready) => Self::Ready,
            (pool::AgentHealth::Up, pool::AgentMode::Drain) => Self::Drain,
            (pool::AgentHealth::Up, pool::AgentMode::Maint) => Self::Maint,
        }
    }
}

/// Whether a backend is thought to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    /// It is.
    Up,
    /// A dial failed a moment ago.
    Doubted,
    /// It could not be reached, or lost all its legs at once; a trial will decide.
    Ejected,
    /// Its checks fail.
    Down,
}

/// An active check of a backend.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Check {
    /// When it was over (RFC 3339).
    #[schema(example = "2026-01-31T12:00:00.000Z")]
    pub(crate) at: String,
    /// How long it took.
    pub(crate) took_ms: u64,
    /// Whether the backend passed it.
    pub(crate) passed: bool,
    /// What came of it, in words.
    #[schema(example = "answered 200 OK")]
    pub(crate) result: String,
}

/// What is wanted of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It may get sessions.
    Ready,
    /// It gets no more, and those that it has are to go.
    Draining,
    /// It gets no more, and those that it has stay.
    Disabled,
}

/// When pongs come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pongs {
    Unknown,
    Early,
    Late,
}

impl Backend {
    pub(super) fn new(pool: &pool::Pool, backend: &pool::Backend, load: pool::Load) -> Self {
        let (standing, now) = (backend.standing(), Instant::now());
        Self {
            id: backend.id.number(),
            name: backend.name.to_string(),
            pool: pool.name.to_string(),
            url: backend.url.to_string(),
            weight: backend.weight(),
            max_sessions: backend.max_sessions(),
            priority: backend.priority(),
            state: match backend.admin_state() {
                AdminState::Ready => State::Ready,
                AdminState::Draining => State::Draining,
                AdminState::Disabled => State::Disabled,
            },
            added: pool.is_added(backend),
            removed: backend.is_removed(),
            legs: backend.live(),
            answers_pings: backend.answers_pings(),
            mute: backend.mute(),
            pongs: match backend.order() {
                PongOrder::Unknown => Pongs::Unknown,
                PongOrder::Early => Pongs::Early,
                PongOrder::Late => Pongs::Late,
            },
            health: match standing.state {
                HealthState::Up => Health::Up,
                HealthState::Doubted => Health::Doubted,
                HealthState::Ejected => Health::Ejected,
                HealthState::Down => Health::Down,
            },
            demoted: !backend.eligible(now),
            out_for_ms: standing.out_until.map(|until| millis(until.saturating_duration_since(now))),
            ejections: standing.ejections,
            weight_factor: backend.weight_factor(now),
            last_check: backend.last_check().map(Check::from),
            failed_dials: standing.failures,
            failing: standing.failed_at.is_some(),
            effective_weight: load.weight,
            utilisation: load.utilisation,
            latency: load.latency,
            score: load.score,
            agent: backend.agent().into(),
        }
    }
}

impl From<LastCheck> for Check {
    fn from(check: LastCheck) -> Self {
        Self {
            at: humantime::format_rfc3339_millis(check.at).to_string(),
            took_ms: millis(check.took),
            passed: check.passed,
            result: check.result.into(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The backends and what is known of them.
#[utoipa::path(get, path = "/v1/backends", operation_id = "list_backends", tag = "backends",
    params(Wanted),
    responses((status = 200, body = Backends), (status = 404, body = Failure, description = "No such pool")))]
pub(super) async fn list(site: Site, Query(wanted): Query<Wanted>) -> Result<Json<Backends>, Failure> {
    let mut pools = site.fleet.pools();
    if let Some(name) = &wanted.pool {
        pools.retain(|pool| *pool.name == **name);
        if pools.is_empty() {
            return Err(no_pool(&site.fleet, name));
        }
    }
    Ok(Json(Backends { backends: pools.iter().flat_map(of_pool).collect() }))
}

/// A backend and what is known of it.
#[utoipa::path(get, path = "/v1/backends/{id}", operation_id = "inspect_backend", tag = "backends",
    params(("id" = u32, Path)),
    responses((status = 200, body = Backend), (status = 404, body = Failure, description = "No such backend")))]
pub(super) async fn inspect(site: Site, Path(id): Path<u32>) -> Result<Json<Backend>, Failure> {
    let (pool, backend) = by_number(&site.fleet, id)?;
    show(&pool, &backend).map(Json)
}

fn of_pool(pool: &Arc<pool::Pool>) -> Vec<Backend> {
    pool.loads().into_iter().map(|(backend, load)| Backend::new(pool, &backend, load)).collect()
}

/// The backend as it is now. It may be forgotten meanwhile.
fn show(pool: &pool::Pool, backend: &pool::Backend) -> Result<Backend, Failure> {
    let found = pool.loads().into_iter().find(|(other, _)| other.id == backend.id);
    found.map(|(backend, load)| Backend::new(pool, &backend, load)).ok_or_else(|| unknown(backend.id.number()))
}

fn by_number(fleet: &Fleet, id: u32) -> Result<(Arc<pool::Pool>, Arc<pool::Backend>), Failure> {
    fleet.backend_in_pool(BackendId::new(id)).ok_or_else(|| unknown(id))
}

fn unknown(id: u32) -> Failure {
    Failure::not_found(format!("no backend {id}; see /v1/backends"))
}

/// There is no pool of that name.
pub(super) fn no_pool(fleet: &Fleet, name: &str) -> Failure {
    let known: Vec<_> = fleet.pools().iter().map(|pool| pool.name.to_string()).collect();
    Failure::not_found(format!("there is no pool {name:?}, only {}", known.join(", ")))
}

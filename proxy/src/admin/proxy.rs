//! The proxy as a whole: how it is, pausing it, and taking its configuration anew.

use std::time::SystemTime;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Failure;
use super::{Operator, Site};

/// The proxy.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Proxy {
    /// The program's version.
    pub(crate) version: String,
    /// When the process began (RFC 3339).
    #[schema(format = DateTime)]
    pub(crate) since: String,
    /// How long ago that is, in seconds.
    pub(crate) uptime_seconds: f64,
    /// Whether it takes new sessions.
    pub(crate) state: Taking,
    /// Live sessions.
    pub(crate) sessions: usize,
    /// Of those, sessions that are looking for a backend.
    pub(crate) detached: u64,
    /// How many sessions there may be (`--max-sessions`).
    pub(crate) max_sessions: usize,
    pub(crate) totals: Totals,
}

/// Whether new sessions are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Taking {
    /// They are.
    Serving,
    /// An operator lets none in for now.
    Paused,
    /// None: the process is about to end.
    Draining,
}

/// Counts since the process began.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Totals {
    /// Sessions that began.
    pub(crate) sessions_opened: u64,
    /// Sessions that ended.
    pub(crate) sessions_ended: u64,
    /// Client messages received whole.
    pub(crate) messages_received: u64,
    /// Messages of backends passed to clients.
    pub(crate) messages_passed: u64,
    /// Client messages written again to a later leg.
    pub(crate) messages_replayed: u64,
    /// Backend legs given up and looked for again.
    pub(crate) failovers: u64,
    /// Sessions moved to another backend on purpose.
    pub(crate) migrations: u64,
}

/// What a reload changed. Backends are named `pool/name`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Reload {
    /// New backends, and those that came back before they were forgotten.
    pub(crate) added: Vec<String>,
    /// Backends with new settings.
    pub(crate) changed: Vec<String>,
    /// Backends that are drained, and forgotten with their last session.
    pub(crate) removed: Vec<String>,
    /// Settings that differ from those in force, and take a restart.
    pub(crate) restart: Vec<String>,
}

impl Proxy {
    fn now(operator: &Operator) -> Self {
        let edge = &operator.edge;
        let sums = operator.sessions.totals().get();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: humantime::format_rfc3339_millis(operator.since).to_string(),
            uptime_seconds: SystemTime::now().duration_since(operator.since).unwrap_or_default().as_secs_f64(),
            state: match (edge.is_draining(), edge.is_paused()) {
                (true, _) => Taking::Draining,
                (false, true) => Taking::Paused,
                (false, false) => Taking::Serving,
            },
            sessions: operator.sessions.registry().len(),
            detached: sums.detached,
            max_sessions: edge.max_sessions(),
            totals: Totals {
                sessions_opened: sums.opened,
                sessions_ended: sums.ended,
                messages_received: sums.counters.received,
                messages_passed: sums.counters.passed,
                messages_replayed: sums.counters.replayed,
                failovers: sums.counters.failovers,
                migrations: sums.counters.migrations,
            },
        }
    }
}

/// How is the proxy?
#[utoipa::path(get, path = "/v1/proxy", operation_id = "inspect_proxy", tag = "proxy",
    responses((status = 200, body = Proxy)))]
pub(super) async fn inspect(site: Site) -> Json<Proxy> {
    Json(Proxy::now(&site))
}

/// Take no new sessions for now.
///
/// Handshakes, redirects and assignments are answered 503 with `Retry-After`, and `/readyz` says 503. Live sessions go
/// on, and are attached anew where they have to be. It lasts until it is resumed, or the process ends.
#[utoipa::path(post, path = "/v1/proxy/pause", operation_id = "pause_proxy", tag = "proxy",
    responses((status = 200, body = Proxy), (status = 409, body = Failure, description = "It is about to end")))]
pub(super) async fn pause(site: Site) -> Result<Json<Proxy>, Failure> {
    set_paused(&site, true)
}

/// Take new sessions again.
#[utoipa::path(post, path = "/v1/proxy/resume", operation_id = "resume_proxy", tag = "proxy",
    responses((status = 200, body = Proxy), (status = 409, body = Failure, description = "It is about to end")))]
pub(super) async fn resume(site: Site) -> Result<Json<Proxy>, Failure> {
    set_paused(&site, false)
}

fn set_paused(site: &Site, paused: bool) -> Result<Json<Proxy>, Failure> {
    if site.edge.is_draining() {
        return Err(Failure::conflict("the proxy is about to end"));
    }
    site.edge.set_paused(paused);
    tracing::info!(paused, sessions = site.sessions.registry().len(), "the operator pauses or resumes the proxy");
    Ok(Json(Proxy::now(site)))
}

/// Take the configuration anew, as on SIGHUP: backends, pools, routes and their settings.
///
/// If something is wrong with it nothing is changed, and `problems` has all of it.
#[utoipa::path(post, path = "/v1/proxy/reload", operation_id = "reload_proxy", tag = "proxy",
    responses((status = 200, body = Reload),
        (status = 409, body = Failure, description = "The configuration is wrong; nothing was changed")))]
pub(super) async fn reload(site: Site) -> Result<Json<Reload>, Failure> {
    let reloaded = site.reloader.reload_and_log("the operator").map_err(|problems| {
        let problems: Vec<_> = problems.0.iter().map(ToString::to_string).collect();
        let count = problems.len();
        let error =
            format!("the configuration has {count} problem{}: nothing was changed", if count == 1 { "" } else { "s" });
        Failure::conflict(error).with_problems(problems)
    })?;
    let restart = reloaded.restart.into_iter().map(str::to_owned).collect();
    let changes = reloaded.changes;
    Ok(Json(Reload { added: changes.added, changed: changes.changed, removed: changes.removed, restart }))
}

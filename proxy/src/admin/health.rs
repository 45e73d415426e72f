//! Whether the process is up, and whether it should get clients.

use std::time::{Duration, Instant};

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::Site;
use super::error::Failure;
use crate::pool::{Backend, HealthState};

/// How long failed dials speak against being ready. Dials come with sessions, so that a proxy which is sent none
/// would otherwise never be found ready again.
const LATELY: Duration = Duration::from_secs(10);

/// The process is up.
#[derive(Serialize, ToSchema)]
pub(super) struct Up {
    /// Always `ok`: who is not up does not answer.
    status: &'static str,
    /// The program's version.
    version: &'static str,
}

/// Is the process up?
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = Up)))]
pub(super) async fn healthz() -> Json<Up> {
    Json(Up { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Should it get clients?
///
/// No, while it drains or is paused, and when every backend that may get sessions is down by its checks, or its latest dial failed
/// and that is less than 10 s ago.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = Up), (status = 503, body = Failure, description = "It should get no clients")))]
pub(super) async fn readyz(site: Site) -> Result<Json<Up>, Failure> {
    if site.edge.is_draining() {
        return Err(Failure::unavailable("draining"));
    }
    if site.edge.is_paused() {
        return Err(Failure::unavailable("paused"));
    }
    let now = Instant::now();
    let failed = |at: Instant| now.saturating_duration_since(at) < LATELY;
    let fails = |backend: &Backend| {
        let standing = backend.standing();
        standing.state == HealthState::Down || standing.failed_at.is_some_and(failed)
    };
    if site.fleet.backends().iter().all(|(_, backend)| !backend.is_wanted() || fails(backend)) {
        return Err(Failure::unavailable("no backend is up, or could be dialled lately"));
    }
    Ok(healthz().await)
}

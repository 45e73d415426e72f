//! The operator's API: what is live, health and metrics, and a hand on sessions.
//!
//! Owns `--admin`: its listener, who may call, and what the calls answer. It looks at sessions and backends from
//! outside and tells sessions what to do; it decides nothing about messages. It runs on the supervisor's runtime, never
//! on a worker.
//!
//! Every route is registered together with its documentation, so that `/openapi.json` lists them all.

mod backends;
mod error;
mod extract;
mod guard;
mod health;
mod listener;
mod metrics;
mod moves;
mod poisoned;
mod proxy;
mod schemes;
mod scrape;
mod sessions;
mod whole;

use std::sync::Arc;

use std::time::SystemTime;

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Extension, Router};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::edge::EdgeContext;
use crate::pool::Fleet;
use crate::reload::Reloader;
use crate::session;
pub(crate) use backends::orders::Leaving;
pub(crate) use backends::{Backend, Backends, Health as BackendHealth, State};
use error::Failure;
pub use guard::Access;
pub use listener::Listener;
pub(crate) use poisoned::{Payload, PoisonedList, PoisonedMessage};
pub(crate) use proxy::{Proxy, Reload, Taking, Totals};
pub(crate) use sessions::{Detail, Migrated, Page};

/// The largest body of a request, in bytes.
const BODY_BYTES: usize = 16 * 1024;

/// What the operator may look at.
#[derive(Debug)]
pub struct Operator {
    sessions: Arc<session::Context>,
    edge: Arc<EdgeContext>,
    fleet: Arc<Fleet>,
    reloader: Arc<Reloader>,
    /// When the process began.
    since: SystemTime,
    registry: prometheus_client::registry::Registry,
}

type Site = axum::extract::State<Arc<Operator>>;

impl Operator {
    /// The view on the sessions, the edge and the backends of a process that begins now.
    #[must_use]
    pub fn new(
        sessions: Arc<session::Context>,
        edge: Arc<EdgeContext>,
        fleet: Arc<Fleet>,
        reloader: Arc<Reloader>,
    ) -> Arc<Self> {
        let registry = metrics::registry(sessions.clone(), edge.clone(), fleet.clone());
        Arc::new(Self { sessions, edge, fleet, reloader, since: SystemTime::now(), registry })
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tideover's operator's API",
        description = "What a running proxy is doing, and a hand on its backends and sessions. On TCP, everything \
                       below /v1 needs the token of --admin-token-file; health, metrics and this document need it \
                       unless the API listens on a loopback address. On a unix socket its file mode decides who may \
                       call."
    ),
    tags(
        (name = "health", description = "For whatever watches the process"),
        (name = "proxy", description = "The process as a whole"),
        (name = "backends", description = "Where sessions are attached"),
        (name = "sessions", description = "Live sessions"),
        (name = "poisoned", description = "Messages set aside because backends died of them")
    )
)]
struct Info;

/// Health and metrics: they tell nothing of any one session.
fn open_routes() -> OpenApiRouter<Arc<Operator>> {
    OpenApiRouter::new()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(scrape::metrics))
        .routes(routes!(scrape::openapi))
}

/// What shows sessions or messages, or changes something.
fn guarded_routes() -> OpenApiRouter<Arc<Operator>> {
    OpenApiRouter::new()
        .routes(routes!(proxy::inspect))
        .routes(routes!(proxy::pause))
        .routes(routes!(proxy::resume))
        .routes(routes!(proxy::reload))
        .routes(routes!(backends::list, backends::orders::add))
        .routes(routes!(backends::inspect, backends::orders::change, backends::orders::remove))
        .routes(routes!(backends::orders::enable))
        .routes(routes!(backends::orders::disable))
        .routes(routes!(backends::orders::drain))
        .routes(routes!(backends::orders::reset))
        .routes(routes!(backends::orders::fail_over))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::inspect))
        .routes(routes!(sessions::orders::fail_over))
        .routes(routes!(sessions::orders::migrate))
        .routes(routes!(sessions::orders::close))
        .routes(routes!(poisoned::list))
        .routes(routes!(poisoned::get, poisoned::delete))
}

/// The API with its guards.
pub(crate) fn router(operator: Arc<Operator>, access: Access) -> Router {
    let access = Arc::new(access);
    let open = open_routes().route_layer(from_fn_with_state(access.clone(), guard::admit_to_open));
    let guarded = guarded_routes().route_layer(from_fn_with_state(access.clone(), guard::admit));
    let (router, _) = OpenApiRouter::new().merge(open).merge(guarded).split_for_parts();
    router
        .fallback(async || Failure::not_found("no such path; see /openapi.json"))
        .method_not_allowed_fallback(async || Failure::method_not_allowed())
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(from_fn(guard::check_content_type))
        .layer(from_fn_with_state(access.clone(), guard::check_source))
        .layer(Extension(access))
        .with_state(operator)
}

/// The document at `/openapi.json`, for those who have this access.
fn document(access: &Access) -> Document {
    let routes = OpenApiRouter::with_openapi(Info::openapi()).merge(open_routes());
    let mut open = routes.into_openapi();
    guard::document(&mut open, access.guards_all());
    let mut guarded = guarded_routes().into_openapi();
    guard::document(&mut guarded, access.guards_some());
    open.merge(guarded);
    open
}

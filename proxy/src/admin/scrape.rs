//! `/metrics` and `/openapi.json`.

use std::sync::Arc;

use axum::http::header;
use axum::response::IntoResponse;
use axum::{Extension, Json};

use super::error::Failure;
use super::metrics;
use super::{Access, Site};

/// The proxy's metrics.
///
/// In the text format of OpenMetrics 1.0. Their names, units and labels stand in docs/metrics.md.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"),
        (status = 503, body = Failure, description = "They cannot be written")))]
pub(super) async fn metrics(site: Site) -> Result<impl IntoResponse, Failure> {
    let text = metrics::text(&site.registry).map_err(|_| Failure::unavailable("the metrics cannot be written"))?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "health",
    responses((status = 200, body = serde_json::Value, description = "OpenAPI 3.1")))]
pub(super) async fn openapi(Extension(access): Extension<Arc<Access>>) -> Json<utoipa::openapi::OpenApi> {
    Json(super::document(&access))
}

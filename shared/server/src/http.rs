//! Plain HTTP: `/livez`, `/readyz` and `/metrics`, beside what the service adds.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::readiness::{Readiness, is_ready};

#[derive(Clone)]
struct Probes {
    service: &'static str,
    readiness: Readiness,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
}

/// The service's own routes with the probes added.
pub(crate) fn router(
    service: &'static str,
    own: Router,
    readiness: Readiness,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
) -> Router {
    let probes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render_metrics))
        .with_state(Probes {
            service,
            readiness,
            metrics,
            shutdown,
        });
    own.merge(probes)
}

/// The process runs.
async fn livez() -> &'static str {
    "ok"
}

/// The process can do its work: what it needs answers, and it is not ending.
async fn readyz(State(probes): State<Probes>) -> Response {
    let dependencies = probes.readiness.check().await;
    let ready = is_ready(&dependencies) && !probes.shutdown.is_cancelled();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "service": probes.service,
        "ready": ready,
        "dependencies": dependencies,
    });
    (status, Json(body)).into_response()
}

async fn render_metrics(State(probes): State<Probes>) -> String {
    probes.metrics.run_upkeep();
    probes.metrics.render()
}

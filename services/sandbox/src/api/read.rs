//! `GET /v1/charges`, `/v1/payouts`, `/v1/refunds`, `/v1/captures` and one of
//! each by its reference.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::form::MovementForm;
use super::{Api, reply};
use crate::domain::Kind;
use crate::error::ApiError;
use crate::store;
use crate::store::faults::Occasion;

/// How many objects a page has by default and at most.
const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 500;

/// Which page of a list to return.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<i64>,
    /// The `next_after` of the page before.
    #[serde(default)]
    pub(super) after: i64,
}

impl Page {
    /// How many objects the page has at most.
    pub(super) fn limit(&self) -> i64 {
        limit(self.limit)
    }
}

/// How many objects a page has at most, when so many are asked for.
pub(super) fn limit(asked: Option<i64>) -> i64 {
    asked.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT)
}

/// Returns the movement of a reference, 404 when it was never received.
pub(super) async fn get(
    State(api): State<Api>,
    kind: Kind,
    Path(reference): Path<String>,
) -> Result<Response, ApiError> {
    let mut conn = api.pool.acquire().await?;
    let fault = store::faults::take(&mut conn, Occasion::status(&reference)).await?;
    let movement = store::movements::find(&mut conn, kind, &reference).await?;
    drop(conn);
    if let Some(reply) = reply::question_fault(fault, &api.shutdown).await {
        return reply;
    }
    let movement = movement.ok_or(ApiError::NotFound)?;
    Ok(Json(MovementForm::from(&movement)).into_response())
}

/// Returns a page of movements, oldest first.
pub(super) async fn list(
    State(api): State<Api>,
    kind: Kind,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(page) = page?;
    let limit = page.limit();
    let mut conn = api.pool.acquire().await?;
    let mut found = store::movements::list(&mut conn, kind, page.after, limit + 1).await?;
    let next_after = reply::cut(&mut found, limit, |last| last.position);
    let data: Vec<_> = found.iter().map(MovementForm::from).collect();
    Ok(Json(json!({"data": data, "next_after": next_after})).into_response())
}

//! `POST`, `GET` and `DELETE /v1/faults`: faults on demand.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Api;
use crate::domain::{Fault, FaultKind, FaultOperation};
use crate::error::ApiError;
use crate::store;
use crate::store::faults::Arranged;

/// Bounds of what may be asked for.
const MAX_TIMES: i32 = 1_000_000;
const MAX_DELAY_MS: u64 = 60_000;
const DEFAULT_DELAY_MS: u64 = 2_000;
const MAX_TEXT_LEN: usize = 64;

/// A fault as it is asked for and told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultForm {
    #[serde(default, skip_deserializing)]
    id: i64,
    operation: String,
    kind: String,
    #[serde(default = "once")]
    times: i32,
    reference: Option<String>,
    amount_minor: Option<i64>,
    decline_code: Option<String>,
    #[serde(default = "default_delay_ms")]
    delay_ms: u64,
}

fn once() -> i32 {
    1
}

fn default_delay_ms() -> u64 {
    DEFAULT_DELAY_MS
}

impl FaultForm {
    fn arranged(self) -> Result<Arranged, ApiError> {
        let operation = FaultOperation::parse(&self.operation).ok_or(ApiError::FaultInvalid(
            "operation must be charge, payout, account or status",
        ))?;
        let kind = FaultKind::parse(&self.kind)
            .filter(|kind| kind.fits(operation))
            .ok_or(ApiError::FaultInvalid(
                "kind is none that fits the operation",
            ))?;
        let fits = |text: &Option<String>| {
            text.as_ref()
                .is_none_or(|text| (1..=MAX_TEXT_LEN).contains(&text.len()))
        };
        if !(1..=MAX_TIMES).contains(&self.times) {
            return Err(ApiError::FaultInvalid("times must be 1 to 1000000"));
        }
        if self.delay_ms > MAX_DELAY_MS {
            return Err(ApiError::FaultInvalid("delay_ms must be 0 to 60000"));
        }
        if !fits(&self.reference) || !fits(&self.decline_code) {
            return Err(ApiError::FaultInvalid(
                "reference and decline_code must have 1 to 64 characters",
            ));
        }
        if self.amount_minor.is_some_and(|amount| amount <= 0) {
            return Err(ApiError::FaultInvalid("amount_minor must be positive"));
        }
        Ok(Arranged {
            id: 0,
            operation,
            remaining: self.times,
            reference: self.reference,
            amount_minor: self.amount_minor,
            fault: Fault {
                kind,
                decline_code: self.decline_code,
                delay: Duration::from_millis(self.delay_ms),
            },
        })
    }
}

impl From<Arranged> for FaultForm {
    fn from(arranged: Arranged) -> Self {
        let delay_ms = arranged.fault.delay.as_millis();
        Self {
            id: arranged.id,
            operation: arranged.operation.name().to_owned(),
            kind: arranged.fault.kind.name().to_owned(),
            times: arranged.remaining,
            reference: arranged.reference,
            amount_minor: arranged.amount_minor,
            decline_code: arranged.fault.decline_code,
            delay_ms: u64::try_from(delay_ms).unwrap_or(MAX_DELAY_MS),
        }
    }
}

/// Arranges a fault.
pub(super) async fn create(
    State(api): State<Api>,
    body: Result<Json<FaultForm>, JsonRejection>,
) -> Result<Response, ApiError> {
    let wanted = body?.0.arranged()?;
    let mut conn = api.pool.acquire().await?;
    let arranged = store::faults::insert(&mut conn, &wanted).await?;
    Ok((StatusCode::CREATED, Json(FaultForm::from(arranged))).into_response())
}

/// Lists the faults that are not used up.
pub(super) async fn list(State(api): State<Api>) -> Result<Response, ApiError> {
    let mut conn = api.pool.acquire().await?;
    let faults = store::faults::list(&mut conn).await?;
    let data: Vec<_> = faults.into_iter().map(FaultForm::from).collect();
    Ok(Json(json!({"data": data})).into_response())
}

/// Forgets all faults.
pub(super) async fn clear(State(api): State<Api>) -> Result<StatusCode, ApiError> {
    let mut conn = api.pool.acquire().await?;
    store::faults::clear(&mut conn).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! `POST`, `GET` and `DELETE /v1/faults`: faults on demand.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Api;
use crate::domain::{Fault, FaultKind, FaultOperation, Flapping, NoticeFault};
use crate::error::ApiError;
use crate::store;
use crate::store::faults::{Arranged, Effect};

/// Bounds of what may be asked for.
const MAX_TIMES: i32 = 1_000_000;
/// The longest that a customer is kept waiting for an answer.
const MAX_SLOW_MS: u64 = 60_000;
/// The longest that something stays pending, or that a notice waits: a week of
/// the provider's clock.
const MAX_DELAY_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
const DEFAULT_DELAY_MS: u64 = 2_000;
const MAX_TEXT_LEN: usize = 64;
const MAX_COPIES: u16 = 100;

/// A fault as it is asked for and told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultForm {
    #[serde(default, skip_deserializing)]
    id: i64,
    operation: String,
    kind: String,
    /// How many requests it sees.
    times: Option<i32>,
    /// Of each `of` requests that it sees, the first `fail` are hit.
    fail: Option<i32>,
    of: Option<i32>,
    reference: Option<String>,
    amount_minor: Option<i64>,
    /// Of notices: their type.
    event: Option<String>,
    decline_code: Option<String>,
    #[serde(default = "default_delay_ms")]
    delay_ms: u64,
    http_status: Option<u16>,
    copies: Option<u16>,
}

fn default_delay_ms() -> u64 {
    DEFAULT_DELAY_MS
}

impl FaultForm {
    fn arranged(self) -> Result<Arranged, ApiError> {
        let operation = FaultOperation::parse(&self.operation).ok_or(ApiError::FieldInvalid(
            "operation must be charge, payout, refund, authorization, capture, void, account, \
             status, list or callback",
        ))?;
        let effect = self.effect(operation)?;
        let flapping = self.flapping()?;
        let times = self
            .times
            .unwrap_or(flapping.map_or(1, |flapping| flapping.of));
        if !(1..=MAX_TIMES).contains(&times) {
            return Err(ApiError::FieldInvalid("times must be 1 to 1000000"));
        }
        let texts = [&self.reference, &self.decline_code, &self.event];
        let fits = |text: &String| (1..=MAX_TEXT_LEN).contains(&text.len()) && !text.contains('\0');
        if !texts.into_iter().flatten().all(fits) {
            return Err(ApiError::FieldInvalid(
                "reference, decline_code and event must have 1 to 64 characters",
            ));
        }
        if self.amount_minor.is_some_and(|amount| amount <= 0) {
            return Err(ApiError::FieldInvalid("amount_minor must be positive"));
        }
        if self.event.is_some() && operation != FaultOperation::Callback {
            return Err(ApiError::FieldInvalid("event is for callbacks only"));
        }
        Ok(Arranged {
            id: 0,
            operation,
            remaining: times,
            flapping,
            reference: self.reference,
            amount_minor: self.amount_minor,
            event: self.event,
            effect,
        })
    }

    /// What it does, by its kind and the bounds of that.
    fn effect(&self, operation: FaultOperation) -> Result<Effect, ApiError> {
        const NO_KIND: ApiError = ApiError::FieldInvalid("kind is none that fits the operation");
        let delay = Duration::from_millis(self.delay_ms);
        if self.delay_ms > MAX_DELAY_MS {
            return Err(ApiError::FieldInvalid("delay_ms must be 0 to 604800000"));
        }
        if operation == FaultOperation::Callback {
            if self
                .copies
                .is_some_and(|copies| !(1..=MAX_COPIES).contains(&copies))
            {
                return Err(ApiError::FieldInvalid("copies must be 1 to 100"));
            }
            let fault = NoticeFault::parse(&self.kind, self.copies, delay).ok_or(NO_KIND)?;
            return Ok(Effect::Notice(fault));
        }
        let kind = FaultKind::parse(&self.kind)
            .filter(|kind| kind.fits(operation))
            .ok_or(NO_KIND)?;
        if kind == FaultKind::Slow && self.delay_ms > MAX_SLOW_MS {
            return Err(ApiError::FieldInvalid(
                "delay_ms of slow must be 0 to 60000",
            ));
        }
        let is_error = |status: u16| status == 429 || (500..=599).contains(&status);
        if self.http_status.is_some_and(|status| !is_error(status)) {
            return Err(ApiError::FieldInvalid(
                "http_status must be 429 or 500 to 599",
            ));
        }
        Ok(Effect::Request(Fault {
            kind,
            decline_code: self.decline_code.clone(),
            delay,
            http_status: self.http_status,
        }))
    }

    fn flapping(&self) -> Result<Option<Flapping>, ApiError> {
        match (self.fail, self.of) {
            (None, None) => Ok(None),
            (Some(fail), Some(of)) if (2..=MAX_TIMES).contains(&of) && (1..of).contains(&fail) => {
                Ok(Some(Flapping { fail, of }))
            }
            _ => Err(ApiError::FieldInvalid(
                "fail and of go together: fail is at least 1 and less than of",
            )),
        }
    }
}

impl From<Arranged> for FaultForm {
    fn from(arranged: Arranged) -> Self {
        let request = arranged.effect.request();
        let delay_ms = arranged.effect.delay().as_millis();
        Self {
            id: arranged.id,
            operation: arranged.operation.name().to_owned(),
            kind: arranged.effect.name().to_owned(),
            times: Some(arranged.remaining),
            fail: arranged.flapping.map(|flapping| flapping.fail),
            of: arranged.flapping.map(|flapping| flapping.of),
            decline_code: request.and_then(|fault| fault.decline_code.clone()),
            delay_ms: u64::try_from(delay_ms).unwrap_or(MAX_DELAY_MS),
            http_status: request.and_then(|fault| fault.http_status),
            copies: arranged.effect.copies(),
            reference: arranged.reference,
            amount_minor: arranged.amount_minor,
            event: arranged.event,
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

/// Forgets one fault.
pub(super) async fn remove(
    State(api): State<Api>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::NotFound)?;
    let mut conn = api.pool.acquire().await?;
    if store::faults::remove(&mut conn, id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::NotFound)
    }
}

/// Forgets all faults.
pub(super) async fn clear(State(api): State<Api>) -> Result<StatusCode, ApiError> {
    let mut conn = api.pool.acquire().await?;
    store::faults::clear(&mut conn).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! `GET`, `POST` and `DELETE /v1/test/clock`: the provider's clock.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use bursar_server::now;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::Api;
use super::conduct::detached;
use crate::domain::{Clock, ClockChange};
use crate::due;
use crate::error::ApiError;
use crate::store;

/// What is done to the clock.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeForm {
    #[serde(default, with = "time::serde::rfc3339::option")]
    now: Option<OffsetDateTime>,
    advance_seconds: Option<u64>,
    frozen: Option<bool>,
}

/// The clock as it is told.
#[derive(Debug, Serialize)]
struct ClockForm {
    #[serde(with = "time::serde::rfc3339")]
    now: OffsetDateTime,
    frozen: bool,
    /// How far it is ahead of the real time.
    ahead_seconds: i64,
}

impl ClockForm {
    fn of(clock: &Clock) -> Self {
        let real = now();
        let shown = clock.now(real);
        Self {
            now: shown,
            frozen: clock.frozen_at.is_some(),
            ahead_seconds: (shown - real).whole_seconds(),
        }
    }
}

/// Tells what the clock shows.
pub(super) async fn get(State(api): State<Api>) -> Result<Response, ApiError> {
    let mut conn = api.pool.acquire().await?;
    let clock = store::clock::read(&mut conn).await?;
    Ok(Json(ClockForm::of(&clock)).into_response())
}

/// Sets the clock, and does what is due by then before it answers.
pub(super) async fn change(
    State(api): State<Api>,
    body: Result<Json<ChangeForm>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(form) = body?;
    let change = ClockChange {
        now: form.now,
        advance: form.advance_seconds.map(Duration::from_secs),
        frozen: form.frozen,
    };
    if change == ClockChange::default() {
        return Err(ApiError::FieldInvalid(
            "at least one of now, advance_seconds and frozen must be there",
        ));
    }
    let clock = detached(set(api, Some(change))).await?;
    Ok(Json(ClockForm::of(&clock)).into_response())
}

/// Puts the clock back to the real time.
pub(super) async fn reset(State(api): State<Api>) -> Result<Response, ApiError> {
    let clock = detached(set(api, None)).await?;
    Ok(Json(ClockForm::of(&clock)).into_response())
}

async fn set(api: Api, change: Option<ClockChange>) -> Result<Clock, ApiError> {
    let mut transaction = api.pool.begin().await?;
    let real = now();
    let before = store::clock::lock(&mut transaction).await?;
    let clock = match change {
        Some(change) => before.changed(change, real)?,
        None => Clock::REAL,
    };
    store::clock::write(&mut transaction, &clock).await?;
    // Each turn finishes something, so the turns come to an end.
    while due::finish(&mut transaction, clock.now(real), api.tells).await? {}
    transaction.commit().await?;
    Ok(clock)
}

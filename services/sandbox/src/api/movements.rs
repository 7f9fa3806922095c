//! `GET /v1/movements`: what ended in a period, for reconciliation.
//!
//! The list is in the order in which movements ended and never changes for a
//! period that has been over for a minute: by then all that is stamped with a
//! time in it is written.

use axum::Json;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::QueryRejection;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;

use super::form::MovementForm;
use super::{Api, read, reply};
use crate::domain::{FaultKind, FaultOperation, Kind, Status};
use crate::error::ApiError;
use crate::store;
use crate::store::faults::Occasion;
use crate::store::movements::{Period, Place};

/// Which movements to return.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    to: Option<OffsetDateTime>,
    status: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    limit: Option<i64>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Returns a page of the movements that ended in a period.
pub(super) async fn list(
    State(api): State<Api>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(wanted) = wanted?;
    let status = match wanted.status.as_deref() {
        None => None,
        Some("succeeded") => Some(Status::Succeeded),
        Some("declined") => Some(Status::Declined),
        Some(_) => {
            return Err(ApiError::FieldInvalid(
                "status must be succeeded or declined",
            ));
        }
    };
    let kind = match &wanted.kind {
        None => None,
        Some(name) => Some(Kind::parse(name).ok_or(ApiError::FieldInvalid(
            "type must be charge, payout, refund or capture",
        ))?),
    };
    let after = match &wanted.cursor {
        None => None,
        Some(cursor) => {
            Some(place(cursor).ok_or(ApiError::FieldInvalid("cursor is none of ours"))?)
        }
    };
    let mut conn = api.pool.acquire().await?;
    let occasion = Occasion {
        operation: FaultOperation::List,
        reference: "",
        amount_minor: None,
        event: None,
    };
    let fault = store::faults::take(&mut conn, occasion).await?;
    let period = Period {
        from: wanted.from.unwrap_or(OffsetDateTime::UNIX_EPOCH),
        to: match wanted.to {
            Some(to) => to,
            None => store::clock::now(&mut conn).await?,
        },
    };
    let limit = read::limit(wanted.limit);
    let mut found =
        store::movements::page(&mut conn, period, (status, kind), after, limit + 1).await?;
    drop(conn);
    let is_lost = fault
        .as_ref()
        .is_some_and(|fault| fault.kind == FaultKind::LostResponse);
    if is_lost {
        return Ok(reply::hang_up());
    }
    if let Some(reply) = reply::question_fault(fault, &api.shutdown).await {
        return reply;
    }
    let next = reply::cut(&mut found, limit, Place::of).flatten();
    let data: Vec<_> = found.iter().map(MovementForm::from).collect();
    Ok(Json(json!({"data": data, "next_cursor": next.map(cursor)})).into_response())
}

/// A place as text that customers do not read.
fn cursor(place: Place) -> String {
    let micros = place.finished_at.unix_timestamp_nanos() / 1_000;
    hex::encode(format!("{micros}.{}", place.position))
}

fn place(cursor: &str) -> Option<Place> {
    let text = String::from_utf8(hex::decode(cursor).ok()?).ok()?;
    let (micros, position) = text.split_once('.')?;
    let nanos = i128::from(micros.parse::<i64>().ok()?) * 1_000;
    Some(Place {
        finished_at: OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?,
        position: position.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    /// A cursor leads back to its place, and nonsense to none.
    #[test]
    fn cursors_are_places() {
        let there = Place {
            finished_at: datetime!(2025-01-02 03:04:05.000006 UTC),
            position: 7,
        };
        assert_eq!(place(&cursor(there)), Some(there));
        let far = hex::encode(format!("{}.1", i64::MAX));
        for nonsense in ["", "x", "00", &hex::encode("1"), &hex::encode("1.x"), &far] {
            assert_eq!(place(nonsense), None, "{nonsense}");
        }
    }
}

//! `POST /v1/charges` and `POST /v1/payouts`.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bursar_server::now;
use uuid::Uuid;

use super::Api;
use super::conduct::{conduct, fault_of};
use super::form::{CreateForm, MovementForm};
use crate::domain::{Fault, Kind, Movement, NewMovement, Plan, surprise};
use crate::error::ApiError;
use crate::notices;
use crate::store;
use crate::store::faults::Occasion;

/// Records a movement, once a reference, and answers it: 201 the first time,
/// 200 for the same request again. A fault decides how it really goes.
pub(super) async fn create(
    State(api): State<Api>,
    kind: Kind,
    body: Result<Json<CreateForm>, JsonRejection>,
) -> Result<Response, ApiError> {
    let asked = body?.0.asked(kind);
    asked.validate()?;
    let fault = fault(&api, kind, &asked.reference, asked.amount_minor).await?;
    let plan = fault.as_ref().map_or(Plan::Succeed, Fault::plan);
    let recording = record(api.clone(), asked, plan);
    conduct(&api, fault, recording, tell).await
}

/// The answer of a movement.
pub(super) fn tell((status, movement): (StatusCode, Movement)) -> Response {
    (status, Json(MovementForm::from(&movement))).into_response()
}

/// The fault that was arranged for a movement that is asked for, or that its
/// amount brings.
pub(super) async fn fault(
    api: &Api,
    kind: Kind,
    reference: &str,
    amount_minor: i64,
) -> Result<Option<Fault>, ApiError> {
    let mut conn = api.pool.acquire().await?;
    let surprise = surprise(amount_minor);
    let is_known = surprise.is_some()
        && store::movements::find(&mut conn, kind, reference)
            .await?
            .is_some();
    let occasion = Occasion {
        operation: kind.into(),
        reference,
        amount_minor: Some(amount_minor),
        event: None,
    };
    fault_of(&mut conn, occasion, surprise, is_known).await
}

/// Writes the movement and the notice of it, in one transaction. A reference
/// that is in the books already is answered as it is there, also when the
/// request comes late. Late is by the real time, which the customer's clock
/// shows as well.
async fn record(
    api: Api,
    asked: NewMovement,
    plan: Plan,
) -> Result<(StatusCode, Movement), ApiError> {
    let mut transaction = api.pool.begin().await?;
    let at = store::clock::now(&mut transaction).await?;
    let made = if asked.is_late(now()) {
        None
    } else {
        let fee_minor = api.fees.fee_minor(asked.kind, asked.amount_minor);
        let id = Uuid::now_v7();
        store::movements::insert(&mut transaction, &asked, &plan, fee_minor, id, at).await?
    };
    let Some(movement) = made else {
        let known = store::movements::find(&mut transaction, asked.kind, &asked.reference).await?;
        return match known {
            Some(movement) if movement.is_what(&asked) => Ok((StatusCode::OK, movement)),
            Some(_) => Err(ApiError::ReferenceReused),
            None => Err(ApiError::Late),
        };
    };
    if api.tells {
        notices::of_movement(&mut transaction, &movement, at).await?;
    }
    transaction.commit().await?;
    Ok((StatusCode::CREATED, movement))
}

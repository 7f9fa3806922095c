//! `POST /v1/charges` and `POST /v1/payouts`.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bursar_server::now;
use sqlx::PgPool;
use uuid::Uuid;

use super::form::{CreateForm, MovementForm, callback_body};
use super::{Api, reply};
use crate::domain::{Fault, FaultKind, Kind, Movement, NewMovement, Plan, surprise};
use crate::error::ApiError;
use crate::store;

/// Records a movement, once a reference, and answers it: 201 the first time,
/// 200 for the same request again. A fault decides how it really goes.
pub(super) async fn create(
    State(api): State<Api>,
    kind: Kind,
    body: Result<Json<CreateForm>, JsonRejection>,
) -> Result<Response, ApiError> {
    let asked = body?.0.asked(kind);
    asked.validate()?;
    let fault = fault(&api.pool, &asked).await?;
    if let Some(fault) = &fault
        && fault.kind.loses_request()
    {
        return lose(&api, fault.kind).await;
    }
    let plan = fault.as_ref().map_or(Plan::Succeed, Fault::plan);
    // In a task of its own: a customer that hangs up while the books are being
    // written must not leave the connection inside a transaction.
    let (pool, tells) = (api.pool.clone(), api.tells);
    let recording = tokio::spawn(async move { record(&pool, tells, asked, plan).await });
    let (status, movement) = match recording.await {
        Ok(recorded) => recorded?,
        Err(failure) => {
            tracing::error!(%failure, "a recording did not end by itself");
            return Err(ApiError::Simulated);
        }
    };
    match fault.map(|fault| (fault.kind, fault.delay)) {
        Some((FaultKind::LostResponse, _)) => return Ok(reply::hang_up()),
        Some((FaultKind::Slow, delay)) => reply::pause(delay, &api.shutdown).await,
        Some(_) | None => {}
    }
    Ok((status, Json(MovementForm::from(&movement))).into_response())
}

/// The fault that was arranged for the request, or that its amount brings. A
/// reference that is in the books already is beyond surprises.
async fn fault(pool: &PgPool, asked: &NewMovement) -> Result<Option<Fault>, ApiError> {
    let mut conn = pool.acquire().await?;
    let amount = Some(asked.amount_minor);
    let operation = asked.kind.into();
    let arranged = store::faults::take(&mut conn, operation, &asked.reference, amount).await?;
    if arranged.is_some() {
        return Ok(arranged);
    }
    let Some(surprise) = surprise(asked.amount_minor) else {
        return Ok(None);
    };
    let known = store::movements::find(&mut conn, asked.kind, &asked.reference).await?;
    Ok(known.is_none().then_some(surprise))
}

/// Answers a request that a fault loses.
pub(super) async fn lose(api: &Api, kind: FaultKind) -> Result<Response, ApiError> {
    tracing::info!(fault = kind.name(), "a request is lost on demand");
    match kind {
        FaultKind::Timeout => Ok(reply::stay_silent(&api.shutdown).await),
        FaultKind::Error500 => Err(ApiError::Simulated),
        FaultKind::ConnectionReset
        | FaultKind::LostResponse
        | FaultKind::Decline
        | FaultKind::Slow
        | FaultKind::Pending
        | FaultKind::PendingDecline => Ok(reply::hang_up()),
    }
}

/// Writes the movement and the notice of it, in one transaction. A reference
/// that is in the books already is answered as it is there, also when the
/// request comes late.
async fn record(
    pool: &PgPool,
    tells: bool,
    asked: NewMovement,
    plan: Plan,
) -> Result<(StatusCode, Movement), ApiError> {
    let mut transaction = pool.begin().await?;
    let (id, at) = (Uuid::now_v7(), now());
    let made = if asked.is_late(at) {
        None
    } else {
        store::movements::insert(&mut transaction, &asked, &plan, id, at).await?
    };
    let Some(movement) = made else {
        let known = store::movements::find(&mut transaction, asked.kind, &asked.reference).await?;
        return match known {
            Some(movement) if movement.is_what(&asked) => Ok((StatusCode::OK, movement)),
            Some(_) => Err(ApiError::ReferenceReused),
            None => Err(ApiError::Late),
        };
    };
    if tells {
        announce(&mut transaction, &movement).await?;
    }
    transaction.commit().await?;
    Ok((StatusCode::CREATED, movement))
}

/// Puts the notice of a finished movement into the outbox.
pub(crate) async fn announce(
    conn: &mut sqlx::PgConnection,
    movement: &Movement,
) -> Result<(), ApiError> {
    let id = Uuid::now_v7();
    if let Some(body) = callback_body(id, movement)? {
        let (kind, reference) = (movement.kind, &movement.reference);
        store::callbacks::insert(conn, id, kind, reference, &body, now()).await?;
    }
    Ok(())
}

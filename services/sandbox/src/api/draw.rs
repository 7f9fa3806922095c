//! `POST /v1/refunds` and `POST /v1/authorizations/{reference}/captures`: what
//! draws on a charge, a capture or an authorisation.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bursar_server::now;
use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Api;
use super::conduct::conduct;
use super::create::{fault, tell};
use crate::domain::{
    Draw, DrawRefused, Fault, Movement, Plan, RequestInvalid, Source, SourceKind, Status,
};
use crate::error::ApiError;
use crate::notices;
use crate::store;

/// A refund as it is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RefundForm {
    reference: String,
    charge_reference: Option<String>,
    capture_reference: Option<String>,
    amount_minor: i64,
    currency: Option<String>,
    #[serde(default)]
    description: String,
    #[serde(default, with = "time::serde::rfc3339::option")]
    valid_until: Option<OffsetDateTime>,
}

/// A capture as it is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaptureForm {
    reference: String,
    amount_minor: i64,
    currency: Option<String>,
    #[serde(default)]
    description: String,
    #[serde(default, with = "time::serde::rfc3339::option")]
    valid_until: Option<OffsetDateTime>,
}

/// Gives money back, once a reference.
pub(super) async fn refund(
    State(api): State<Api>,
    body: Result<Json<RefundForm>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(form) = body?;
    let (kind, reference) = match (form.charge_reference, form.capture_reference) {
        (Some(reference), None) => (SourceKind::Charge, reference),
        (None, Some(reference)) => (SourceKind::Capture, reference),
        (Some(_), Some(_)) | (None, None) => return Err(RequestInvalid::OneSource.into()),
    };
    let wanted = Draw {
        reference: form.reference,
        source: Source { kind, reference },
        amount_minor: form.amount_minor,
        currency: form.currency,
        description: form.description,
        valid_until: form.valid_until,
    };
    draw(api, wanted).await
}

/// Takes authorised money, once a reference.
pub(super) async fn capture(
    State(api): State<Api>,
    Path(authorization): Path<String>,
    body: Result<Json<CaptureForm>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(form) = body?;
    let wanted = Draw {
        reference: form.reference,
        source: Source {
            kind: SourceKind::Authorization,
            reference: authorization,
        },
        amount_minor: form.amount_minor,
        currency: form.currency,
        description: form.description,
        valid_until: form.valid_until,
    };
    draw(api, wanted).await
}

/// Records a draw and answers it: 201 the first time, 200 for the same request
/// again. A fault decides how it really goes.
async fn draw(api: Api, wanted: Draw) -> Result<Response, ApiError> {
    wanted.validate()?;
    let kind = wanted.kind();
    let fault = fault(&api, kind, &wanted.reference, wanted.amount_minor).await?;
    let plan = fault.as_ref().map_or(Plan::Succeed, Fault::plan);
    let recording = record(api.clone(), wanted, plan);
    conduct(&api, fault, recording, tell).await
}

/// Writes the draw, counts it at its source, and writes the notice of it, in one
/// transaction. The source is locked first, so that requests about one source
/// come one after the other, also two with the same reference.
async fn record(api: Api, wanted: Draw, plan: Plan) -> Result<(StatusCode, Movement), ApiError> {
    let mut transaction = api.pool.begin().await?;
    let at = store::clock::now(&mut transaction).await?;
    let fund = store::sources::lock(&mut transaction, &wanted.source, at).await?;
    let kind = wanted.kind();
    match store::movements::find(&mut transaction, kind, &wanted.reference).await? {
        Some(known) if wanted.is_what(&known) => return Ok((StatusCode::OK, known)),
        Some(_) => return Err(ApiError::ReferenceReused),
        None => {}
    }
    if wanted.valid_until.is_some_and(|until| now() > until) {
        return Err(ApiError::Late);
    }
    let fund = fund.ok_or(DrawRefused::NotFound(wanted.source.kind))?;
    let asked = wanted.decide(&fund)?;
    let fee_minor = api.fees.fee_minor(kind, asked.amount_minor);
    let id = Uuid::now_v7();
    let made = store::movements::insert(&mut transaction, &asked, &plan, fee_minor, id, at).await?;
    // Taken by a request about another source, in this moment.
    let movement = made.ok_or(ApiError::ReferenceReused)?;
    if movement.status != Status::Declined {
        store::sources::count(&mut transaction, &wanted.source, asked.amount_minor).await?;
    }
    if api.tells {
        notices::of_movement(&mut transaction, &movement, at).await?;
    }
    transaction.commit().await?;
    Ok((StatusCode::CREATED, movement))
}

//! `POST /v1/cards`, `POST` and `GET /v1/authorizations`, and what is done with
//! one authorisation.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bursar_server::now;
use serde::Deserialize;
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::conduct::{conduct, fault_of};
use super::form::{AuthorizationForm, CardForm};
use super::read::Page;
use super::{Api, reply};
use crate::card_token;
use crate::domain::{
    Authorization, Behaviour, Card, CardNumber, Fault, FaultOperation, NewAuthorization, Plan,
    RequestInvalid, Voiding, surprise,
};
use crate::error::ApiError;
use crate::notices;
use crate::store;
use crate::store::faults::Occasion;

/// A card as it is shown. It holds a number, so it cannot be printed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCardForm {
    card_number: String,
}

/// An authorisation as it is asked for. It may hold a number, so it cannot be
/// printed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateForm {
    reference: String,
    card_number: Option<String>,
    card_token: Option<String>,
    amount_minor: i64,
    currency: String,
    #[serde(default)]
    description: String,
    #[serde(default, with = "time::serde::rfc3339::option")]
    valid_until: Option<OffsetDateTime>,
}

/// Makes a token of a card's number: always the same one.
pub(super) async fn keep_card(
    State(api): State<Api>,
    body: Result<Json<NewCardForm>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(form) = body.map_err(|rejection| ApiError::CardBody(rejection.status()))?;
    let number = CardNumber::parse(&form.card_number).ok_or(RequestInvalid::CardNumber)?;
    let card = card_token::card(&number, &api.card_key);
    let mut conn = api.pool.acquire().await?;
    store::cards::keep(&mut conn, &card, now()).await?;
    Ok((StatusCode::CREATED, Json(CardForm::from(&card))).into_response())
}

/// Reserves money on a card, once a reference, and answers it: 201 the first
/// time, 200 for the same request again. A fault, the card or the amount decides
/// how it really goes, in this order.
pub(super) async fn create(
    State(api): State<Api>,
    body: Result<Json<CreateForm>, JsonRejection>,
) -> Result<Response, ApiError> {
    // The reason of a rejection may quote the body, and so the card's number.
    let Json(form) = body.map_err(|rejection| ApiError::CardBody(rejection.status()))?;
    let mut conn = api.pool.acquire().await?;
    let card = card(&api, &mut conn, form.card_number, form.card_token).await?;
    let asked = NewAuthorization {
        reference: form.reference,
        card,
        amount_minor: form.amount_minor,
        currency: form.currency,
        description: form.description,
        valid_until: form.valid_until,
    };
    asked.validate()?;
    let surprise = asked
        .card
        .behaviour
        .map(Behaviour::surprise)
        .or_else(|| surprise(asked.amount_minor));
    let is_known = surprise.is_some()
        && store::authorizations::find(&mut conn, &asked.reference)
            .await?
            .is_some();
    let occasion = Occasion {
        operation: FaultOperation::Authorization,
        reference: &asked.reference,
        amount_minor: Some(asked.amount_minor),
        event: None,
    };
    let fault = fault_of(&mut conn, occasion, surprise, is_known).await?;
    drop(conn);
    let plan = fault.as_ref().map_or(Plan::Succeed, Fault::plan);
    let recording = record(api.clone(), asked, plan);
    conduct(&api, fault, recording, tell).await
}

/// The card that a request names by its number or by a token.
async fn card(
    api: &Api,
    conn: &mut PgConnection,
    number: Option<String>,
    token: Option<String>,
) -> Result<Card, ApiError> {
    let number = match (number, token) {
        (Some(number), None) => CardNumber::parse(&number).ok_or(RequestInvalid::CardNumber)?,
        (None, Some(token)) => match CardNumber::of_test_token(&token) {
            Some(number) => number,
            None => {
                let known = store::cards::find(conn, &token).await?;
                return Ok(known.ok_or(RequestInvalid::CardToken)?);
            }
        },
        (Some(_), Some(_)) | (None, None) => return Err(RequestInvalid::OneCard.into()),
    };
    Ok(card_token::card(&number, &api.card_key))
}

fn tell((status, authorization): (StatusCode, Authorization)) -> Response {
    (status, Json(AuthorizationForm::from(&authorization))).into_response()
}

/// Writes the card, the authorisation and the notice of it, in one transaction.
/// A reference that is in the books already is answered as it is there.
async fn record(
    api: Api,
    asked: NewAuthorization,
    plan: Plan,
) -> Result<(StatusCode, Authorization), ApiError> {
    let mut transaction = api.pool.begin().await?;
    let at = store::clock::now(&mut transaction).await?;
    let is_late = asked.valid_until.is_some_and(|until| now() > until);
    let is_made = !is_late && {
        store::cards::keep(&mut transaction, &asked.card, now()).await?;
        store::authorizations::insert(&mut transaction, &asked, &plan, Uuid::now_v7(), at).await?
    };
    let found = store::authorizations::find(&mut transaction, &asked.reference).await?;
    let authorization = found.ok_or(ApiError::Late)?;
    if !is_made {
        return if asked.is_what(&authorization) {
            Ok((StatusCode::OK, authorization))
        } else {
            Err(ApiError::ReferenceReused)
        };
    }
    if api.tells {
        notices::of_authorization(&mut transaction, &authorization, at).await?;
    }
    transaction.commit().await?;
    Ok((StatusCode::CREATED, authorization))
}

/// Gives up what is left of an authorisation; the same again when it was given up
/// before.
pub(super) async fn void(
    State(api): State<Api>,
    Path(reference): Path<String>,
) -> Result<Response, ApiError> {
    let fault = {
        let mut conn = api.pool.acquire().await?;
        let occasion = Occasion {
            operation: FaultOperation::Void,
            reference: &reference,
            amount_minor: None,
            event: None,
        };
        store::faults::take(&mut conn, occasion).await?
    };
    let recording = record_void(api.clone(), reference);
    conduct(&api, fault, recording, tell).await
}

async fn record_void(api: Api, reference: String) -> Result<(StatusCode, Authorization), ApiError> {
    let mut transaction = api.pool.begin().await?;
    let at = store::clock::now(&mut transaction).await?;
    let found = store::authorizations::lock(&mut transaction, &reference).await?;
    let authorization = found.ok_or(ApiError::NotFound)?;
    match authorization.void(at)? {
        Voiding::Done => return Ok((StatusCode::OK, authorization)),
        Voiding::Void => {}
    }
    store::authorizations::void(&mut transaction, &reference, at).await?;
    let found = store::authorizations::find(&mut transaction, &reference).await?;
    let authorization = found.ok_or(ApiError::NotFound)?;
    if api.tells {
        notices::of_authorization(&mut transaction, &authorization, at).await?;
    }
    transaction.commit().await?;
    Ok((StatusCode::OK, authorization))
}

/// Returns the authorisation of a reference, 404 when it was never received.
pub(super) async fn get(
    State(api): State<Api>,
    Path(reference): Path<String>,
) -> Result<Response, ApiError> {
    let mut conn = api.pool.acquire().await?;
    let fault = store::faults::take(&mut conn, Occasion::status(&reference)).await?;
    let found = store::authorizations::find(&mut conn, &reference).await?;
    drop(conn);
    if let Some(reply) = reply::question_fault(fault, &api.shutdown).await {
        return reply;
    }
    Ok(tell((StatusCode::OK, found.ok_or(ApiError::NotFound)?)))
}

/// Returns a page of authorisations, oldest first.
pub(super) async fn list(
    State(api): State<Api>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(page) = page?;
    let limit = page.limit();
    let mut conn = api.pool.acquire().await?;
    let mut found = store::authorizations::list(&mut conn, page.after, limit + 1).await?;
    let next_after = reply::cut(&mut found, limit, |last| last.position);
    let data: Vec<_> = found.iter().map(AuthorizationForm::from).collect();
    Ok(Json(json!({"data": data, "next_after": next_after})).into_response())
}

//! `POST /v1/accounts` and `GET /v1/accounts/{reference}`.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::conduct::conduct;
use super::{Api, reply};
use crate::domain::{Account, Fault, FaultOperation, NewAccount, Opening};
use crate::error::ApiError;
use crate::store;
use crate::store::faults::Occasion;

/// The bank where the accounts are, and its code.
const BANK_NAME: &str = "Sandbox Bank";
const BANK_CODE: &str = "999001";

/// An account as it is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateForm {
    reference: String,
    currency: String,
    holder_name: String,
}

/// An account as it is told.
#[derive(Debug, Serialize)]
struct AccountForm<'a> {
    id: String,
    object: &'static str,
    reference: &'a str,
    currency: &'a str,
    status: &'static str,
    decline_code: Option<&'a str>,
    account_number: Option<&'a str>,
    account_name: &'a str,
    bank_name: &'static str,
    bank_code: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl<'a> From<&'a Account> for AccountForm<'a> {
    fn from(account: &'a Account) -> Self {
        let (status, account_number, decline_code) = match &account.opening {
            Opening::Open(number) => ("open", Some(number.as_str()), None),
            Opening::Declined(code) => ("declined", None, Some(code.as_str())),
        };
        Self {
            id: format!("ac_{}", account.id.simple()),
            object: "account",
            reference: &account.asked.reference,
            currency: &account.asked.currency,
            status,
            decline_code,
            account_number,
            account_name: &account.asked.holder_name,
            bank_name: BANK_NAME,
            bank_code: BANK_CODE,
            created_at: account.created_at,
        }
    }
}

/// Opens an account, once a reference, and answers it: 201 the first time, 200
/// for the same request again. A fault decides how it really goes.
pub(super) async fn create(
    State(api): State<Api>,
    body: Result<Json<CreateForm>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(form) = body?;
    let asked = NewAccount {
        reference: form.reference,
        currency: form.currency,
        holder_name: form.holder_name,
    };
    asked.validate()?;
    let fault = {
        let mut conn = api.pool.acquire().await?;
        let occasion = Occasion {
            operation: FaultOperation::Account,
            reference: &asked.reference,
            amount_minor: None,
            event: None,
        };
        store::faults::take(&mut conn, occasion).await?
    };
    let refusal = fault.as_ref().and_then(Fault::refusal);
    let recording = open(api.pool.clone(), asked, refusal);
    conduct(&api, fault, recording, |(status, account)| {
        (status, Json(AccountForm::from(&account))).into_response()
    })
    .await
}

/// Writes the account under the first of its numbers that is free. A reference
/// that is in the books already is answered as it is there.
async fn open(
    pool: PgPool,
    asked: NewAccount,
    refusal: Option<String>,
) -> Result<(StatusCode, Account), ApiError> {
    let mut conn = pool.acquire().await?;
    let at = store::clock::now(&mut conn).await?;
    let openings: Vec<Opening> = match refusal {
        Some(code) => vec![Opening::Declined(code)],
        None => asked.numbers().map(Opening::Open).collect(),
    };
    for opening in openings {
        let id = Uuid::now_v7();
        let made = store::accounts::insert(&mut conn, &asked, &opening, id, at).await?;
        if let Some(account) = made {
            return Ok((StatusCode::CREATED, account));
        }
        match store::accounts::find(&mut conn, &asked.reference).await? {
            Some(account) if account.asked == asked => return Ok((StatusCode::OK, account)),
            Some(_) => return Err(ApiError::ReferenceReused),
            None => {}
        }
    }
    Err(ApiError::NumbersTaken)
}

/// Returns the account of a reference, 404 when it was never received.
pub(super) async fn get(
    State(api): State<Api>,
    Path(reference): Path<String>,
) -> Result<Response, ApiError> {
    let mut conn = api.pool.acquire().await?;
    let fault = store::faults::take(&mut conn, Occasion::status(&reference)).await?;
    let account = store::accounts::find(&mut conn, &reference).await?;
    drop(conn);
    if let Some(reply) = reply::question_fault(fault, &api.shutdown).await {
        return reply;
    }
    let account = account.ok_or(ApiError::NotFound)?;
    Ok(Json(AccountForm::from(&account)).into_response())
}

//! `POST`, `GET` and `DELETE /v1/test/settlement_faults`: what is to be wrong
//! with settlement files.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bursar_money::Currency;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Api;
use super::settlements::day;
use crate::domain::Kind;
use crate::domain::settlement::{Discrepancy, DiscrepancyKind, Target};
use crate::error::ApiError;
use crate::store;

/// Bounds of what may be asked for.
const MAX_DAYS: i32 = 366;
const MAX_REFERENCE_LEN: usize = 64;
/// What a line that is added says when nothing else is asked for.
const EXTRA_MINOR: i64 = 1_000;
const EXTRA_CURRENCY: &str = "EUR";

/// A discrepancy as it is asked for and told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiscrepancyForm {
    #[serde(default, skip_deserializing)]
    id: i64,
    date: String,
    kind: String,
    /// The lines of this reference, of one type when it is given.
    reference: Option<String>,
    #[serde(rename = "type")]
    movement: Option<String>,
    /// The line with this number, from 1.
    line: Option<u64>,
    /// By how much an amount is wrong.
    delta_minor: Option<i64>,
    /// The amount of a line that is added.
    amount_minor: Option<i64>,
    currency: Option<String>,
    /// By how many days a time is wrong.
    days: Option<i32>,
}

impl DiscrepancyForm {
    fn discrepancy(self) -> Result<Discrepancy, ApiError> {
        let day = day(&self.date).ok_or(ApiError::FieldInvalid("date must be a day"))?;
        let kind = self.kind()?;
        let target = match (self.reference, self.line) {
            (None, None) if !kind.hits_line() => Target::File,
            (Some(reference), None) if kind.hits_line() => Target::Reference {
                reference,
                kind: self.movement,
            },
            (None, Some(line)) if kind.hits_line() && line > 0 => Target::Number(line),
            _ => {
                return Err(ApiError::FieldInvalid(
                    "exactly one of reference and line must be there, neither for extra_line and \
                     wrong_trailer",
                ));
            }
        };
        let fits = match &target {
            Target::File => true,
            Target::Number(number) => i64::try_from(*number).is_ok(),
            Target::Reference { reference, kind } => {
                (1..=MAX_REFERENCE_LEN).contains(&reference.len())
                    && !reference.contains('\0')
                    && kind
                        .as_deref()
                        .is_none_or(|kind| Kind::parse(kind).is_some())
            }
        };
        if !fits {
            return Err(ApiError::FieldInvalid(
                "reference, type or line is none that a line has",
            ));
        }
        Ok(Discrepancy {
            id: 0,
            day,
            target,
            kind,
        })
    }

    fn kind(&self) -> Result<DiscrepancyKind, ApiError> {
        let currency = |or: Option<&str>| {
            let code = self.currency.as_deref().or(or).unwrap_or_default();
            Currency::parse(code)
                .map(|currency| currency.code().to_owned())
                .map_err(|_| ApiError::FieldInvalid("currency must be an ISO 4217 code"))
        };
        match self.kind.as_str() {
            "drop_line" => Ok(DiscrepancyKind::DropLine),
            "duplicate_line" => Ok(DiscrepancyKind::DuplicateLine),
            "change_amount" => {
                let by = self.delta_minor.unwrap_or(1);
                if by == 0 {
                    return Err(ApiError::FieldInvalid("delta_minor must not be 0"));
                }
                Ok(DiscrepancyKind::ChangeAmount(by))
            }
            "change_currency" => Ok(DiscrepancyKind::ChangeCurrency(currency(None)?)),
            "unknown_reference" => Ok(DiscrepancyKind::UnknownReference),
            "wrong_date" => {
                let days = self.days.unwrap_or(1);
                if days == 0 || !(-MAX_DAYS..=MAX_DAYS).contains(&days) {
                    return Err(ApiError::FieldInvalid("days must be -366 to 366 and not 0"));
                }
                Ok(DiscrepancyKind::WrongDate(days))
            }
            "extra_line" => {
                let amount_minor = self.amount_minor.unwrap_or(EXTRA_MINOR);
                if amount_minor <= 0 {
                    return Err(ApiError::FieldInvalid("amount_minor must be positive"));
                }
                Ok(DiscrepancyKind::ExtraLine {
                    amount_minor,
                    currency: currency(Some(EXTRA_CURRENCY))?,
                })
            }
            "wrong_trailer" => Ok(DiscrepancyKind::WrongTrailer),
            _ => Err(ApiError::FieldInvalid(
                "kind must be drop_line, duplicate_line, change_amount, change_currency, \
                 unknown_reference, wrong_date, extra_line or wrong_trailer",
            )),
        }
    }
}

impl From<Discrepancy> for DiscrepancyForm {
    fn from(planted: Discrepancy) -> Self {
        let mut form = Self {
            id: planted.id,
            date: planted.day.to_string(),
            kind: planted.kind.name().to_owned(),
            reference: None,
            movement: None,
            line: None,
            delta_minor: None,
            amount_minor: None,
            currency: None,
            days: None,
        };
        match planted.target {
            Target::File => {}
            Target::Number(line) => form.line = Some(line),
            Target::Reference { reference, kind } => {
                form.reference = Some(reference);
                form.movement = kind;
            }
        }
        match planted.kind {
            DiscrepancyKind::DropLine
            | DiscrepancyKind::DuplicateLine
            | DiscrepancyKind::UnknownReference
            | DiscrepancyKind::WrongTrailer => {}
            DiscrepancyKind::ChangeAmount(by) => form.delta_minor = Some(by),
            DiscrepancyKind::ChangeCurrency(currency) => form.currency = Some(currency),
            DiscrepancyKind::WrongDate(days) => form.days = Some(days),
            DiscrepancyKind::ExtraLine {
                amount_minor,
                currency,
            } => {
                form.amount_minor = Some(amount_minor);
                form.currency = Some(currency);
            }
        }
        form
    }
}

/// Plants a discrepancy.
pub(super) async fn create(
    State(api): State<Api>,
    body: Result<Json<DiscrepancyForm>, JsonRejection>,
) -> Result<Response, ApiError> {
    let mut planted = body?.0.discrepancy()?;
    let mut conn = api.pool.acquire().await?;
    planted.id = store::discrepancies::insert(&mut conn, &planted)
        .await?
        .ok_or(ApiError::TooManyDiscrepancies)?;
    Ok((StatusCode::CREATED, Json(DiscrepancyForm::from(planted))).into_response())
}

/// Lists what is planted, by day.
pub(super) async fn list(State(api): State<Api>) -> Result<Response, ApiError> {
    let mut conn = api.pool.acquire().await?;
    let planted = store::discrepancies::list(&mut conn).await?;
    let data: Vec<_> = planted.into_iter().map(DiscrepancyForm::from).collect();
    Ok(Json(json!({"data": data})).into_response())
}

/// Takes one discrepancy back.
pub(super) async fn remove(
    State(api): State<Api>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::NotFound)?;
    let mut conn = api.pool.acquire().await?;
    if store::discrepancies::remove(&mut conn, id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::NotFound)
    }
}

/// Takes all discrepancies back.
pub(super) async fn clear(State(api): State<Api>) -> Result<StatusCode, ApiError> {
    let mut conn = api.pool.acquire().await?;
    store::discrepancies::clear(&mut conn).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! `GET /v1/settlements`, `GET /v1/settlements/{date}.csv` and
//! `GET /v1/balances`: what was settled.
//!
//! A file is written while it is sent, from pages of the books: its size does
//! not matter, and a customer that reads slowly holds no connection to the
//! database. The file of a day that is over and has nothing pending is final.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime, Time};

use super::{Api, read, reply};
use crate::domain::settlement::{File, Line};
use crate::domain::{FaultKind, FaultOperation, Kind, Movement, SourceKind, Status};
use crate::error::ApiError;
use crate::store;
use crate::store::faults::Occasion;
use crate::store::movements::{Period, Place};

/// How a day is written.
pub(super) const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
/// How many lines are written at once.
const LINES: i64 = 500;
/// How long after a day something of it may still be written.
const GRACE: Duration = Duration::MINUTE;
/// Tells whether a file is final.
const FINAL: &str = "sandbox-settlement-final";

/// Which page of the list of days to return.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Days {
    limit: Option<i64>,
    /// The `next_after` of the page before.
    after: Option<String>,
}

/// Which file of a day to send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    product: Option<String>,
}

/// What a file is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Product {
    /// Captures, and the refunds of captures.
    Cards,
    /// Charges, payouts, and the refunds of charges.
    Accounts,
}

impl Product {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "cards" => Some(Self::Cards),
            "accounts" => Some(Self::Accounts),
            _ => None,
        }
    }

    fn of(movement: &Movement) -> Self {
        let source = movement.source.as_ref().map(|source| source.kind);
        match (movement.kind, source) {
            (Kind::Capture, _) | (Kind::Refund, Some(SourceKind::Capture)) => Self::Cards,
            (Kind::Charge | Kind::Payout | Kind::Refund, _) => Self::Accounts,
        }
    }
}

/// A day as it is told.
#[derive(Debug, Serialize)]
struct DayForm {
    date: String,
    lines: i64,
    #[serde(rename = "final")]
    is_final: bool,
    path: String,
}

/// What the provider owes the customer in a currency.
#[derive(Debug, Default, Serialize)]
struct BalanceForm {
    currency: String,
    charged_minor: i128,
    captured_minor: i128,
    refunded_minor: i128,
    paid_out_minor: i128,
    fees_minor: i128,
    balance_minor: i128,
}

/// Reads a day.
pub(super) fn day(text: &str) -> Option<Date> {
    Date::parse(text, DAY).ok()
}

/// The first moment of a day and of the next one.
fn period(day: Date) -> Option<Period> {
    let next = day.next_day()?;
    let start = |day: Date| day.with_time(Time::MIDNIGHT).assume_utc();
    Some(Period {
        from: start(day),
        to: start(next),
    })
}

/// Whether nothing will be added to a period any more.
fn is_final(period: Period, now: OffsetDateTime, awaited: Option<OffsetDateTime>) -> bool {
    period.to + GRACE <= now && awaited.is_none_or(|awaited| awaited >= period.to)
}

fn occasion(reference: &str) -> Occasion<'_> {
    Occasion {
        operation: FaultOperation::List,
        reference,
        amount_minor: None,
        event: None,
    }
}

/// Lists the days with something to settle, in order.
pub(super) async fn list(
    State(api): State<Api>,
    days: Result<Query<Days>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(wanted) = days?;
    let after = match &wanted.after {
        None => OffsetDateTime::UNIX_EPOCH.date(),
        Some(text) => day(text).ok_or(ApiError::FieldInvalid("after must be a day"))?,
    };
    let limit = read::limit(wanted.limit);
    let mut conn = api.pool.acquire().await?;
    let fault = store::faults::take(&mut conn, occasion("")).await?;
    let mut found = store::settlements::days(&mut conn, after, limit + 1).await?;
    let now = store::clock::now(&mut conn).await?;
    let awaited = store::settlements::first_awaited(&mut conn).await?;
    drop(conn);
    if let Some(reply) = reply::question_fault(fault, &api.shutdown).await {
        return reply;
    }
    let next_after = reply::cut(&mut found, limit, |last| last.date.to_string());
    let data: Vec<_> = found
        .iter()
        .map(|day| DayForm {
            date: day.date.to_string(),
            lines: day.lines,
            is_final: period(day.date).is_some_and(|period| is_final(period, now, awaited)),
            path: format!("/v1/settlements/{}.csv", day.date),
        })
        .collect();
    Ok(Json(json!({"data": data, "next_after": next_after})).into_response())
}

/// Sends the file of a day. The file of the present day has what was done so far.
pub(super) async fn file(
    State(api): State<Api>,
    Path(name): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(which) = which?;
    let product = match &which.product {
        None => None,
        Some(name) => Some(
            Product::parse(name)
                .ok_or(ApiError::FieldInvalid("product must be cards or accounts"))?,
        ),
    };
    let wanted = name.strip_suffix(".csv").ok_or(ApiError::NoRoute)?;
    let day = day(wanted).ok_or(ApiError::NoRoute)?;
    let period = period(day).ok_or(ApiError::NoRoute)?;
    let mut conn = api.pool.acquire().await?;
    let fault = store::faults::take(&mut conn, occasion(wanted)).await?;
    let now = store::clock::now(&mut conn).await?;
    if now < period.from {
        return Err(ApiError::DayNotBegun);
    }
    let is_final = is_final(
        period,
        now,
        store::settlements::first_awaited(&mut conn).await?,
    );
    let file = new_file(&mut conn, day).await?;
    drop(conn);
    let is_lost = fault
        .as_ref()
        .is_some_and(|fault| fault.kind == FaultKind::LostResponse);
    if let Some(reply) = reply::question_fault(fault, &api.shutdown).await {
        return reply;
    }
    let chunks = written(api.pool.clone(), file, (period, product));
    let body = if is_lost {
        // The end line never comes. What is written before the connection ends is
        // sent as soon as the body has to be waited for.
        let broken = stream::once(async {
            tokio::task::yield_now().await;
            Err(reply::hung_up())
        });
        Body::from_stream(chunks.take(1).chain(broken))
    } else {
        Body::from_stream(chunks)
    };
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"settlement-{day}.csv\""),
        ),
        (header::HeaderName::from_static(FINAL), is_final.to_string()),
    ];
    Ok((headers, body).into_response())
}

async fn new_file(conn: &mut PgConnection, day: Date) -> Result<File, sqlx::Error> {
    let planted = store::discrepancies::of_day(conn, day).await?;
    Ok(File::new(day, planted.into_iter().collect()))
}

/// Where the writing of a file is.
enum Writing {
    /// Before the header.
    Start(File),
    /// Behind a line.
    Lines(File, Place),
    /// Before the trailers.
    End(File),
    /// Behind the end line.
    Done,
}

/// The file, a page of lines at a time. A database that fails ends it early, and
/// the customer sees that.
fn written(
    pool: PgPool,
    file: File,
    of: (Period, Option<Product>),
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send {
    stream::try_unfold(Writing::Start(file), move |writing| {
        let pool = pool.clone();
        async move {
            let (out, next) = match writing {
                Writing::Start(file) => page(&pool, file, of, None).await?,
                Writing::Lines(file, place) => page(&pool, file, of, Some(place)).await?,
                Writing::End(mut file) => {
                    let mut out = String::new();
                    file.finish(&mut out);
                    (out, Writing::Done)
                }
                Writing::Done => return Ok(None),
            };
            Ok(Some((Bytes::from(out), next)))
        }
    })
}

async fn page(
    pool: &PgPool,
    mut file: File,
    (period, product): (Period, Option<Product>),
    after: Option<Place>,
) -> Result<(String, Writing), std::io::Error> {
    let found = movements(pool, period, after).await.map_err(|error| {
        tracing::error!(%error, "a settlement file breaks off");
        std::io::Error::other(error)
    })?;
    let mut out = String::new();
    if after.is_none() {
        out.push_str(File::header());
    }
    let is_of = |movement: &&Movement| product.is_none_or(|it| it == Product::of(movement));
    for movement in found.iter().filter(is_of) {
        file.write(Line::from(movement), &mut out);
    }
    let is_last = i64::try_from(found.len()).is_ok_and(|count| count < LINES);
    match found.last().and_then(Place::of).filter(|_| !is_last) {
        Some(place) => Ok((out, Writing::Lines(file, place))),
        None => Ok((out, Writing::End(file))),
    }
}

async fn movements(
    pool: &PgPool,
    period: Period,
    after: Option<Place>,
) -> Result<Vec<Movement>, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let wanted = (Some(Status::Succeeded), None);
    store::movements::page(&mut conn, period, wanted, after, LINES).await
}

/// Tells what the provider owes the customer, by currency: what came in less what
/// went out and the fees.
pub(super) async fn balances(State(api): State<Api>) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct Balances {
        data: Vec<BalanceForm>,
    }
    let mut conn = api.pool.acquire().await?;
    let totals = store::settlements::totals(&mut conn).await?;
    let mut data: Vec<BalanceForm> = Vec::new();
    for total in totals {
        if data
            .last()
            .is_none_or(|last| last.currency != total.currency)
        {
            data.push(BalanceForm {
                currency: total.currency.clone(),
                ..BalanceForm::default()
            });
        }
        let Some(form) = data.last_mut() else {
            continue;
        };
        form.fees_minor += total.fee_minor;
        let (sum, sign) = match total.kind {
            Kind::Charge => (&mut form.charged_minor, 1),
            Kind::Capture => (&mut form.captured_minor, 1),
            Kind::Refund => (&mut form.refunded_minor, -1),
            Kind::Payout => (&mut form.paid_out_minor, -1),
        };
        *sum += total.amount_minor;
        form.balance_minor += sign * total.amount_minor - total.fee_minor;
    }
    Ok(Json(Balances { data }).into_response())
}

//! `ListReviews`.

use std::time::Duration;

use bursar_aip::id::TransactionId;
use bursar_aip::page;
use bursar_contracts::transaction::v1::{ListReviewsRequest, ListReviewsResponse, Review};
use bursar_server::{Context, now};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use crate::advance::Engine;
use crate::contract;
use crate::error::Error;
use crate::store::lists::{self, ReviewPage};
use crate::store::transactions::Stored;

/// The name of the list in page tokens.
const LIST: &str = "reviews";
/// From what age on an unknown outcome is listed when the request does not say:
/// longer than providers take when they are well.
const MIN_UNKNOWN: Duration = Duration::from_secs(600);

/// Where a page ends.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    #[serde(with = "time::serde::rfc3339")]
    since: OffsetDateTime,
    id: TransactionId,
}

pub(super) async fn handle(
    engine: &Engine,
    request: Request<ListReviewsRequest>,
) -> Result<Response<ListReviewsResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let min_unknown = match u64::try_from(message.min_unknown_seconds) {
        Ok(0) | Err(_) => MIN_UNKNOWN,
        Ok(seconds) => Duration::from_secs(seconds),
    };
    let age = min_unknown.as_secs().to_string();
    let filter = [age.as_str()];
    let cursor: Option<Cursor> = page::decode(LIST, &filter, &message.page_token)?;
    let size = page::size(message.page_size);
    let page = ReviewPage {
        after: cursor.map(|cursor| (cursor.since, cursor.id)),
        min_unknown,
        // One more than asked for tells whether there is a next page.
        limit: size + 1,
    };
    let mut conn = engine.pool.acquire().await.map_err(Error::from)?;
    let mut stored = lists::in_review(&mut conn, &context.caller.tenant, page)
        .await
        .map_err(Error::from)?;
    let next_page_token = page::cut(&mut stored, size)
        .map(|last| {
            let (since, id) = (waits_since(last), last.transaction.id);
            page::encode(LIST, &filter, &Cursor { since, id })
        })
        .unwrap_or_default();
    let at = now();
    Ok(Response::new(ListReviewsResponse {
        reviews: stored
            .iter()
            .map(|stored| review(engine, stored, at))
            .collect(),
        next_page_token,
    }))
}

/// Since when it waits, by which the list is ordered.
fn waits_since(stored: &Stored) -> OffsetDateTime {
    let transaction = &stored.transaction;
    transaction.unknown_since.unwrap_or(transaction.updated_at)
}

fn review(engine: &Engine, stored: &Stored, now: OffsetDateTime) -> Review {
    let transaction = &stored.transaction;
    let terms = engine.terms(transaction);
    let stopped_in = transaction.stopped().unwrap_or(transaction.state);
    let since = waits_since(stored);
    let cause = transaction
        .review_cause
        .as_deref()
        .unwrap_or("the provider's answer is not known");
    Review {
        transaction: Some(contract::transaction(stored)),
        cause: cause.to_owned(),
        stopped_in: contract::transaction_state(stopped_in).into(),
        waiting_since: Some(contract::timestamp(since)),
        age_seconds: (now - since).whole_seconds().max(0),
        allowed: transaction
            .allowed_resolutions(&terms, now)
            .into_iter()
            .map(|resolution| contract::review_resolution(resolution).into())
            .collect(),
    }
}

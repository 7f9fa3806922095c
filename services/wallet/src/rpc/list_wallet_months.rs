//! ListWalletMonths: the months on which a wallet has entries, with their sums.

use bursar_aip::page;
use bursar_contracts::wallet::v1::{ListWalletMonthsRequest, ListWalletMonthsResponse};
use bursar_server::Context;
use serde::{Deserialize, Serialize};
use time::Date;
use tonic::{Request, Response, Status};

use super::history_service::Histories;
use crate::contract::history as contract;
use crate::error::Error;
use crate::store::wallet_days;

/// The list's name in its page tokens.
const LIST: &str = "wallet-months";

/// Where a page ended.
#[derive(Serialize, Deserialize)]
struct Cursor {
    /// The Julian day of the last month's start.
    before: i32,
}

pub(super) async fn handle(
    service: &Histories,
    request: Request<ListWalletMonthsRequest>,
) -> Result<Response<ListWalletMonthsResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let (from, to) = contract::months(&request.from_month, &request.to_month)?;
    let filter = [
        request.wallet_id.as_str(),
        &request.from_month,
        &request.to_month,
    ];
    let cursor: Option<Cursor> =
        page::decode(LIST, &filter, &request.page_token).map_err(Error::from)?;
    let to = match cursor {
        Some(cursor) => Date::from_julian_day(cursor.before)
            .ok()
            .and_then(Date::previous_day)
            .filter(|last| *last < to)
            .ok_or(Error::PageToken(page::PageTokenInvalid))?,
        None => to,
    };
    let wallet = service.wallet(&context, &request.wallet_id).await?;
    let size = page::size(request.page_size);
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    // Read first: what is projected meanwhile may be in the sums, too, but nothing
    // up to this version is missing.
    let through_version = wallet_days::projected_version(&mut connection, wallet.id)
        .await
        .map_err(Error::from)?;
    // One more than the page, to know whether another page follows.
    let mut found = wallet_days::months(&mut connection, wallet.id, from, to, size + 1)
        .await
        .map_err(Error::from)?;
    let next_page_token = page::cut(&mut found, size)
        .map(|last| {
            let before = last.start.to_julian_day();
            page::encode(LIST, &filter, &Cursor { before })
        })
        .unwrap_or_default();
    let months = found.iter();
    Ok(Response::new(ListWalletMonthsResponse {
        months: months
            .map(|sums| contract::wallet_month(sums, wallet.currency))
            .collect(),
        through_version,
        next_page_token,
    }))
}

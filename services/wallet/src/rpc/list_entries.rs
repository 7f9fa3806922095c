//! ListEntries: a wallet's ledger, newest first.

use bursar_aip::id::{WalletId, parse_field};
use bursar_aip::page;
use bursar_contracts::wallet::v1::{ListEntriesRequest, ListEntriesResponse};
use bursar_server::Context;
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};

use super::{Wallets, required_owner};
use crate::contract::wallet;
use crate::error::Error;
use crate::store::{entries, wallets};

/// The list's name in its page tokens.
const LIST: &str = "wallet-entries";

/// Where a page ended.
#[derive(Serialize, Deserialize)]
struct Cursor {
    version: i64,
}

pub(super) async fn handle(
    service: &Wallets,
    request: Request<ListEntriesRequest>,
) -> Result<Response<ListEntriesResponse>, Status> {
    let context = Context::of(&request)?;
    let owner = required_owner(context.reach()?);
    let request = request.into_inner();
    let id: WalletId = parse_field("wallet_id", &request.wallet_id)?;
    let filter = [request.wallet_id.as_str()];
    let size = page::size(request.page_size);
    let cursor: Option<Cursor> =
        page::decode(LIST, &filter, &request.page_token).map_err(Error::from)?;
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    // A wallet's owner never changes, so looking first and listing then is safe.
    wallets::find(&mut connection, &context.caller.tenant, id, owner)
        .await
        .map_err(Error::from)?
        .ok_or(Error::WalletNotFound)?;
    let before = cursor.map(|cursor| cursor.version);
    // One more than the page, to know whether another page follows.
    let mut found = entries::list(&mut connection, id, before, size + 1)
        .await
        .map_err(Error::from)?;
    let has_next = found.len() > usize::try_from(size).unwrap_or(usize::MAX);
    if has_next {
        found.pop();
    }
    let next_page_token = match found.last() {
        Some(last) if has_next => {
            let cursor = Cursor {
                version: last.version,
            };
            page::encode(LIST, &filter, &cursor)
        }
        Some(_) | None => String::new(),
    };
    Ok(Response::new(ListEntriesResponse {
        entries: found.iter().map(wallet::entry).collect(),
        next_page_token,
    }))
}

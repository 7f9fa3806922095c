//! `ListTransactions`.

use bursar_aip::id::{TransactionId, UserId, WalletId};
use bursar_aip::page;
use bursar_auth::Reach;
use bursar_contracts::transaction::v1::{ListTransactionsRequest, ListTransactionsResponse};
use bursar_server::Context;
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};

use super::wallet_id;
use super::wallet_look::{look, shortly_before};
use crate::advance::Engine;
use crate::contract;
use crate::error::Error;
use crate::store::lists;

/// The name of the list in page tokens.
const LIST: &str = "transactions";

/// Where a page ends.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    before: TransactionId,
}

pub(super) async fn handle(
    engine: &Engine,
    request: Request<ListTransactionsRequest>,
) -> Result<Response<ListTransactionsResponse>, Status> {
    let context = Context::of(&request)?;
    let reach = context.reach()?;
    let message = request.into_inner();
    let whose = reach_text(reach);
    let filter = [whose.as_str(), message.wallet_id.as_str()];
    let cursor: Option<Cursor> = page::decode(LIST, &filter, &message.page_token)?;
    let size = page::size(message.page_size);
    let page = lists::Page {
        before: cursor.map(|cursor| cursor.before),
        // One more than asked for tells whether there is a next page.
        limit: size + 1,
    };

    let wallet = match message.wallet_id.as_str() {
        "" => None,
        text => Some(wallet_id(text, "wallet_id")?),
    };
    let tenant = &context.caller.tenant;
    let owner = match (wallet, reach) {
        (Some(wallet), _) => Some(owner_of(engine, &context, wallet, reach).await?),
        (None, Reach::Own(user)) => Some(user),
        (None, Reach::Any) => None,
    };
    let mut conn = engine.pool.acquire().await.map_err(Error::from)?;
    let listed = match owner {
        Some(user) => lists::of_user(&mut conn, tenant, user, wallet, page).await,
        None => lists::of_all(&mut conn, tenant, page).await,
    };
    let mut stored = listed.map_err(Error::from)?;
    let next_page_token = page::cut(&mut stored, size)
        .map(|last| {
            let before = last.transaction.id;
            page::encode(LIST, &filter, &Cursor { before })
        })
        .unwrap_or_default();
    Ok(Response::new(ListTransactionsResponse {
        transactions: stored.iter().map(contract::transaction).collect(),
        next_page_token,
    }))
}

/// A page token is good for the list that it came from: also not for the same
/// list of another user.
fn reach_text(reach: Reach) -> String {
    match reach {
        Reach::Any => "any".to_owned(),
        Reach::Own(user) => user.to_string(),
    }
}

/// The owner of a wallet that the caller may see.
async fn owner_of(
    engine: &Engine,
    context: &Context,
    wallet: WalletId,
    reach: Reach,
) -> Result<UserId, Error> {
    let found = look(&engine.ledger, wallet, shortly_before(context.deadline)).await?;
    found
        .and_then(|wallet| wallet.owner)
        .filter(|owner| match reach {
            Reach::Any => true,
            Reach::Own(user) => *owner == user,
        })
        .ok_or(Error::WalletNotFound)
}

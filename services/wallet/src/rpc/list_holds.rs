//! ListHolds: a wallet's holds, newest first.

use bursar_aip::id::{WalletId, parse_field};
use bursar_aip::page;
use bursar_contracts::wallet::v1::{ListHoldsRequest, ListHoldsResponse};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use super::{Holds, required_owner};
use crate::contract::hold;
use crate::error::Error;
use crate::store::holds::{self, Place, Selection};
use crate::store::wallets;

/// The list's name in its page tokens.
const LIST: &str = "wallet-holds";

pub(super) async fn handle(
    service: &Holds,
    request: Request<ListHoldsRequest>,
) -> Result<Response<ListHoldsResponse>, Status> {
    let context = Context::of(&request)?;
    let owner = required_owner(context.reach()?);
    let request = request.into_inner();
    let wallet: WalletId = parse_field("wallet_id", &request.wallet_id)?;
    let filter = [request.wallet_id.as_str(), request.status().as_str_name()];
    let size = page::size(request.page_size);
    let after: Option<Place> =
        page::decode(LIST, &filter, &request.page_token).map_err(Error::from)?;
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    // A wallet's owner never changes, so looking first and listing then is safe.
    wallets::find(&mut connection, &context.caller.tenant, wallet, owner)
        .await
        .map_err(Error::from)?
        .ok_or(Error::WalletNotFound)?;
    let selection = Selection {
        wallet,
        status: hold::wanted_status(request.status()),
        after,
    };
    // One more than the page, to know whether another page follows.
    let mut found = holds::list(&mut connection, selection, size + 1)
        .await
        .map_err(Error::from)?;
    let next_page_token = page::cut(&mut found, size)
        .map(|last| page::encode(LIST, &filter, &Place::of(&last.hold)))
        .unwrap_or_default();
    Ok(Response::new(ListHoldsResponse {
        holds: found.iter().map(hold::hold).collect(),
        next_page_token,
    }))
}

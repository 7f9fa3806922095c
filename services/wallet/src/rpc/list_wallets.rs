//! ListWallets: the calling user's wallets, oldest first. An operator's list
//! has the operator's own wallets too: whose wallets a list has does not change
//! with what its caller may read besides.

use bursar_aip::page;
use bursar_contracts::wallet::v1::{ListWalletsRequest, ListWalletsResponse};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use super::Wallets;
use crate::contract::wallet;
use crate::error::Error;
use crate::store::wallets::{self, Place};

/// The list's name in its page tokens.
const LIST: &str = "wallets";

pub(super) async fn handle(
    service: &Wallets,
    request: Request<ListWalletsRequest>,
) -> Result<Response<ListWalletsResponse>, Status> {
    let context = Context::of(&request)?;
    let owner = context.user_id()?;
    let owner_text = owner.to_string();
    let filter = [owner_text.as_str()];
    let request = request.into_inner();
    let size = page::size(request.page_size);
    let after: Option<Place> =
        page::decode(LIST, &filter, &request.page_token).map_err(Error::from)?;
    let mut connection = service.reads.acquire().await.map_err(Error::from)?;
    let tenant = &context.caller.tenant;
    // One more than the page, to know whether another page follows.
    let mut found = wallets::list(&mut connection, tenant, owner, after, size + 1)
        .await
        .map_err(Error::from)?;
    let next_page_token = page::cut(&mut found, size)
        .map(|last| page::encode(LIST, &filter, &Place::of(last)))
        .unwrap_or_default();
    Ok(Response::new(ListWalletsResponse {
        wallets: found.iter().map(wallet::wallet).collect(),
        next_page_token,
    }))
}

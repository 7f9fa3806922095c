//! GetWallet: a wallet that the caller may see.

use bursar_aip::id::parse_field;
use bursar_contracts::wallet::v1::{GetWalletRequest, GetWalletResponse};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use super::{Wallets, required_owner};
use crate::contract::wallet;
use crate::error::Error;
use crate::store::wallets;

pub(super) async fn handle(
    service: &Wallets,
    request: Request<GetWalletRequest>,
) -> Result<Response<GetWalletResponse>, Status> {
    let context = Context::of(&request)?;
    let id = parse_field("wallet_id", &request.get_ref().wallet_id)?;
    let owner = required_owner(context.reach()?);
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    let found = wallets::find(&mut connection, &context.caller.tenant, id, owner)
        .await
        .map_err(Error::from)?
        .ok_or(Error::WalletNotFound)?;
    Ok(Response::new(GetWalletResponse {
        wallet: Some(wallet::wallet(&found)),
    }))
}

//! GetWallet: a wallet that the caller may see, from the cache.

use bursar_aip::id::parse_field;
use bursar_contracts::wallet::v1::{GetWalletRequest, GetWalletResponse};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use super::{Wallets, required_owner};

pub(super) async fn handle(
    service: &Wallets,
    request: Request<GetWalletRequest>,
) -> Result<Response<GetWalletResponse>, Status> {
    let context = Context::of(&request)?;
    let id = parse_field("wallet_id", &request.get_ref().wallet_id)?;
    let owner = required_owner(context.reach()?);
    let found = service
        .cache
        .get(
            &context.caller.tenant,
            id,
            owner,
            request.get_ref().min_version,
        )
        .await?;
    Ok(Response::new(GetWalletResponse {
        wallet: Some(found),
    }))
}

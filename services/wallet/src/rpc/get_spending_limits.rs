//! GetSpendingLimits: what a wallet may spend, and what it has spent.

use bursar_aip::id::{WalletId, parse_field};
use bursar_contracts::wallet::v1::{GetSpendingLimitsRequest, GetSpendingLimitsResponse};
use bursar_server::{Context, now};
use tonic::{Request, Response, Status};

use super::{Wallets, required_owner};
use crate::contract::limit;
use crate::error::Error;
use crate::store::{ledger, wallets};

pub(super) async fn handle(
    service: &Wallets,
    request: Request<GetSpendingLimitsRequest>,
) -> Result<Response<GetSpendingLimitsResponse>, Status> {
    let context = Context::of(&request)?;
    let id: WalletId = parse_field("wallet_id", &request.get_ref().wallet_id)?;
    let owner = required_owner(context.reach()?);
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    let found = wallets::find(&mut connection, &context.caller.tenant, id, owner)
        .await
        .map_err(Error::from)?
        .ok_or(Error::WalletNotFound)?;
    let mut allowances = ledger::allowances(&mut connection, &[id.uuid()])
        .await
        .map_err(Error::from)?;
    let limits = limit::spending_limits(&found, allowances.pop(), now());
    Ok(Response::new(GetSpendingLimitsResponse {
        limits: Some(limits),
    }))
}

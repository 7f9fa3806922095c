//! BatchGetWallets: wallets by id, whoever owns them.

use std::collections::HashMap;

use bursar_aip::id::{WalletId, parse_field};
use bursar_contracts::wallet::v1::{BatchGetWalletsRequest, BatchGetWalletsResponse};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use super::Postings;
use crate::contract::wallet;
use crate::domain::wallet::Wallet;
use crate::error::Error;
use crate::store::wallets;

pub(super) async fn handle(
    service: &Postings,
    request: Request<BatchGetWalletsRequest>,
) -> Result<Response<BatchGetWalletsResponse>, Status> {
    let context = Context::of(&request)?;
    let texts = request.get_ref().wallet_ids.iter().enumerate();
    let ids: Vec<WalletId> = texts
        .map(|(index, text)| parse_field(&format!("wallet_ids[{index}]"), text))
        .collect::<Result<_, _>>()?;
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    let found = wallets::find_many(&mut connection, &context.caller.tenant, &ids)
        .await
        .map_err(Error::from)?;
    let by_id: HashMap<WalletId, &Wallet> =
        found.iter().map(|wallet| (wallet.id, wallet)).collect();
    let in_order = ids.iter().filter_map(|id| by_id.get(id).copied());
    Ok(Response::new(BatchGetWalletsResponse {
        wallets: in_order.map(wallet::wallet).collect(),
    }))
}

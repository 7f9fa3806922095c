//! FreezeWallet: lets no more money go from a user's wallet.

use bursar_contracts::wallet::v1::{FreezeWalletRequest, FreezeWalletResponse};
use bursar_server::{Context, detached};
use tonic::{Request, Response, Status};

use super::Wallets;
use super::life::Target;
use super::once::{Call, once};
use crate::contract::event::life;
use crate::contract::wallet;
use crate::domain::life::freeze;

pub(super) async fn handle(
    service: &Wallets,
    request: Request<FreezeWalletRequest>,
) -> Result<Response<FreezeWalletResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let target = Target::of(&context, &request.wallet_id)?;
    let call = Call::of(&context, &request);
    let (pool, cache) = (service.pool.clone(), service.cache.clone());
    detached(async move {
        let answer = once(&pool, &call, async |conn, _| {
            let event = |after: &_, occasion| life::frozen(after, &request.reason, occasion);
            let after = target.change(conn, freeze, event).await?;
            Ok(FreezeWalletResponse {
                wallet: Some(wallet::wallet(&after)),
            })
        })
        .await;
        cache.refresh(&target.tenant, target.id).await;
        answer
    })
    .await
}

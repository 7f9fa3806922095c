//! UnfreezeWallet: lets money go again.

use bursar_contracts::wallet::v1::{UnfreezeWalletRequest, UnfreezeWalletResponse};
use bursar_server::{Context, detached};
use tonic::{Request, Response, Status};

use super::Wallets;
use super::life::Target;
use super::once::{Call, once};
use crate::contract::event::life;
use crate::contract::wallet;
use crate::domain::life::unfreeze;

pub(super) async fn handle(
    service: &Wallets,
    request: Request<UnfreezeWalletRequest>,
) -> Result<Response<UnfreezeWalletResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let target = Target::of(&context, &request.wallet_id)?;
    let call = Call::of(&context, &request);
    let (pool, cache) = (service.pool.clone(), service.cache.clone());
    detached(async move {
        let answer = once(&pool, &call, async |conn, _| {
            let event = |after: &_, occasion| life::unfrozen(after, &request.reason, occasion);
            let after = target.change(conn, unfreeze, event).await?;
            Ok(UnfreezeWalletResponse {
                wallet: Some(wallet::wallet(&after)),
            })
        })
        .await;
        cache.refresh(&target.tenant, target.id).await;
        answer
    })
    .await
}

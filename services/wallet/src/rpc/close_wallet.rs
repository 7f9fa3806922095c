//! CloseWallet: ends an empty wallet. A credit that comes at the same time decides by
//! the wallet's row lock: whichever is first, the other is refused.

use bursar_contracts::wallet::v1::{CloseWalletRequest, CloseWalletResponse};
use bursar_server::{Context, detached};
use tonic::{Request, Response, Status};

use super::Wallets;
use super::life::Target;
use super::once::{Call, once};
use crate::contract::event::life;
use crate::contract::wallet;
use crate::domain::life::close;

pub(super) async fn handle(
    service: &Wallets,
    request: Request<CloseWalletRequest>,
) -> Result<Response<CloseWalletResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let target = Target::of(&context, &request.wallet_id)?;
    let call = Call::of(&context, &request);
    let (pool, cache) = (service.pool.clone(), service.cache.clone());
    detached(async move {
        let answer = once(&pool, &call, async |conn, _| {
            let event = life::closed;
            let after = target.change(conn, close, event).await?;
            Ok(CloseWalletResponse {
                wallet: Some(wallet::wallet(&after)),
            })
        })
        .await;
        cache.refresh(&target.tenant, target.id).await;
        answer
    })
    .await
}

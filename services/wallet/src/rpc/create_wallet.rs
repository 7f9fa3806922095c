//! CreateWallet: opens a wallet for the calling user.

use bursar_aip::idempotency;
use bursar_contracts::wallet::v1::{CreateWalletRequest, CreateWalletResponse};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use super::Wallets;
use crate::contract::posting;
use crate::jobs::creation::{Keyed, Opening};

pub(super) async fn handle(
    service: &Wallets,
    request: Request<CreateWalletRequest>,
) -> Result<Response<CreateWalletResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let opening = Opening {
        tenant: context.caller.tenant.clone(),
        owner: context.user_id()?,
        currency: posting::currency(&request.currency_code, "currency_code".to_owned())?,
        actor: context.caller.actor(),
        keyed: context.idempotency_key.map(|key| Keyed {
            key,
            principal: context.caller.principal(),
            method: context.method,
            fingerprint: idempotency::fingerprint(&request),
        }),
    };
    service.openings.open(opening).await
}

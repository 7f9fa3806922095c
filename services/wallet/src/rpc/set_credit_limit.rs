//! SetCreditLimit: how far below zero a user's wallet may go.

use bursar_contracts::wallet::v1::{SetCreditLimitRequest, SetCreditLimitResponse};
use bursar_events::append_locked;
use bursar_server::{Context, detached};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::Wallets;
use super::life::Target;
use super::once::{Call, once};
use crate::contract::{event, wallet};
use crate::domain::life::set_credit_limit;
use crate::domain::limit::Limits;
use crate::domain::wallet::Wallet;
use crate::error::Error;
use crate::store::{ledger, life};

pub(super) async fn handle(
    service: &Wallets,
    request: Request<SetCreditLimitRequest>,
) -> Result<Response<SetCreditLimitResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let target = Target::of(&context, &request.wallet_id)?;
    let call = Call::of(&context, &request);
    let (pool, cache) = (service.pool.clone(), service.cache.clone());
    detached(async move {
        let answer = once(&pool, &call, async |conn, _| {
            let after = set(conn, &target, request.credit_limit_minor).await?;
            Ok(SetCreditLimitResponse {
                wallet: Some(wallet::wallet(&after)),
            })
        })
        .await;
        cache.refresh(&target.tenant, target.id).await;
        answer
    })
    .await
}

/// Sets the limit; the event tells of the spending limits too.
async fn set(conn: &mut PgConnection, target: &Target, limit: i64) -> Result<Wallet, Error> {
    let before = target.lock(conn).await?;
    let changed = set_credit_limit(&before, limit);
    let changed = changed.map_err(|refusal| target.refused(refusal, &before))?;
    let Some(after) = changed else {
        return Ok(before);
    };
    let allowance = ledger::allowances(conn, &[target.id.uuid()]).await?.pop();
    let limits = allowance.map_or(Limits::default(), |allowance| allowance.limits);
    life::update(conn, &after).await?;
    let event = event::life::limits_changed(&after, limits, target.occasion());
    append_locked(conn, &[event]).await?;
    Ok(after)
}

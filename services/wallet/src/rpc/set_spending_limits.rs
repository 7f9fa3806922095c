//! SetSpendingLimits: what a user's wallet may spend at once, in a day and in a
//! month. The ledger enforces it under the wallet's row lock, which this takes
//! too, so a limit counts from the next posting on.

use bursar_contracts::wallet::v1::{
    SetSpendingLimitsRequest, SetSpendingLimitsResponse, SpendingLimits,
};
use bursar_events::append_locked;
use bursar_server::{Context, detached};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::Wallets;
use super::life::Target;
use super::once::{Call, once};
use crate::contract::{event, limit};
use crate::domain::life::set_spending_limits;
use crate::domain::limit::Limits;
use crate::error::Error;
use crate::store::{ledger, life};

pub(super) async fn handle(
    service: &Wallets,
    request: Request<SetSpendingLimitsRequest>,
) -> Result<Response<SetSpendingLimitsResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let target = Target::of(&context, &request.wallet_id)?;
    let call = Call::of(&context, &request);
    let (pool, cache) = (service.pool.clone(), service.cache.clone());
    detached(async move {
        let answer = once(&pool, &call, async |conn, _| {
            let limits = set(conn, &target, limit::limits(&request)).await?;
            Ok(SetSpendingLimitsResponse {
                limits: Some(limits),
            })
        })
        .await;
        cache.refresh(&target.tenant, target.id).await;
        answer
    })
    .await
}

async fn set(
    conn: &mut PgConnection,
    target: &Target,
    limits: Limits,
) -> Result<SpendingLimits, Error> {
    let before = target.lock(conn).await?;
    let current = ledger::allowances(conn, &[target.id.uuid()]).await?.pop();
    let occasion = target.occasion();
    let now = occasion.at;
    let changed = set_spending_limits(&before, current, limits, now);
    let changed = changed.map_err(|refusal| target.refused(refusal, &before))?;
    let Some((after, allowance)) = changed else {
        return Ok(limit::spending_limits(&before, current, now));
    };
    life::put_allowance(conn, &target.tenant, &allowance).await?;
    life::update(conn, &after).await?;
    let event = event::life::limits_changed(&after, limits, occasion);
    append_locked(conn, &[event]).await?;
    Ok(limit::spending_limits(&after, Some(allowance), now))
}

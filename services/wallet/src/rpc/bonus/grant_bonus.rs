//! GrantBonus: bonus money for a user's wallet, out of a campaign's budget.

use std::num::NonZeroI64;

use bursar_aip::id::{CampaignId, GrantId, TenantId, WalletId, parse_field};
use bursar_contracts::wallet::v1::{GrantBonusRequest, GrantBonusResponse};
use bursar_server::{Context, detached, now};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::{Bonus, Posted, Poster, identity, message, posted};
use crate::domain::campaign::{self, Campaign};
use crate::domain::posting::{Posting, Rejected, RejectionReason};
use crate::domain::wallet::Wallet;
use crate::error::{BonusError, Error};
use crate::rpc::once::{Call, Operation, once};
use crate::store::{bonus_grants, wallets};

/// What is asked for.
struct Granting {
    tenant: TenantId,
    wallet: WalletId,
    campaign: CampaignId,
    currency_code: String,
    amount: NonZeroI64,
}

pub(super) async fn handle(
    service: &Bonus,
    request: Request<GrantBonusRequest>,
) -> Result<Response<GrantBonusResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let call = Call::of(&context, &request);
    let money = message::money(request.amount)?;
    let granting = Granting {
        tenant: context.caller.tenant.clone(),
        wallet: parse_field("wallet_id", &request.wallet_id)?,
        campaign: parse_field("campaign_id", &request.campaign_id)?,
        currency_code: money.currency_code,
        amount: money.amount,
    };
    let poster = Poster::of(service, &context);
    let pool = service.pool.clone();
    detached(async move {
        once(&pool, &call, async |conn, operation| {
            grant(conn, operation, &granting, &poster).await
        })
        .await
    })
    .await
}

async fn grant(
    conn: &mut PgConnection,
    operation: Operation,
    granting: &Granting,
    poster: &Poster,
) -> Result<GrantBonusResponse, Error> {
    let tenant = &granting.tenant;
    let found = super::campaign(conn, tenant, granting.campaign).await?;
    let wallet = wallet(conn, &found, granting).await?;
    let id = GrantId::from_uuid(operation.derive("grant"));
    if !posted(conn, tenant, &operation).await? {
        let new = found
            .new_grant(id, now())
            .map_err(|stage| BonusError::CampaignNotActive { stage })?;
        let identity = identity(&operation);
        let posting = campaign::grant(&found, granting.wallet, granting.amount, new, identity);
        if let Posted::Refused(rejected) = poster.post(&posting).await? {
            return Err(refusal(conn, &found, &wallet, &posting, rejected).await?);
        }
    }
    let granted = bonus_grants::find(conn, tenant, id, None).await?;
    let granted = granted.ok_or(BonusError::GrantNotFound)?;
    Ok(GrantBonusResponse {
        grant: Some(message::grant(&granted, found.currency, found.conversion)),
    })
}

/// The wallet, if it is a user's and everything is of one currency. Neither its
/// owner nor its currency ever changes.
async fn wallet(
    conn: &mut PgConnection,
    campaign: &Campaign,
    granting: &Granting,
) -> Result<Wallet, Error> {
    let wallet = wallets::find(conn, &granting.tenant, granting.wallet, None)
        .await?
        .filter(|wallet| wallet.owner.is_some())
        .ok_or(Error::WalletNotFound)?;
    let mismatch = |field| Err(BonusError::CurrencyMismatch { field }.into());
    if granting.currency_code != campaign.currency.code() {
        return mismatch("amount.currency_code");
    }
    if wallet.currency != campaign.currency {
        return mismatch("wallet_id");
    }
    Ok(wallet)
}

/// What the caller is told of a grant that the ledger refused.
async fn refusal(
    conn: &mut PgConnection,
    campaign: &Campaign,
    wallet: &Wallet,
    posting: &Posting,
    rejected: Rejected,
) -> Result<Error, Error> {
    Ok(match (rejected.reason, campaign.user_cap, wallet.owner) {
        // Only the budget has money taken from it.
        (RejectionReason::InsufficientFunds, _, _) => BonusError::BudgetExhausted.into(),
        (RejectionReason::GrantCapExceeded, Some(cap), Some(owner)) => {
            let granted = bonus_grants::granted(conn, campaign.id, owner).await?;
            BonusError::CapExceeded { granted, cap }.into()
        }
        // It would have expired before the ledger came to it.
        (RejectionReason::GrantMismatch, _, _) => BonusError::Contended.into(),
        _ => Error::rejected(posting, rejected),
    })
}

//! FundCampaign: more budget for a campaign.

use std::num::NonZeroI64;

use bursar_aip::id::{CampaignId, TenantId, parse_field};
use bursar_contracts::wallet::v1::{FundCampaignRequest, FundCampaignResponse};
use bursar_server::{Context, detached, now};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::{Bonus, Posted, Poster, identity, message, posted};
use crate::domain::campaign;
use crate::error::{BonusError, Error};
use crate::rpc::once::{Call, Operation, once};
use crate::store::campaigns;

/// What is asked for.
struct Funding {
    tenant: TenantId,
    campaign: CampaignId,
    currency_code: String,
    amount: NonZeroI64,
}

pub(super) async fn handle(
    service: &Bonus,
    request: Request<FundCampaignRequest>,
) -> Result<Response<FundCampaignResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let call = Call::of(&context, &request);
    let money = message::money(request.amount)?;
    let funding = Funding {
        tenant: context.caller.tenant.clone(),
        campaign: parse_field("campaign_id", &request.campaign_id)?,
        currency_code: money.currency_code,
        amount: money.amount,
    };
    let poster = Poster::of(service, &context);
    let pool = service.pool.clone();
    detached(async move {
        once(&pool, &call, async |conn, operation| {
            fund(conn, operation, &funding, &poster).await
        })
        .await
    })
    .await
}

async fn fund(
    conn: &mut PgConnection,
    operation: Operation,
    funding: &Funding,
    poster: &Poster,
) -> Result<FundCampaignResponse, Error> {
    let found = super::campaign(conn, &funding.tenant, funding.campaign).await?;
    if found.currency.code() != funding.currency_code {
        let field = "amount.currency_code";
        return Err(BonusError::CurrencyMismatch { field }.into());
    }
    if !posted(conn, &funding.tenant, &operation).await? {
        found
            .check_funding(now())
            .map_err(|stage| BonusError::CampaignNotActive { stage })?;
        let posting = campaign::fund(&found, funding.amount, identity(&operation));
        if let Posted::Refused(rejected) = poster.post(&posting).await? {
            return Err(Error::rejected(&posting, rejected));
        }
    }
    let budget = campaigns::budget(conn, found.budget_wallet()).await?;
    Ok(FundCampaignResponse {
        campaign: Some(message::campaign(&found, now())),
        left_minor: budget.left,
    })
}

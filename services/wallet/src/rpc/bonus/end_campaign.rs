//! EndCampaign: no more grants, and what is left of the budget back to the pool.
//!
//! A grant that was under way when the campaign was ended may still be posted,
//! as long as there is budget; emptying the budget is what ends it for good. What
//! comes to the budget later is given back by a job (`jobs::bonus`).

use std::num::NonZeroI64;

use bursar_aip::id::{CampaignId, TenantId, parse_field};
use bursar_contracts::wallet::v1::{EndCampaignRequest, EndCampaignResponse};
use bursar_server::{Context, detached, now};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::{Bonus, Posted, Poster, message};
use crate::domain::campaign::{self, Campaign};
use crate::domain::posting::RejectionReason;
use crate::error::Error;
use crate::rpc::once::{Call, once};
use crate::store::campaigns;

/// How often the budget is read and given back, when grants take from it in
/// between. What is left after that is the job's.
const MAX_ATTEMPTS: usize = 5;

pub(super) async fn handle(
    service: &Bonus,
    request: Request<EndCampaignRequest>,
) -> Result<Response<EndCampaignResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let call = Call::of(&context, &request);
    let id: CampaignId = parse_field("campaign_id", &request.campaign_id)?;
    let tenant = context.caller.tenant.clone();
    let poster = Poster::of(service, &context);
    let pool = service.pool.clone();
    detached(async move {
        once(&pool, &call, async |conn, _| {
            end(conn, &tenant, id, &poster).await
        })
        .await
    })
    .await
}

async fn end(
    conn: &mut PgConnection,
    tenant: &TenantId,
    id: CampaignId,
    poster: &Poster,
) -> Result<EndCampaignResponse, Error> {
    super::campaign(conn, tenant, id).await?;
    campaigns::end(conn, id, now()).await?;
    let ended = super::campaign(conn, tenant, id).await?;
    let returned_minor = empty(conn, &ended, poster).await?;
    Ok(EndCampaignResponse {
        campaign: Some(message::campaign(&ended, now())),
        returned_minor,
    })
}

/// Gives back what is left of the budget; how much it was.
async fn empty(conn: &mut PgConnection, ended: &Campaign, poster: &Poster) -> Result<i64, Error> {
    for _ in 0..MAX_ATTEMPTS {
        let budget = campaigns::budget(conn, ended.budget_wallet()).await?;
        let Some(left) = NonZeroI64::new(budget.left) else {
            break;
        };
        let posting = campaign::refund(ended, left, budget.version);
        match poster.post(&posting).await? {
            Posted::Done => return Ok(left.get()),
            // A grant was quicker, or somebody else gave it back.
            Posted::Refused(rejected)
                if matches!(
                    rejected.reason,
                    RejectionReason::InsufficientFunds | RejectionReason::PostingIdReused
                ) => {}
            Posted::Refused(rejected) => return Err(Error::rejected(&posting, rejected)),
        }
    }
    Ok(0)
}

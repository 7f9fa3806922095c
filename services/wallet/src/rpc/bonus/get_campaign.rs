//! GetCampaign: a campaign and where its money is.

use bursar_aip::id::{CampaignId, parse_field};
use bursar_contracts::wallet::v1::{GetCampaignRequest, GetCampaignResponse};
use bursar_server::{Context, now};
use tonic::{Request, Response, Status};

use super::{Bonus, message};
use crate::error::Error;
use crate::store::campaigns;

pub(super) async fn handle(
    service: &Bonus,
    request: Request<GetCampaignRequest>,
) -> Result<Response<GetCampaignResponse>, Status> {
    let context = Context::of(&request)?;
    let id: CampaignId = parse_field("campaign_id", &request.get_ref().campaign_id)?;
    // The budget and the grants are read from one snapshot, or they would not
    // add up while grants are made.
    let mut snapshot = service
        .pool
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .map_err(Error::from)?;
    let found = super::campaign(&mut snapshot, &context.caller.tenant, id).await?;
    let budget = campaigns::budget(&mut snapshot, found.budget_wallet())
        .await
        .map_err(Error::from)?;
    let totals = campaigns::totals(&mut snapshot, id)
        .await
        .map_err(Error::from)?;
    snapshot.rollback().await.map_err(Error::from)?;
    Ok(Response::new(GetCampaignResponse {
        campaign: Some(message::campaign(&found, now())),
        totals: Some(message::totals(&totals, budget)),
    }))
}

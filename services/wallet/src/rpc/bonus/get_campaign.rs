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
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    let found = super::campaign(&mut connection, &context.caller.tenant, id).await?;
    let totals = campaigns::totals(&mut connection, &found)
        .await
        .map_err(Error::from)?;
    Ok(Response::new(GetCampaignResponse {
        campaign: Some(message::campaign(&found, now())),
        totals: Some(message::totals(&totals)),
    }))
}

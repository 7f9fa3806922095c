//! GetBonusGrant: a grant that the caller may see.

use bursar_aip::id::parse_field;
use bursar_contracts::wallet::v1::{GetBonusGrantRequest, GetBonusGrantResponse};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use super::{Bonus, message};
use crate::error::{BonusError, Error};
use crate::rpc::required_owner;
use crate::store::bonus_grants;

pub(super) async fn handle(
    service: &Bonus,
    request: Request<GetBonusGrantRequest>,
) -> Result<Response<GetBonusGrantResponse>, Status> {
    let context = Context::of(&request)?;
    let id = parse_field("grant_id", &request.get_ref().grant_id)?;
    let owner = required_owner(context.reach()?);
    let tenant = &context.caller.tenant;
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    let found = bonus_grants::find(&mut connection, tenant, id, owner)
        .await
        .map_err(Error::from)?
        .ok_or(Error::from(BonusError::GrantNotFound))?;
    let campaign = super::campaign(&mut connection, tenant, found.campaign).await?;
    Ok(Response::new(GetBonusGrantResponse {
        grant: Some(message::grant(
            &found,
            campaign.currency,
            campaign.conversion,
        )),
    }))
}

//! GetHold: a hold on a wallet that the caller may see.

use bursar_aip::id::parse_field;
use bursar_contracts::wallet::v1::{GetHoldRequest, GetHoldResponse};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use super::{Holds, required_owner};
use crate::contract::hold;
use crate::error::Error;
use crate::store::holds;

pub(super) async fn handle(
    service: &Holds,
    request: Request<GetHoldRequest>,
) -> Result<Response<GetHoldResponse>, Status> {
    let context = Context::of(&request)?;
    let id = parse_field("hold_id", &request.get_ref().hold_id)?;
    let owner = required_owner(context.reach()?);
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    let found = holds::find(&mut connection, &context.caller.tenant, id, owner)
        .await
        .map_err(Error::from)?
        .ok_or(Error::HoldNotFound)?;
    Ok(Response::new(GetHoldResponse {
        hold: Some(hold::hold(&found)),
    }))
}

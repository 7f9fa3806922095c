//! GetRebuild: how far a rebuild has come.

use bursar_aip::id::parse_field;
use bursar_contracts::wallet::v1::{GetRebuildRequest, GetRebuildResponse};
use bursar_server::Context;
use tonic::{Request, Response, Status};

use super::projection_service::Projections;
use crate::contract::projection as contract;
use crate::error::Error;
use crate::store::rebuilds;

pub(super) async fn handle(
    service: &Projections,
    request: Request<GetRebuildRequest>,
) -> Result<Response<GetRebuildResponse>, Status> {
    let context = Context::of(&request)?;
    let id = parse_field("rebuild_id", &request.get_ref().rebuild_id)?;
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    let found = rebuilds::find(&mut connection, &context.caller.tenant, id)
        .await
        .map_err(Error::from)?
        .ok_or(Error::RebuildNotFound)?;
    Ok(Response::new(GetRebuildResponse {
        rebuild: Some(contract::rebuild(&found)),
    }))
}

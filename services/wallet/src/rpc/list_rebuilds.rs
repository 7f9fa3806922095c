//! ListRebuilds: the tenant's rebuilds, newest first.

use bursar_aip::page;
use bursar_contracts::wallet::v1::{ListRebuildsRequest, ListRebuildsResponse};
use bursar_server::Context;
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};

use super::projection_service::Projections;
use crate::contract::projection as contract;
use crate::domain::drift::RebuildId;
use crate::error::Error;
use crate::store::rebuilds;

/// The list's name in its page tokens.
const LIST: &str = "rebuilds";

/// Where a page ended.
#[derive(Serialize, Deserialize)]
struct Cursor {
    rebuild: RebuildId,
}

pub(super) async fn handle(
    service: &Projections,
    request: Request<ListRebuildsRequest>,
) -> Result<Response<ListRebuildsResponse>, Status> {
    let context = Context::of(&request)?;
    let request = request.into_inner();
    let size = page::size(request.page_size);
    let cursor: Option<Cursor> =
        page::decode(LIST, &[], &request.page_token).map_err(Error::from)?;
    let before = cursor.map(|cursor| cursor.rebuild);
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    // One more than the page, to know whether another page follows.
    let mut found = rebuilds::list(&mut connection, &context.caller.tenant, before, size + 1)
        .await
        .map_err(Error::from)?;
    let next_page_token = page::cut(&mut found, size)
        .map(|last| page::encode(LIST, &[], &Cursor { rebuild: last.id }))
        .unwrap_or_default();
    Ok(Response::new(ListRebuildsResponse {
        rebuilds: found.iter().map(contract::rebuild).collect(),
        next_page_token,
    }))
}

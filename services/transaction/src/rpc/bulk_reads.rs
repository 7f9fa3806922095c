//! `GetBulkTransfer` and `ListBulkTransferItems`.

use bursar_aip::id::BulkTransferId;
use bursar_aip::page;
use bursar_auth::Reach;
use bursar_contracts::transaction::v1::{
    GetBulkTransferRequest, GetBulkTransferResponse, ListBulkTransferItemsRequest,
    ListBulkTransferItemsResponse,
};
use bursar_server::Context;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use crate::advance::Engine;
use crate::bulk::error::Error;
use crate::bulk::{Bulk, ItemResult};
use crate::store::bulk;

/// The name of the list in page tokens.
const LIST: &str = "bulk-transfer-items";

/// Where a page begins.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    from: i32,
}

pub(super) async fn get(
    engine: &Engine,
    request: Request<GetBulkTransferRequest>,
) -> Result<Response<GetBulkTransferResponse>, Status> {
    let context = Context::of(&request)?;
    let id = id(&request.into_inner().bulk_transfer_id)?;
    let mut conn = engine.pool.acquire().await.map_err(Error::from)?;
    let found = visible(&mut conn, &context, id).await?;
    Ok(Response::new(GetBulkTransferResponse {
        bulk_transfer: Some(found.message()),
    }))
}

pub(super) async fn list(
    engine: &Engine,
    request: Request<ListBulkTransferItemsRequest>,
) -> Result<Response<ListBulkTransferItemsResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let id = id(&message.bulk_transfer_id)?;
    let filter = [message.bulk_transfer_id.as_str()];
    let cursor: Option<Cursor> = page::decode(LIST, &filter, &message.page_token)?;
    let size = page::size(message.page_size);
    let from = cursor.map_or(0, |cursor| cursor.from);

    let mut conn = engine.pool.acquire().await.map_err(Error::from)?;
    let found = visible(&mut conn, &context, id).await?;
    // One more than asked for tells whether there is a next page.
    let mut results = bulk::results(&mut conn, &found.tenant, id, from, size + 1)
        .await
        .map_err(Error::from)?;
    let fits = usize::try_from(size).unwrap_or(usize::MAX);
    let next = results.get(fits).map(|result| result.position);
    results.truncate(fits);
    Ok(Response::new(ListBulkTransferItemsResponse {
        items: results.iter().map(ItemResult::message).collect(),
        next_page_token: next.map_or_else(String::new, |from| {
            page::encode(LIST, &filter, &Cursor { from })
        }),
    }))
}

pub(super) fn id(text: &str) -> Result<BulkTransferId, Error> {
    text.parse().map_err(|_| Error::FieldInvalid {
        field: "bulk_transfer_id".to_owned(),
    })
}

/// A bulk transfer that the caller may see: their own, or anybody's.
pub(super) async fn visible(
    conn: &mut PgConnection,
    context: &Context,
    id: BulkTransferId,
) -> Result<Bulk, Status> {
    let reach = context.reach()?;
    let found = bulk::find(conn, id).await.map_err(Error::from)?;
    let seen = found
        .filter(|bulk| bulk.tenant == context.caller.tenant)
        .filter(|bulk| match reach {
            Reach::Any => true,
            Reach::Own(user) => bulk.initiator == user,
        });
    Ok(seen.ok_or(Error::NotFound)?)
}

//! ListBlocks: all blocks, newest first.

use bursar_aip::page;
use bursar_contracts::wallet::v1::{ListBlocksRequest, ListBlocksResponse};
use tonic::{Request, Response, Status};

use super::{Cursor, Proofs};
use crate::contract::proof;
use crate::error::Error;
use crate::store::proof::blocks;

/// The list's name in its page tokens.
const LIST: &str = "ledger-blocks";

pub(super) async fn handle(
    service: &Proofs,
    request: Request<ListBlocksRequest>,
) -> Result<Response<ListBlocksResponse>, Status> {
    let request = request.into_inner();
    let size = page::size(request.page_size);
    let cursor: Option<Cursor> =
        page::decode(LIST, &[], &request.page_token).map_err(Error::from)?;
    let before = cursor.map_or(i64::MAX, |cursor| {
        i64::try_from(cursor.height).unwrap_or(i64::MAX)
    });
    let mut connection = service.pool.acquire().await.map_err(Error::from)?;
    // One more than the page, to know whether another page follows.
    let mut found = blocks::before(&mut connection, before, size + 1)
        .await
        .map_err(Error::from)?;
    let next_page_token = page::cut(&mut found, size)
        .map(|last| {
            let height = last.height;
            page::encode(LIST, &[], &Cursor { height })
        })
        .unwrap_or_default();
    Ok(Response::new(ListBlocksResponse {
        blocks: found.iter().map(proof::block).collect(),
        next_page_token,
    }))
}

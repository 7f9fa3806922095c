//! GetSettlementFile and ListSettlementFiles.

use bursar_aip::id::{SettlementFileId, parse_field};
use bursar_aip::page;
use bursar_contracts::transaction::v1::{
    GetSettlementFileRequest, GetSettlementFileResponse, ListSettlementFilesRequest,
    ListSettlementFilesResponse,
};
use bursar_server::Context;
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};

use super::error::ReconciliationError;
use super::{Reconciliation, contract};
use crate::store::reconciliation::files::{self, Wanted};

/// The name of the list in page tokens.
const LIST: &str = "settlement_files";

/// Where a page ends.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    before: SettlementFileId,
}

pub(super) async fn get(
    service: &Reconciliation,
    request: Request<GetSettlementFileRequest>,
) -> Result<Response<GetSettlementFileResponse>, Status> {
    let context = Context::of(&request)?;
    let id = parse_field("settlement_file_id", &request.get_ref().settlement_file_id)?;
    let mut conn = service
        .pool()
        .acquire()
        .await
        .map_err(ReconciliationError::from)?;
    let found = files::find(&mut conn, id)
        .await
        .map_err(ReconciliationError::from)?
        .filter(|file| file.tenant == context.caller.tenant)
        .ok_or(ReconciliationError::FileNotFound)?;
    Ok(Response::new(GetSettlementFileResponse {
        file: Some(contract::file(&found)),
    }))
}

pub(super) async fn list(
    service: &Reconciliation,
    request: Request<ListSettlementFilesRequest>,
) -> Result<Response<ListSettlementFilesResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let state = contract::file_state(message.state());
    let state_text = message.state.to_string();
    let filter = [message.provider.as_str(), &state_text];
    let cursor: Option<Cursor> = page::decode(LIST, &filter, &message.page_token)?;
    let size = page::size(message.page_size);
    let wanted = Wanted {
        tenant: &context.caller.tenant,
        provider: Some(&*message.provider).filter(|provider| !provider.is_empty()),
        state,
        before: cursor.map(|cursor| cursor.before),
        // One more than asked for tells whether there is a next page.
        limit: size + 1,
    };
    let mut conn = service
        .pool()
        .acquire()
        .await
        .map_err(ReconciliationError::from)?;
    let mut found = files::list(&mut conn, wanted)
        .await
        .map_err(ReconciliationError::from)?;
    let next_page_token = page::cut(&mut found, size)
        .map(|last| page::encode(LIST, &filter, &Cursor { before: last.id }))
        .unwrap_or_default();
    Ok(Response::new(ListSettlementFilesResponse {
        files: found.iter().map(contract::file).collect(),
        next_page_token,
    }))
}

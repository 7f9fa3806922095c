//! ListFraudCases and GetFraudCase.

use bursar_aip::id::{FraudCaseId, parse_field};
use bursar_aip::page;
use bursar_contracts::transaction::v1 as proto;
use bursar_server::Context;
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};

use super::contract;
use super::error::FraudError;
use crate::advance::Engine;
use crate::contract::transaction;
use crate::store::fraud::cases::{self, Wanted};
use crate::store::transactions;

/// The name of the list in page tokens.
const LIST: &str = "fraud_cases";

/// Where a page ends.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    after: FraudCaseId,
}

pub(super) async fn list(
    engine: &Engine,
    request: Request<proto::ListFraudCasesRequest>,
) -> Result<Response<proto::ListFraudCasesResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let state = message.state.to_string();
    let filter = [state.as_str(), &message.user_id];
    let cursor: Option<Cursor> = page::decode(LIST, &filter, &message.page_token)?;
    let size = page::size(message.page_size);
    let wanted = Wanted {
        tenant: &context.caller.tenant,
        state: contract::case_state(message.state()),
        user: match &*message.user_id {
            "" => None,
            text => Some(parse_field("user_id", text)?),
        },
        after: cursor.map(|cursor| cursor.after),
        // One more than asked for tells whether there is a next page.
        limit: size + 1,
    };
    let mut conn = engine.pool.acquire().await.map_err(FraudError::from)?;
    let mut found = cases::list(&mut conn, wanted)
        .await
        .map_err(FraudError::from)?;
    let next_page_token = page::cut(&mut found, size)
        .map(|last| page::encode(LIST, &filter, &Cursor { after: last.id }))
        .unwrap_or_default();
    Ok(Response::new(proto::ListFraudCasesResponse {
        cases: found.iter().map(contract::told_case).collect(),
        next_page_token,
    }))
}

pub(super) async fn get(
    engine: &Engine,
    request: Request<proto::GetFraudCaseRequest>,
) -> Result<Response<proto::GetFraudCaseResponse>, Status> {
    let context = Context::of(&request)?;
    let id: FraudCaseId = parse_field("case_id", &request.get_ref().case_id)?;
    let mut conn = engine.pool.acquire().await.map_err(FraudError::from)?;
    let case = cases::find(&mut conn, &context.caller.tenant, id)
        .await
        .map_err(FraudError::from)?
        .ok_or(FraudError::CaseNotFound)?;
    let found = transactions::find(&mut conn, case.transaction)
        .await
        .map_err(FraudError::from)?;
    Ok(Response::new(proto::GetFraudCaseResponse {
        case: Some(contract::told_case(&case)),
        transaction: found.as_ref().map(transaction),
    }))
}

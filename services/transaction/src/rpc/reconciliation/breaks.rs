//! ListBreaks and ResolveBreak.

use bursar_aip::id::{BreakId, parse_field};
use bursar_aip::page;
use bursar_contracts::transaction::v1::{
    BreakState, ListBreaksRequest, ListBreaksResponse, ResolveBreakRequest, ResolveBreakResponse,
};
use bursar_server::{Context, crash_point, database, detached};
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};

use super::error::ReconciliationError;
use super::{Reconciliation, contract};
use crate::store::reconciliation::breaks::{self, Wanted};
use crate::watch::reconciliation as watch;

/// The name of the list in page tokens.
const LIST: &str = "settlement_breaks";

/// Where a page ends.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    before: BreakId,
}

pub(super) async fn list(
    service: &Reconciliation,
    request: Request<ListBreaksRequest>,
) -> Result<Response<ListBreaksResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let (state, reason) = (message.state.to_string(), message.reason.to_string());
    let filter = [
        message.provider.as_str(),
        &state,
        &reason,
        &message.settlement_file_id,
        &message.transaction_id,
    ];
    let cursor: Option<Cursor> = page::decode(LIST, &filter, &message.page_token)?;
    let size = page::size(message.page_size);
    let wanted = Wanted {
        tenant: &context.caller.tenant,
        provider: Some(&*message.provider).filter(|provider| !provider.is_empty()),
        is_open: match message.state() {
            BreakState::Unspecified => None,
            BreakState::Open => Some(true),
            BreakState::Resolved => Some(false),
        },
        reason: contract::wanted_reason(message.reason()),
        file: match &*message.settlement_file_id {
            "" => None,
            text => Some(parse_field("settlement_file_id", text)?),
        },
        transaction: match &*message.transaction_id {
            "" => None,
            text => Some(parse_field("transaction_id", text)?),
        },
        before: cursor.map(|cursor| cursor.before),
        // One more than asked for tells whether there is a next page.
        limit: size + 1,
    };
    let mut conn = service
        .pool()
        .acquire()
        .await
        .map_err(ReconciliationError::from)?;
    let mut found = breaks::list(&mut conn, wanted)
        .await
        .map_err(ReconciliationError::from)?;
    let next_page_token = page::cut(&mut found, size)
        .map(|last| page::encode(LIST, &filter, &Cursor { before: last.id }))
        .unwrap_or_default();
    Ok(Response::new(ListBreaksResponse {
        breaks: found.iter().map(contract::told_break).collect(),
        next_page_token,
    }))
}

pub(super) async fn resolve(
    service: &Reconciliation,
    request: Request<ResolveBreakRequest>,
) -> Result<Response<ResolveBreakResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let id: BreakId = parse_field("break_id", &message.break_id)?;
    let resolution =
        contract::resolution(message.resolution()).ok_or(ReconciliationError::FieldInvalid {
            field: "resolution",
        })?;
    let pool = service.pool().clone();
    let (tenant, by) = (context.caller.tenant.clone(), context.caller.actor());
    detached(async move {
        let resolved = async {
            let mut transaction = database::begin(&pool).await?;
            let note = &*message.note;
            let is_new =
                breaks::resolve(&mut transaction, &tenant, id, resolution, note, &by).await?;
            let found = breaks::find(&mut transaction, &tenant, id).await?;
            crash_point!("reconciliation.before_resolve_commit");
            transaction.commit().await?;
            crash_point!("reconciliation.after_resolve_commit");
            Ok::<_, sqlx::Error>((is_new, found))
        };
        let (is_new, found) = resolved.await.map_err(ReconciliationError::from)?;
        let found = found.ok_or(ReconciliationError::BreakNotFound)?;
        let is_same = found.end.as_ref().is_some_and(|end| {
            end.resolution == resolution && end.note == message.note && end.by == by
        });
        if !is_new && !is_same {
            return Err(ReconciliationError::BreakAlreadyResolved { id }.into());
        }
        if is_new {
            watch::resolved(found.reason);
        }
        Ok(Response::new(ResolveBreakResponse {
            r#break: Some(contract::told_break(&found)),
        }))
    })
    .await
}

//! `ListAuditEvents`: the audit trail, newest first.

use bursar_aip::page;
use bursar_contracts::admin::v1::{AuditEvent, ListAuditEventsRequest, ListAuditEventsResponse};
use bursar_contracts::instant::timestamp;
use bursar_server::{Context, database, detached};
use sqlx::PgPool;
use tonic::{Request, Response, Status};

use crate::error::AdminError;
use crate::store::audit_events::{self, Filter, Recorded};

/// The name of the list in its page tokens.
const LIST: &str = "audit_events";

pub(super) async fn handle(
    pool: &PgPool,
    request: Request<ListAuditEventsRequest>,
) -> Result<Response<ListAuditEventsResponse>, Status> {
    let context = Context::of(&request)?;
    let message = request.into_inner();
    let token_filter = [
        message.r#type.as_str(),
        message.subject.as_str(),
        message.correlation_id.as_str(),
        message.actor.as_str(),
    ];
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let filter = Filter {
        tenant: context.caller.tenant.clone(),
        kind: given(&message.r#type),
        subject: given(&message.subject),
        correlation_id: given(&message.correlation_id),
        actor: given(&message.actor),
        before: page::decode::<i64>(LIST, &token_filter, &message.page_token)?,
    };
    let size = page::size(message.page_size);
    let mut found = read(pool, filter, size + 1).await?;
    let next_page_token = page::cut(&mut found, size)
        .map(|last| page::encode(LIST, &token_filter, &last.position))
        .unwrap_or_default();
    Ok(Response::new(ListAuditEventsResponse {
        audit_events: found.into_iter().map(audit_event).collect(),
        next_page_token,
    }))
}

/// At most so many lines of the trail.
async fn read(pool: &PgPool, filter: Filter, limit: i64) -> Result<Vec<Recorded>, Status> {
    let pool = pool.clone();
    // The transaction is for the planner's setting; it must not be cut off either.
    detached(async move {
        let mut transaction = database::begin(&pool).await.map_err(AdminError::from)?;
        let found = audit_events::list(&mut transaction, &filter, limit)
            .await
            .map_err(AdminError::from)?;
        transaction.commit().await.map_err(AdminError::from)?;
        Ok(found)
    })
    .await
}

fn audit_event(recorded: Recorded) -> AuditEvent {
    let line = recorded.line;
    AuditEvent {
        event_id: line.event_id.to_string(),
        source: line.source,
        r#type: line.kind,
        subject: line.subject,
        subject_version: line.subject_version,
        actor: line.actor,
        correlation_id: line.correlation_id,
        occurred_at: Some(timestamp(line.occurred_at)),
        recorded_at: Some(timestamp(line.recorded_at)),
        data_json: line.data,
    }
}

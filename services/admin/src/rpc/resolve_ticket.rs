//! `ResolveTicket`: an operator answers a ticket, once.

use bursar_aip::id::{TenantId, TicketId, parse_field};
use bursar_contracts::admin::v1::{ResolveTicketRequest, ResolveTicketResponse};
use bursar_server::{Context, database, detached, now};
use sqlx::{PgConnection, PgPool};
use tonic::{Request, Response, Status};

use crate::domain::ticket::Resolution;
use crate::error::AdminError;
use crate::events;
use crate::rpc::once::Once;
use crate::rpc::ticket_message;
use crate::store::tickets;

pub(super) async fn handle(
    pool: &PgPool,
    request: Request<ResolveTicketRequest>,
) -> Result<Response<ResolveTicketResponse>, Status> {
    let context = Context::of(&request)?;
    let operator = context.user_id()?;
    let message = request.into_inner();
    let once = Once::new(&context, &message);
    let ticket: TicketId = parse_field("ticket_id", &message.ticket_id)?;
    let resolution = Resolution {
        text: message.resolution,
        operator,
        resolved_at: now(),
    };
    let pool = pool.clone();
    detached(async move {
        let mut transaction = database::begin(&pool).await.map_err(AdminError::from)?;
        if let Some(answer) = once.answered(&mut transaction).await? {
            return answer;
        }
        let outcome = resolve(&mut transaction, &context.caller.tenant, ticket, resolution).await;
        once.finish(transaction, outcome).await
    })
    .await
}

/// Decides on the locked ticket, so that of several operators one is first.
async fn resolve(
    connection: &mut PgConnection,
    tenant: &TenantId,
    ticket: TicketId,
    resolution: Resolution,
) -> Result<ResolveTicketResponse, AdminError> {
    let open = tickets::lock(connection, tenant, ticket)
        .await?
        .ok_or(AdminError::TicketNotFound { ticket })?;
    let resolved = open.resolve(resolution.clone())?;
    if !tickets::store_resolution(connection, &resolved, &resolution).await? {
        return Err(AdminError::LockBroken { ticket });
    }
    bursar_events::append(connection, &[events::resolved(&resolved, &resolution)]).await?;
    Ok(ResolveTicketResponse {
        ticket: Some(ticket_message::of(resolved)),
    })
}

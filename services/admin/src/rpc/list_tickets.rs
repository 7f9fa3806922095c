//! `ListTickets`: a user's own tickets, or for an operator all, newest first.

use bursar_aip::id::TicketId;
use bursar_aip::page;
use bursar_auth::Reach;
use bursar_contracts::admin::v1::{ListTicketsRequest, ListTicketsResponse, TicketStatus};
use bursar_server::{Context, database, detached};
use sqlx::PgPool;
use tonic::{Request, Response, Status};

use crate::domain::ticket::{self, Ticket};
use crate::error::AdminError;
use crate::rpc::ticket_message;
use crate::store::tickets::{self, Filter};

/// The name of the list in its page tokens.
const LIST: &str = "tickets";

pub(super) async fn handle(
    pool: &PgPool,
    request: Request<ListTicketsRequest>,
) -> Result<Response<ListTicketsResponse>, Status> {
    let context = Context::of(&request)?;
    let author = match context.reach()? {
        Reach::Own(user) => Some(user),
        Reach::Any => None,
    };
    let message = request.into_inner();
    let status = message.status();
    let token_filter = [status.as_str_name()];
    let filter = Filter {
        tenant: context.caller.tenant.clone(),
        author,
        status: match status {
            TicketStatus::Unspecified => None,
            TicketStatus::Open => Some(ticket::Status::Open),
            TicketStatus::Resolved => Some(ticket::Status::Resolved),
        },
        before: page::decode::<TicketId>(LIST, &token_filter, &message.page_token)?,
    };
    let size = page::size(message.page_size);
    let mut found = read(pool, filter, size + 1).await?;
    let next_page_token = page::cut(&mut found, size)
        .map(|last| page::encode(LIST, &token_filter, &last.id))
        .unwrap_or_default();
    Ok(Response::new(ListTicketsResponse {
        tickets: found.into_iter().map(ticket_message::of).collect(),
        next_page_token,
    }))
}

/// At most so many tickets.
async fn read(pool: &PgPool, filter: Filter, limit: i64) -> Result<Vec<Ticket>, Status> {
    let pool = pool.clone();
    // The transaction is for the planner's setting; it must not be cut off either.
    detached(async move {
        let mut transaction = database::begin(&pool).await.map_err(AdminError::from)?;
        let found = tickets::list(&mut transaction, &filter, limit)
            .await
            .map_err(AdminError::from)?;
        transaction.commit().await.map_err(AdminError::from)?;
        Ok(found)
    })
    .await
}

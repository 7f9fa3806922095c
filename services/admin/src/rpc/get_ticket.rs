//! `GetTicket`: a ticket, to its author or an operator.

use bursar_aip::id::{TicketId, parse_field};
use bursar_auth::Reach;
use bursar_contracts::admin::v1::{GetTicketRequest, GetTicketResponse};
use bursar_server::Context;
use sqlx::PgPool;
use tonic::{Request, Response, Status};

use crate::error::AdminError;
use crate::rpc::ticket_message;
use crate::store::tickets;

pub(super) async fn handle(
    pool: &PgPool,
    request: Request<GetTicketRequest>,
) -> Result<Response<GetTicketResponse>, Status> {
    let context = Context::of(&request)?;
    let author = match context.reach()? {
        Reach::Own(user) => Some(user),
        Reach::Any => None,
    };
    let ticket: TicketId = parse_field("ticket_id", &request.get_ref().ticket_id)?;
    let mut connection = pool.acquire().await.map_err(AdminError::from)?;
    let found = tickets::find(&mut connection, &context.caller.tenant, ticket, author)
        .await
        .map_err(AdminError::from)?
        .ok_or(AdminError::TicketNotFound { ticket })?;
    Ok(Response::new(GetTicketResponse {
        ticket: Some(ticket_message::of(found)),
    }))
}

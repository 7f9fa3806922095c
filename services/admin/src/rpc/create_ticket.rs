//! `CreateTicket`: a user writes to the operators.

use bursar_aip::id::{TicketId, parse_field};
use bursar_contracts::admin::v1::{CreateTicketRequest, CreateTicketResponse};
use bursar_server::{Context, database, detached, now};
use sqlx::{PgConnection, PgPool};
use tonic::{Request, Response, Status};

use crate::domain::ticket::{Question, Ticket};
use crate::error::AdminError;
use crate::events;
use crate::rpc::once::Once;
use crate::rpc::ticket_message;
use crate::store::tickets;

pub(super) async fn handle(
    pool: &PgPool,
    request: Request<CreateTicketRequest>,
) -> Result<Response<CreateTicketResponse>, Status> {
    let context = Context::of(&request)?;
    let author = context.user_id()?;
    let message = request.into_inner();
    let once = Once::new(&context, &message);
    let question = question(message)?;
    let pool = pool.clone();
    detached(async move {
        let mut transaction = database::begin(&pool).await.map_err(AdminError::from)?;
        if let Some(answer) = once.answered(&mut transaction).await? {
            return answer;
        }
        let tenant = context.caller.tenant.clone();
        let ticket = Ticket::open(TicketId::generate(), tenant, author, question, now());
        let outcome = store(&mut transaction, ticket, &context.caller.actor()).await;
        once.finish(transaction, outcome).await
    })
    .await
}

fn question(message: CreateTicketRequest) -> Result<Question, Status> {
    let transaction = match message.transaction_id.as_str() {
        "" => None,
        text => Some(parse_field("transaction_id", text)?),
    };
    Ok(Question {
        subject: message.subject,
        description: message.description,
        transaction,
    })
}

async fn store(
    connection: &mut PgConnection,
    ticket: Ticket,
    actor: &str,
) -> Result<CreateTicketResponse, AdminError> {
    tickets::insert(connection, &ticket).await?;
    bursar_events::append(connection, &[events::created(&ticket, actor)]).await?;
    Ok(CreateTicketResponse {
        ticket: Some(ticket_message::of(ticket)),
    })
}

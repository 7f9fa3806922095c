//! Tickets in the database.

use bursar_aip::id::{TenantId, TicketId, TransactionId, UserId};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::ticket::{Question, Resolution, Status, Ticket};
use crate::store::plan_for_values;

/// Which tickets a list has.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The tenant.
    pub tenant: TenantId,
    /// Only this user's; `None` for everybody's.
    pub author: Option<UserId>,
    /// Only those with this status.
    pub status: Option<Status>,
    /// Only those written before this one.
    pub before: Option<TicketId>,
}

/// The columns of a ticket, but for the tenant, which the caller knows, and
/// the status, which follows from the resolution.
struct Row {
    ticket_id: Uuid,
    author_user_id: Uuid,
    subject: String,
    description: String,
    transaction_id: Option<Uuid>,
    resolution: Option<String>,
    resolved_by_user_id: Option<Uuid>,
    created_at: OffsetDateTime,
    resolved_at: Option<OffsetDateTime>,
    version: i64,
}

impl Row {
    fn into_ticket(self, tenant: &TenantId) -> Ticket {
        // The constraint tickets_resolved_whole makes it all three or none.
        let resolution = self
            .resolution
            .zip(self.resolved_by_user_id)
            .zip(self.resolved_at)
            .map(|((text, operator), resolved_at)| Resolution {
                text,
                operator: UserId::from_uuid(operator),
                resolved_at,
            });
        Ticket {
            id: TicketId::from_uuid(self.ticket_id),
            tenant: tenant.clone(),
            author: UserId::from_uuid(self.author_user_id),
            question: Question {
                subject: self.subject,
                description: self.description,
                transaction: self.transaction_id.map(TransactionId::from_uuid),
            },
            created_at: self.created_at,
            resolution,
            version: self.version,
        }
    }
}

/// How a status reads in the column.
fn column(status: Status) -> &'static str {
    match status {
        Status::Open => "open",
        Status::Resolved => "resolved",
    }
}

/// Stores a new ticket.
#[tracing::instrument(name = "store.tickets.insert", skip_all, fields(ticket = %ticket.id))]
pub async fn insert(connection: &mut PgConnection, ticket: &Ticket) -> Result<(), sqlx::Error> {
    let question = &ticket.question;
    sqlx::query!(
        "INSERT INTO tickets (ticket_id, tenant_id, author_user_id, subject, description,
                              transaction_id, status, created_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        ticket.id.uuid(),
        ticket.tenant.as_str(),
        ticket.author.uuid(),
        question.subject,
        question.description,
        question.transaction.map(|id| id.uuid()),
        column(ticket.status()),
        ticket.created_at,
        ticket.version,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A ticket by its id; with `author`, only when it is that user's.
#[tracing::instrument(name = "store.tickets.find", skip_all, fields(ticket = %id))]
pub async fn find(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: TicketId,
    author: Option<UserId>,
) -> Result<Option<Ticket>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        "SELECT ticket_id, author_user_id, subject, description, transaction_id, resolution,
                resolved_by_user_id, created_at, resolved_at, version
         FROM tickets
         WHERE ticket_id = $1 AND tenant_id = $2
           AND ($3::uuid IS NULL OR author_user_id = $3)",
        id.uuid(),
        tenant.as_str(),
        author.map(|user| user.uuid()),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.into_ticket(tenant)))
}

/// A ticket by its id, locked until the transaction ends. A transaction locks
/// one ticket at most, and nothing after it.
#[tracing::instrument(name = "store.tickets.lock", skip_all, fields(ticket = %id))]
pub async fn lock(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: TicketId,
) -> Result<Option<Ticket>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        "SELECT ticket_id, author_user_id, subject, description, transaction_id, resolution,
                resolved_by_user_id, created_at, resolved_at, version
         FROM tickets
         WHERE ticket_id = $1 AND tenant_id = $2
         FOR UPDATE",
        id.uuid(),
        tenant.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.into_ticket(tenant)))
}

/// Stores the resolution of a ticket that [`lock`] returned. Writes nothing,
/// and returns false, when the stored ticket is not the version before.
#[tracing::instrument(name = "store.tickets.store_resolution", skip_all, fields(ticket = %ticket.id))]
pub async fn store_resolution(
    connection: &mut PgConnection,
    ticket: &Ticket,
    resolution: &Resolution,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE tickets
         SET status = $3, resolution = $4, resolved_by_user_id = $5, resolved_at = $6, version = $7
         WHERE ticket_id = $1 AND tenant_id = $2 AND version + 1 = $7",
        ticket.id.uuid(),
        ticket.tenant.as_str(),
        column(Status::Resolved),
        resolution.text,
        resolution.operator.uuid(),
        resolution.resolved_at,
        ticket.version,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// At most `limit` tickets, newest first. Runs in a transaction of the caller's.
#[tracing::instrument(name = "store.tickets.list", skip_all)]
pub async fn list(
    connection: &mut PgConnection,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<Ticket>, sqlx::Error> {
    plan_for_values(connection).await?;
    let rows = sqlx::query_as!(
        Row,
        "SELECT ticket_id, author_user_id, subject, description, transaction_id, resolution,
                resolved_by_user_id, created_at, resolved_at, version
         FROM tickets
         WHERE tenant_id = $1
           AND ($2::uuid IS NULL OR author_user_id = $2)
           AND ($3::text IS NULL OR status = $3)
           AND ($4::uuid IS NULL OR ticket_id < $4)
         ORDER BY ticket_id DESC
         LIMIT $5",
        filter.tenant.as_str(),
        filter.author.map(|user| user.uuid()),
        filter.status.map(column),
        filter.before.map(|ticket| ticket.uuid()),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| row.into_ticket(&filter.tenant))
        .collect())
}

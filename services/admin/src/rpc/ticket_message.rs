//! A ticket as the contract has it.

use bursar_contracts::admin::v1::{Ticket as TicketMessage, TicketStatus};
use bursar_contracts::instant::timestamp;

use crate::domain::ticket::{Status, Ticket};

/// The message of a ticket.
pub(super) fn of(ticket: Ticket) -> TicketMessage {
    let status = match ticket.status() {
        Status::Open => TicketStatus::Open,
        Status::Resolved => TicketStatus::Resolved,
    };
    let transaction = ticket.question.transaction;
    let mut message = TicketMessage {
        ticket_id: ticket.id.to_string(),
        author_user_id: ticket.author.to_string(),
        subject: ticket.question.subject,
        description: ticket.question.description,
        transaction_id: transaction.map(|id| id.to_string()).unwrap_or_default(),
        status: status.into(),
        resolution: String::new(),
        resolved_by_user_id: String::new(),
        created_at: Some(timestamp(ticket.created_at)),
        resolved_at: None,
    };
    if let Some(resolution) = ticket.resolution {
        message.resolution = resolution.text;
        message.resolved_by_user_id = resolution.operator.to_string();
        message.resolved_at = Some(timestamp(resolution.resolved_at));
    }
    message
}

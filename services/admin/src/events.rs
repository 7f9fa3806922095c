//! The events that admin publishes. The aggregate is the ticket. They carry
//! ids, and nothing of what was written.

use bursar_contracts::admin::v1::{TicketCreated, TicketResolved};
use bursar_events::{Aggregate, Event};

use crate::domain::ticket::{Resolution, Ticket};

/// `admin.ticket.created`, caused by `actor`.
pub(crate) fn created(ticket: &Ticket, actor: &str) -> Event {
    let data = TicketCreated {
        ticket_id: ticket.id.to_string(),
        author_user_id: ticket.author.to_string(),
        transaction_id: ticket
            .question
            .transaction
            .map(|id| id.to_string())
            .unwrap_or_default(),
    };
    Event::new(
        "admin.ticket.created",
        aggregate(ticket),
        ticket.version,
        &data,
        actor.to_owned(),
        ticket.tenant.clone(),
        ticket.created_at,
    )
}

/// `admin.ticket.resolved`, caused by the operator.
pub(crate) fn resolved(ticket: &Ticket, resolution: &Resolution) -> Event {
    let operator = resolution.operator.to_string();
    let data = TicketResolved {
        ticket_id: ticket.id.to_string(),
        resolved_by_user_id: operator.clone(),
    };
    Event::new(
        "admin.ticket.resolved",
        aggregate(ticket),
        ticket.version,
        &data,
        operator,
        ticket.tenant.clone(),
        resolution.resolved_at,
    )
}

fn aggregate(ticket: &Ticket) -> Aggregate {
    Aggregate {
        kind: "ticket",
        id: ticket.id.uuid(),
        subject: ticket.id.to_string(),
    }
}

//! A user's question to the operators. It is open until an operator answers
//! it, once; the answer is final.

use bursar_aip::id::{TenantId, TicketId, TransactionId, UserId};
use time::OffsetDateTime;

/// How far a ticket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It waits for an operator.
    Open,
    /// An operator has answered it.
    Resolved,
}

/// An operator's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// What the operator wrote.
    pub text: String,
    /// The operator.
    pub operator: UserId,
    /// When.
    pub resolved_at: OffsetDateTime,
}

/// What a user writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What it is about, in a line.
    pub subject: String,
    /// The whole of it; may be empty.
    pub description: String,
    /// The transaction it is about.
    pub transaction: Option<TransactionId>,
}

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Its id.
    pub id: TicketId,
    /// The tenant of its author.
    pub tenant: TenantId,
    /// The user who wrote it.
    pub author: UserId,
    /// What the user wrote.
    pub question: Question,
    /// When it was written.
    pub created_at: OffsetDateTime,
    /// The answer; `None` while it is open.
    pub resolution: Option<Resolution>,
    /// How many events it has had.
    pub version: i64,
}

/// The ticket was resolved before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ticket {ticket} was resolved before")]
pub struct AlreadyResolved {
    /// The ticket.
    pub ticket: TicketId,
}

impl Ticket {
    /// A new ticket, open.
    pub fn open(
        id: TicketId,
        tenant: TenantId,
        author: UserId,
        question: Question,
        now: OffsetDateTime,
    ) -> Self {
        Self {
            id,
            tenant,
            author,
            question,
            created_at: now,
            resolution: None,
            version: 1,
        }
    }

    /// The ticket with an operator's answer.
    pub fn resolve(self, resolution: Resolution) -> Result<Self, AlreadyResolved> {
        if self.resolution.is_some() {
            return Err(AlreadyResolved { ticket: self.id });
        }
        Ok(Self {
            resolution: Some(resolution),
            version: self.version + 1,
            ..self
        })
    }

    /// How far it is.
    pub fn status(&self) -> Status {
        match self.resolution {
            None => Status::Open,
            Some(_) => Status::Resolved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn open_ticket() -> Ticket {
        Ticket::open(
            TicketId::from_uuid(Uuid::from_u128(1)),
            TenantId::default(),
            UserId::from_uuid(Uuid::from_u128(2)),
            Question {
                subject: "Where is my money?".to_owned(),
                description: String::new(),
                transaction: None,
            },
            OffsetDateTime::UNIX_EPOCH,
        )
    }

    fn answer(text: &str) -> Resolution {
        Resolution {
            text: text.to_owned(),
            operator: UserId::from_uuid(Uuid::from_u128(3)),
            resolved_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    /// An open ticket takes an answer, and each step is one version.
    #[test]
    fn an_open_ticket_is_resolved() {
        let ticket = open_ticket();
        assert_eq!((ticket.status(), ticket.version), (Status::Open, 1));
        let resolved = ticket
            .resolve(answer("It is on its way."))
            .expect("it was open");
        assert_eq!((resolved.status(), resolved.version), (Status::Resolved, 2));
    }

    /// The first answer is final.
    #[test]
    fn a_resolved_ticket_takes_no_second_answer() {
        let resolved = open_ticket().resolve(answer("Yes.")).expect("it was open");
        let ticket = resolved.id;
        assert_eq!(
            resolved.resolve(answer("No.")),
            Err(AlreadyResolved { ticket })
        );
    }
}

//! What can go wrong in admin, and what the caller is told of it.

use bursar_aip::id::TicketId;
use bursar_aip::idempotency;
use bursar_contracts::admin::v1::ErrorReason;
use bursar_server::database;
use bursar_status::StatusBuilder;
use tonic::{Code, Status};

use crate::domain::ticket::AlreadyResolved;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// No such ticket, or not one that the caller may see.
    #[error("there is no ticket {ticket}")]
    TicketNotFound {
        /// The ticket that was asked for.
        ticket: TicketId,
    },
    /// The ticket has its answer already.
    #[error(transparent)]
    TicketAlreadyResolved(#[from] AlreadyResolved),
    /// The idempotency key came before with another request.
    #[error("the idempotency key was used with another request")]
    KeyReused,
    /// The first request with the idempotency key still runs.
    #[error("the first request with the idempotency key still runs")]
    KeyInUse,
    /// A locked ticket changed under its lock.
    #[error("the ticket {ticket} changed while it was locked")]
    LockBroken {
        /// The ticket.
        ticket: TicketId,
    },
    /// The database did not do as it was told.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl AdminError {
    /// True when the same request would fail the same for good, so that a
    /// replay gets this answer again.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::TicketNotFound { .. } | Self::TicketAlreadyResolved(_) => true,
            Self::KeyReused | Self::KeyInUse | Self::LockBroken { .. } | Self::Database(_) => false,
        }
    }
}

impl From<AdminError> for Status {
    fn from(error: AdminError) -> Self {
        match &error {
            AdminError::TicketNotFound { ticket } => StatusBuilder::new(
                Code::NotFound,
                ErrorReason::TicketNotFound,
                error.to_string(),
            )
            .metadata("ticket_id", ticket.to_string())
            .into(),
            AdminError::TicketAlreadyResolved(AlreadyResolved { ticket }) => StatusBuilder::new(
                Code::FailedPrecondition,
                ErrorReason::TicketAlreadyResolved,
                error.to_string(),
            )
            .metadata("ticket_id", ticket.to_string())
            .precondition("STATUS", ticket.to_string(), "the ticket must be open")
            .into(),
            AdminError::KeyReused => idempotency::reused(),
            AdminError::KeyInUse => idempotency::in_use(),
            AdminError::LockBroken { .. } => {
                bursar_status::internal(bursar_contracts::r#type::v1::ErrorReason::Internal, &error)
            }
            AdminError::Database(cause) => database::status(cause),
        }
    }
}

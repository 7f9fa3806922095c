//! What can go wrong with a call about a bulk transfer, and what the caller is
//! told.

use std::time::Duration;

use bursar_aip::id::BulkTransferId;
use bursar_contracts::transaction::v1::ErrorReason;
use bursar_contracts::r#type::v1::ErrorReason as CommonReason;
use bursar_server::database;
use bursar_status::StatusBuilder;
use thiserror::Error;
use tonic::{Code, Status};

use crate::domain::limit::Exceeded;
use crate::domain::{Failure, StepError};
use crate::limits::{self, LimitError};

/// When to try again after something did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a call is not answered with what it asked for.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// A transfer from a wallet to itself.
    #[error("a wallet cannot transfer to itself")]
    SameWallet {
        /// The transfer's index.
        position: usize,
    },
    /// The currency is none that the platform knows.
    #[error("the currency is not supported")]
    CurrencyUnsupported {
        /// The transfer's index.
        position: usize,
    },
    /// A field is not what the contract says.
    #[error("{field} is missing or malformed")]
    FieldInvalid {
        /// The field's path.
        field: String,
    },
    /// Two transfers have the same key.
    #[error("transfers[{first}] has the same item key")]
    ItemKeyRepeated {
        /// The later transfer's index.
        position: usize,
        /// The earlier transfer's index.
        first: usize,
    },
    /// A transfer of an atomic bulk transfer was refused. Kept for the key's
    /// duplicates.
    #[error("a transfer was refused, so none was made")]
    Refused {
        /// The bulk transfer.
        bulk: BulkTransferId,
        /// The index of each refused transfer, and why.
        refused: Vec<(i32, Failure)>,
    },
    /// A transfer of an atomic bulk transfer would exceed a limit, so nothing was
    /// recorded. Kept for the key's duplicates.
    #[error("transfers[{position}]: {exceeded}")]
    LimitExceeded {
        /// The transfer's index.
        position: usize,
        /// The limit.
        exceeded: Box<Exceeded>,
    },
    /// Fraud screening refused it, or could not be done.
    #[error(transparent)]
    Screening(#[from] crate::error::Error),
    /// The limits are not known.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// No such bulk transfer, or not the caller's.
    #[error("no such bulk transfer")]
    NotFound,
    /// The ledger has not answered.
    #[error("the ledger does not answer now; the bulk transfer goes on by itself")]
    LedgerUnavailable {
        /// The bulk transfer.
        bulk: BulkTransferId,
    },
    /// Another run has taken the bulk transfer over.
    #[error("the bulk transfer is being worked on")]
    Superseded {
        /// The bulk transfer.
        bulk: BulkTransferId,
    },
    /// The rows of a bulk transfer contradict each other.
    #[error("the rows of {bulk} contradict each other")]
    Damaged {
        /// The bulk transfer.
        bulk: BulkTransferId,
    },
    /// As many watches are open as may be.
    #[error("as many watches are open as may be; try again later")]
    WatchersExceeded,
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The shell fed the state machine what cannot follow.
    #[error("the state machine was misled")]
    Step(#[from] StepError),
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::SameWallet { position } => at(
                ErrorReason::SameWallet,
                format!("transfers[{position}].to_wallet_id"),
                message,
            ),
            Error::CurrencyUnsupported { position } => at(
                CommonReason::CurrencyUnsupported,
                format!("transfers[{position}].amount.currency_code"),
                message,
            ),
            Error::FieldInvalid { field } => at(CommonReason::InvalidField, field, message),
            Error::ItemKeyRepeated { position, .. } => at(
                ErrorReason::ItemKeyRepeated,
                format!("transfers[{position}].item_key"),
                message,
            ),
            Error::Refused { bulk, refused } => refused
                .into_iter()
                .fold(
                    StatusBuilder::new(
                        Code::FailedPrecondition,
                        ErrorReason::BulkTransferRefused,
                        message,
                    )
                    .metadata("bulk_transfer_id", bulk.to_string()),
                    |builder, (position, failure)| {
                        builder.precondition(
                            failure.reason.name(),
                            format!("transfers[{position}]"),
                            failure.message,
                        )
                    },
                )
                .into(),
            Error::LimitExceeded { position, exceeded } => limits::told(&exceeded)
                .metadata("position", position.to_string())
                .into(),
            Error::Limit(error) => error.into(),
            Error::Screening(error) => error.into(),
            Error::NotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::BulkTransferNotFound, message)
                    .into()
            }
            Error::LedgerUnavailable { bulk } | Error::Superseded { bulk } => {
                StatusBuilder::new(Code::Unavailable, CommonReason::Unavailable, message)
                    .retry_after(RETRY_AFTER)
                    .metadata("bulk_transfer_id", bulk.to_string())
                    .into()
            }
            Error::WatchersExceeded => StatusBuilder::new(
                Code::ResourceExhausted,
                ErrorReason::WatchersExceeded,
                message,
            )
            .retry_after(RETRY_AFTER)
            .into(),
            Error::Damaged { .. } => bursar_status::internal(CommonReason::Internal, &error),
            Error::Database(error) => database::status(&error),
            Error::Step(error) => bursar_status::internal(CommonReason::Internal, &error),
        }
    }
}

/// A field at fault.
fn at(reason: impl bursar_status::Reason, field: String, message: String) -> Status {
    StatusBuilder::new(Code::InvalidArgument, reason, format!("{field}: {message}"))
        .field(field, message)
        .into()
}

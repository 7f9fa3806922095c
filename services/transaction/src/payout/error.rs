//! What can go wrong about payout accounts, and what the caller is told.

use bursar_contracts::transaction::v1::ErrorReason;
use bursar_contracts::r#type::v1::ErrorReason as CommonReason;
use bursar_seal::SealError;
use bursar_server::database;
use bursar_status::StatusBuilder;
use thiserror::Error;
use tonic::{Code, Status};

/// Why there is no payout account, or not this one.
#[derive(Debug, Error)]
pub(crate) enum PayoutError {
    /// No such account, or not the caller's, or archived where one is to be paid to.
    #[error("no such payout account")]
    NotFound,
    /// The account is at another provider, or has another currency; or the provider
    /// has none like that.
    #[error("{why}")]
    Mismatch {
        /// The field's path.
        field: &'static str,
        /// What does not fit.
        why: &'static str,
    },
    /// The bank knows no such account.
    #[error("the bank knows no such account")]
    NoSuchBankAccount,
    /// The user has as many accounts as may be.
    #[error("as many payout accounts are registered as may be")]
    Exceeded,
    /// What is sealed cannot be opened, because there is no key.
    #[error("there is no key-encryption key to open a payout account with")]
    KeyMissing,
    /// What is sealed cannot be opened.
    #[error("a payout account cannot be opened")]
    Sealed(#[from] SealError),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl From<PayoutError> for Status {
    fn from(error: PayoutError) -> Self {
        let message = error.to_string();
        match error {
            PayoutError::NotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::PayoutAccountNotFound, message)
                    .into()
            }
            PayoutError::Mismatch { field, .. } => StatusBuilder::new(
                Code::InvalidArgument,
                ErrorReason::PayoutAccountMismatch,
                &*message,
            )
            .field(field, message)
            .into(),
            PayoutError::NoSuchBankAccount => {
                let reason = ErrorReason::BankAccountNotFound;
                StatusBuilder::new(Code::FailedPrecondition, reason, &*message)
                    .precondition(
                        bursar_status::Reason::name(reason),
                        "account_number",
                        message,
                    )
                    .into()
            }
            PayoutError::Exceeded => StatusBuilder::new(
                Code::ResourceExhausted,
                ErrorReason::PayoutAccountsExceeded,
                message,
            )
            .into(),
            PayoutError::KeyMissing | PayoutError::Sealed(_) => {
                bursar_status::internal(CommonReason::Internal, &error)
            }
            PayoutError::Database(error) => database::status(&error),
        }
    }
}

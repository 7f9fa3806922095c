//! What can go wrong with a call about limits, and what the caller is told.

use std::time::Duration;

use bursar_contracts::transaction::v1::ErrorReason;
use bursar_contracts::r#type::v1::ErrorReason as CommonReason;
use bursar_server::database;
use bursar_status::StatusBuilder;
use thiserror::Error;
use tonic::{Code, Status};

/// When to try again after something did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// PostgreSQL's code for a lock that was not had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Why a call is not answered with what it asked for.
#[derive(Debug, Error)]
pub(super) enum RuleError {
    /// No such rule.
    #[error("no such limit rule")]
    NotFound,
    /// The rule's wallet is nobody's, or there is none.
    #[error("no user has such a wallet")]
    WalletNotFound,
    /// The rule's wallet has another currency.
    #[error("the wallet has another currency")]
    CurrencyMismatch,
    /// The currency is none that the platform knows.
    #[error("the currency is not supported")]
    CurrencyUnsupported,
    /// A field is not what the contract says.
    #[error("{problem}")]
    FieldInvalid {
        /// The field's path.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl From<RuleError> for Status {
    fn from(error: RuleError) -> Self {
        let message = error.to_string();
        let invalid = |field: &str, message: String| {
            StatusBuilder::new(Code::InvalidArgument, CommonReason::InvalidField, &*message)
                .field(field, message)
                .into()
        };
        match error {
            RuleError::NotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::LimitRuleNotFound, message).into()
            }
            RuleError::WalletNotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::WalletNotFound, message).into()
            }
            RuleError::CurrencyMismatch => StatusBuilder::new(
                Code::InvalidArgument,
                ErrorReason::CurrencyMismatch,
                &*message,
            )
            .field("currency_code", message)
            .into(),
            RuleError::CurrencyUnsupported => StatusBuilder::new(
                Code::InvalidArgument,
                CommonReason::CurrencyUnsupported,
                &*message,
            )
            .field("currency_code", message)
            .into(),
            RuleError::FieldInvalid { field, .. } => invalid(field, message),
            // Somebody reads the rules for long, such as a backup.
            RuleError::Database(error) if is_busy(&error) => {
                let message = "the rules are being read; try again";
                StatusBuilder::new(Code::Unavailable, CommonReason::Unavailable, message)
                    .retry_after(RETRY_AFTER)
                    .into()
            }
            RuleError::Database(error) => database::status(&error),
        }
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}

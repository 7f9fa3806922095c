//! What can go wrong, and what its callers are told.

use std::time::Duration;

use bursar_aip::idempotency;
use bursar_aip::page::PageTokenInvalid;
use bursar_contracts::r#type::v1::ErrorReason as CommonReason;
use bursar_contracts::wallet::v1::ErrorReason;
use bursar_server::database;
use bursar_status::StatusBuilder;
use tonic::{Code, Status};

/// How long a caller should wait when the ledger's queue is full. The queue
/// empties in a fraction of it.
const OVERLOADED_RETRY_AFTER: Duration = Duration::from_millis(200);
/// How long a caller should wait when the database could not be reached.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a call failed. Refused postings are not among these: they are answers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such wallet, or the caller may not know of it.
    #[error("no such wallet")]
    WalletNotFound,
    /// The user owns as many wallets as one user may.
    #[error("the user owns {limit} wallets, which is as many as one may")]
    WalletLimitReached {
        /// How many that is.
        limit: u32,
    },
    /// The currency is none that the platform knows.
    #[error("not an active ISO 4217 currency code")]
    CurrencyUnsupported {
        /// The path of the field that names it.
        field: String,
    },
    /// The page token is malformed or belongs to another list.
    #[error(transparent)]
    PageToken(#[from] PageTokenInvalid),
    /// The idempotency key was used with another request.
    #[error("the idempotency key was used with another request")]
    KeyReused,
    /// The first request with the idempotency key still runs.
    #[error("the first request with the idempotency key still runs")]
    KeyInUse,
    /// The ledger's queue has no room for the call.
    #[error("the ledger has as many postings as it can take")]
    LedgerOverloaded,
    /// The call's deadline passed before the ledger came to it; nothing of it
    /// was applied.
    #[error("the deadline passed before the postings were applied")]
    LedgerTooLate,
    /// The database could not be reached or would not commit, several times
    /// over. The postings may be in the ledger: only posting them again tells.
    #[error("the ledger's database cannot serve the call now")]
    LedgerUnavailable,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::WalletNotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::WalletNotFound, message).into()
            }
            Error::WalletLimitReached { limit } => StatusBuilder::new(
                Code::ResourceExhausted,
                ErrorReason::WalletLimitReached,
                message.clone(),
            )
            .metadata("limit", limit.to_string())
            .quota("wallets of the user", message)
            .into(),
            Error::CurrencyUnsupported { field } => StatusBuilder::new(
                Code::InvalidArgument,
                CommonReason::CurrencyUnsupported,
                format!("{field}: {message}"),
            )
            .field(field, message)
            .into(),
            Error::PageToken(error) => error.into(),
            Error::KeyReused => idempotency::reused(),
            Error::KeyInUse => idempotency::in_use(),
            Error::LedgerOverloaded => {
                StatusBuilder::new(Code::ResourceExhausted, CommonReason::Overloaded, message)
                    .retry_after(OVERLOADED_RETRY_AFTER)
                    .into()
            }
            Error::LedgerTooLate => StatusBuilder::new(
                Code::DeadlineExceeded,
                CommonReason::DeadlineExceeded,
                message,
            )
            .retry_after(OVERLOADED_RETRY_AFTER)
            .into(),
            Error::LedgerUnavailable => {
                StatusBuilder::new(Code::Unavailable, CommonReason::Unavailable, message)
                    .retry_after(UNAVAILABLE_RETRY_AFTER)
                    .into()
            }
            Error::Database(error) => database::status(&error),
        }
    }
}

//! What can go wrong, and what its callers are told.

mod bonus;
mod proof;
mod provider_account;
mod refusal;

use std::time::Duration;

use bursar_aip::id::WalletId;
use bursar_aip::idempotency;
use bursar_aip::page::PageTokenInvalid;
use bursar_contracts::r#type::v1::ErrorReason as CommonReason;
use bursar_contracts::wallet::v1::ErrorReason;
use bursar_server::database;
use bursar_status::{Reason, StatusBuilder};
use tonic::{Code, Status};

use crate::domain::drift::RebuildId;
use crate::domain::posting::RejectionReason;

pub use bonus::BonusError;
pub use proof::ProofError;
pub use provider_account::ProviderAccountError;

/// How long a caller should wait when the ledger's queue is full. The queue
/// empties in a fraction of it.
const OVERLOADED_RETRY_AFTER: Duration = Duration::from_millis(200);
/// How long a caller should wait when the database could not be reached.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a caller should wait when others were quicker again and again.
const CONTENDED_RETRY_AFTER: Duration = Duration::from_millis(100);

/// Why a call failed. To `PostBatch` refused postings are none of these: there
/// they are answers.
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
    /// The ledger refused the posting of one of wallet's own operations.
    #[error("the posting was refused: {reason:?}")]
    Rejected {
        /// Why.
        reason: RejectionReason,
        /// The wallet at fault, if one is.
        wallet: Option<WalletId>,
    },
    /// There is no such hold, or the caller may not know of it.
    #[error("no such hold")]
    HoldNotFound,
    /// More was to be captured than remains of the hold.
    #[error("only {remaining} minor units remain of the hold")]
    CaptureExceedsHold {
        /// What remains, in minor units.
        remaining: i64,
    },
    /// The hold changed between reading and posting, as often as it was tried.
    #[error("the hold changed again and again")]
    HoldContended,
    /// The wallet is frozen.
    #[error("the wallet is frozen")]
    WalletFrozen {
        /// The wallet.
        wallet: WalletId,
    },
    /// The wallet is closed.
    #[error("the wallet is closed")]
    WalletClosed {
        /// The wallet.
        wallet: WalletId,
    },
    /// The wallet has money, or owes some.
    #[error("the wallet is not empty")]
    WalletNotEmpty {
        /// The wallet.
        wallet: WalletId,
    },
    /// The wallet is one of the platform's own, which nobody freezes or closes.
    #[error("the wallet is one of the platform's own")]
    SystemWallet {
        /// The wallet.
        wallet: WalletId,
    },
    /// The wallet owes more than the credit limit would be.
    #[error("the wallet owes more than that")]
    CreditLimitInUse {
        /// The wallet.
        wallet: WalletId,
        /// Its available balance in minor units, below zero.
        available: i64,
    },
    /// The call about bonus money failed.
    #[error(transparent)]
    Bonus(#[from] BonusError),
    /// The call about the ledger's proof failed.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The call about an account at a provider failed.
    #[error(transparent)]
    ProviderAccount(#[from] ProviderAccountError),
    /// A field is not what it must be at this time.
    #[error("{field}: {description}")]
    FieldInvalid {
        /// Its path.
        field: &'static str,
        /// What is wrong with it.
        description: &'static str,
    },
    /// The statement has more entries than a file may have.
    #[error("the statement has {entries} entries; a file has at most {limit}")]
    StatementTooLong {
        /// How many it has, or some number above the limit.
        entries: i64,
        /// How many it may have.
        limit: i64,
    },
    /// There is no such rebuild.
    #[error("no such rebuild")]
    RebuildNotFound,
    /// All wallets are being rebuilt already.
    #[error("all wallets are being rebuilt already")]
    RebuildInProgress {
        /// By which rebuild.
        rebuild: Option<RebuildId>,
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
    /// The wallet has not come to the version that was asked for.
    #[error("the wallet is at version {version}")]
    WalletVersionNotReached {
        /// The version it has.
        version: i64,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Error {
    /// Whether this is an answer for good, which the duplicates of a call with
    /// an idempotency key get again. All else may go otherwise the next time.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Rejected { reason, .. } => refusal::is_definite(*reason),
            Self::Bonus(error) => error.is_refusal(),
            Self::ProviderAccount(error) => error.is_refusal(),
            Self::WalletNotFound
            | Self::WalletLimitReached { .. }
            | Self::HoldNotFound
            | Self::CaptureExceedsHold { .. }
            | Self::WalletFrozen { .. }
            | Self::WalletClosed { .. }
            | Self::WalletNotEmpty { .. }
            | Self::SystemWallet { .. }
            | Self::CreditLimitInUse { .. }
            | Self::StatementTooLong { .. }
            | Self::RebuildNotFound
            | Self::CurrencyUnsupported { .. } => true,
            Self::HoldContended
            | Self::WalletVersionNotReached { .. }
            | Self::Proof(_)
            | Self::FieldInvalid { .. }
            | Self::RebuildInProgress { .. }
            | Self::PageToken(_)
            | Self::KeyReused
            | Self::KeyInUse
            | Self::LedgerOverloaded
            | Self::LedgerTooLate
            | Self::LedgerUnavailable
            | Self::Database(_) => false,
        }
    }
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
            Error::Rejected { reason, wallet } => refusal::status(reason, wallet),
            Error::HoldNotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::HoldNotFound, message).into()
            }
            Error::CaptureExceedsHold { remaining } => {
                unmet(ErrorReason::CaptureExceedsHold, message, "hold")
                    .metadata("remaining_minor", remaining.to_string())
                    .into()
            }
            Error::HoldContended => refusal::contended(),
            Error::WalletVersionNotReached { version } => {
                unmet(ErrorReason::WalletVersionNotReached, message, "wallet")
                    .metadata("version", version.to_string())
                    .into()
            }
            Error::WalletFrozen { wallet } => {
                of_wallet(ErrorReason::WalletFrozen, message, wallet).into()
            }
            Error::WalletClosed { wallet } => {
                of_wallet(ErrorReason::WalletClosed, message, wallet).into()
            }
            Error::WalletNotEmpty { wallet } => {
                of_wallet(ErrorReason::WalletNotEmpty, message, wallet).into()
            }
            Error::SystemWallet { wallet } => {
                of_wallet(ErrorReason::SystemWallet, message, wallet).into()
            }
            Error::CreditLimitInUse { wallet, available } => {
                of_wallet(ErrorReason::CreditLimitInUse, message, wallet)
                    .metadata("available_minor", available.to_string())
                    .into()
            }
            Error::Bonus(error) => error.into(),
            Error::Proof(error) => error.into(),
            Error::ProviderAccount(error) => error.into(),
            Error::FieldInvalid { field, description } => {
                StatusBuilder::new(Code::InvalidArgument, CommonReason::InvalidField, message)
                    .field(field, description)
                    .into()
            }
            Error::StatementTooLong { entries, limit } => {
                unmet(ErrorReason::StatementTooLong, message, "statement")
                    .metadata("entries", entries.to_string())
                    .metadata("limit", limit.to_string())
                    .into()
            }
            Error::RebuildNotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::RebuildNotFound, message).into()
            }
            Error::RebuildInProgress { rebuild } => {
                let rebuild = rebuild.map(|id| id.to_string()).unwrap_or_default();
                unmet(ErrorReason::RebuildInProgress, message, "projections")
                    .metadata("rebuild_id", rebuild)
                    .into()
            }
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

/// A state that does not allow what was asked for.
fn unmet(reason: ErrorReason, message: String, subject: &str) -> StatusBuilder {
    StatusBuilder::new(Code::FailedPrecondition, reason, message.clone()).precondition(
        reason.name(),
        subject,
        message,
    )
}

/// The same of a wallet.
fn of_wallet(reason: ErrorReason, message: String, wallet: WalletId) -> StatusBuilder {
    let wallet = wallet.to_string();
    unmet(reason, message, &wallet).metadata("wallet_id", wallet.clone())
}

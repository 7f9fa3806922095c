//! What can go wrong with a call, and what the caller is told.

use std::time::Duration;

use bursar_aip::id::TransactionId;
use bursar_contracts::transaction::v1::ErrorReason;
use bursar_contracts::r#type::v1::ErrorReason as CommonReason;
use bursar_server::database;
use bursar_status::StatusBuilder;
use thiserror::Error;
use tonic::{Code, Status};

use crate::domain::{
    Failure, FailureReason, RefundError, Refusal, RefusalReason, ResolveError, StepError,
    Transaction,
};
use crate::limits::{self, LimitError};
use crate::payout::PayoutError;
use crate::pricing::PricingError;
use crate::provider::Unavailable;

/// When to try again after something did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a call is not answered with what it asked for.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The transaction was recorded and failed. Kept for the key's duplicates.
    #[error("{}", failure.message)]
    Failed {
        /// The transaction.
        transaction: TransactionId,
        /// Why.
        failure: Failure,
        /// The provider's word for why it refused.
        decline_code: Option<String>,
    },
    /// Refused before anything was recorded.
    #[error("{}", .0.failure().message)]
    Refused(Refusal),
    /// No such wallet, or not the caller's.
    #[error("no such wallet")]
    WalletNotFound,
    /// A transfer from a wallet to itself.
    #[error("a wallet cannot transfer to itself")]
    SameWallet,
    /// The currency is none that the platform knows.
    #[error("the currency is not supported")]
    CurrencyUnsupported,
    /// The same where another field than the amount names it.
    #[error("the currency is not supported")]
    CurrencyUnknown {
        /// The field's path.
        field: &'static str,
    },
    /// There is no price.
    #[error(transparent)]
    Pricing(#[from] PricingError),
    /// A field is not what the contract says.
    #[error("{field} is missing or malformed")]
    FieldInvalid {
        /// The field's path.
        field: &'static str,
    },
    /// No provider of that name is configured.
    #[error("no such payment provider")]
    ProviderUnknown,
    /// No provider is there for such a movement, at all or now.
    #[error(transparent)]
    ProviderUnavailable(#[from] Unavailable),
    /// No such transaction, or not the caller's.
    #[error("no such transaction")]
    TransactionNotFound,
    /// The wallet has no part in the transaction that its adjustment names.
    #[error("the wallet has no part in the transaction that is to be corrected")]
    CorrectionUnrelated,
    /// The wallet that an operator is to move money of is the operator's own.
    #[error("nobody adjusts a wallet of one's own, or grants anything to it")]
    WalletOwn {
        /// The permission that does not reach so far.
        permission: &'static str,
    },
    /// There is no payout account, or not this one.
    #[error(transparent)]
    Payout(#[from] PayoutError),
    /// There is no refund.
    #[error(transparent)]
    Refund(#[from] RefundError),
    /// Fraud screening refused it before anything was recorded. Which rule did is
    /// nobody's business.
    #[error("the transaction cannot be carried out")]
    FraudDenied,
    /// What fraud screening would say of it is not known.
    #[error("the fraud rules cannot be read now")]
    FraudUnread(#[source] sqlx::Error),
    /// A limit of the user's would be exceeded, or the limits cannot be read.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// Fraud screening wants a person to decide about transfers of a bulk transfer.
    #[error("a transfer needs a person; send it by itself, and the others without it")]
    FraudReviewNeeded {
        /// Their indices.
        positions: Vec<usize>,
    },
    /// An operator's decision is not taken in.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The service works on the transaction at this moment.
    #[error("the transaction is being worked on at this moment; try again")]
    Busy {
        /// The transaction.
        transaction: TransactionId,
    },
    /// The ledger has not answered.
    #[error("the ledger does not answer now")]
    LedgerUnavailable {
        /// The transaction that waits for it, when one is recorded.
        transaction: Option<TransactionId>,
    },
    /// Another run has taken the transaction over.
    #[error("the transaction is being worked on")]
    Superseded {
        /// The transaction.
        transaction: TransactionId,
    },
    /// The row of a transaction is not what its events make it.
    #[error("the row of {transaction} is not what its events make it")]
    Damaged {
        /// The transaction.
        transaction: TransactionId,
    },
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The shell fed the state machine what cannot follow.
    #[error("the state machine was misled")]
    Step(#[from] StepError),
}

impl Error {
    /// Whether the answer is kept for the key's duplicates, although nothing was
    /// recorded: the same call can never go better.
    pub(crate) fn is_kept(&self) -> bool {
        match self {
            Self::Refund(_)
            | Self::FraudDenied
            | Self::FraudReviewNeeded { .. }
            | Self::Limit(LimitError::Exceeded(_)) => true,
            Self::Pricing(error) => error.is_kept(),
            _ => false,
        }
    }

    /// The error of a transaction that failed; `None` for any other.
    pub(crate) fn of_failed(transaction: &Transaction) -> Option<Self> {
        Some(Self::Failed {
            transaction: transaction.id,
            failure: transaction.failure.clone()?,
            decline_code: transaction.decline_code.clone(),
        })
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Failed {
                transaction,
                failure,
                decline_code,
            } => {
                let subject = transaction.to_string();
                let builder = failed(failure.reason, message, &subject);
                let builder = match decline_code {
                    Some(code) => builder.metadata("decline_code", code),
                    None => builder,
                };
                builder.metadata("transaction_id", subject).into()
            }
            Error::Refused(refusal) => {
                failed(FailureReason::Refused(refusal.reason), message, "wallet_id").into()
            }
            Error::WalletNotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::WalletNotFound, message).into()
            }
            Error::SameWallet => {
                StatusBuilder::new(Code::InvalidArgument, ErrorReason::SameWallet, &*message)
                    .field("to_wallet_id", message)
                    .into()
            }
            Error::CurrencyUnsupported => unsupported("amount.currency_code", message),
            Error::CurrencyUnknown { field } => unsupported(field, message),
            Error::Pricing(error) => error.into(),
            Error::FieldInvalid { field } => {
                StatusBuilder::new(Code::InvalidArgument, CommonReason::InvalidField, &*message)
                    .field(field, message)
                    .into()
            }
            Error::ProviderUnknown => StatusBuilder::new(
                Code::InvalidArgument,
                ErrorReason::ProviderUnknown,
                &*message,
            )
            .field("provider", message)
            .into(),
            Error::ProviderUnavailable(cause) => provider_unavailable(cause, message),
            Error::FraudDenied => {
                precondition(ErrorReason::FraudDenied, message, "transaction").into()
            }
            Error::FraudUnread(cause) => {
                tracing::error!(error = %cause, "the fraud rules cannot be read, so nothing is moved");
                StatusBuilder::new(
                    Code::Unavailable,
                    ErrorReason::FraudRulesUnreadable,
                    message,
                )
                .retry_after(RETRY_AFTER)
                .into()
            }
            Error::FraudReviewNeeded { positions } => {
                let positions: Vec<String> = positions.iter().map(usize::to_string).collect();
                precondition(ErrorReason::FraudReviewNeeded, message, "transfers")
                    .metadata("positions", positions.join(","))
                    .into()
            }
            Error::TransactionNotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::TransactionNotFound, message).into()
            }
            Error::CorrectionUnrelated => {
                let subject = "corrected_transaction_id";
                precondition(ErrorReason::CorrectionUnrelated, message, subject).into()
            }
            Error::WalletOwn { permission } => {
                let reason = CommonReason::PermissionDenied;
                StatusBuilder::new(Code::PermissionDenied, reason, message)
                    .metadata("permission", permission)
                    .into()
            }
            Error::Payout(error) => error.into(),
            Error::Refund(error) => no_refund(&error, message),
            Error::Limit(error) => error.into(),
            Error::Resolve(error) => not_resolved(error, message),
            Error::Busy { transaction } => {
                StatusBuilder::new(Code::Aborted, ErrorReason::TransactionBusy, message)
                    .metadata("transaction_id", transaction.to_string())
                    .retry_after(RETRY_AFTER)
                    .into()
            }
            Error::LedgerUnavailable { transaction } => unavailable(message, transaction),
            Error::Superseded { transaction } => unavailable(message, Some(transaction)),
            Error::Damaged { .. } => bursar_status::internal(CommonReason::Internal, &error),
            Error::Database(error) => database::status(&error),
            Error::Step(error) => bursar_status::internal(CommonReason::Internal, &error),
        }
    }
}

fn unsupported(field: &'static str, message: String) -> Status {
    let reason = CommonReason::CurrencyUnsupported;
    StatusBuilder::new(Code::InvalidArgument, reason, &*message)
        .field(field, message)
        .into()
}

/// Bad health passes, so the same call may be made again; for everything else
/// another amount, currency or provider is needed.
fn provider_unavailable(cause: Unavailable, message: String) -> Status {
    let reason = ErrorReason::ProviderUnavailable;
    let builder = match cause {
        Unavailable::Health => {
            StatusBuilder::new(Code::Unavailable, reason, message).retry_after(RETRY_AFTER)
        }
        Unavailable::PaymentMethodRequired => {
            return wrong_method(ErrorReason::PaymentMethodRequired, message);
        }
        Unavailable::PaymentMethodNotTaken => {
            return wrong_method(ErrorReason::PaymentMethodNotTaken, message);
        }
        Unavailable::PayoutAccountRequired => {
            return wrong_account(ErrorReason::PayoutAccountRequired, message);
        }
        Unavailable::PayoutAccountNotTaken => {
            return wrong_account(ErrorReason::PayoutAccountMismatch, message);
        }
        Unavailable::NoneConfigured
        | Unavailable::Direction
        | Unavailable::Currency
        | Unavailable::Amount => StatusBuilder::new(Code::FailedPrecondition, reason, &*message)
            .precondition(bursar_status::Reason::name(reason), "provider", message),
    };
    builder.metadata("cause", cause.name()).into()
}

fn wrong_method(reason: ErrorReason, message: String) -> Status {
    StatusBuilder::new(Code::InvalidArgument, reason, &*message)
        .field("payment_method", message)
        .into()
}

fn wrong_account(reason: ErrorReason, message: String) -> Status {
    StatusBuilder::new(Code::InvalidArgument, reason, &*message)
        .field("payout_account_id", message)
        .into()
}

/// What is to be fulfilled before the call can do anything.
fn precondition(reason: ErrorReason, message: String, subject: &str) -> StatusBuilder {
    StatusBuilder::new(Code::FailedPrecondition, reason, &*message).precondition(
        bursar_status::Reason::name(reason),
        subject,
        message,
    )
}

fn no_refund(error: &RefundError, message: String) -> Status {
    let subject = "transaction_id";
    match error {
        RefundError::NotFound => {
            StatusBuilder::new(Code::NotFound, ErrorReason::TransactionNotFound, message).into()
        }
        RefundError::NotPermitted => StatusBuilder::new(
            Code::PermissionDenied,
            ErrorReason::RefundNotPermitted,
            message,
        )
        .into(),
        RefundError::NotRefundable | RefundError::Converted => {
            precondition(ErrorReason::NotRefundable, message, subject).into()
        }
        RefundError::NotCompleted => {
            precondition(ErrorReason::TransactionNotCompleted, message, subject).into()
        }
        RefundError::CurrencyMismatch => StatusBuilder::new(
            Code::InvalidArgument,
            ErrorReason::CurrencyMismatch,
            &*message,
        )
        .field("amount.currency_code", message)
        .into(),
        RefundError::Exceeds { left_minor } => {
            precondition(ErrorReason::RefundExceedsOriginal, message, subject)
                .metadata("left_minor", left_minor.to_string())
                .into()
        }
    }
}

fn not_resolved(error: ResolveError, message: String) -> Status {
    let subject = "transaction_id";
    match error {
        ResolveError::NotInReview { .. } => {
            precondition(ErrorReason::NotInReview, message, subject).into()
        }
        ResolveError::NotAllowed { .. } | ResolveError::TooEarly => {
            precondition(ErrorReason::ResolutionNotAllowed, message, subject).into()
        }
        ResolveError::Screened => precondition(ErrorReason::FraudCaseOpen, message, subject).into(),
        ResolveError::Step(error) => bursar_status::internal(CommonReason::Internal, &error),
    }
}

fn unavailable(message: String, transaction: Option<TransactionId>) -> Status {
    let builder = StatusBuilder::new(Code::Unavailable, CommonReason::Unavailable, message)
        .retry_after(RETRY_AFTER);
    match transaction {
        Some(transaction) => builder
            .metadata("transaction_id", transaction.to_string())
            .into(),
        None => builder.into(),
    }
}

/// The form of a failure, whether or not a transaction was recorded for it.
fn failed(reason: FailureReason, message: String, subject: &str) -> StatusBuilder {
    let precondition = |reason, message| precondition(reason, message, subject);
    match reason {
        FailureReason::Refused(RefusalReason::WalletNotFound) => {
            StatusBuilder::new(Code::NotFound, ErrorReason::WalletNotFound, message)
        }
        FailureReason::Refused(RefusalReason::CurrencyMismatch) => StatusBuilder::new(
            Code::InvalidArgument,
            ErrorReason::CurrencyMismatch,
            &*message,
        )
        .field("amount.currency_code", message),
        FailureReason::Refused(RefusalReason::InsufficientFunds) => {
            precondition(ErrorReason::InsufficientFunds, message)
        }
        FailureReason::Refused(RefusalReason::WalletFrozen) => {
            precondition(ErrorReason::WalletFrozen, message)
        }
        FailureReason::Refused(RefusalReason::WalletClosed) => {
            precondition(ErrorReason::WalletClosed, message)
        }
        FailureReason::Refused(RefusalReason::BalanceOverflow) => {
            precondition(ErrorReason::BalanceOverflow, message)
        }
        FailureReason::Refused(RefusalReason::SingleLimitExceeded) => {
            precondition(ErrorReason::SingleLimitExceeded, message)
        }
        FailureReason::Refused(RefusalReason::DailyLimitExceeded) => {
            precondition(ErrorReason::DailyLimitExceeded, message)
        }
        FailureReason::Refused(RefusalReason::MonthlyLimitExceeded) => {
            precondition(ErrorReason::MonthlyLimitExceeded, message)
        }
        FailureReason::Refused(RefusalReason::BonusCampaignNotFound) => {
            StatusBuilder::new(Code::NotFound, ErrorReason::BonusCampaignNotFound, message)
        }
        FailureReason::Refused(RefusalReason::BonusCampaignNotActive) => {
            precondition(ErrorReason::BonusCampaignNotActive, message)
        }
        FailureReason::Refused(RefusalReason::BonusCapExceeded) => {
            precondition(ErrorReason::BonusCapExceeded, message)
        }
        FailureReason::Refused(RefusalReason::BonusBudgetExhausted) => {
            precondition(ErrorReason::BonusBudgetExhausted, message)
        }
        FailureReason::ProviderDeclined => precondition(ErrorReason::ProviderDeclined, message),
        FailureReason::ProviderNeverReceived => {
            precondition(ErrorReason::ProviderNeverReceived, message)
        }
        FailureReason::ResolvedAsFailed => precondition(ErrorReason::ResolvedAsFailed, message),
        FailureReason::FraudRejected => precondition(ErrorReason::FraudRejected, message),
        FailureReason::LimitExceeded(kind) => precondition(limits::reason(kind), message),
    }
}

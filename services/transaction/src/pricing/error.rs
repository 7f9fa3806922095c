//! Why there is no price, and what the caller is told.

use bursar_contracts::transaction::v1::ErrorReason;
use bursar_contracts::r#type::v1::ErrorReason as CommonReason;
use bursar_status::{Reason, StatusBuilder};
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tonic::{Code, Status};

use crate::domain::{ConvertError, FeeRuleInvalid, QuoteError};

/// Why there is no price.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum PricingError {
    /// The quote cannot be used.
    #[error(transparent)]
    Quote(#[from] QuoteError),
    /// With its fee it is more than the ledger moves at once.
    #[error("with its fee the amount is more than can be moved at once")]
    AmountTooLarge,
    /// The amount cannot be converted.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// There is no rate for the pair of currencies.
    #[error("there is no exchange rate for these currencies")]
    RateNotFound,
    /// The rate is too old.
    #[error("the exchange rate is too old to be used")]
    RateStale {
        /// When it was so.
        observed_at: OffsetDateTime,
    },
    /// No such rule.
    #[error("no such fee rule")]
    RuleNotFound,
    /// The rule makes no sense.
    #[error(transparent)]
    RuleInvalid(#[from] FeeRuleInvalid),
}

impl PricingError {
    /// Whether the answer is kept for the key's duplicates: what is wrong with a
    /// quote stays wrong.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self, Self::Quote(_))
    }
}

impl From<PricingError> for Status {
    fn from(error: PricingError) -> Self {
        let message = error.to_string();
        match error {
            PricingError::Quote(QuoteError::NotFound) => {
                StatusBuilder::new(Code::NotFound, ErrorReason::QuoteNotFound, message).into()
            }
            PricingError::Quote(QuoteError::Expired) => {
                precondition(ErrorReason::QuoteExpired, message, "quote_id").into()
            }
            PricingError::Quote(QuoteError::Used) => {
                precondition(ErrorReason::QuoteUsed, message, "quote_id").into()
            }
            PricingError::Quote(QuoteError::Mismatch { field }) => {
                let reason = ErrorReason::QuoteMismatch;
                StatusBuilder::new(Code::InvalidArgument, reason, &*message)
                    .field(field, message)
                    .into()
            }
            PricingError::AmountTooLarge | PricingError::Convert(_) => {
                invalid("amount.minor_units", message)
            }
            PricingError::RateNotFound => {
                precondition(ErrorReason::FxRateNotFound, message, "to_currency_code").into()
            }
            PricingError::RateStale { observed_at } => {
                let observed_at = observed_at.format(&Rfc3339).unwrap_or_default();
                precondition(ErrorReason::FxRateStale, message, "to_currency_code")
                    .metadata("observed_at", observed_at)
                    .into()
            }
            PricingError::RuleNotFound => {
                StatusBuilder::new(Code::NotFound, ErrorReason::FeeRuleNotFound, message).into()
            }
            PricingError::RuleInvalid(cause) => invalid(cause.field(), message),
        }
    }
}

fn invalid(field: &'static str, message: String) -> Status {
    StatusBuilder::new(Code::InvalidArgument, CommonReason::InvalidField, &*message)
        .field(field, message)
        .into()
}

fn precondition(reason: ErrorReason, message: String, subject: &str) -> StatusBuilder {
    StatusBuilder::new(Code::FailedPrecondition, reason, &*message).precondition(
        Reason::name(reason),
        subject,
        message,
    )
}

//! What can go wrong about accounts at providers.

use bursar_aip::id::ProviderAccountId;
use bursar_contracts::r#type::v1::ErrorReason as CommonReason;
use bursar_contracts::wallet::v1::ErrorReason;
use bursar_money::Currency;
use bursar_seal::SealError;
use bursar_status::{StatusBuilder, internal};
use tonic::{Code, Status};

use super::unmet;
use crate::domain::provider_account::ProviderName;

/// Why a call about an account at a provider failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderAccountError {
    /// The deployment opens no accounts, or has no longer the key to read them.
    #[error("accounts at providers are not configured on this deployment")]
    Disabled,
    /// There is no such account, or the caller may not know of it.
    #[error("no such account at a provider")]
    NotFound,
    /// The wallet has an account at the provider, or one is being opened.
    #[error("the wallet has an account at the provider already")]
    Exists {
        /// Which; `None` when it failed just now.
        existing: Option<ProviderAccountId>,
    },
    /// The provider has no accounts in the wallet's currency.
    #[error("{} has no accounts in {}", provider.name(), currency.code())]
    CurrencyUnsupported {
        /// The provider.
        provider: ProviderName,
        /// The wallet's currency.
        currency: Currency,
    },
    /// The provider needs more of the holder than was given.
    #[error("needed by {}", provider.name())]
    HolderIncomplete {
        /// The provider.
        provider: ProviderName,
        /// The paths of the fields.
        fields: Vec<&'static str>,
    },
    /// The date of birth is no day that has been.
    #[error("must be a day in the past")]
    DateOfBirthInvalid,
    /// What is stored cannot be decrypted.
    #[error("an account's number cannot be decrypted")]
    Unreadable(#[from] SealError),
}

impl ProviderAccountError {
    /// Whether it is an answer for good.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Exists { existing } => existing.is_some(),
            Self::NotFound
            | Self::CurrencyUnsupported { .. }
            | Self::HolderIncomplete { .. }
            | Self::DateOfBirthInvalid => true,
            Self::Disabled | Self::Unreadable(_) => false,
        }
    }
}

impl From<ProviderAccountError> for Status {
    fn from(error: ProviderAccountError) -> Self {
        let message = error.to_string();
        match error {
            ProviderAccountError::Disabled => unmet(
                ErrorReason::ProviderAccountsDisabled,
                message,
                "provider accounts",
            )
            .into(),
            ProviderAccountError::NotFound => StatusBuilder::new(
                Code::NotFound,
                ErrorReason::ProviderAccountNotFound,
                message,
            )
            .into(),
            ProviderAccountError::Exists { existing } => {
                let existing = existing.map(|id| id.to_string()).unwrap_or_default();
                let reason = ErrorReason::ProviderAccountExists;
                StatusBuilder::new(Code::AlreadyExists, reason, message)
                    .metadata("provider_account_id", existing)
                    .into()
            }
            ProviderAccountError::CurrencyUnsupported { provider, currency } => {
                unmet(ErrorReason::ProviderCurrencyUnsupported, message, "wallet")
                    .metadata("provider", provider.name())
                    .metadata("currency_code", currency.code())
                    .into()
            }
            ProviderAccountError::HolderIncomplete { fields, .. } => {
                fields_invalid(&fields, &message)
            }
            ProviderAccountError::DateOfBirthInvalid => {
                fields_invalid(&["account_holder.date_of_birth"], &message)
            }
            ProviderAccountError::Unreadable(error) => internal(CommonReason::Internal, &error),
        }
    }
}

/// The same of a request that validation refuses.
fn fields_invalid(fields: &[&str], message: &str) -> Status {
    let named = StatusBuilder::new(
        Code::InvalidArgument,
        CommonReason::InvalidField,
        format!("{}: {message}", fields.join(", ")),
    );
    fields
        .iter()
        .fold(named, |named, field| named.field(*field, message))
        .into()
}

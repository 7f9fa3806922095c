//! Providers of accounts: third parties that open a virtual account number for
//! a wallet.
//!
//! What a provider answers is sorted into what is certain and what is not; what
//! follows from it is decided by [`crate::domain::provider_account`] and done by
//! [`crate::jobs::provider_accounts`]. A provider opens at most one account for a
//! reference, or can be asked whether it did.

mod holder;
mod http;
pub mod providus;
pub mod sandbox;
mod settings;
mod vault;

use async_trait::async_trait;
use bursar_aip::id::{ProviderAccountId, WalletId};
use bursar_money::Currency;
use serde::{Deserialize, Serialize};

use crate::domain::provider_account::{ProviderName, Terms};

pub use holder::{AccountHolder, HolderField};
pub use settings::ProviderSettings;
pub use vault::Vault;

/// What a provider is asked to open, or asked about.
#[derive(Debug)]
pub struct OpenAccount {
    /// Our name for it.
    pub reference: ProviderAccountId,
    /// The wallet that it is for.
    pub wallet: WalletId,
    /// Its currency.
    pub currency: Currency,
    /// Who holds it.
    pub holder: AccountHolder,
}

/// An account that a provider opened.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedAccount {
    /// Its number.
    pub number: String,
    /// The name that it has at the bank.
    pub name: String,
    /// The bank's name.
    pub bank_name: String,
    /// The bank's code; empty when none was told.
    pub bank_code: String,
}

/// Number and name are personal, so they are not shown.
impl std::fmt::Debug for OpenedAccount {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("OpenedAccount")
            .field("bank_name", &self.bank_name)
            .finish_non_exhaustive()
    }
}

/// Why a provider did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It will not open the account: final.
    #[error("the provider declined: {code}")]
    Declined {
        /// Its code.
        code: String,
    },
    /// It has an account for this holder, which belongs to something else: final.
    #[error("the provider has an account for this holder that is not ours")]
    AlreadyRegistered,
    /// The request was not sent, or was turned away unread.
    #[error("the provider cannot be had: {cause}")]
    Unavailable {
        /// What is in the way.
        cause: String,
    },
    /// The request may have arrived, and the answer did not.
    #[error("what the provider did is unknown: {cause}")]
    Unknown {
        /// What became of the answer.
        cause: String,
    },
}

/// Someone who opens accounts.
#[async_trait]
pub trait AccountProvider: Send + Sync {
    /// Which one it is.
    fn name(&self) -> ProviderName;

    /// What was agreed with it.
    fn terms(&self) -> Terms;

    /// Whether it has accounts in a currency.
    fn supports(&self, currency: Currency) -> bool;

    /// What it needs to know of the holder beside the names and the phone number.
    fn needs(&self) -> &'static [HolderField];

    /// Asks it to open an account.
    async fn open_account(&self, order: &OpenAccount) -> Result<OpenedAccount, ProviderError>;

    /// Asks it for the account of a request that was sent before; `None` when it
    /// has none. [`ProviderError::Unavailable`] and [`ProviderError::Unknown`]
    /// say the same here: it has not answered.
    async fn find_account(
        &self,
        order: &OpenAccount,
    ) -> Result<Option<OpenedAccount>, ProviderError>;
}

//! Payout accounts: the bank accounts that users are paid out to.
//!
//! An account is registered once, with the name that the bank gave for it, and never
//! changed after: another number is another account. What is personal of it is sealed
//! from the moment it is stored, and opened where the user sees it, masked, and where
//! the provider is told whom to pay.

mod error;
pub(crate) mod event;
mod vault;

use std::sync::Arc;

use bursar_aip::id::{PayoutAccountId, TenantId, UserId};
use bursar_contracts::transaction::v1::PayoutAccount as Message;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::contract::timestamp;
use crate::domain::ProviderName;
use crate::provider::Payee;
use crate::store::payout_accounts::{self, SealedAccount};

pub(crate) use error::PayoutError;
pub(crate) use vault::Vault;

/// How many accounts that are not archived a user may have.
pub(crate) const MAX_ACCOUNTS: i64 = 20;
/// How much of a number is shown.
const SHOWN: usize = 4;

/// A bank account of a user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PayoutAccount {
    /// The id.
    pub(crate) id: PayoutAccountId,
    /// The tenant it belongs to.
    pub(crate) tenant: TenantId,
    /// Whose it is.
    pub(crate) user: UserId,
    /// Who pays to it.
    pub(crate) provider: ProviderName,
    /// The account, and the name that the bank has for it.
    pub(crate) payee: Payee,
    /// When it was registered.
    pub(crate) created_at: OffsetDateTime,
    /// When it was archived.
    pub(crate) archived_at: Option<OffsetDateTime>,
}

impl PayoutAccount {
    /// The account as the contract writes it, for its owner and for operators.
    pub(crate) fn message(&self) -> Message {
        Message {
            account_number_last4: self.last4().to_owned(),
            account_name: self.payee.name.clone(),
            ..self.impersonal()
        }
    }

    /// The same without what is personal, for what is kept of it in the clear.
    pub(crate) fn impersonal(&self) -> Message {
        Message {
            payout_account_id: self.id.to_string(),
            user_id: self.user.to_string(),
            provider: self.provider.to_string(),
            currency_code: self.payee.account.currency.code().to_owned(),
            sort_code: self.payee.account.sort_code.clone(),
            account_number_last4: String::new(),
            account_name: String::new(),
            created_at: Some(timestamp(self.created_at)),
            archived_at: self.archived_at.map(timestamp),
        }
    }

    /// The end of its number. The contract lets no number be so short that this were
    /// all of it, and none have other characters than letters and digits.
    fn last4(&self) -> &str {
        let number = &self.payee.account.number;
        let hidden = number.len().saturating_sub(SHOWN);
        number.get(hidden..).unwrap_or_default()
    }
}

/// The accounts, as the rest of the service gets at them.
#[derive(Clone, Default)]
pub(crate) struct PayoutAccounts {
    /// The key; always there where a provider pays to bank accounts.
    vault: Option<Arc<Vault>>,
}

impl PayoutAccounts {
    pub(crate) fn new(vault: Option<Arc<Vault>>) -> Self {
        Self { vault }
    }

    /// What seals and opens.
    pub(crate) fn vault(&self) -> Result<&Vault, PayoutError> {
        self.vault.as_deref().ok_or(PayoutError::KeyMissing)
    }

    /// What is kept of an account, opened.
    pub(crate) fn open(&self, sealed: SealedAccount) -> Result<PayoutAccount, PayoutError> {
        self.vault()?.open(sealed)
    }

    /// The account of an id, whosever it is, opened.
    pub(crate) async fn find(
        &self,
        conn: &mut PgConnection,
        id: PayoutAccountId,
    ) -> Result<Option<PayoutAccount>, PayoutError> {
        let found = payout_accounts::find(conn, id).await?;
        found.map(|sealed| self.open(sealed)).transpose()
    }
}

/// The account of an id to which a user may now be paid. It stays sealed: only who pays
/// to it has to know it.
pub(crate) async fn payable(
    conn: &mut PgConnection,
    tenant: &TenantId,
    user: UserId,
    id: PayoutAccountId,
) -> Result<SealedAccount, PayoutError> {
    payout_accounts::find(conn, id)
        .await?
        .filter(|account| account.tenant == *tenant && account.user == user)
        .filter(|account| account.archived_at.is_none())
        .ok_or(PayoutError::NotFound)
}

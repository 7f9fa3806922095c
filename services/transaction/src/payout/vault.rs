//! Seals what is personal of payout accounts under the key-encryption key, bound to
//! the row and to what it is.

use std::fmt;

use bursar_aip::id::PayoutAccountId;
use bursar_seal::{KeyEncryptionKey, SealError};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

use super::{PayoutAccount, PayoutError};
use crate::provider::{BankAccount, Payee};
use crate::store::payout_accounts::SealedAccount;

/// What is sealed: it is never taken for what another table keeps.
const WHAT: &[u8] = b"payout account";

/// The key-encryption key and what is done with it.
pub(crate) struct Vault(KeyEncryptionKey);

/// What is sealed of an account.
#[derive(Serialize, Deserialize)]
struct Personal {
    number: String,
    name: String,
}

impl Vault {
    pub(crate) fn new(key: KeyEncryptionKey) -> Self {
        Self(key)
    }

    /// Encrypts what is personal of the account with this id.
    pub(crate) fn seal(&self, id: PayoutAccountId, payee: &Payee) -> Vec<u8> {
        let personal = Personal {
            number: payee.account.number.clone(),
            name: payee.name.clone(),
        };
        let plain = serde_json::to_vec(&personal).expect("structs of texts are JSON");
        self.0.seal(&bound_to(id), &Zeroizing::new(plain))
    }

    /// The account that a row keeps.
    pub(crate) fn open(&self, row: SealedAccount) -> Result<PayoutAccount, PayoutError> {
        let plain = self.0.open(&bound_to(row.id), &row.sealed)?;
        let personal: Personal = serde_json::from_slice(&plain).map_err(|_| SealError::Refused)?;
        Ok(PayoutAccount {
            id: row.id,
            tenant: row.tenant,
            user: row.user,
            provider: row.provider,
            payee: Payee {
                account: BankAccount {
                    currency: row.currency,
                    sort_code: row.sort_code,
                    number: personal.number,
                },
                name: personal.name,
            },
            created_at: row.created_at,
            archived_at: row.archived_at,
        })
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Vault(..)")
    }
}

fn bound_to(id: PayoutAccountId) -> Vec<u8> {
    [WHAT, id.uuid().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use bursar_aip::id::{TenantId, UserId};
    use bursar_money::Currency;
    use secrecy::SecretString;
    use time::macros::datetime;

    use super::*;

    fn vault(byte: u8) -> Vault {
        let key = SecretString::from(BASE64_STANDARD.encode([byte; 32]));
        Vault::new(KeyEncryptionKey::parse(&key).expect("well formed"))
    }

    fn payee() -> Payee {
        Payee {
            account: BankAccount {
                currency: Currency::parse("NGN").expect("a currency"),
                sort_code: "000013".to_owned(),
                number: "0167421242".to_owned(),
            },
            name: "ADA OBI".to_owned(),
        }
    }

    fn row(id: PayoutAccountId, sealed: Vec<u8>) -> SealedAccount {
        SealedAccount {
            id,
            tenant: TenantId::default(),
            user: UserId::generate(),
            provider: "providus".parse().expect("a name"),
            currency: payee().account.currency,
            sort_code: payee().account.sort_code,
            sealed,
            created_at: datetime!(2026-11-21 12:00 UTC),
            archived_at: None,
        }
    }

    /// What was sealed opens with its key and for its row, and with nothing else; the
    /// sealed bytes show neither number nor name.
    #[test]
    fn seals_hold() {
        let id = PayoutAccountId::generate();
        let sealed = vault(1).seal(id, &payee());
        let shown = String::from_utf8_lossy(&sealed);
        assert!(!shown.contains("0167421242") && !shown.contains("ADA"));
        let opened = vault(1).open(row(id, sealed.clone())).expect("opens");
        assert_eq!(opened.payee, payee());
        let other = PayoutAccountId::generate();
        assert!(vault(2).open(row(id, sealed.clone())).is_err());
        assert!(vault(1).open(row(other, sealed.clone())).is_err());
        for position in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            assert!(vault(1).open(row(id, altered)).is_err(), "{position}");
        }
    }

    /// Of a number the last four are shown, and nothing personal is in what is kept in
    /// the clear.
    #[test]
    fn numbers_are_masked() {
        let id = PayoutAccountId::generate();
        let sealed = vault(1).seal(id, &payee());
        let account = vault(1).open(row(id, sealed)).expect("opens");
        assert_eq!(account.message().account_number_last4, "1242");
        assert_eq!(account.message().account_name, "ADA OBI");
        let kept = account.impersonal();
        assert!(kept.account_number_last4.is_empty() && kept.account_name.is_empty());
    }
}

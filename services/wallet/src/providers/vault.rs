//! Encrypts what is personal about accounts under the key-encryption key, bound to
//! the row and to what it is.

use bursar_aip::id::ProviderAccountId;
use bursar_seal::{KeyEncryptionKey, SealError, keyed_hash};
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{AccountHolder, OpenedAccount};
use crate::domain::provider_account::ProviderName;

/// What makes the key of the digests another one than that of the encryption.
const DIGESTS: &[u8] = b"bursar provider account numbers";

/// What is sealed: one is never taken for the other.
const HOLDER: &[u8] = b"provider account holder";
const ACCOUNT: &[u8] = b"provider account number";

/// The key-encryption key and what is done with it.
pub struct Vault {
    key: KeyEncryptionKey,
    digests: Zeroizing<Vec<u8>>,
}

impl Vault {
    /// What is done with a key.
    pub fn new(key: KeyEncryptionKey) -> Self {
        let digests = key.derive(DIGESTS);
        Self { key, digests }
    }

    /// Encrypts a holder for the account with this id.
    pub fn seal_holder(&self, id: ProviderAccountId, holder: &AccountHolder) -> Vec<u8> {
        self.seal(HOLDER, id, holder)
    }

    /// Decrypts the holder of the account with this id.
    ///
    /// # Errors
    /// [`SealError::Refused`] for another key, another account, or altered bytes.
    pub fn open_holder(
        &self,
        id: ProviderAccountId,
        sealed: &[u8],
    ) -> Result<AccountHolder, SealError> {
        self.open(HOLDER, id, sealed)
    }

    /// Encrypts number and name of an account.
    pub fn seal_account(&self, id: ProviderAccountId, account: &OpenedAccount) -> Vec<u8> {
        self.seal(ACCOUNT, id, account)
    }

    /// Decrypts number and name of the account with this id.
    ///
    /// # Errors
    /// As for [`Vault::open_holder`].
    pub fn open_account(
        &self,
        id: ProviderAccountId,
        sealed: &[u8],
    ) -> Result<OpenedAccount, SealError> {
        self.open(ACCOUNT, id, sealed)
    }

    /// A keyed hash of an account's number: equal numbers of a provider have
    /// equal hashes, and without the key a hash tells nothing, though there are
    /// few enough numbers to try them all.
    pub fn digest(&self, provider: ProviderName, number: &str) -> Vec<u8> {
        let parts = [provider.name().as_bytes(), b"\n", number.as_bytes()];
        keyed_hash(&self.digests, &parts)
    }

    fn seal(&self, what: &[u8], id: ProviderAccountId, value: &impl Serialize) -> Vec<u8> {
        let plain = serde_json::to_vec(value).expect("structs of texts are JSON");
        let plain = Zeroizing::new(plain);
        self.key.seal(&bound_to(what, id), &plain)
    }

    fn open<T: DeserializeOwned>(
        &self,
        what: &[u8],
        id: ProviderAccountId,
        sealed: &[u8],
    ) -> Result<T, SealError> {
        let plain = self.key.open(&bound_to(what, id), sealed)?;
        serde_json::from_slice(&plain).map_err(|_| SealError::Refused)
    }
}

fn bound_to(what: &[u8], id: ProviderAccountId) -> Vec<u8> {
    [what, id.uuid().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use secrecy::SecretString;

    use super::*;

    fn vault(byte: u8) -> Vault {
        let key = SecretString::from(BASE64_STANDARD.encode([byte; 32]));
        Vault::new(KeyEncryptionKey::parse(&key).expect("well formed"))
    }

    fn account() -> OpenedAccount {
        OpenedAccount {
            number: "9012345678".to_owned(),
            name: "ADA OBI".to_owned(),
            bank_name: "Sandbox Bank".to_owned(),
            bank_code: "999".to_owned(),
        }
    }

    /// What was sealed opens with its key, its row and as what it is, and with
    /// nothing else.
    #[test]
    fn seals_hold() {
        let ours = vault(1);
        let id = ProviderAccountId::generate();
        let sealed = ours.seal_account(id, &account());
        assert_eq!(ours.open_account(id, &sealed), Ok(account()));
        assert_ne!(sealed, ours.seal_account(id, &account()), "fresh nonces");
        let refused = Err(SealError::Refused);
        assert_eq!(vault(2).open_account(id, &sealed), refused);
        let other = ProviderAccountId::generate();
        assert_eq!(ours.open_account(other, &sealed), refused);
        assert!(ours.open_holder(id, &sealed).is_err());
        for position in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            assert_eq!(ours.open_account(id, &altered), refused);
        }
        assert_eq!(ours.open_account(id, &sealed[..5]), refused);
    }

    /// A digest is of the key, the provider and the number.
    #[test]
    fn digests_are_keyed() {
        let digest = vault(1).digest(ProviderName::Sandbox, "9012345678");
        assert_eq!(digest, vault(1).digest(ProviderName::Sandbox, "9012345678"));
        assert_ne!(digest, vault(1).digest(ProviderName::Sandbox, "9012345679"));
        assert_ne!(
            digest,
            vault(1).digest(ProviderName::Providus, "9012345678")
        );
        assert_ne!(digest, vault(2).digest(ProviderName::Sandbox, "9012345678"));
    }
}

//! Encrypts what is personal about accounts: AES-256-GCM under the
//! key-encryption key, bound to the row and to what it is.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bursar_aip::id::ProviderAccountId;
use hmac::{Hmac, Mac};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

use super::{AccountHolder, OpenedAccount};
use crate::domain::provider_account::ProviderName;

/// The bytes of the key.
const KEY_LEN: usize = 32;
/// The bytes of a nonce. Nonces are random: at two encryptions an account, a
/// repetition would take 2^31 accounts to become likely.
const NONCE_LEN: usize = 12;
/// What makes the key of the digests another one than that of the encryption.
const DIGESTS: &[u8] = b"bursar provider account numbers";

/// What is sealed: one is never taken for the other.
const HOLDER: &[u8] = b"provider account holder";
const ACCOUNT: &[u8] = b"provider account number";

/// Why something sealed cannot be opened, or the key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The key is not 32 bytes in base64.
    #[error("the key-encryption key must be 32 bytes in base64")]
    KeyMalformed,
    /// It was sealed with another key or for another row, or it was altered.
    #[error("sealed with another key-encryption key, or altered")]
    Refused,
}

/// The key-encryption key and what is done with it.
pub struct Vault {
    cipher: Aes256Gcm,
    digests: Zeroizing<Vec<u8>>,
}

impl Vault {
    /// Reads the key.
    ///
    /// # Errors
    /// [`VaultError::KeyMalformed`] unless it is 32 bytes in base64.
    pub fn parse(key: &SecretString) -> Result<Self, VaultError> {
        let bytes = decode(key)?;
        let cipher = Aes256Gcm::new_from_slice(&bytes).map_err(|_| VaultError::KeyMalformed)?;
        let digests = Zeroizing::new(hmac(&bytes, &[DIGESTS]));
        Ok(Self { cipher, digests })
    }

    /// Whether the key is one byte repeated: something that was typed, not drawn.
    ///
    /// # Errors
    /// [`VaultError::KeyMalformed`] unless it is 32 bytes in base64.
    pub fn is_trivial(key: &SecretString) -> Result<bool, VaultError> {
        let bytes = decode(key)?;
        Ok(bytes.iter().all(|byte| *byte == bytes[0]))
    }

    /// Encrypts a holder for the account with this id.
    pub fn seal_holder(&self, id: ProviderAccountId, holder: &AccountHolder) -> Vec<u8> {
        self.seal(HOLDER, id, holder)
    }

    /// Decrypts the holder of the account with this id.
    ///
    /// # Errors
    /// [`VaultError::Refused`] for another key, another account, or altered bytes.
    pub fn open_holder(
        &self,
        id: ProviderAccountId,
        sealed: &[u8],
    ) -> Result<AccountHolder, VaultError> {
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
    ) -> Result<OpenedAccount, VaultError> {
        self.open(ACCOUNT, id, sealed)
    }

    /// A keyed hash of an account's number: equal numbers of a provider have
    /// equal hashes, and without the key a hash tells nothing, though there are
    /// few enough numbers to try them all.
    pub fn digest(&self, provider: ProviderName, number: &str) -> Vec<u8> {
        let parts = [provider.name().as_bytes(), b"\n", number.as_bytes()];
        hmac(&self.digests, &parts)
    }

    fn seal(&self, what: &[u8], id: ProviderAccountId, value: &impl Serialize) -> Vec<u8> {
        let plain = serde_json::to_vec(value).expect("structs of texts are JSON");
        let plain = Zeroizing::new(plain);
        let nonce: [u8; NONCE_LEN] = rand::random();
        let payload = Payload {
            msg: &plain,
            aad: &bound_to(what, id),
        };
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), payload)
            .expect("AES-GCM refuses only messages of more than 64 GiB");
        [nonce.as_slice(), &sealed].concat()
    }

    fn open<T: DeserializeOwned>(
        &self,
        what: &[u8],
        id: ProviderAccountId,
        sealed: &[u8],
    ) -> Result<T, VaultError> {
        let (nonce, message) = sealed
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(VaultError::Refused)?;
        let payload = Payload {
            msg: message,
            aad: &bound_to(what, id),
        };
        let plain = self
            .cipher
            .decrypt(&Nonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| VaultError::Refused)?;
        serde_json::from_slice(&plain).map_err(|_| VaultError::Refused)
    }
}

fn bound_to(what: &[u8], id: ProviderAccountId) -> Vec<u8> {
    [what, id.uuid().as_bytes()].concat()
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac =
        <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes any key length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

fn decode(key: &SecretString) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let bytes = BASE64_STANDARD
        .decode(key.expose_secret())
        .map(Zeroizing::new)
        .map_err(|_| VaultError::KeyMalformed)?;
    if bytes.len() == KEY_LEN {
        Ok(bytes)
    } else {
        Err(VaultError::KeyMalformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(byte: u8) -> Vault {
        let key = SecretString::from(BASE64_STANDARD.encode([byte; KEY_LEN]));
        Vault::parse(&key).expect("well formed")
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
        let refused = Err(VaultError::Refused);
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

    /// Keys of another form are refused, and typed ones are recognised.
    #[test]
    fn keys_are_checked() {
        for bad in ["", "c2hvcnQ=", "not base64!"] {
            let key = SecretString::from(bad);
            assert_eq!(Vault::parse(&key).err(), Some(VaultError::KeyMalformed));
        }
        let typed = SecretString::from(BASE64_STANDARD.encode([7; KEY_LEN]));
        assert_eq!(Vault::is_trivial(&typed), Ok(true));
        let drawn: [u8; KEY_LEN] = rand::random();
        let drawn = SecretString::from(BASE64_STANDARD.encode(drawn));
        assert_eq!(Vault::is_trivial(&drawn), Ok(false));
    }
}

//! Encrypts what must be read back from the database: AES-256-GCM under the
//! key-encryption key, bound to its row.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use uuid::Uuid;

/// The bytes of the key.
const KEY_LEN: usize = 32;

/// The bytes of a nonce. Nonces are random: with one encryption a signing key,
/// a repetition would take 2^32 keys to become likely.
const NONCE_LEN: usize = 12;

/// Why something sealed cannot be opened, or the key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// The key is not 32 bytes in base64.
    #[error("the key-encryption key must be 32 bytes in base64")]
    KeyMalformed,
    /// It was sealed with another key or for another row, or it was altered.
    #[error("sealed with another key-encryption key, or altered")]
    Refused,
}

/// The key-encryption key.
pub struct KeyEncryptionKey(Aes256Gcm);

impl KeyEncryptionKey {
    /// Reads the key.
    ///
    /// # Errors
    /// [`SealError::KeyMalformed`] unless it is 32 bytes in base64.
    pub fn parse(text: &SecretString) -> Result<Self, SealError> {
        let bytes = decode(text)?;
        let cipher = Aes256Gcm::new_from_slice(&bytes).map_err(|_| SealError::KeyMalformed)?;
        Ok(Self(cipher))
    }

    /// Whether the key is one byte repeated, such as all zeros: something
    /// that was typed, not drawn.
    ///
    /// # Errors
    /// [`SealError::KeyMalformed`] unless it is 32 bytes in base64.
    pub fn is_trivial(text: &SecretString) -> Result<bool, SealError> {
        let bytes = decode(text)?;
        Ok(bytes.iter().all(|byte| *byte == bytes[0]))
    }

    /// Encrypts for the row with this id: nonce, ciphertext, tag.
    pub fn seal(&self, row: Uuid, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let payload = Payload {
            msg: plain,
            aad: row.as_bytes(),
        };
        let sealed = self
            .0
            .encrypt(&Nonce::from(nonce), payload)
            .expect("AES-GCM refuses only messages of more than 64 GiB");
        [nonce.as_slice(), &sealed].concat()
    }

    /// Decrypts what was sealed for the row with this id.
    ///
    /// # Errors
    /// [`SealError::Refused`] for another key, another row, or altered bytes.
    pub fn open(&self, row: Uuid, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, message) = sealed
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(SealError::Refused)?;
        let payload = Payload {
            msg: message,
            aad: row.as_bytes(),
        };
        self.0
            .decrypt(&Nonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| SealError::Refused)
    }
}

fn decode(text: &SecretString) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let bytes = BASE64_STANDARD
        .decode(text.expose_secret())
        .map(Zeroizing::new)
        .map_err(|_| SealError::KeyMalformed)?;
    if bytes.len() == KEY_LEN {
        Ok(bytes)
    } else {
        Err(SealError::KeyMalformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretString {
        SecretString::from(BASE64_STANDARD.encode([byte; KEY_LEN]))
    }

    /// What was sealed opens with its key and row, and with nothing else.
    #[test]
    fn seals_hold() {
        let ours = KeyEncryptionKey::parse(&key(1)).expect("well formed");
        let other = KeyEncryptionKey::parse(&key(2)).expect("well formed");
        let row = Uuid::from_u128(7);
        let sealed = ours.seal(row, b"seed");
        assert_ne!(sealed, ours.seal(row, b"seed"), "every nonce is fresh");
        assert_eq!(ours.open(row, &sealed).expect("opens").as_slice(), b"seed");
        assert_eq!(other.open(row, &sealed), Err(SealError::Refused));
        assert_eq!(
            ours.open(Uuid::from_u128(8), &sealed),
            Err(SealError::Refused)
        );
        for position in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            assert_eq!(ours.open(row, &altered), Err(SealError::Refused));
        }
        assert_eq!(ours.open(row, &sealed[..5]), Err(SealError::Refused));
    }

    /// Keys of another form are refused, and typed ones are recognised.
    #[test]
    fn keys_are_checked() {
        for bad in ["", "c2hvcnQ=", "not base64!"] {
            let parsed = KeyEncryptionKey::parse(&SecretString::from(bad));
            assert_eq!(parsed.err(), Some(SealError::KeyMalformed), "{bad}");
        }
        assert_eq!(KeyEncryptionKey::is_trivial(&key(0)), Ok(true));
        let drawn: [u8; KEY_LEN] = rand::random();
        let drawn = SecretString::from(BASE64_STANDARD.encode(drawn));
        assert_eq!(KeyEncryptionKey::is_trivial(&drawn), Ok(false));
    }
}

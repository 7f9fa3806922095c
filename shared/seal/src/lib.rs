//! Encrypts what must be read back from a database: AES-256-GCM under the
//! key-encryption key, bound to what it is and to its row.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use thiserror::Error;

/// The bytes of the key.
const KEY_LEN: usize = 32;

/// The bytes of a nonce. Nonces are random: a repetition would take 2^32 encryptions
/// to become likely.
const NONCE_LEN: usize = 12;

/// Why something sealed cannot be opened, or the key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// The key is not 32 bytes in base64.
    #[error("the key-encryption key must be 32 bytes in base64")]
    KeyMalformed,
    /// The key is one byte repeated, such as all zeros: it was typed, not drawn.
    #[error(
        "the key-encryption key is one byte repeated; outside development it must be 32 random bytes"
    )]
    KeyTyped,
    /// It was sealed with another key or for another row, or it was altered.
    #[error("sealed with another key-encryption key, or altered")]
    Refused,
}

/// The key-encryption key.
pub struct KeyEncryptionKey {
    cipher: Aes256Gcm,
    bytes: Zeroizing<Vec<u8>>,
}

impl KeyEncryptionKey {
    /// Reads the key.
    ///
    /// # Errors
    /// [`SealError::KeyMalformed`] unless it is 32 bytes in base64.
    pub fn parse(text: &SecretString) -> Result<Self, SealError> {
        let bytes = decode(text)?;
        let cipher = Aes256Gcm::new_from_slice(&bytes).map_err(|_| SealError::KeyMalformed)?;
        Ok(Self { cipher, bytes })
    }

    /// Reads the key where only one will do that was drawn.
    ///
    /// # Errors
    /// [`SealError::KeyTyped`] when it was not, and as for [`Self::parse`].
    pub fn parse_drawn(text: &SecretString) -> Result<Self, SealError> {
        let key = Self::parse(text)?;
        if key.bytes.iter().all(|byte| *byte == key.bytes[0]) {
            return Err(SealError::KeyTyped);
        }
        Ok(key)
    }

    /// Encrypts, bound to what says what it is and of which row: nonce, ciphertext, tag.
    pub fn seal(&self, bound_to: &[u8], plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let payload = Payload {
            msg: plain,
            aad: bound_to,
        };
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), payload)
            .expect("AES-GCM refuses only messages of more than 64 GiB");
        [nonce.as_slice(), &sealed].concat()
    }

    /// Decrypts what was sealed bound to the same.
    ///
    /// # Errors
    /// [`SealError::Refused`] for another key or binding, or altered bytes.
    pub fn open(&self, bound_to: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, message) = sealed
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(SealError::Refused)?;
        let payload = Payload {
            msg: message,
            aad: bound_to,
        };
        self.cipher
            .decrypt(&Nonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| SealError::Refused)
    }

    /// A key of another purpose, which tells nothing about this one.
    pub fn derive(&self, purpose: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(keyed_hash(&self.bytes, &[purpose]))
    }
}

/// HMAC-SHA-256 of the parts, one after another.
pub fn keyed_hash(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac =
        <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes any key length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
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

    /// What was sealed opens with its key and binding, and with nothing else.
    #[test]
    fn seals_hold() {
        let ours = KeyEncryptionKey::parse(&key(1)).expect("well formed");
        let other = KeyEncryptionKey::parse(&key(2)).expect("well formed");
        let row = b"row 7".as_slice();
        let sealed = ours.seal(row, b"seed");
        assert_ne!(sealed, ours.seal(row, b"seed"), "every nonce is fresh");
        assert_eq!(ours.open(row, &sealed).expect("opens").as_slice(), b"seed");
        assert_eq!(other.open(row, &sealed), Err(SealError::Refused));
        assert_eq!(ours.open(b"row 8", &sealed), Err(SealError::Refused));
        for position in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            assert_eq!(ours.open(row, &altered), Err(SealError::Refused));
        }
        assert_eq!(ours.open(row, &sealed[..5]), Err(SealError::Refused));
    }

    /// A derived key is of its key and its purpose.
    #[test]
    fn keys_are_derived_by_purpose() {
        let ours = KeyEncryptionKey::parse(&key(1)).expect("well formed");
        let other = KeyEncryptionKey::parse(&key(2)).expect("well formed");
        assert_eq!(ours.derive(b"digests"), ours.derive(b"digests"));
        assert_ne!(ours.derive(b"digests"), ours.derive(b"others"));
        assert_ne!(ours.derive(b"digests"), other.derive(b"digests"));
    }

    /// Keys of another form are refused, and typed ones are recognised.
    #[test]
    fn keys_are_checked() {
        for bad in ["", "c2hvcnQ=", "not base64!"] {
            let parsed = KeyEncryptionKey::parse(&SecretString::from(bad));
            assert_eq!(parsed.err(), Some(SealError::KeyMalformed), "{bad}");
        }
        let typed = KeyEncryptionKey::parse_drawn(&key(0));
        assert_eq!(typed.err(), Some(SealError::KeyTyped));
        let drawn: [u8; KEY_LEN] = rand::random();
        let drawn = SecretString::from(BASE64_STANDARD.encode(drawn));
        assert!(KeyEncryptionKey::parse_drawn(&drawn).is_ok());
    }
}

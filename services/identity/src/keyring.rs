//! The signing keys in memory: what signs, and what the key set shows.

use std::sync::{Arc, RwLock};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bursar_seal::{KeyEncryptionKey, SealError};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm,
    OctetKeyPairParameters, OctetKeyPairType, PublicKeyUse,
};
use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256};
use thiserror::Error;
use time::OffsetDateTime;

use crate::domain::signing_key::{self, Validity};
use crate::store::signing_keys::SigningKeyRow;

/// Why there is no key to sign with.
#[derive(Debug, Error)]
pub enum KeyringError {
    /// A stored key does not open.
    #[error("signing key {kid}: {cause}")]
    Sealed {
        /// Which one.
        kid: String,
        /// Why.
        cause: SealError,
    },
    /// A stored key is not the key it says it is.
    #[error("signing key {kid} is malformed")]
    Malformed {
        /// Which one.
        kid: String,
    },
    /// No key signs at this time.
    #[error("no signing key is in force")]
    NoneInForce,
}

/// The name of a key: its thumbprint by RFC 7638 (RFC 8037 for Ed25519), so
/// that two keys never share a name.
pub fn kid(public: &[u8; 32]) -> String {
    let x = BASE64_URL_SAFE_NO_PAD.encode(public);
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
}

/// A key that is loaded. No `Debug`: it holds the private half.
pub struct Key {
    kid: String,
    public: [u8; 32],
    signing: EncodingKey,
    validity: Validity,
}

impl Key {
    /// Opens a stored key.
    ///
    /// # Errors
    /// [`KeyringError::Sealed`] with another key-encryption key,
    /// [`KeyringError::Malformed`] when the halves do not belong together.
    pub(crate) fn open(row: &SigningKeyRow, kek: &KeyEncryptionKey) -> Result<Self, KeyringError> {
        let malformed = || KeyringError::Malformed {
            kid: row.kid.clone(),
        };
        let seed = kek
            .open(row.id.as_bytes(), &row.sealed_seed)
            .map_err(|cause| KeyringError::Sealed {
                kid: row.kid.clone(),
                cause,
            })?;
        let seed: Zeroizing<[u8; 32]> =
            Zeroizing::new(seed.as_slice().try_into().map_err(|_| malformed())?);
        let signing = SigningKey::from_bytes(&seed);
        let public = signing.verifying_key().to_bytes();
        if public.as_slice() != row.public_key || kid(&public) != row.kid {
            return Err(malformed());
        }
        let der = signing.to_pkcs8_der().map_err(|_| malformed())?;
        Ok(Self {
            kid: row.kid.clone(),
            public,
            signing: EncodingKey::from_ed_der(der.as_bytes()),
            validity: Validity {
                not_before: row.not_before,
                retired_at: row.retired_at,
            },
        })
    }

    /// The key's name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The private half, for signing a token.
    pub fn signing(&self) -> &EncodingKey {
        &self.signing
    }

    fn jwk(&self) -> Jwk {
        Jwk {
            common: CommonParameters {
                public_key_use: Some(PublicKeyUse::Signature),
                key_algorithm: Some(KeyAlgorithm::EdDSA),
                key_id: Some(self.kid.clone()),
                ..CommonParameters::default()
            },
            algorithm: AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
                key_type: OctetKeyPairType::OctetKeyPair,
                curve: EllipticCurve::Ed25519,
                x: BASE64_URL_SAFE_NO_PAD.encode(self.public),
            }),
        }
    }
}

/// The keys as last loaded.
#[derive(Default)]
pub struct Keyring(RwLock<Arc<Vec<Arc<Key>>>>);

impl Keyring {
    /// Puts freshly loaded keys in the place of those before.
    pub fn replace(&self, keys: Vec<Key>) {
        let keys = keys.into_iter().map(Arc::new).collect();
        *self
            .0
            .write()
            .expect("no code panics while it holds this lock") = Arc::new(keys);
    }

    /// The key that signs at `now`.
    ///
    /// # Errors
    /// [`KeyringError::NoneInForce`] when there is none.
    pub fn signer(&self, now: OffsetDateTime) -> Result<Arc<Key>, KeyringError> {
        let keys = self.keys();
        let validities: Vec<Validity> = keys.iter().map(|key| key.validity).collect();
        signing_key::signer(&validities, now)
            .map(|index| Arc::clone(&keys[index]))
            .ok_or(KeyringError::NoneInForce)
    }

    /// The public halves of all keys that are not retired at `now`, those that
    /// will sign later included.
    pub fn published(&self, now: OffsetDateTime) -> JwkSet {
        JwkSet {
            keys: self
                .keys()
                .iter()
                .filter(|key| key.validity.is_published(now))
                .map(|key| key.jwk())
                .collect(),
        }
    }

    fn keys(&self) -> Arc<Vec<Arc<Key>>> {
        Arc::clone(
            &self
                .0
                .read()
                .expect("no code panics while it holds this lock"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The thumbprint of the example key of RFC 8037, appendix A.3.
    #[test]
    fn kids_are_thumbprints() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let public = BASE64_URL_SAFE_NO_PAD.decode(x).expect("base64");
        let public = public.as_slice().try_into().expect("32 bytes");
        assert_eq!(kid(public), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    /// Without keys there is nothing to sign with, and an empty set to show.
    #[test]
    fn an_empty_ring_signs_nothing() {
        let ring = Keyring::default();
        let now = OffsetDateTime::UNIX_EPOCH;
        assert!(matches!(ring.signer(now), Err(KeyringError::NoneInForce)));
        assert!(ring.published(now).keys.is_empty());
    }
}

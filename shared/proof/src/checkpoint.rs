//! Checkpoints: signatures over blocks, and thereby over all before them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use serde::{Deserialize, Serialize};

use crate::block::Block;
use crate::encoding::Encoder;
use crate::hash::{Hash, HexBytes};
use crate::text;

/// Names the bytes that are signed. A change of fields is a new version.
const DOMAIN: &str = "bursar.ledger.checkpoint.v1";

/// The first 8 bytes of the SHA-256 of a public key.
pub type KeyId = HexBytes<8>;
/// An Ed25519 signature.
pub type Signature = HexBytes<64>;

/// A signature of the ledger's key over a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The block's height.
    #[serde(with = "text")]
    pub height: u64,
    /// The block's hash.
    pub block_hash: Hash,
    /// How many postings the chain has up to there.
    #[serde(with = "text")]
    pub postings_total: u64,
    /// When it was signed, in microseconds since 1970-01-01T00:00:00Z.
    #[serde(with = "text")]
    pub signed_at_us: i64,
    /// Which key signed.
    pub key_id: KeyId,
    /// The Ed25519 signature over all of the above.
    pub signature: Signature,
}

/// What is wrong with a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointFault {
    /// It is about another block than the one it stands with.
    #[error("it is not about block {height} with hash {hash}")]
    Block {
        /// The height of the block it stands with.
        height: u64,
        /// The hash of the block it stands with.
        hash: Hash,
    },
    /// It is signed by a key that was not given.
    #[error("it is signed by key {key_id}, which is none of the public keys that were given")]
    Key {
        /// The key it names.
        key_id: KeyId,
    },
    /// The signature is not the key's over these fields.
    #[error("its signature is not valid")]
    Signature,
}

impl Checkpoint {
    /// The bytes that are signed.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(DOMAIN, 96);
        encoder.u64(self.height);
        encoder.fixed(self.block_hash.as_bytes());
        encoder.u64(self.postings_total);
        encoder.i64(self.signed_at_us);
        encoder.fixed(self.key_id.as_bytes());
        encoder.finish()
    }

    /// Checks that the checkpoint is about the block and signed by one of the
    /// keys.
    pub fn check(&self, block: &Block, keys: &TrustedKeys) -> Result<(), CheckpointFault> {
        let is_about_it = self.height == block.height
            && self.block_hash == block.hash
            && self.postings_total == block.postings_total;
        if !is_about_it {
            return Err(CheckpointFault::Block {
                height: block.height,
                hash: block.hash,
            });
        }
        let key = keys.0.get(&self.key_id).ok_or(CheckpointFault::Key {
            key_id: self.key_id,
        })?;
        let signature = ed25519_dalek::Signature::from_bytes(self.signature.as_bytes());
        key.0
            .verify_strict(&self.encode(), &signature)
            .map_err(|_| CheckpointFault::Signature)
    }
}

/// The private key. It shows nothing of itself in logs.
pub struct Signer {
    key: SigningKey,
    key_id: KeyId,
}

/// Text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the base64 of 32 bytes that are an Ed25519 key")]
pub struct KeyUnreadable;

impl Signer {
    /// The key with the given seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let key_id = VerifyingKey(key.verifying_key()).id();
        Self { key, key_id }
    }

    /// Reads the base64 of a key's seed of 32 bytes.
    pub fn from_base64(seed: &str) -> Result<Self, KeyUnreadable> {
        bytes_32(seed).map(|seed| Self::from_seed(&seed))
    }

    /// The public key.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.key.verifying_key())
    }

    /// Signs a block.
    pub fn sign(&self, block: &Block, signed_at_us: i64) -> Checkpoint {
        let mut checkpoint = Checkpoint {
            height: block.height,
            block_hash: block.hash,
            postings_total: block.postings_total,
            signed_at_us,
            key_id: self.key_id,
            signature: Signature::from([0; 64]),
        };
        checkpoint.signature = self.key.sign(&checkpoint.encode()).to_bytes().into();
        checkpoint
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Signer");
        shown.field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// The public key. As text it is the base64 of its 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// The id that checkpoints have of it.
    pub fn id(&self) -> KeyId {
        let hash = Hash::of(&[self.0.as_bytes()]);
        let (id, _) = hash
            .as_bytes()
            .split_first_chunk()
            .expect("a hash is longer than 8 bytes");
        KeyId::from(*id)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl TryFrom<&[u8; 32]> for VerifyingKey {
    type Error = KeyUnreadable;

    fn try_from(bytes: &[u8; 32]) -> Result<Self, KeyUnreadable> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyUnreadable)?;
        if key.is_weak() {
            return Err(KeyUnreadable);
        }
        Ok(Self(key))
    }
}

impl FromStr for VerifyingKey {
    type Err = KeyUnreadable;

    fn from_str(text: &str) -> Result<Self, KeyUnreadable> {
        Self::try_from(&bytes_32(text)?)
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&BASE64.encode(self.0.as_bytes()))
    }
}

fn bytes_32(text: &str) -> Result<[u8; 32], KeyUnreadable> {
    let bytes = BASE64.decode(text.trim()).map_err(|_| KeyUnreadable)?;
    bytes.try_into().map_err(|_| KeyUnreadable)
}

/// The public keys whose signatures count: one, or several after a change of
/// the key.
#[derive(Debug, Clone, Default)]
pub struct TrustedKeys(BTreeMap<KeyId, VerifyingKey>);

impl FromIterator<VerifyingKey> for TrustedKeys {
    fn from_iter<T: IntoIterator<Item = VerifyingKey>>(keys: T) -> Self {
        Self(keys.into_iter().map(|key| (key.id(), key)).collect())
    }
}

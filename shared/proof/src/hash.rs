//! SHA-256 hashes, and other bytes of a fixed number that are written in
//! hexadecimal digits.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// `N` bytes. As text they are lower-case hexadecimal digits and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HexBytes<const N: usize>([u8; N]);

/// A SHA-256 hash.
pub type Hash = HexBytes<32>;

/// Text or bytes of another length, or text of other characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the lower-case hexadecimal digits of {expected} bytes")]
pub struct HexUnreadable {
    /// How many bytes there should be.
    pub expected: usize,
}

impl Hash {
    /// What stands in the first block for the hash of the block before it.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash of parts that stand one behind the other.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

impl<const N: usize> HexBytes<N> {
    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> From<[u8; N]> for HexBytes<N> {
    fn from(bytes: [u8; N]) -> Self {
        Self(bytes)
    }
}

impl<const N: usize> TryFrom<&[u8]> for HexBytes<N> {
    type Error = HexUnreadable;

    fn try_from(bytes: &[u8]) -> Result<Self, HexUnreadable> {
        let bytes = bytes.try_into();
        bytes.map(Self).map_err(|_| HexUnreadable { expected: N })
    }
}

impl<const N: usize> FromStr for HexBytes<N> {
    type Err = HexUnreadable;

    fn from_str(text: &str) -> Result<Self, HexUnreadable> {
        let unreadable = HexUnreadable { expected: N };
        let mut bytes = [0; N];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| unreadable)?;
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(unreadable);
        }
        Ok(Self(bytes))
    }
}

impl<const N: usize> fmt::Display for HexBytes<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl<const N: usize> fmt::Debug for HexBytes<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl<const N: usize> Serialize for HexBytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for HexBytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

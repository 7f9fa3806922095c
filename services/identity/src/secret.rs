//! Secrets that were drawn, not thought up: what the database keeps of them.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// The SHA-256 of a secret with enough randomness that nobody can try them
/// all: refresh tokens and the secrets of service accounts. Passwords are
/// people's and need the slow hash of [`crate::hasher`].
pub fn hash(secret: &SecretString) -> [u8; 32] {
    Sha256::digest(secret.expose_secret()).into()
}

//! Hashes and checks passwords with argon2id.
//!
//! The work is slow on purpose, so it runs outside the asynchronous threads, as
//! many at once as there are processors, with a bounded queue before it: a
//! flood of logins is refused early instead of starving every other call.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory of one hash, in KiB. These parameters are OWASP's second choice for
/// argon2id (Password Storage Cheat Sheet): 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How many calls may wait for their turn. At some 20 ms a hash on each of two
/// processors this is a wait of under three seconds.
const MAX_QUEUED: usize = 256;

/// Why a password was neither hashed nor checked.
#[derive(Debug, Error)]
pub enum HasherError {
    /// Too many calls wait already.
    #[error("too many passwords wait to be checked")]
    Overloaded,
    /// The hash could not be made, or the stored one could not be read.
    #[error("argon2: {0}")]
    Argon2(argon2::password_hash::Error),
    /// The stored hash is no PHC string.
    #[error("the stored password hash cannot be read")]
    Malformed,
    /// The thread that hashed ended before its time.
    #[error("the hashing thread failed")]
    Thread(#[from] tokio::task::JoinError),
}

/// Hashes and checks passwords. Cheap to clone.
#[derive(Clone)]
pub struct Hasher(Arc<Inner>);

struct Inner {
    argon2: Argon2<'static>,
    /// The hash that unknown users' passwords are checked against.
    decoy: SecretString,
    running: Arc<Semaphore>,
    queued: Arc<Semaphore>,
}

/// A place in the queue and a turn, given back when the work ends.
struct Turn {
    _queued: OwnedSemaphorePermit,
    _running: OwnedSemaphorePermit,
}

impl Hasher {
    /// A hasher that runs at most `parallelism` hashes at once.
    ///
    /// # Errors
    /// When the decoy hash cannot be made.
    pub fn new(parallelism: usize) -> Result<Self, HasherError> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
            .expect("the parameters are constants within argon2's bounds");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody: [u8; 32] = rand::random();
        let decoy = hash(&argon2, &nobody)?;
        Ok(Self(Arc::new(Inner {
            argon2,
            decoy,
            running: Arc::new(Semaphore::new(parallelism)),
            queued: Arc::new(Semaphore::new(parallelism + MAX_QUEUED)),
        })))
    }

    /// Hashes a new password, as a PHC string with a fresh salt.
    ///
    /// # Errors
    /// See [`HasherError`].
    #[tracing::instrument(name = "hasher.hash", skip_all)]
    pub async fn hash(&self, password: SecretString) -> Result<SecretString, HasherError> {
        let turn = self.turn().await?;
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            hash(&inner.argon2, password.expose_secret().as_bytes())
        })
        .await?
    }

    /// Whether `password` is the one behind `stored`. Without a stored hash the
    /// answer is no, after the same work: time does not tell whether a user exists.
    ///
    /// # Errors
    /// See [`HasherError`].
    #[tracing::instrument(name = "hasher.verify", skip_all)]
    pub async fn verify(
        &self,
        password: SecretString,
        stored: Option<SecretString>,
    ) -> Result<bool, HasherError> {
        let turn = self.turn().await?;
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let known = stored.is_some();
            let hash = stored.as_ref().unwrap_or(&inner.decoy).expose_secret();
            let hash = PasswordHash::new(hash).map_err(|_| HasherError::Malformed)?;
            let password = password.expose_secret().as_bytes();
            match inner.argon2.verify_password(password, &hash) {
                Ok(()) => Ok(known),
                Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(HasherError::Argon2(error)),
            }
        })
        .await?
    }

    /// Waits for a turn, unless too many wait already. The turn goes into the
    /// thread that does the work, so that a caller who leaves does not free it early.
    async fn turn(&self) -> Result<Turn, HasherError> {
        let queued = Arc::clone(&self.0.queued)
            .try_acquire_owned()
            .map_err(|_| HasherError::Overloaded)?;
        let running = Arc::clone(&self.0.running)
            .acquire_owned()
            .await
            .expect("nothing closes this semaphore");
        Ok(Turn {
            _queued: queued,
            _running: running,
        })
    }
}

fn hash(argon2: &Argon2<'_>, password: &[u8]) -> Result<SecretString, HasherError> {
    let hash = argon2
        .hash_password(password)
        .map_err(HasherError::Argon2)?;
    Ok(SecretString::from(hash.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    /// The right password passes, a wrong one does not, nobody's never does,
    /// and the stored form names its algorithm and parameters.
    #[tokio::test]
    async fn passwords_are_told_apart() {
        let hasher = Hasher::new(2).expect("the decoy can be made");
        let stored = hasher.hash(secret("correct horse")).await.expect("hashed");
        assert!(
            stored
                .expose_secret()
                .starts_with("$argon2id$v=19$m=19456,t=2,p=1$")
        );
        let check =
            |password: &str, stored: Option<SecretString>| hasher.verify(secret(password), stored);
        assert!(
            check("correct horse", Some(stored.clone()))
                .await
                .expect("checked")
        );
        assert!(!check("wrong horse", Some(stored)).await.expect("checked"));
        assert!(!check("correct horse", None).await.expect("checked"));
    }

    /// What is no hash is our fault, not a wrong password.
    #[tokio::test]
    async fn malformed_hashes_are_errors() {
        let hasher = Hasher::new(1).expect("the decoy can be made");
        let verdict = hasher.verify(secret("x"), Some(secret("plain"))).await;
        assert!(matches!(verdict, Err(HasherError::Malformed)));
    }

    /// A flood is refused at the door, and the place is free again afterwards.
    #[tokio::test]
    async fn floods_are_refused() {
        let hasher = Hasher::new(1).expect("the decoy can be made");
        let all = u32::try_from(1 + MAX_QUEUED).expect("small");
        let taken = Arc::clone(&hasher.0.queued)
            .try_acquire_many_owned(all)
            .expect("free");
        assert!(matches!(
            hasher.hash(secret("x")).await,
            Err(HasherError::Overloaded)
        ));
        drop(taken);
        assert!(hasher.hash(secret("x")).await.is_ok());
    }
}

//! Makes the signing keys when they are due, and keeps the keyring up to date
//! with what any process made.

use std::sync::Arc;
use std::time::Duration;

use bursar_aip::id::TenantId;
use bursar_seal::KeyEncryptionKey;
use bursar_server::{database, now};
use ed25519_dalek::SigningKey;
use secrecy::zeroize::Zeroizing;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::signing_key::{Plan, Validity, plan};
use crate::error::Error;
use crate::keyring::{Key, Keyring, kid};
use crate::store;
use crate::store::signing_keys::{self, NewSigningKey};
use crate::token::TokenError;

/// How long a round waits for the next: much shorter than a key is announced
/// before it signs, so that every process can show it in time.
const INTERVAL: Duration = Duration::from_secs(60);

/// What the rounds work with.
pub(crate) struct KeyRotation {
    pub(crate) pool: PgPool,
    pub(crate) key_encryption_key: Arc<KeyEncryptionKey>,
    pub(crate) lifetime: time::Duration,
    pub(crate) keyring: Arc<Keyring>,
}

impl KeyRotation {
    /// Runs rounds until the process shall end. The first was run by the start.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        while super::next_round(INTERVAL, &shutdown).await {
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "the signing keys were not looked at; the next round tries again");
            }
        }
        Ok(())
    }

    /// Makes a key if one is due and loads all keys. Processes take turns, so
    /// that only one of them makes it.
    pub(crate) async fn round(&self) -> Result<(), Error> {
        let mut transaction = database::begin(&self.pool).await?;
        store::lock_start(&mut transaction).await?;
        let now = now();
        let mut rows = signing_keys::list(&mut transaction, now).await?;
        let validities: Vec<Validity> = rows
            .iter()
            .map(|row| Validity {
                not_before: row.not_before,
                retired_at: row.retired_at,
            })
            .collect();
        if let Plan::Create {
            not_before,
            retire_others_at,
        } = plan(&validities, self.lifetime, now)
        {
            let id = Uuid::now_v7();
            let seed = Zeroizing::new(rand::random::<[u8; 32]>());
            let public = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
            let key = NewSigningKey {
                id,
                tenant: &TenantId::default(),
                kid: &kid(&public),
                public_key: &public,
                sealed_seed: &self.key_encryption_key.seal(id.as_bytes(), seed.as_slice()),
                created_at: now,
                not_before,
            };
            signing_keys::insert(&mut transaction, &key).await?;
            signing_keys::retire_others(&mut transaction, id, retire_others_at).await?;
            rows = signing_keys::list(&mut transaction, now).await?;
            tracing::info!(kid = key.kid, %not_before, "a signing key is made");
        }
        transaction.commit().await?;
        let keys: Result<Vec<Key>, _> = rows
            .iter()
            .map(|row| Key::open(row, &self.key_encryption_key))
            .collect();
        self.keyring.replace(keys.map_err(TokenError::from)?);
        Ok(())
    }
}

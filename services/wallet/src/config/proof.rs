//! Settings of the ledger's proof.

use std::time::Duration;

use anyhow::{Context, ensure};
use bursar_proof::Signer;
use bursar_server::{Config, Environment};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// Settings, each read from the variable `BURSAR_` and its name in upper case.
#[derive(Debug, Clone, Deserialize)]
pub struct ProofSettings {
    /// The base64 of the 32 bytes that are the seed of the key by which
    /// checkpoints are signed. Required outside development.
    ledger_signing_key: Option<SecretString>,
    /// How long new blocks wait for a signature at most.
    #[serde(default = "default_checkpoint_seconds")]
    ledger_checkpoint_seconds: u32,
}

fn default_checkpoint_seconds() -> u32 {
    60
}

impl ProofSettings {
    /// How long new blocks wait for a signature at most.
    pub fn checkpoint_interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.ledger_checkpoint_seconds))
    }

    /// The key that signs. In development it is made anew when none is set.
    pub fn signer(&self, config: &Config) -> anyhow::Result<Signer> {
        const NAME: &str = "BURSAR_LEDGER_SIGNING_KEY";
        ensure!(
            self.ledger_checkpoint_seconds >= 1,
            "BURSAR_LEDGER_CHECKPOINT_SECONDS is 0"
        );
        let Some(key) = &self.ledger_signing_key else {
            ensure!(
                config.environment == Environment::Development,
                "{NAME} is not set; the ledger's checkpoints could not be signed"
            );
            tracing::warn!("{NAME} is not set; checkpoints are signed by a key of this run");
            return Ok(Signer::from_seed(&rand::random()));
        };
        // The padding is no part of the key: 32 equal bytes are as guessable as
        // their text without it.
        let digits = key.expose_secret().trim_end_matches('=');
        config.require_strong(NAME, &SecretString::from(digits))?;
        Signer::from_base64(key.expose_secret()).with_context(|| format!("{NAME} is no key"))
    }
}

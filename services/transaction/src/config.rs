//! The service's own settings.

mod providers;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bursar_seal::KeyEncryptionKey;
use bursar_server::{Environment as Where, Start};
use secrecy::SecretString;
use serde::Deserialize;

use crate::payout::Vault;
use crate::provider::ProviderSettings;

const KEY: &str = "BURSAR_KEY_ENCRYPTION_KEY";

/// What is read from the environment.
#[derive(Clone, Debug, Deserialize)]
struct Environment {
    #[serde(default = "default_recovery_interval_ms")]
    recovery_interval_ms: u64,
    #[serde(default = "default_recovery_concurrency")]
    recovery_concurrency: usize,
    #[serde(default = "default_quote_ttl_seconds")]
    quote_ttl_seconds: u64,
    #[serde(default = "default_fx_max_rate_age_seconds")]
    fx_max_rate_age_seconds: u64,
    key_encryption_key: Option<SecretString>,
}

fn default_recovery_interval_ms() -> u64 {
    500
}
fn default_recovery_concurrency() -> usize {
    16
}
fn default_quote_ttl_seconds() -> u64 {
    300
}
fn default_fx_max_rate_age_seconds() -> u64 {
    24 * 60 * 60
}

/// The settings, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The payment providers.
    pub(crate) providers: Vec<ProviderSettings>,
    /// What seals payout accounts; always there where a provider pays to bank accounts.
    pub(crate) vault: Option<Arc<Vault>>,
    /// How recovery works.
    pub(crate) recovery: RecoverySettings,
    /// How quotes are made.
    pub(crate) quotes: QuoteSettings,
}

/// How quotes are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuoteSettings {
    /// How long a quote can be used.
    pub(crate) ttl: Duration,
    /// How old an exchange rate may be.
    pub(crate) max_rate_age: Duration,
}

/// How recovery works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecoverySettings {
    /// How often it looks for checks that are due.
    pub(crate) interval: Duration,
    /// How many transactions it works on at once.
    pub(crate) concurrency: usize,
}

impl Settings {
    /// Reads and checks the settings.
    pub(crate) fn read(start: &Start) -> anyhow::Result<Self> {
        let environment: Environment = start.settings()?;
        anyhow::ensure!(
            (1..=1000).contains(&environment.recovery_concurrency),
            "BURSAR_RECOVERY_CONCURRENCY must be 1 to 1000"
        );
        anyhow::ensure!(
            (1..=86_400).contains(&environment.quote_ttl_seconds),
            "BURSAR_QUOTE_TTL_SECONDS must be 1 to 86400"
        );
        anyhow::ensure!(
            (1..=31_536_000).contains(&environment.fx_max_rate_age_seconds),
            "BURSAR_FX_MAX_RATE_AGE_SECONDS must be 1 to 31536000"
        );
        let vault = vault(environment.key_encryption_key.as_ref(), start)?;
        let providers = providers::read(start)?;
        let pays_to_banks = |provider: &ProviderSettings| provider.guard.offer.needs_payout_account;
        anyhow::ensure!(
            vault.is_some() || !providers.iter().any(pays_to_banks),
            "a provider of BURSAR_PROVIDERS pays to bank accounts and {KEY} is not set; make one \
             with `head -c 32 /dev/urandom | base64`"
        );
        Ok(Self {
            vault,
            quotes: QuoteSettings {
                ttl: Duration::from_secs(environment.quote_ttl_seconds),
                max_rate_age: Duration::from_secs(environment.fx_max_rate_age_seconds),
            },
            recovery: RecoverySettings {
                interval: Duration::from_millis(environment.recovery_interval_ms.max(10)),
                concurrency: environment.recovery_concurrency,
            },
            providers,
        })
    }
}

/// What a key seals with, if there is one.
fn vault(key: Option<&SecretString>, start: &Start) -> anyhow::Result<Option<Arc<Vault>>> {
    let Some(text) = key else {
        return Ok(None);
    };
    let key = match start.config.environment {
        Where::Development => KeyEncryptionKey::parse(text),
        Where::Production => KeyEncryptionKey::parse_drawn(text),
    };
    Ok(Some(Arc::new(Vault::new(key.context(KEY)?))))
}

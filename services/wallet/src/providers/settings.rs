//! The settings of accounts at providers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bursar_outbound::xpress::XpressSettings;
use bursar_seal::KeyEncryptionKey;
use bursar_server::{Environment, Start};
use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;

use super::providus::{Providus, ProvidusSettings};
use super::sandbox::{Sandbox, SandboxSettings};
use super::{AccountProvider, Vault};
use crate::domain::provider_account::ProviderName;

const KEY: &str = "BURSAR_KEY_ENCRYPTION_KEY";

/// What is read from the environment.
#[derive(Deserialize)]
struct Variables {
    provider_accounts: Option<String>,
    sandbox_url: Option<String>,
    sandbox_api_key: Option<SecretString>,
    providus_url: Option<String>,
    providus_email: Option<String>,
    providus_password: Option<SecretString>,
    key_encryption_key: Option<SecretString>,
    #[serde(default = "default_deadline_ms")]
    provider_accounts_deadline_ms: u64,
    #[serde(default = "default_give_up_hours")]
    provider_accounts_give_up_hours: u32,
}

fn default_deadline_ms() -> u64 {
    10_000
}
fn default_give_up_hours() -> u32 {
    168
}

/// Who opens accounts, and the key of what is kept of them.
#[derive(Clone)]
pub struct ProviderSettings {
    /// The provider; `None` when accounts are not opened.
    pub provider: Option<Arc<dyn AccountProvider>>,
    /// The key; always there with a provider.
    pub vault: Option<Arc<Vault>>,
}

impl ProviderSettings {
    /// Reads and checks the settings.
    ///
    /// # Errors
    /// When they contradict each other, are incomplete, or hold a secret that
    /// could be guessed.
    pub fn read(start: &Start) -> anyhow::Result<Self> {
        let variables: Variables = start.settings()?;
        let vault = variables.vault(start)?;
        let provider = match variables.provider_accounts.clone().unwrap_or_default() {
            unset if unset.is_empty() => None,
            name => {
                ensure!(
                    vault.is_some(),
                    "BURSAR_PROVIDER_ACCOUNTS is set and {KEY} is not; make one with \
                     `head -c 32 /dev/urandom | base64`"
                );
                Some(variables.provider(&name, start)?)
            }
        };
        Ok(Self { provider, vault })
    }
}

impl Variables {
    fn vault(&self, start: &Start) -> anyhow::Result<Option<Arc<Vault>>> {
        let Some(key) = &self.key_encryption_key else {
            return Ok(None);
        };
        let key = match start.config.environment {
            Environment::Development => KeyEncryptionKey::parse(key),
            Environment::Production => KeyEncryptionKey::parse_drawn(key),
        };
        Ok(Some(Arc::new(Vault::new(key.context(KEY)?))))
    }

    fn provider(self, name: &str, start: &Start) -> anyhow::Result<Arc<dyn AccountProvider>> {
        ensure!(
            (100..=15_000).contains(&self.provider_accounts_deadline_ms),
            "BURSAR_PROVIDER_ACCOUNTS_DEADLINE_MS must be 100 to 15000"
        );
        ensure!(
            (1..=8_760).contains(&self.provider_accounts_give_up_hours),
            "BURSAR_PROVIDER_ACCOUNTS_GIVE_UP_HOURS must be 1 to 8760"
        );
        match ProviderName::parse(name) {
            Some(ProviderName::Sandbox) => self.sandbox(start),
            Some(ProviderName::Providus) => self.providus(start),
            None => bail!("BURSAR_PROVIDER_ACCOUNTS is `{name}`; it must be sandbox or providus"),
        }
    }

    fn sandbox(self, start: &Start) -> anyhow::Result<Arc<dyn AccountProvider>> {
        let (deadline, give_up_after) = self.times();
        let api_key = required("BURSAR_SANDBOX_API_KEY", self.sandbox_api_key)?;
        start
            .config
            .require_strong("BURSAR_SANDBOX_API_KEY", &api_key)?;
        let settings = SandboxSettings {
            url: address("BURSAR_SANDBOX_URL", self.sandbox_url)?,
            api_key,
            deadline,
            give_up_after,
        };
        Ok(Arc::new(Sandbox::new(settings)?))
    }

    fn providus(self, start: &Start) -> anyhow::Result<Arc<dyn AccountProvider>> {
        let (deadline, give_up_after) = self.times();
        let url = address("BURSAR_PROVIDUS_URL", self.providus_url)?;
        ensure!(
            url.scheme() == "https" || start.config.environment == Environment::Development,
            "BURSAR_PROVIDUS_URL must be https outside development: people's data goes there"
        );
        let settings = ProvidusSettings {
            xpress: XpressSettings {
                url,
                email: required("BURSAR_PROVIDUS_EMAIL", self.providus_email)?,
                // How strong it must be is the bank's to say.
                password: required("BURSAR_PROVIDUS_PASSWORD", self.providus_password)?,
                deadline,
            },
            give_up_after,
        };
        Ok(Arc::new(Providus::new(settings)?))
    }

    /// The deadline of a request, and how long an account is tried.
    fn times(&self) -> (Duration, Duration) {
        (
            Duration::from_millis(self.provider_accounts_deadline_ms),
            Duration::from_secs(u64::from(self.provider_accounts_give_up_hours) * 3600),
        )
    }
}

fn required<T>(name: &str, value: Option<T>) -> anyhow::Result<T> {
    value.with_context(|| format!("{name} is not set; BURSAR_PROVIDER_ACCOUNTS needs it"))
}

fn address(name: &str, value: Option<String>) -> anyhow::Result<Url> {
    let url =
        Url::parse(&required(name, value)?).with_context(|| format!("{name} is no address"))?;
    ensure!(
        matches!(url.scheme(), "http" | "https") && url.has_host(),
        "{name} is no address of http or https"
    );
    Ok(url)
}

//! The service's own settings.

use std::time::Duration;

use anyhow::Context as _;
use bursar_server::Start;
use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;

use crate::domain::Terms;
use crate::provider::SandboxSettings;

/// What is read from `BURSAR_SANDBOX_*` and `BURSAR_RECOVERY_*`.
#[derive(Clone, Debug, Deserialize)]
struct Environment {
    sandbox_url: Option<String>,
    sandbox_api_key: Option<SecretString>,
    sandbox_callback_secret: Option<SecretString>,
    #[serde(default = "default_sandbox_deadline_ms")]
    sandbox_deadline_ms: u64,
    #[serde(default = "default_sandbox_lookup_window_ms")]
    sandbox_lookup_window_ms: u64,
    #[serde(default = "default_sandbox_give_up_ms")]
    sandbox_give_up_ms: u64,
    #[serde(default = "default_recovery_interval_ms")]
    recovery_interval_ms: u64,
    #[serde(default = "default_recovery_concurrency")]
    recovery_concurrency: usize,
}

fn default_sandbox_deadline_ms() -> u64 {
    5_000
}
fn default_sandbox_lookup_window_ms() -> u64 {
    60_000
}
fn default_sandbox_give_up_ms() -> u64 {
    900_000
}
fn default_recovery_interval_ms() -> u64 {
    500
}
fn default_recovery_concurrency() -> usize {
    16
}

/// The settings, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The sandbox provider, when it is configured.
    pub(crate) sandbox: Option<SandboxSettings>,
    /// How recovery works.
    pub(crate) recovery: RecoverySettings,
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
            environment.sandbox_give_up_ms >= 1000,
            "BURSAR_SANDBOX_GIVE_UP_MS must be 1000 or more"
        );
        Ok(Self {
            recovery: RecoverySettings {
                interval: Duration::from_millis(environment.recovery_interval_ms.max(10)),
                concurrency: environment.recovery_concurrency,
            },
            sandbox: environment.sandbox(start)?,
        })
    }
}

impl Environment {
    fn sandbox(self, start: &Start) -> anyhow::Result<Option<SandboxSettings>> {
        let Some(url) = self.sandbox_url else {
            return Ok(None);
        };
        let api_key = self
            .sandbox_api_key
            .context("BURSAR_SANDBOX_URL is set and BURSAR_SANDBOX_API_KEY is not")?;
        let callback_secret = self
            .sandbox_callback_secret
            .context("BURSAR_SANDBOX_URL is set and BURSAR_SANDBOX_CALLBACK_SECRET is not")?;
        let strong = |name, secret| start.config.require_strong(name, secret);
        strong("BURSAR_SANDBOX_API_KEY", &api_key)?;
        strong("BURSAR_SANDBOX_CALLBACK_SECRET", &callback_secret)?;
        Ok(Some(SandboxSettings {
            url: Url::parse(&url).context("BURSAR_SANDBOX_URL is not an address")?,
            api_key,
            callback_secret,
            deadline: Duration::from_millis(self.sandbox_deadline_ms),
            terms: Terms {
                lookup_window: Duration::from_millis(self.sandbox_lookup_window_ms),
                give_up_after: Duration::from_millis(self.sandbox_give_up_ms),
            },
        }))
    }
}

//! The service's own settings.

mod providers;

use std::time::Duration;

use bursar_server::Start;
use serde::Deserialize;

use crate::provider::ProviderSettings;

/// What is read from `BURSAR_RECOVERY_*`.
#[derive(Clone, Debug, Deserialize)]
struct Environment {
    #[serde(default = "default_recovery_interval_ms")]
    recovery_interval_ms: u64,
    #[serde(default = "default_recovery_concurrency")]
    recovery_concurrency: usize,
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
    /// The payment providers.
    pub(crate) providers: Vec<ProviderSettings>,
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
        Ok(Self {
            recovery: RecoverySettings {
                interval: Duration::from_millis(environment.recovery_interval_ms.max(10)),
                concurrency: environment.recovery_concurrency,
            },
            providers: providers::read(start)?,
        })
    }
}

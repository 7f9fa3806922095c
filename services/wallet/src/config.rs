//! The service's own settings.

use anyhow::{Context, ensure};
use bursar_money::Currency;
use serde::Deserialize;

/// The most postings that one call may bring; the contract's bound.
const MAX_CALL_POSTINGS: u32 = 1_000;

/// Settings, each read from the variable `BURSAR_` and its name in upper case.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// The currency of the wallet that is opened for a new user.
    #[serde(default = "default_currency")]
    default_currency: String,
    /// How many wallets one user may own.
    #[serde(default = "default_wallets_per_user")]
    pub max_wallets_per_user: u32,
    /// How many postings may wait or be under way in the ledger; callers beyond
    /// that are refused at once.
    #[serde(default = "default_queued_postings")]
    pub ledger_max_postings: u32,
}

fn default_currency() -> String {
    "EUR".to_owned()
}
fn default_wallets_per_user() -> u32 {
    100
}
fn default_queued_postings() -> u32 {
    8_192
}

impl Settings {
    /// The currency of the wallet that is opened for a new user.
    pub fn default_currency(&self) -> anyhow::Result<Currency> {
        Currency::parse(&self.default_currency).with_context(|| {
            format!(
                "BURSAR_DEFAULT_CURRENCY is `{}`, which is no currency",
                self.default_currency
            )
        })
    }

    /// Refuses settings with which the service could not work.
    pub fn check(&self) -> anyhow::Result<()> {
        self.default_currency()?;
        ensure!(
            self.max_wallets_per_user >= 1,
            "BURSAR_MAX_WALLETS_PER_USER is 0"
        );
        ensure!(
            self.ledger_max_postings >= MAX_CALL_POSTINGS,
            "BURSAR_LEDGER_MAX_POSTINGS is less than the {MAX_CALL_POSTINGS} postings of one call"
        );
        Ok(())
    }
}

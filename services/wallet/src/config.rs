//! The service's own settings.

use std::time::Duration;

pub mod proof;

use anyhow::{Context, ensure};
use bursar_money::Currency;
use serde::Deserialize;

use crate::domain::book::SpendOrder;

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
    /// How often holds whose time is over are looked for at least, in milliseconds.
    #[serde(default = "default_hold_expiry_interval_ms")]
    hold_expiry_interval_ms: u64,
    /// How often bonus money is looked for that expires, converts or goes back by
    /// itself, in milliseconds.
    #[serde(default = "default_bonus_interval_ms")]
    bonus_interval_ms: u64,
    /// From which money transfers are paid first.
    #[serde(default)]
    pub bonus_spend_order: BonusSpendOrder,
    /// The share of the time, in percent, in which this process brings projections
    /// up to date; 0 leaves it to others.
    #[serde(default = "default_projection_cpu_percent")]
    pub projection_cpu_percent: u32,
}

/// From which bucket spendable money is taken first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum BonusSpendOrder {
    /// From bonus money, as long as there is some.
    #[default]
    BonusFirst,
    /// From available money, and from bonus money when that does not suffice.
    AvailableFirst,
    /// From available money only: bonus money has to be converted first.
    Never,
}

impl From<BonusSpendOrder> for SpendOrder {
    fn from(order: BonusSpendOrder) -> Self {
        match order {
            BonusSpendOrder::BonusFirst => Self::BonusFirst,
            BonusSpendOrder::AvailableFirst => Self::AvailableFirst,
            BonusSpendOrder::Never => Self::AvailableOnly,
        }
    }
}

fn default_currency() -> String {
    "EUR".to_owned()
}
fn default_wallets_per_user() -> u32 {
    100
}
fn default_projection_cpu_percent() -> u32 {
    10
}
fn default_queued_postings() -> u32 {
    8_192
}
fn default_bonus_interval_ms() -> u64 {
    1_000
}
fn default_hold_expiry_interval_ms() -> u64 {
    2_000
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

    /// How often holds whose time is over are looked for at least.
    pub fn hold_expiry_interval(&self) -> Duration {
        Duration::from_millis(self.hold_expiry_interval_ms)
    }

    /// How often bonus money is looked for that moves by itself.
    pub fn bonus_interval(&self) -> Duration {
        Duration::from_millis(self.bonus_interval_ms)
    }

    /// Refuses settings with which the service could not work.
    pub fn check(&self) -> anyhow::Result<()> {
        self.default_currency()?;
        ensure!(
            self.max_wallets_per_user >= 1,
            "BURSAR_MAX_WALLETS_PER_USER is 0"
        );
        ensure!(
            (10..=600_000).contains(&self.hold_expiry_interval_ms),
            "BURSAR_HOLD_EXPIRY_INTERVAL_MS is not between 10 and 600000"
        );
        ensure!(
            (10..=600_000).contains(&self.bonus_interval_ms),
            "BURSAR_BONUS_INTERVAL_MS is not between 10 and 600000"
        );
        ensure!(
            self.ledger_max_postings >= MAX_CALL_POSTINGS,
            "BURSAR_LEDGER_MAX_POSTINGS is less than the {MAX_CALL_POSTINGS} postings of one call"
        );
        ensure!(
            self.projection_cpu_percent <= 100,
            "BURSAR_PROJECTION_CPU_PERCENT is more than 100"
        );
        Ok(())
    }
}

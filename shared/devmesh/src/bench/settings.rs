//! How long and how often is measured.

use std::time::Duration;

use anyhow::Context;

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long each measurement lasts.
    pub length: Duration,
    /// How many rounds there are; the report has their medians.
    pub rounds: usize,
    /// Whether the large set of wallets is measured.
    pub growth: bool,
    /// Whether there is a soak, and how long.
    pub soak: Option<Duration>,
    /// Wallets in the usual set.
    pub wallets: u32,
    /// Wallets in the large set.
    pub many_wallets: u32,
}

impl Settings {
    /// The settings of the environment: `BENCH_SECONDS`, `BENCH_RUNS`,
    /// `BENCH_QUICK` (leaves growth and soak out), `BENCH_SOAK_SECONDS`,
    /// `BENCH_WALLETS` and `BENCH_MANY_WALLETS`.
    ///
    /// # Errors
    /// When one of them is not a number.
    pub fn from_environment() -> anyhow::Result<Self> {
        let is_quick = std::env::var_os("BENCH_QUICK").is_some_and(|value| value != "0");
        let soak = number("BENCH_SOAK_SECONDS", 300)?;
        Ok(Self {
            length: Duration::from_secs(number("BENCH_SECONDS", 20)?),
            rounds: usize::try_from(number("BENCH_RUNS", 3)?)?.max(1),
            growth: !is_quick,
            soak: (!is_quick && soak > 0).then(|| Duration::from_secs(soak)),
            wallets: u32::try_from(number("BENCH_WALLETS", 100_000)?)?,
            many_wallets: u32::try_from(number("BENCH_MANY_WALLETS", 5_000_000)?)?,
        })
    }

    /// About how long a run measures.
    #[must_use]
    pub fn estimate(&self) -> Duration {
        let measures = if self.growth { 8 } else { 7 };
        let rounds = u32::try_from(self.rounds).unwrap_or(u32::MAX);
        self.length * measures * rounds + self.soak.unwrap_or_default()
    }
}

fn number(name: &str, default: u64) -> anyhow::Result<u64> {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{name} is `{text}`, which is no number")),
        Err(_) => Ok(default),
    }
}

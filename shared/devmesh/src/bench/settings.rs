//! What is measured, how long and how often.

use std::time::Duration;

use anyhow::{Context, bail};

/// A part of the benchmark, with servers and rounds of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// The ledger: the wallet service alone.
    Ledger,
    /// Transfers, through the gateway.
    Transfers,
}

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The one part that is measured; `None` for all.
    pub only: Option<Part>,
    /// The profile of Cargo's that the programs are built by.
    pub profile: String,
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
    /// `BENCH_WALLETS`, `BENCH_MANY_WALLETS`, `BENCH_ONLY` and `BENCH_PROFILE`.
    ///
    /// # Errors
    /// When one of them is not a number, or not a part.
    pub fn from_environment() -> anyhow::Result<Self> {
        let is_quick = std::env::var_os("BENCH_QUICK").is_some_and(|value| value != "0");
        let soak = number("BENCH_SOAK_SECONDS", 300)?;
        Ok(Self {
            only: part(&text("BENCH_ONLY", ""))?,
            profile: text("BENCH_PROFILE", "release"),
            length: Duration::from_secs(number("BENCH_SECONDS", 20)?),
            rounds: usize::try_from(number("BENCH_RUNS", 3)?)?.max(1),
            growth: !is_quick,
            soak: (!is_quick && soak > 0).then(|| Duration::from_secs(soak)),
            wallets: u32::try_from(number("BENCH_WALLETS", 100_000)?)?,
            many_wallets: u32::try_from(number("BENCH_MANY_WALLETS", 5_000_000)?)?,
        })
    }

    /// Whether a part is measured.
    #[must_use]
    pub fn measures(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }

    /// About how long a run measures.
    #[must_use]
    pub fn estimate(&self) -> Duration {
        let rounds = u32::try_from(self.rounds).unwrap_or(u32::MAX);
        let mut estimate = Duration::ZERO;
        if self.measures(Part::Ledger) {
            let measures = if self.growth { 8 } else { 7 };
            estimate += self.length * measures * rounds + self.soak.unwrap_or_default();
        }
        if self.measures(Part::Transfers) {
            estimate += self.length * 5 * rounds;
        }
        estimate
    }
}

fn part(name: &str) -> anyhow::Result<Option<Part>> {
    match name {
        "" => Ok(None),
        "ledger" => Ok(Some(Part::Ledger)),
        "transfers" => Ok(Some(Part::Transfers)),
        other => bail!("BENCH_ONLY is `{other}`; there are `ledger` and `transfers`"),
    }
}

fn text(name: &str, default: &str) -> String {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text,
        _ => default.to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(only: Option<Part>) -> Settings {
        Settings {
            only,
            profile: "release".to_owned(),
            length: Duration::from_secs(20),
            rounds: 3,
            growth: true,
            soak: Some(Duration::from_secs(300)),
            wallets: 100_000,
            many_wallets: 5_000_000,
        }
    }

    /// No name means every part; a wrong one is refused instead of measuring
    /// something else.
    #[test]
    fn parts_have_names() {
        assert_eq!(part("").unwrap(), None);
        assert_eq!(part("ledger").unwrap(), Some(Part::Ledger));
        assert_eq!(part("transfers").unwrap(), Some(Part::Transfers));
        assert!(part("transfer").is_err());
        assert!(settings(None).measures(Part::Ledger));
        assert!(settings(None).measures(Part::Transfers));
        assert!(!settings(Some(Part::Transfers)).measures(Part::Ledger));
    }

    /// The parts' times add up.
    #[test]
    fn the_estimate_is_of_what_is_measured() {
        let ledger = settings(Some(Part::Ledger)).estimate();
        let transfers = settings(Some(Part::Transfers)).estimate();
        assert_eq!(ledger, Duration::from_secs(20 * 8 * 3 + 300));
        assert_eq!(transfers, Duration::from_secs(20 * 5 * 3));
        assert_eq!(settings(None).estimate(), ledger + transfers);
    }
}

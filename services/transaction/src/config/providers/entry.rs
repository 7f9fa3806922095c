//! The entries of the list of providers, as they are written.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bursar_money::Currency;
use serde::Deserialize;
use serde_json::Value;

use crate::provider::{
    BreakerSettings, BulkheadSettings, Currencies, Direction, GuardSettings, Offer, RetryPolicy,
    Tariff, naira,
};

/// An entry of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    #[serde(default)]
    pub(super) kind: Kind,
    pub(super) url: Option<String>,
    pub(super) deadline_ms: Option<u64>,
    pub(super) lookup_window_ms: Option<u64>,
    pub(super) give_up_ms: Option<u64>,
    /// As whom Xpress Wallet is signed in to.
    pub(super) email: Option<String>,
    #[serde(default)]
    retry: RetryPolicy,
    #[serde(default)]
    breaker: BreakerEntry,
    #[serde(default)]
    bulkhead: BulkheadEntry,
    directions: Option<Vec<DirectionEntry>>,
    currencies: Option<BTreeMap<String, TariffEntry>>,
}

/// Whose API a provider speaks.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// The sandbox provider's charges, payouts and refunds.
    #[default]
    Sandbox,
    /// A card acquirer's authorisations, captures, voids and refunds.
    Cards,
    /// Xpress Wallet's transfers to bank accounts.
    Providus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BreakerEntry {
    window_ms: Option<u64>,
    minimum_calls: Option<u32>,
    failure_percent: Option<u32>,
    open_ms: Option<u64>,
    probes: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkheadEntry {
    acting: Option<usize>,
    looking: Option<usize>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DirectionEntry {
    Charge,
    Payout,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TariffEntry {
    min_minor: Option<i64>,
    max_minor: Option<i64>,
    #[serde(default)]
    cost_basis_points: u32,
    #[serde(default)]
    cost_fixed_minor: i64,
}

impl Kind {
    /// How long a provider may take to act, unless the entry says it. One that cannot be
    /// asked what it did is waited for: an answer that is missed never comes again.
    pub(super) fn deadline_ms(self) -> u64 {
        match self {
            Self::Sandbox | Self::Cards => 5_000,
            Self::Providus => 20_000,
        }
    }

    /// How long a provider may still come to know what it was asked, unless the entry
    /// says it. Of one that documents nothing, this is many times what it takes.
    pub(super) fn lookup_window_ms(self) -> u64 {
        match self {
            Self::Sandbox | Self::Cards => 60_000,
            Self::Providus => 3_600_000,
        }
    }
}

impl Entry {
    /// An entry that says nothing but a name.
    pub(super) fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: Kind::default(),
            url: None,
            deadline_ms: None,
            lookup_window_ms: None,
            give_up_ms: None,
            email: None,
            retry: RetryPolicy::default(),
            breaker: BreakerEntry::default(),
            bulkhead: BulkheadEntry::default(),
            directions: None,
            currencies: None,
        }
    }

    pub(super) fn guard(&self) -> anyhow::Result<GuardSettings> {
        Ok(GuardSettings {
            retry: self.retry,
            breaker: self.breaker.settings()?,
            bulkhead: self.bulkhead.settings()?,
            offer: self.offer()?,
        })
    }

    fn offer(&self) -> anyhow::Result<Offer> {
        let mut offer = match self.kind {
            Kind::Sandbox => Offer::default(),
            Kind::Cards => Offer::of_cards(),
            Kind::Providus => Offer::of_bank_payouts(naira()),
        };
        if let Some(directions) = &self.directions {
            let direction = |entry: &DirectionEntry| match entry {
                DirectionEntry::Charge => Direction::Charge,
                DirectionEntry::Payout => Direction::Payout,
            };
            let wanted: Vec<_> = directions.iter().map(direction).collect();
            ensure!(
                wanted.iter().all(|one| offer.directions.contains(one)),
                "`directions` has one in which a provider of this kind moves no money"
            );
            offer.directions = wanted;
        }
        if let Some(currencies) = &self.currencies {
            ensure!(!currencies.is_empty(), "`currencies` is empty");
            let tariffs = currencies.iter().map(|(code, entry)| {
                let currency = Currency::parse(code).context(format!("the currency {code}"))?;
                let tariff = entry.tariff().context(format!("the currency {code}"))?;
                Ok((currency, tariff))
            });
            let wanted: BTreeMap<_, _> = tariffs.collect::<anyhow::Result<_>>()?;
            ensure!(
                wanted.keys().all(|currency| offer.takes(*currency)),
                "`currencies` has one that a provider of this kind does not move"
            );
            offer.currencies = Currencies::Only(wanted);
        }
        Ok(offer)
    }
}

impl BreakerEntry {
    fn settings(&self) -> anyhow::Result<BreakerSettings> {
        let standard = BreakerSettings::default();
        let ms = |value: Option<u64>| value.map(Duration::from_millis);
        let window = within("breaker.window_ms", self.window_ms, 1_000..=3_600_000)?;
        let calls = within("breaker.minimum_calls", self.minimum_calls, 1..=100_000)?;
        let percent = within("breaker.failure_percent", self.failure_percent, 1..=100)?;
        let open_for = within("breaker.open_ms", self.open_ms, 100..=3_600_000)?;
        let probes = within("breaker.probes", self.probes, 1..=1_000)?;
        Ok(BreakerSettings {
            window: ms(window).unwrap_or(standard.window),
            minimum_calls: calls.unwrap_or(standard.minimum_calls),
            failure_percent: percent.unwrap_or(standard.failure_percent),
            open_for: ms(open_for).unwrap_or(standard.open_for),
            probes: probes.unwrap_or(standard.probes),
        })
    }
}

impl BulkheadEntry {
    fn settings(&self) -> anyhow::Result<BulkheadSettings> {
        let standard = BulkheadSettings::default();
        let acting = within("bulkhead.acting", self.acting, 1..=10_000)?;
        let acting = acting.unwrap_or(standard.acting);
        let looking = within("bulkhead.looking", self.looking, 1..=10_000)?;
        let looking = looking.unwrap_or(standard.looking.min(acting));
        ensure!(
            looking <= acting,
            "`bulkhead.looking` is more than `bulkhead.acting`"
        );
        Ok(BulkheadSettings { acting, looking })
    }
}

impl TariffEntry {
    fn tariff(&self) -> anyhow::Result<Tariff> {
        let tariff = Tariff {
            min_minor: self.min_minor.unwrap_or(1),
            max_minor: self.max_minor.unwrap_or(i64::MAX),
            cost_basis_points: self.cost_basis_points,
            cost_fixed_minor: self.cost_fixed_minor,
        };
        ensure!(tariff.min_minor >= 1, "`min_minor` is less than 1");
        ensure!(
            tariff.max_minor >= tariff.min_minor,
            "`max_minor` is less than `min_minor`"
        );
        ensure!(
            tariff.cost_basis_points <= 10_000,
            "`cost_basis_points` is more than 10000, which is all of it"
        );
        ensure!(
            tariff.cost_fixed_minor >= 0,
            "`cost_fixed_minor` is negative"
        );
        Ok(tariff)
    }
}

/// The entries of the list. An environment may have made a list of the text
/// already.
pub(super) fn entries(list: Option<&Value>) -> anyhow::Result<Vec<Entry>> {
    let parsed = match list {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(Vec::new()),
        Some(Value::String(text)) => serde_json::from_str(text),
        Some(value) => Vec::<Entry>::deserialize(value),
    };
    parsed.context("BURSAR_PROVIDERS is not a list of providers in JSON")
}

/// A value of a field or a variable, which must be in a range.
pub(super) fn within<T: Copy + PartialOrd + std::fmt::Display>(
    field: &str,
    value: Option<T>,
    range: RangeInclusive<T>,
) -> anyhow::Result<Option<T>> {
    if let Some(value) = value {
        ensure!(
            range.contains(&value),
            "`{field}` must be {} to {}",
            range.start(),
            range.end()
        );
    }
    Ok(value)
}

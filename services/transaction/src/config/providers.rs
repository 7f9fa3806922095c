//! The payment providers' settings.
//!
//! `BURSAR_PROVIDERS` is a list in JSON, an entry a provider. It holds no secrets:
//! those of the provider `alpha` are `BURSAR_PROVIDER_ALPHA_API_KEY` and
//! `BURSAR_PROVIDER_ALPHA_CALLBACK_SECRET`. The variables `BURSAR_SANDBOX_*` make a
//! provider `sandbox` by themselves; an entry of that name may leave out whatever
//! they say. An entry of the kind `providus` has an `email`, and instead of both secrets
//! the one of `BURSAR_PROVIDER_ALPHA_PASSWORD`.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bursar_money::Currency;
use bursar_outbound::xpress::XpressSettings;
use bursar_server::{Environment, Start};
use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use crate::domain::{ProviderName, Terms};
use crate::provider::{
    Access, BreakerSettings, BulkheadSettings, ConnectorSettings, Currencies, Direction,
    GuardSettings, Offer, ProviderSettings, ProvidusSettings, RetryPolicy, Tariff, naira,
};

/// The provider that the variables `BURSAR_SANDBOX_*` are about.
const SANDBOX: &str = "sandbox";
/// What a password's variable ends with.
const PASSWORD: &str = "PASSWORD";
/// How many providers there may be; each has connections of its own.
const MAX_PROVIDERS: usize = 32;

/// What is read from the environment.
#[derive(Debug, Default, Deserialize)]
struct Variables {
    providers: Option<Value>,
    sandbox_url: Option<String>,
    sandbox_deadline_ms: Option<u64>,
    sandbox_lookup_window_ms: Option<u64>,
    sandbox_give_up_ms: Option<u64>,
}

/// An entry of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    kind: Kind,
    url: Option<String>,
    deadline_ms: Option<u64>,
    lookup_window_ms: Option<u64>,
    give_up_ms: Option<u64>,
    /// As whom Xpress Wallet is signed in to.
    email: Option<String>,
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
enum Kind {
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

/// Where the secret of a variable comes from; refuses one that is guessable.
type Secrets<'a> = &'a dyn Fn(&str) -> anyhow::Result<Option<SecretString>>;

/// Reads and checks the settings of all providers.
pub(super) fn read(start: &Start) -> anyhow::Result<Vec<ProviderSettings>> {
    let variables: Variables = start.settings()?;
    let secret = |name: &str| -> anyhow::Result<Option<SecretString>> {
        let key = name.trim_start_matches("BURSAR_").to_lowercase();
        let Ok(value) = start.environment.find_value(&key) else {
            return Ok(None);
        };
        let secret: SecretString = value.deserialize().with_context(|| name.to_owned())?;
        // How strong a password must be is for the provider to say who gave it.
        if !name.ends_with(PASSWORD) {
            start.config.require_strong(name, &secret)?;
        }
        Ok(Some(secret))
    };
    let settings = variables.settings(&secret)?;
    let is_open = |provider: &ProviderSettings| match &provider.connector {
        ConnectorSettings::Providus(settings) => settings.xpress.url.scheme() != "https",
        ConnectorSettings::Sandbox(_) | ConnectorSettings::Cards(_) => false,
    };
    ensure!(
        start.config.environment == Environment::Development || !settings.iter().any(is_open),
        "the `url` of a provider that pays to bank accounts must be https outside development: \
         people's data goes there"
    );
    Ok(settings)
}

impl Variables {
    fn settings(&self, secrets: Secrets<'_>) -> anyhow::Result<Vec<ProviderSettings>> {
        let mut entries = entries(self.providers.as_ref())?;
        if self.sandbox_url.is_some() && !entries.iter().any(|entry| entry.name == SANDBOX) {
            entries.push(Entry::plain(SANDBOX));
        }
        ensure!(
            entries.len() <= MAX_PROVIDERS,
            "BURSAR_PROVIDERS has more than {MAX_PROVIDERS} providers"
        );
        let mut names = HashSet::new();
        let mut providers = Vec::new();
        for entry in entries {
            ensure!(
                names.insert(entry.name.clone()),
                "BURSAR_PROVIDERS has the provider {} twice",
                entry.name
            );
            let context = format!("the provider {} of BURSAR_PROVIDERS", entry.name);
            providers.push(self.provider(entry, secrets).context(context)?);
        }
        Ok(providers)
    }

    fn provider(&self, entry: Entry, secrets: Secrets<'_>) -> anyhow::Result<ProviderSettings> {
        let name: ProviderName = entry.name.parse()?;
        let of_sandbox = |value: Option<u64>| value.filter(|_| entry.name == SANDBOX);
        let deadline_ms = within("deadline_ms", entry.deadline_ms, 100..=60_000)?
            .or(of_sandbox(self.sandbox_deadline_ms));
        let lookup_window_ms = within(
            "lookup_window_ms",
            entry.lookup_window_ms,
            1_000..=2_592_000_000,
        )?
        .or(of_sandbox(self.sandbox_lookup_window_ms));
        let give_up_ms = within("give_up_ms", entry.give_up_ms, 1_000..=2_592_000_000)?
            .or(of_sandbox(self.sandbox_give_up_ms));
        let give_up_ms = give_up_ms.unwrap_or(900_000);
        ensure!(give_up_ms >= 1000, "it is given up in less than a second");
        let terms = Terms {
            lookup_window: Duration::from_millis(
                lookup_window_ms.unwrap_or(entry.kind.lookup_window_ms()),
            ),
            give_up_after: Duration::from_millis(give_up_ms),
        };
        let url = match (&entry.url, &self.sandbox_url) {
            (Some(url), _) => url,
            (None, Some(url)) if entry.name == SANDBOX => url,
            (None, _) => bail!("its `url` is missing"),
        };
        let url = Url::parse(url).context("its `url` is not an address")?;
        ensure!(
            matches!(url.scheme(), "http" | "https") && url.has_host(),
            "its `url` is not an address of http or https"
        );
        let deadline_ms = deadline_ms.unwrap_or(entry.kind.deadline_ms());
        let deadline = Duration::from_millis(deadline_ms);
        ensure!(
            entry.email.is_none() || matches!(entry.kind, Kind::Providus),
            "`email` means nothing to a provider of this kind"
        );
        let access = |secrets| -> anyhow::Result<Access> {
            Ok(Access {
                url: url.clone(),
                api_key: required(&entry.name, "API_KEY", secrets)?,
                callback_secret: required(&entry.name, "CALLBACK_SECRET", secrets)?,
                deadline,
                terms,
            })
        };
        let connector = match entry.kind {
            Kind::Sandbox => ConnectorSettings::Sandbox(access(secrets)?),
            Kind::Cards => ConnectorSettings::Cards(access(secrets)?),
            Kind::Providus => ConnectorSettings::Providus(ProvidusSettings {
                xpress: XpressSettings {
                    email: entry.email.clone().context("its `email` is missing")?,
                    password: required(&entry.name, PASSWORD, secrets)?,
                    url: url.clone(),
                    deadline,
                },
                terms,
            }),
        };
        Ok(ProviderSettings {
            name,
            connector,
            guard: entry.guard()?,
        })
    }
}

impl Kind {
    /// How long a provider may take to act, unless the entry says it. One that cannot be
    /// asked what it did is waited for: an answer that is missed never comes again.
    fn deadline_ms(self) -> u64 {
        match self {
            Self::Sandbox | Self::Cards => 5_000,
            Self::Providus => 20_000,
        }
    }

    /// How long a provider may still come to know what it was asked, unless the entry
    /// says it. Of one that documents nothing, this is many times what it takes.
    fn lookup_window_ms(self) -> u64 {
        match self {
            Self::Sandbox | Self::Cards => 60_000,
            Self::Providus => 3_600_000,
        }
    }
}

impl Entry {
    /// An entry that says nothing but a name.
    fn plain(name: &str) -> Self {
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

    fn guard(&self) -> anyhow::Result<GuardSettings> {
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
fn entries(list: Option<&Value>) -> anyhow::Result<Vec<Entry>> {
    let parsed = match list {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(Vec::new()),
        Some(Value::String(text)) => serde_json::from_str(text),
        Some(value) => Vec::<Entry>::deserialize(value),
    };
    parsed.context("BURSAR_PROVIDERS is not a list of providers in JSON")
}

fn within<T: Copy + PartialOrd + std::fmt::Display>(
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

/// A secret of a provider. The sandbox's may have the names that it always had.
fn required(provider: &str, what: &str, secrets: Secrets<'_>) -> anyhow::Result<SecretString> {
    let mut names = vec![format!(
        "BURSAR_PROVIDER_{}_{what}",
        provider.to_uppercase()
    )];
    if provider == SANDBOX {
        names.push(format!("BURSAR_SANDBOX_{what}"));
    }
    for name in &names {
        if let Some(secret) = secrets(name)? {
            return Ok(secret);
        }
    }
    bail!("{} is not set", names.join(" or "))
}

#[cfg(test)]
mod tests;

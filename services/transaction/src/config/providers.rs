//! The payment providers' settings.
//!
//! `BURSAR_PROVIDERS` is a list in JSON, an entry a provider. It holds no secrets:
//! those of the provider `alpha` are `BURSAR_PROVIDER_ALPHA_API_KEY` and
//! `BURSAR_PROVIDER_ALPHA_CALLBACK_SECRET`. The variables `BURSAR_SANDBOX_*` make a
//! provider `sandbox` by themselves; an entry of that name may leave out whatever
//! they say. An entry of the kind `providus` has an `email`, and instead of both secrets
//! the one of `BURSAR_PROVIDER_ALPHA_PASSWORD`.

mod entry;

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bursar_outbound::xpress::XpressSettings;
use bursar_server::{Environment, Start};
use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use crate::domain::{ProviderName, Terms};
use crate::provider::{Access, ConnectorSettings, ProviderSettings, ProvidusSettings};
use entry::{Entry, Kind, entries, within};

/// The provider that the variables `BURSAR_SANDBOX_*` are about.
const SANDBOX: &str = "sandbox";
/// What a password's variable ends with.
const PASSWORD: &str = "PASSWORD";
/// How many providers there may be; each has connections of its own.
const MAX_PROVIDERS: usize = 32;
/// How long a call may take.
const DEADLINE_MS: RangeInclusive<u64> = 100..=60_000;
/// How long an order is waited for: at most 30 days.
const WINDOW_MS: RangeInclusive<u64> = 1_000..=2_592_000_000;
/// After which time a movement is given up, unless the entry says it.
const GIVE_UP_MS: u64 = 900_000;

/// What is read from the environment.
#[derive(Debug, Default, Deserialize)]
struct Variables {
    providers: Option<Value>,
    sandbox_url: Option<String>,
    sandbox_deadline_ms: Option<u64>,
    sandbox_lookup_window_ms: Option<u64>,
    sandbox_give_up_ms: Option<u64>,
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
    require_closed(start.config.environment, &settings)?;
    Ok(settings)
}

/// Outside development, payment tokens and people's data go over TLS or nowhere.
fn require_closed(environment: Environment, settings: &[ProviderSettings]) -> anyhow::Result<()> {
    let is_open = |provider: &&ProviderSettings| match &provider.connector {
        ConnectorSettings::Cards(access) => access.url.scheme() != "https",
        ConnectorSettings::Providus(settings) => settings.xpress.url.scheme() != "https",
        ConnectorSettings::Sandbox(_) => false,
    };
    match settings.iter().find(is_open) {
        Some(open) if environment != Environment::Development => bail!(
            "the `url` of the provider {} must be https outside development: payment tokens \
             or people's names and account numbers go there",
            open.name
        ),
        _ => Ok(()),
    }
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
        let (deadline, terms) = self.times(&entry)?;
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

    /// How long a provider may take, and how long what it was asked to do is waited for:
    /// by the entry, or for the sandbox by its own variables.
    fn times(&self, entry: &Entry) -> anyhow::Result<(Duration, Terms)> {
        let time = |field: &str, said: Option<u64>, of_sandbox, range, standard| {
            let ms = if said.is_none() && entry.name == SANDBOX {
                let variable = format!("BURSAR_SANDBOX_{}", field.to_uppercase());
                within(&variable, of_sandbox, range)?
            } else {
                within(field, said, range)?
            };
            anyhow::Ok(Duration::from_millis(ms.unwrap_or(standard)))
        };
        let deadline = time(
            "deadline_ms",
            entry.deadline_ms,
            self.sandbox_deadline_ms,
            DEADLINE_MS,
            entry.kind.deadline_ms(),
        )?;
        let lookup_window = time(
            "lookup_window_ms",
            entry.lookup_window_ms,
            self.sandbox_lookup_window_ms,
            WINDOW_MS,
            entry.kind.lookup_window_ms(),
        )?;
        let give_up_after = time(
            "give_up_ms",
            entry.give_up_ms,
            self.sandbox_give_up_ms,
            WINDOW_MS,
            GIVE_UP_MS,
        )?;
        let terms = Terms {
            lookup_window,
            give_up_after,
        };
        Ok((deadline, terms))
    }
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

//! The provider's own settings.

use std::time::Duration;

use anyhow::Context as _;
use bursar_server::Start;
use secrecy::SecretString;
use serde::Deserialize;

use crate::domain::FeeRule;

/// What is read from `BURSAR_SANDBOX_*`.
#[derive(Clone, Debug, Deserialize)]
struct Environment {
    sandbox_api_key: SecretString,
    sandbox_callback_url: Option<String>,
    sandbox_card_callback_url: Option<String>,
    sandbox_callback_secret: Option<SecretString>,
    #[serde(default = "default_callback_retry_ms")]
    sandbox_callback_retry_ms: u64,
    #[serde(default = "default_fee_basis_points")]
    sandbox_fee_basis_points: u16,
    #[serde(default)]
    sandbox_fee_fixed_minor: u32,
}

fn default_callback_retry_ms() -> u64 {
    1000
}

fn default_fee_basis_points() -> u16 {
    150
}

/// The settings, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What a customer shows to be served.
    pub api_key: SecretString,
    /// Where notices go; without it none are made.
    pub callbacks: Option<CallbackSettings>,
    /// What the provider keeps for itself.
    pub fees: FeeRule,
}

/// Where and how notices are sent.
#[derive(Clone, Debug)]
pub(crate) struct CallbackSettings {
    /// The customer's address.
    pub url: String,
    /// The customer's address for what is about cards.
    pub card_url: String,
    /// The secret of the signatures.
    pub secret: SecretString,
    /// How long after the first failure a notice is tried again; doubles.
    pub first_retry: Duration,
}

impl Settings {
    /// Reads and checks the settings.
    pub(crate) fn read(start: &Start) -> anyhow::Result<Self> {
        let environment: Environment = start.settings()?;
        let strong = |name, secret| start.config.require_strong(name, secret);
        strong("BURSAR_SANDBOX_API_KEY", &environment.sandbox_api_key)?;
        let callbacks = match environment.sandbox_callback_url {
            None => None,
            Some(url) => {
                let secret = environment.sandbox_callback_secret.context(
                    "BURSAR_SANDBOX_CALLBACK_URL is set and BURSAR_SANDBOX_CALLBACK_SECRET is not",
                )?;
                strong("BURSAR_SANDBOX_CALLBACK_SECRET", &secret)?;
                let card_url = environment.sandbox_card_callback_url;
                Some(CallbackSettings {
                    card_url: card_url.unwrap_or_else(|| url.clone()),
                    url,
                    secret,
                    first_retry: Duration::from_millis(environment.sandbox_callback_retry_ms),
                })
            }
        };
        anyhow::ensure!(
            environment.sandbox_fee_basis_points <= 10_000,
            "BURSAR_SANDBOX_FEE_BASIS_POINTS is at most 10000"
        );
        Ok(Self {
            api_key: environment.sandbox_api_key,
            callbacks,
            fees: FeeRule {
                basis_points: environment.sandbox_fee_basis_points,
                fixed_minor: environment.sandbox_fee_fixed_minor,
            },
        })
    }
}

//! The provider's own settings.

use std::time::Duration;

use anyhow::Context as _;
use bursar_server::Start;
use secrecy::SecretString;
use serde::Deserialize;

/// What is read from `BURSAR_SANDBOX_*`.
#[derive(Clone, Debug, Deserialize)]
struct Environment {
    sandbox_api_key: SecretString,
    sandbox_callback_url: Option<String>,
    sandbox_callback_secret: Option<SecretString>,
    #[serde(default = "default_callback_retry_ms")]
    sandbox_callback_retry_ms: u64,
}

fn default_callback_retry_ms() -> u64 {
    1000
}

/// The settings, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What a customer shows to be served.
    pub api_key: SecretString,
    /// Where notices go; without it none are made.
    pub callbacks: Option<CallbackSettings>,
}

/// Where and how notices are sent.
#[derive(Clone, Debug)]
pub(crate) struct CallbackSettings {
    /// The customer's address.
    pub url: String,
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
                Some(CallbackSettings {
                    url,
                    secret,
                    first_retry: Duration::from_millis(environment.sandbox_callback_retry_ms),
                })
            }
        };
        Ok(Self {
            api_key: environment.sandbox_api_key,
            callbacks,
        })
    }
}

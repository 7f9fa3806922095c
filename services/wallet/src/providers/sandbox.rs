//! The `sandbox` provider: accounts in every currency, at most one a reference,
//! so a request may be sent as often as one likes.

use std::time::Duration;

use async_trait::async_trait;
use bursar_money::Currency;
use bursar_outbound::{Failure, read};
use reqwest::{Client, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::http::{plausible, unavailable, unknown};
use super::{AccountProvider, HolderField, OpenAccount, OpenedAccount, ProviderError};
use crate::domain::provider_account::{ProviderName, Terms};

/// How long after a request was sent the provider may still come to know it.
const LOOKUP_WINDOW: Duration = Duration::from_secs(60);
/// The code of a request that the provider found wrong.
const REJECTED: &str = "request_rejected";
/// The code of a decline that names none.
const UNNAMED: &str = "declined";
/// The longest code that is kept.
const MAX_CODE: usize = 64;

/// Where the provider is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct SandboxSettings {
    /// Its address.
    pub url: Url,
    /// What we show to be served.
    pub api_key: SecretString,
    /// How long it may take to answer.
    pub deadline: Duration,
    /// How long it is tried.
    pub give_up_after: Duration,
}

/// The client.
pub struct Sandbox {
    client: Client,
    settings: SandboxSettings,
}

#[derive(Serialize)]
struct CreateForm<'a> {
    reference: &'a str,
    currency: &'static str,
    holder_name: &'a str,
}

#[derive(Deserialize)]
struct AccountForm {
    reference: String,
    status: String,
    decline_code: Option<String>,
    account_number: Option<String>,
    account_name: String,
    bank_name: String,
    bank_code: String,
}

#[derive(Deserialize)]
struct ErrorForm {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: String,
}

impl Sandbox {
    /// A client by these settings.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(settings: SandboxSettings) -> anyhow::Result<Self> {
        let client = bursar_outbound::client(&settings.url, settings.deadline)?;
        Ok(Self { client, settings })
    }

    fn address(&self) -> String {
        let base = self.settings.url.as_str().trim_end_matches('/');
        format!("{base}/v1/accounts")
    }
}

#[async_trait]
impl AccountProvider for Sandbox {
    fn name(&self) -> ProviderName {
        ProviderName::Sandbox
    }

    fn terms(&self) -> Terms {
        Terms {
            lookup_window: LOOKUP_WINDOW,
            give_up_after: self.settings.give_up_after,
        }
    }

    fn supports(&self, _: Currency) -> bool {
        true
    }

    fn needs(&self) -> &'static [HolderField] {
        &[]
    }

    async fn open_account(&self, order: &OpenAccount) -> Result<OpenedAccount, ProviderError> {
        let reference = order.reference.to_string();
        let form = CreateForm {
            reference: &reference,
            currency: order.currency.code(),
            holder_name: &order.holder.full_name(),
        };
        let response = self
            .client
            .post(self.address())
            .bearer_auth(self.settings.api_key.expose_secret())
            .json(&form)
            .send()
            .await
            .map_err(|error| Failure::of(&error))?;
        match response.status() {
            StatusCode::OK | StatusCode::CREATED => account(&reference, response).await,
            StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(ProviderError::Declined {
                    code: REJECTED.to_owned(),
                })
            }
            // Turned away at the door: the request was not looked at.
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::TOO_MANY_REQUESTS => {
                Err(unavailable(format!("http {}", response.status().as_u16())))
            }
            other => Err(unknown(format!("http {}", other.as_u16()))),
        }
    }

    async fn find_account(
        &self,
        order: &OpenAccount,
    ) -> Result<Option<OpenedAccount>, ProviderError> {
        let reference = order.reference.to_string();
        let response = self
            .client
            .get(format!("{}/{reference}", self.address()))
            .bearer_auth(self.settings.api_key.expose_secret())
            .send()
            .await
            .map_err(|error| Failure::of(&error))?;
        match response.status() {
            StatusCode::OK => account(&reference, response).await.map(Some),
            // Only the provider's own word counts, not that of something in between.
            StatusCode::NOT_FOUND => match read::<ErrorForm>(response).await {
                Some(form) if form.error.code == "not_found" => Ok(None),
                Some(_) | None => Err(unknown("an answer that cannot be read")),
            },
            other => Err(unknown(format!("http {}", other.as_u16()))),
        }
    }
}

/// What the provider did under a reference.
async fn account(reference: &str, response: Response) -> Result<OpenedAccount, ProviderError> {
    let unreadable = || unknown("an answer that cannot be read");
    let form: AccountForm = read(response).await.ok_or_else(unreadable)?;
    if form.reference != reference {
        return Err(unreadable());
    }
    match form.status.as_str() {
        "open" => plausible(OpenedAccount {
            number: form.account_number.unwrap_or_default(),
            name: form.account_name,
            bank_name: form.bank_name,
            bank_code: form.bank_code,
        })
        .ok_or_else(unreadable),
        "declined" => Err(ProviderError::Declined {
            code: form
                .decline_code
                .filter(|code| (1..=MAX_CODE).contains(&code.len()))
                .unwrap_or_else(|| UNNAMED.to_owned()),
        }),
        _ => Err(unreadable()),
    }
}

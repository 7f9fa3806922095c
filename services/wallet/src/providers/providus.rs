//! Providus' Xpress Wallet over HTTP: naira accounts.
//!
//! The API opens a customer and a wallet, which has the account number, in one
//! call, and knows no idempotency keys. So our reference travels in the
//! customer's metadata, and what a lost answer left behind is found by the
//! customer's phone number, of which there is one customer at most. A customer
//! who is there already is ours when the metadata names the wallet; anybody
//! else's account is never taken, although its phone number is the same.

mod form;

use std::time::Duration;

use async_trait::async_trait;
use bursar_money::Currency;
use bursar_outbound::read;
use bursar_outbound::xpress::{Xpress, XpressSettings};
use reqwest::{Method, RequestBuilder, Response, StatusCode};

use self::form::{
    CreateForm, Customer, CustomerForm, Metadata, OpenedForm, RefusalForm, WalletForm,
};
use super::http::{unavailable, unknown};
use super::{AccountProvider, HolderField, OpenAccount, OpenedAccount, ProviderError};
use crate::domain::provider_account::{ProviderName, Terms};

/// How long after a request was sent the provider may still come to know it. It
/// documents nothing; this is many times what it takes to answer.
const LOOKUP_WINDOW: Duration = Duration::from_secs(180);

/// Where the provider is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct ProvidusSettings {
    /// Where it is, and as whom it is spoken to.
    pub xpress: XpressSettings,
    /// How long it is tried.
    pub give_up_after: Duration,
}

/// The client.
pub struct Providus {
    xpress: Xpress,
    deadline: Duration,
    give_up_after: Duration,
}

/// Whose a customer must be to be taken for ours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// The metadata must name our wallet.
    Metadata,
    /// Where the provider shows no metadata, our e-mail address will do: we sent
    /// a request for this very person, and its answer was lost.
    MetadataOrEmail,
}

impl Providus {
    /// A client by these settings.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(settings: ProvidusSettings) -> anyhow::Result<Self> {
        Ok(Self {
            deadline: settings.xpress.deadline,
            xpress: Xpress::new(settings.xpress)?,
            give_up_after: settings.give_up_after,
        })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.xpress.request(method, path)
    }

    async fn send(
        &self,
        request: impl Fn() -> RequestBuilder + Sync,
    ) -> Result<Response, ProviderError> {
        Ok(self.xpress.send(self.deadline, request).await?)
    }

    /// The account of the holder's phone number, if there is one and it is ours.
    async fn look_up(
        &self,
        order: &OpenAccount,
        proof: Proof,
    ) -> Result<Option<OpenedAccount>, ProviderError> {
        let Some(customer) = self.customer_by_phone(&order.holder.phone_number).await? else {
            return Ok(None);
        };
        let known = self.customer(&customer.id).await?.unwrap_or_default();
        let is_ours = match customer.metadata.or(known.metadata) {
            Some(metadata) => metadata.wallet_id == order.wallet.to_string(),
            None => {
                let email = customer.email.or(known.email).unwrap_or_default();
                proof == Proof::MetadataOrEmail && email.eq_ignore_ascii_case(&order.holder.email)
            }
        };
        if !is_ours {
            return Err(ProviderError::AlreadyRegistered);
        }
        self.account_of(&customer.id).await.map(Some)
    }

    async fn customer_by_phone(&self, phone: &str) -> Result<Option<Customer>, ProviderError> {
        let response = self
            .send(|| {
                self.request(Method::GET, "/customer/phone")
                    .query(&[("phoneNumber", phone)])
            })
            .await?;
        let Some(CustomerForm { customer }) = found(response).await? else {
            return Ok(None);
        };
        // It becomes a part of an address.
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=64).contains(&customer.id.len()) && customer.id.bytes().all(is_id) {
            Ok(Some(customer))
        } else {
            Err(unknown("an answer that cannot be read"))
        }
    }

    async fn customer(&self, id: &str) -> Result<Option<Customer>, ProviderError> {
        let response = self
            .send(|| self.request(Method::GET, &format!("/customer/{id}")))
            .await?;
        found::<CustomerForm>(response)
            .await
            .map(|form| form.map(|form| form.customer))
    }

    async fn account_of(&self, customer: &str) -> Result<OpenedAccount, ProviderError> {
        let response = self
            .send(|| {
                self.request(Method::GET, "/wallet/customer")
                    .query(&[("customerId", customer)])
            })
            .await?;
        // A customer without a wallet is one that is being made.
        found::<WalletForm>(response)
            .await?
            .and_then(|form| form.wallet.account())
            .ok_or_else(|| unknown("a customer without a wallet"))
    }
}

#[async_trait]
impl AccountProvider for Providus {
    fn name(&self) -> ProviderName {
        ProviderName::Providus
    }

    fn terms(&self) -> Terms {
        Terms {
            lookup_window: LOOKUP_WINDOW,
            give_up_after: self.give_up_after,
        }
    }

    fn supports(&self, currency: Currency) -> bool {
        currency.code() == "NGN"
    }

    fn needs(&self) -> &'static [HolderField] {
        &[
            HolderField::Email,
            HolderField::DateOfBirth,
            HolderField::Address,
            HolderField::Bvn,
        ]
    }

    async fn open_account(&self, order: &OpenAccount) -> Result<OpenedAccount, ProviderError> {
        let metadata = Metadata {
            reference: order.reference.to_string(),
            wallet_id: order.wallet.to_string(),
        };
        let form = CreateForm::of(&order.holder, &metadata);
        let response = self
            .send(|| self.request(Method::POST, "/wallet").json(&form))
            .await?;
        let status = response.status();
        match status {
            StatusCode::OK | StatusCode::CREATED => read::<OpenedForm>(response)
                .await
                .and_then(|form| form.wallet.account())
                .ok_or_else(|| unknown("an answer that cannot be read")),
            // Declined. When that is because the customer exists, it may be ours.
            StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => {
                match self.look_up(order, Proof::Metadata).await {
                    Ok(Some(account)) => Ok(account),
                    Ok(None) => Err(ProviderError::Declined {
                        code: format!("http_{}", status.as_u16()),
                    }),
                    Err(ProviderError::AlreadyRegistered) => Err(ProviderError::AlreadyRegistered),
                    Err(_) => Err(unknown("declined, and then not answered why")),
                }
            }
            // Turned away at the door: the request was not looked at.
            StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::TOO_MANY_REQUESTS => {
                Err(unavailable(format!("http {}", status.as_u16())))
            }
            other => Err(unknown(format!("http {}", other.as_u16()))),
        }
    }

    async fn find_account(
        &self,
        order: &OpenAccount,
    ) -> Result<Option<OpenedAccount>, ProviderError> {
        self.look_up(order, Proof::MetadataOrEmail).await
    }
}

/// What a question is answered with; `None` when the provider itself says that
/// there is no such thing.
async fn found<T: serde::de::DeserializeOwned>(
    response: Response,
) -> Result<Option<T>, ProviderError> {
    let unreadable = || unknown("an answer that cannot be read");
    match response.status() {
        StatusCode::OK => read(response).await.map(Some).ok_or_else(unreadable),
        StatusCode::NOT_FOUND => match read::<RefusalForm>(response).await {
            Some(refusal) if !refusal.status => Ok(None),
            Some(_) | None => Err(unreadable()),
        },
        other => Err(unknown(format!("http {}", other.as_u16()))),
    }
}

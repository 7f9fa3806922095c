//! Providus' Xpress Wallet over HTTP: payouts in naira to bank accounts.
//!
//! Money is paid out of the merchant's own wallet (`POST /transfer/bank`). The other
//! call pays out of the wallet of a customer of the provider's; but a payout's money is
//! in one of our wallets, of which the provider knows nothing, and behind which there
//! is only what the provider holds for the merchant.
//!
//! The API documents no idempotency key and no question about a transfer that was
//! made. So a transfer is sent at most once, with our reference in what is attached to
//! it and in what the payee reads, and is sent again only where it was certainly not
//! looked at. An answer that is lost stays lost: neither silence nor a failure of the
//! provider's is ever taken for a refusal, and what became of it comes from the
//! settlement or from a person.
//!
//! | what comes back                          | what it is                              |
//! |------------------------------------------|-----------------------------------------|
//! | 200, 201 with the transfer               | done                                    |
//! | 400, 422 with the provider's own refusal | declined                                |
//! | 401 with old tokens                      | renewed, and sent then                  |
//! | 401 with new tokens, 403, 429            | turned away at the door: not looked at  |
//! | no connection, no sign-in                | unsent                                  |
//! | anything else, or nothing                | lost: it may have been done             |

mod form;
mod naira;

use std::borrow::Cow;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::HeaderMap;
use bursar_money::{Currency, Money};
use bursar_outbound::xpress::{Xpress, XpressSettings};
use bursar_outbound::{Failure, read};
use reqwest::{Method, Response, StatusCode};
use time::OffsetDateTime;

use self::form::{DetailsForm, Metadata, RefusalForm, TransferForm, TransferredForm};
use super::bank::{BankAccount, Enquired, NameEnquiry, Payee};
use super::{Callback, CallbackRefused, Direction, Heard, Order, PaymentProvider, Sign};
use crate::domain::{Answer, Asked, Looked, Terms};

/// The only currency.
pub(crate) const CURRENCY: &str = "NGN";

/// Where the provider is and what was agreed with it.
#[derive(Clone, Debug)]
pub(crate) struct ProvidusSettings {
    /// Where it is, and as whom it is spoken to.
    pub(crate) xpress: XpressSettings,
    /// What was agreed with it.
    pub(crate) terms: Terms,
}

/// The client.
pub(super) struct Providus {
    xpress: Xpress,
    deadline: Duration,
    terms: Terms,
}

impl Providus {
    pub(super) fn new(settings: ProvidusSettings) -> anyhow::Result<Self> {
        Ok(Self {
            deadline: settings.xpress.deadline,
            xpress: Xpress::new(settings.xpress)?,
            terms: settings.terms,
        })
    }

    async fn transfer(&self, order: &Order, payee: &Payee, timeout: Duration) -> Heard<Asked> {
        let reference = order.reference.to_string();
        let sent = self
            .xpress
            .send(timeout, || {
                let form = transfer(order, &reference, payee);
                self.xpress
                    .request(Method::POST, "/transfer/bank")
                    .json(&form)
            })
            .await;
        match sent {
            Ok(response) => answer(response, order, &reference, self.silence(timeout)).await,
            Err(failure) => {
                tracing::warn!(%failure, "the provider has not answered");
                let sign = sign_of(failure, self.silence(timeout));
                if failure.is_unsent() {
                    Heard::not_sent(sign)
                } else {
                    lost(failure.to_string(), sign)
                }
            }
        }
    }
}

#[async_trait]
impl PaymentProvider for Providus {
    fn terms(&self) -> Terms {
        self.terms
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn act(&self, order: &Order, timeout: Duration) -> Heard<Asked> {
        match (order.direction, &order.payee) {
            (Direction::Payout, Some(payee)) if order.amount.currency().code() == CURRENCY => {
                self.transfer(order, payee, timeout).await
            }
            // No such order is recorded while the offer says what it says.
            _ => {
                tracing::error!(direction = order.direction.name(), "not of this provider");
                Heard::not_sent(Sign::Nothing)
            }
        }
    }

    /// There is no such question.
    async fn look(&self, _: &Order, _: Duration) -> Heard<Looked> {
        Heard::unanswered(Sign::Nothing)
    }

    fn tells_what_it_did(&self) -> bool {
        false
    }

    fn bank(&self) -> Option<&dyn NameEnquiry> {
        Some(self)
    }

    /// No callback is documented, so none can be known for the provider's.
    fn read_callback(
        &self,
        _: &HeaderMap,
        _: &[u8],
        _: OffsetDateTime,
    ) -> Result<Callback, CallbackRefused> {
        Err(CallbackRefused::Signature)
    }
}

#[async_trait]
impl NameEnquiry for Providus {
    async fn name_of(&self, account: &BankAccount, timeout: Duration) -> Heard<Enquired> {
        let sent = self
            .xpress
            .send(timeout, || {
                self.xpress
                    .request(Method::GET, "/transfer/account/details")
                    .query(&[
                        ("sortCode", &account.sort_code),
                        ("accountNumber", &account.number),
                    ])
            })
            .await;
        let silence = self.silence(timeout);
        let (outcome, sign) = match sent {
            Ok(response) => named(response, &account.number, silence).await,
            Err(failure) => {
                tracing::warn!(%failure, "the provider does not say whose an account is");
                (Enquired::Unanswered, sign_of(failure, silence))
            }
        };
        Heard { outcome, sign }
    }
}

fn transfer<'a>(order: &Order, reference: &'a str, payee: &'a Payee) -> TransferForm<'a> {
    TransferForm {
        amount: naira::of_minor(order.amount.minor().unsigned_abs()),
        sort_code: &payee.account.sort_code,
        account_number: &payee.account.number,
        account_name: &payee.name,
        narration: format!("Payout {reference}"),
        metadata: Metadata {
            reference: Cow::Borrowed(reference),
        },
    }
}

/// What an answer to a transfer is.
async fn answer(response: Response, order: &Order, ours: &str, silence: Sign) -> Heard<Asked> {
    let status = response.status();
    match status {
        StatusCode::OK | StatusCode::CREATED => {
            let form: Option<TransferredForm> = read(response).await;
            match form.and_then(|form| form.made(ours)) {
                Some(made) => Heard::answered(Answer::Succeeded {
                    reference: made.reference,
                    amount: Money::new(order.amount.currency(), made.amount_minor),
                }),
                None => lost("an answer that cannot be read".to_owned(), silence),
            }
        }
        // Only the provider's own word counts, not that of something in between.
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            match read::<RefusalForm>(response).await {
                Some(RefusalForm { status: false }) => Heard::answered(Answer::Declined {
                    reference: None,
                    decline_code: format!("http_{}", status.as_u16()),
                }),
                Some(_) | None => lost(format!("http {}", status.as_u16()), Sign::Nothing),
            }
        }
        StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
            tracing::error!(%status, "the provider turns us away");
            Heard::not_sent(Sign::Nothing)
        }
        other => lost(format!("http {}", other.as_u16()), sign_of_status(other)),
    }
}

/// What an answer to a name enquiry is.
async fn named(response: Response, number: &str, silence: Sign) -> (Enquired, Sign) {
    let status = response.status();
    match status {
        StatusCode::OK => match read::<DetailsForm>(response).await {
            Some(form) => match form.name_of(number) {
                Some(name) => (Enquired::Named(name), Sign::Well),
                None => (Enquired::Unanswered, silence),
            },
            None => (Enquired::Unanswered, silence),
        },
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => {
            match read::<RefusalForm>(response).await {
                Some(RefusalForm { status: false }) => (Enquired::NoSuchAccount, Sign::Well),
                Some(_) | None => (Enquired::Unanswered, Sign::Nothing),
            }
        }
        other => {
            tracing::warn!(status = %other, "the provider does not say whose an account is");
            (Enquired::Unanswered, sign_of_status(other))
        }
    }
}

fn lost(cause: String, sign: Sign) -> Heard<Asked> {
    Heard {
        outcome: Asked::Lost { cause },
        sign,
    }
}

/// What it shows that there is no answer; `silence` is what nothing in time shows.
fn sign_of(failure: Failure, silence: Sign) -> Sign {
    match failure {
        Failure::NoConnection | Failure::ConnectionLost => Sign::Failing,
        Failure::SignInUnanswered | Failure::Timeout => silence,
        Failure::SignInRefused(status) => sign_of_status(status),
        Failure::SignInWithoutTokens | Failure::TurnedAway => Sign::Nothing,
    }
}

fn sign_of_status(status: StatusCode) -> Sign {
    if status.is_server_error() {
        Sign::Failing
    } else {
        Sign::Nothing
    }
}

/// The currency.
pub(crate) fn currency() -> Currency {
    Currency::parse(CURRENCY).expect("naira are in ISO 4217")
}

#[cfg(test)]
mod tests;

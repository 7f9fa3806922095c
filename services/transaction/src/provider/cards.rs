//! A card acquirer over HTTP: money is authorised on a card, then captured; what was
//! captured is refunded, what was not is voided. The sandbox provider speaks it too.
//!
//! A deposit is both steps in one request of ours. The authorisation and its capture
//! have the transaction's id as their references, so that each is made once however
//! often it is asked for, and whoever goes on with the transaction finds both. Where
//! the way was cut short in between, [`PaymentProvider::look`] goes on: by capturing
//! what is authorised, or by voiding it when the deposit has waited so long that nobody
//! expects it any more. Of a capture and a void that meet, the acquirer lets one be.
//!
//! What follows from each answer is in [`sorting`].

mod sorting;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::http::HeaderMap;
use bursar_server::now;
use serde::Serialize;
use time::OffsetDateTime;

use super::wire::{Access, Found, Lost, MovementForm, Sent, Wire};
use super::{Callback, CallbackRefused, Direction, Heard, Order, PaymentProvider, Sign};
use crate::domain::{Answer, Asked, Looked, Terms};
use sorting::{AuthorizationForm, Captured, Declined, Next};

/// Less time than this is not worth a request.
const SHORTEST: Duration = Duration::from_millis(50);

/// The codes by which the acquirer refuses a refund for good.
const REFUND_REFUSALS: [&str; 4] = [
    "capture_not_found",
    "not_refundable",
    "refund_exceeds_charge",
    "currency_mismatch",
];

/// The connector.
pub(crate) struct Cards(Wire);

/// An authorisation as it is asked for. It holds a token, so it cannot be printed.
#[derive(Serialize)]
struct AuthorizeForm<'a> {
    reference: &'a str,
    card_token: &'a str,
    amount_minor: i64,
    currency: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    valid_until: OffsetDateTime,
}

/// A capture as it is asked for.
#[derive(Serialize)]
struct CaptureForm<'a> {
    reference: &'a str,
    amount_minor: i64,
    currency: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    valid_until: OffsetDateTime,
}

/// A void as it is asked for: its address says all.
#[derive(Serialize)]
struct VoidForm {}

/// A refund as it is asked for.
#[derive(Serialize)]
struct RefundForm<'a> {
    reference: &'a str,
    capture_reference: String,
    amount_minor: i64,
    currency: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    valid_until: OffsetDateTime,
}

/// When a call of several requests has to be over.
#[derive(Clone, Copy)]
struct Until(Instant);

impl Until {
    fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

impl Cards {
    pub(crate) fn new(access: Access) -> anyhow::Result<Self> {
        Ok(Self(Wire::new(access)?))
    }

    /// Authorises and captures.
    async fn charge(&self, order: &Order, timeout: Duration) -> Heard<Asked> {
        let Some(method) = &order.payment_method else {
            tracing::error!("there is no payment method to be charged");
            return Heard::not_sent(Sign::Nothing);
        };
        let until = Until::after(timeout);
        let silence = self.silence(timeout);
        let reference = order.reference.to_string();
        let form = AuthorizeForm {
            reference: &reference,
            card_token: method.expose(),
            amount_minor: order.amount.minor(),
            currency: order.amount.currency().code(),
            valid_until: order.valid_until,
        };
        let sent = self
            .0
            .send("v1/authorizations", &form, timeout, silence)
            .await;
        let told: AuthorizationForm = match sent.told(&[]) {
            Ok(told) => told,
            Err(heard) => return heard,
        };
        let Some(next) = told.next(order, true) else {
            return Lost::unreadable(silence).heard();
        };
        match self.go_on(order, next, order.valid_until, until).await {
            Ok(answer) => Heard::answered(answer),
            Err(lost) => lost.heard(),
        }
    }

    /// Asks for a refund of what was captured.
    async fn refund(&self, order: &Order, timeout: Duration) -> Heard<Asked> {
        let Some(original) = order.original else {
            tracing::error!("a refund names nothing that it gives back");
            return Heard::not_sent(Sign::Nothing);
        };
        let reference = order.reference.to_string();
        let form = RefundForm {
            reference: &reference,
            capture_reference: original.to_string(),
            amount_minor: order.amount.minor(),
            currency: order.amount.currency().code(),
            valid_until: order.valid_until,
        };
        let silence = self.silence(timeout);
        let sent: Sent<MovementForm> = self.0.send("v1/refunds", &form, timeout, silence).await;
        sent.heard(order, &REFUND_REFUSALS, silence)
    }

    /// Asks how an authorisation stands, and brings it to its end.
    async fn look_at_charge(&self, order: &Order, timeout: Duration) -> Heard<Looked> {
        let until = Until::after(timeout);
        let silence = self.silence(timeout);
        let path = format!("v1/authorizations/{}", order.reference);
        let told: AuthorizationForm = match self.0.ask(&path, timeout, silence).await {
            Found::Told(told) => told,
            Found::Absent => return Heard::not_found(),
            Found::Unanswered(sign) => return Heard::unanswered(sign),
        };
        let at = now();
        let Some(next) = told.next(order, at < order.wanted_until) else {
            return Heard::unanswered(silence);
        };
        let valid_until = at + self.0.terms().lookup_window / 2;
        match self.go_on(order, next, valid_until, until).await {
            Ok(answer) => Heard::found(answer),
            Err(lost) => Heard::unanswered(lost.sign()),
        }
    }

    /// Goes on from how an authorisation stands.
    async fn go_on(
        &self,
        order: &Order,
        next: Next,
        valid_until: OffsetDateTime,
        until: Until,
    ) -> Result<Answer, Lost> {
        let declined = match next {
            Next::Tell(answer) => return Ok(answer),
            Next::AskCapture(declined) => return self.ask_capture(order, declined, until).await,
            Next::Void(declined) => declined,
            Next::Capture => match self.capture(order, valid_until, until).await {
                Captured::Tell(answer) => return Ok(answer),
                Captured::Lost(lost) => return Err(lost),
                Captured::Void(declined) => declined,
            },
        };
        self.void(order, declined, until).await
    }

    async fn capture(&self, order: &Order, valid_until: OffsetDateTime, until: Until) -> Captured {
        let left = until.left();
        if left < SHORTEST {
            return Captured::Lost(out_of_time());
        }
        let reference = order.reference.to_string();
        let form = CaptureForm {
            reference: &reference,
            amount_minor: order.amount.minor(),
            currency: order.amount.currency().code(),
            valid_until,
        };
        let path = format!("v1/authorizations/{reference}/captures");
        let silence = self.silence(left);
        let sent = self.0.send(&path, &form, left, silence).await;
        sorting::captured(order, sent, silence)
    }

    async fn void(&self, order: &Order, declined: Declined, until: Until) -> Result<Answer, Lost> {
        let left = until.left();
        if left < SHORTEST {
            return Err(out_of_time());
        }
        let path = format!("v1/authorizations/{}/void", order.reference);
        let silence = self.silence(left);
        let sent = self.0.send(&path, &VoidForm {}, left, silence).await;
        sorting::voided(order, declined, sent, silence)
    }

    /// What became of the capture; without one there was no money, for the reason given.
    async fn ask_capture(
        &self,
        order: &Order,
        declined: Declined,
        until: Until,
    ) -> Result<Answer, Lost> {
        let left = until.left();
        if left < SHORTEST {
            return Err(out_of_time());
        }
        let path = format!("v1/captures/{}", order.reference);
        let silence = self.silence(left);
        match self.0.ask::<MovementForm>(&path, left, silence).await {
            Found::Told(form) => form.answer(order).ok_or_else(|| Lost::unreadable(silence)),
            Found::Absent => Ok(declined.into()),
            Found::Unanswered(sign) => Err(Lost::seen("the capture is not told", sign)),
        }
    }
}

fn out_of_time() -> Lost {
    Lost::seen("no time was left after the authorization", Sign::Nothing)
}

#[async_trait]
impl PaymentProvider for Cards {
    fn terms(&self) -> Terms {
        self.0.terms()
    }

    fn deadline(&self) -> Duration {
        self.0.deadline()
    }

    async fn act(&self, order: &Order, timeout: Duration) -> Heard<Asked> {
        match order.direction {
            Direction::Charge => self.charge(order, timeout).await,
            Direction::Refund => self.refund(order, timeout).await,
            // Routing offers none, so this is a provider whose kind was changed.
            Direction::Payout => {
                tracing::error!("a card acquirer pays nothing out");
                Heard::not_sent(Sign::Nothing)
            }
        }
    }

    async fn look(&self, order: &Order, timeout: Duration) -> Heard<Looked> {
        match order.direction {
            Direction::Charge => self.look_at_charge(order, timeout).await,
            Direction::Refund => {
                let silence = self.silence(timeout);
                let path = format!("v1/refunds/{}", order.reference);
                let found: Found<MovementForm> = self.0.ask(&path, timeout, silence).await;
                found.heard(order, silence)
            }
            Direction::Payout => Heard::unanswered(Sign::Nothing),
        }
    }

    fn read_callback(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<Callback, CallbackRefused> {
        self.0.read_callback(headers, body, now)
    }
}

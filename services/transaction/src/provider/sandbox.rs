//! The `sandbox` provider over HTTP: charges, payouts and refunds, one request each.

use std::time::Duration;

use async_trait::async_trait;
use axum::http::HeaderMap;
use serde::Serialize;
use time::OffsetDateTime;

use super::wire::{Access, Found, MovementForm, Sent, Wire};
use super::{Callback, CallbackRefused, Direction, Heard, Order, PaymentProvider};
use crate::domain::{Asked, Looked, Terms};

/// The codes by which the provider refuses a refund for good.
const REFUND_REFUSALS: [&str; 4] = [
    "charge_not_found",
    "not_refundable",
    "refund_exceeds_charge",
    "currency_mismatch",
];

/// The connector.
pub(crate) struct Sandbox(Wire);

/// A charge, payout or refund as it is asked for.
#[derive(Serialize)]
struct CreateForm<'a> {
    reference: &'a str,
    /// The charge that a refund gives back.
    #[serde(skip_serializing_if = "Option::is_none")]
    charge_reference: Option<String>,
    amount_minor: i64,
    currency: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    valid_until: OffsetDateTime,
}

impl Sandbox {
    pub(crate) fn new(access: Access) -> anyhow::Result<Self> {
        Ok(Self(Wire::new(access)?))
    }
}

#[async_trait]
impl PaymentProvider for Sandbox {
    fn terms(&self) -> Terms {
        self.0.terms()
    }

    fn deadline(&self) -> Duration {
        self.0.deadline()
    }

    async fn act(&self, order: &Order, timeout: Duration) -> Heard<Asked> {
        let reference = order.reference.to_string();
        let form = CreateForm {
            reference: &reference,
            charge_reference: order.original.map(|original| original.to_string()),
            amount_minor: order.amount.minor(),
            currency: order.amount.currency().code(),
            valid_until: order.valid_until,
        };
        let silence = self.silence(timeout);
        let path = path(order.direction);
        let sent: Sent<MovementForm> = self.0.send(path, &form, timeout, silence).await;
        sent.heard(order, &REFUND_REFUSALS, silence)
    }

    async fn look(&self, order: &Order, timeout: Duration) -> Heard<Looked> {
        let path = format!("{}/{}", path(order.direction), order.reference);
        let silence = self.silence(timeout);
        let found: Found<MovementForm> = self.0.ask(&path, timeout, silence).await;
        found.heard(order, silence)
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

fn path(direction: Direction) -> &'static str {
    match direction {
        Direction::Charge => "v1/charges",
        Direction::Payout => "v1/payouts",
        Direction::Refund => "v1/refunds",
    }
}

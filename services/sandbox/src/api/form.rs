//! The JSON of the API.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{Authorization, Card, Kind, Movement, NewMovement, SourceKind};

/// A charge or payout as it is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateForm {
    reference: String,
    amount_minor: i64,
    currency: String,
    #[serde(default)]
    description: String,
    #[serde(default, with = "time::serde::rfc3339::option")]
    valid_until: Option<OffsetDateTime>,
}

impl CreateForm {
    pub(super) fn asked(self, kind: Kind) -> NewMovement {
        NewMovement {
            kind,
            reference: self.reference,
            amount_minor: self.amount_minor,
            currency: self.currency,
            description: self.description,
            valid_until: self.valid_until,
            source: None,
        }
    }
}

/// A movement as it is told.
#[derive(Debug, Serialize)]
pub(crate) struct MovementForm<'a> {
    id: String,
    object: &'static str,
    reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    charge_reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture_reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_reference: Option<&'a str>,
    amount_minor: i64,
    currency: &'a str,
    description: &'a str,
    status: &'static str,
    decline_code: Option<&'a str>,
    fee_minor: i64,
    /// Of a charge or capture: how much of it was refunded.
    #[serde(skip_serializing_if = "Option::is_none")]
    refunded_minor: Option<i64>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    finished_at: Option<OffsetDateTime>,
}

impl<'a> From<&'a Movement> for MovementForm<'a> {
    fn from(movement: &'a Movement) -> Self {
        let source = |kind| {
            let source = movement.source.as_ref();
            source
                .filter(|source| source.kind == kind)
                .map(|source| source.reference.as_str())
        };
        let is_refundable = matches!(movement.kind, Kind::Charge | Kind::Capture);
        Self {
            id: movement.told_id(),
            object: movement.kind.name(),
            reference: &movement.reference,
            charge_reference: source(SourceKind::Charge),
            capture_reference: source(SourceKind::Capture),
            authorization_reference: source(SourceKind::Authorization),
            amount_minor: movement.amount_minor,
            currency: &movement.currency,
            description: &movement.description,
            status: movement.status.name(),
            decline_code: movement.decline_code.as_deref(),
            fee_minor: movement.fee_minor,
            refunded_minor: is_refundable.then_some(movement.refunded_minor),
            created_at: movement.created_at,
            finished_at: movement.finished_at,
        }
    }
}

/// A card as it is told.
#[derive(Debug, Serialize)]
pub(crate) struct CardForm<'a> {
    token: &'a str,
    last4: &'a str,
    brand: &'a str,
}

impl<'a> From<&'a Card> for CardForm<'a> {
    fn from(card: &'a Card) -> Self {
        Self {
            token: &card.token,
            last4: &card.last4,
            brand: &card.brand,
        }
    }
}

/// An authorisation as it is told.
#[derive(Debug, Serialize)]
pub(crate) struct AuthorizationForm<'a> {
    id: String,
    object: &'static str,
    reference: &'a str,
    amount_minor: i64,
    captured_minor: i64,
    currency: &'a str,
    description: &'a str,
    status: &'static str,
    decline_code: Option<&'a str>,
    card: CardForm<'a>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    finished_at: Option<OffsetDateTime>,
}

impl<'a> From<&'a Authorization> for AuthorizationForm<'a> {
    fn from(authorization: &'a Authorization) -> Self {
        Self {
            id: format!("au_{}", authorization.id.simple()),
            object: "authorization",
            reference: &authorization.reference,
            amount_minor: authorization.amount_minor,
            captured_minor: authorization.captured_minor,
            currency: &authorization.currency,
            description: &authorization.description,
            status: authorization.told_status(),
            decline_code: authorization.decline_code.as_deref(),
            card: CardForm::from(&authorization.card),
            created_at: authorization.created_at,
            expires_at: authorization.expires_at,
            finished_at: authorization.finished_at,
        }
    }
}

/// A notice that something is finished.
#[derive(Debug, Serialize)]
struct CallbackForm<'a, T> {
    callback_id: String,
    #[serde(rename = "type")]
    event: &'a str,
    reference: &'a str,
    data: T,
}

/// The body of a notice.
pub(crate) fn callback_body(
    id: Uuid,
    event: &str,
    reference: &str,
    data: impl Serialize,
) -> Result<String, serde_json::Error> {
    let form = CallbackForm {
        callback_id: format!("cb_{}", id.simple()),
        event,
        reference,
        data,
    };
    serde_json::to_string(&form)
}

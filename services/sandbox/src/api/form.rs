//! The JSON of the API.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{Kind, Movement, NewMovement, Status};

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
        }
    }
}

/// A charge or payout as it is told.
#[derive(Debug, Serialize)]
pub(crate) struct MovementForm<'a> {
    id: String,
    object: &'static str,
    reference: &'a str,
    amount_minor: i64,
    currency: &'a str,
    description: &'a str,
    status: &'static str,
    decline_code: Option<&'a str>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    finished_at: Option<OffsetDateTime>,
}

impl<'a> From<&'a Movement> for MovementForm<'a> {
    fn from(movement: &'a Movement) -> Self {
        Self {
            id: format!("{}{}", movement.kind.id_prefix(), movement.id.simple()),
            object: movement.kind.name(),
            reference: &movement.reference,
            amount_minor: movement.amount_minor,
            currency: &movement.currency,
            description: &movement.description,
            status: movement.status.name(),
            decline_code: movement.decline_code.as_deref(),
            created_at: movement.created_at,
            finished_at: movement.finished_at,
        }
    }
}

/// A notice that a movement is finished.
#[derive(Debug, Serialize)]
struct CallbackForm<'a> {
    callback_id: String,
    #[serde(rename = "type")]
    kind: String,
    reference: &'a str,
    data: MovementForm<'a>,
}

/// The body of the notice that a movement is finished; `None` while it is pending.
pub(crate) fn callback_body(
    id: Uuid,
    movement: &Movement,
) -> Result<Option<String>, serde_json::Error> {
    if movement.status == Status::Pending {
        return Ok(None);
    }
    let form = CallbackForm {
        callback_id: format!("cb_{}", id.simple()),
        kind: format!("{}.{}", movement.kind.name(), movement.status.name()),
        reference: &movement.reference,
        data: movement.into(),
    };
    serde_json::to_string(&form).map(Some)
}

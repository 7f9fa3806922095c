//! Movements: charges, payouts, refunds and captures.

use std::time::Duration;

use bursar_money::Currency;
use thiserror::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Source;

/// The longest reference and note, in characters.
const MAX_REFERENCE_LEN: usize = 64;
const MAX_DESCRIPTION_LEN: usize = 200;

/// What is done with the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The provider takes money in.
    Charge,
    /// The provider pays money out.
    Payout,
    /// The provider gives a charge's or capture's money back.
    Refund,
    /// The provider takes money in that was authorised.
    Capture,
}

/// How far a movement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Taken, and not done yet.
    Pending,
    /// Done.
    Succeeded,
    /// Refused.
    Declined,
}

/// A movement as it is in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Movement {
    /// Its place in the lists.
    pub position: i64,
    /// What is done.
    pub kind: Kind,
    /// The customer's name for it.
    pub reference: String,
    /// The provider's name for it.
    pub id: Uuid,
    /// How much, in minor units.
    pub amount_minor: i64,
    /// The ISO 4217 code.
    pub currency: String,
    /// The customer's note.
    pub description: String,
    /// How far it is.
    pub status: Status,
    /// Why it was refused.
    pub decline_code: Option<String>,
    /// What the provider keeps of it, in minor units.
    pub fee_minor: i64,
    /// How much of it was refunded, in minor units.
    pub refunded_minor: i64,
    /// What a refund or capture draws on.
    pub source: Option<Source>,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
    /// When it was done or refused.
    pub finished_at: Option<OffsetDateTime>,
}

/// A movement that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewMovement {
    /// What is done.
    pub kind: Kind,
    /// The customer's name for it.
    pub reference: String,
    /// How much, in minor units.
    pub amount_minor: i64,
    /// The ISO 4217 code.
    pub currency: String,
    /// The customer's note.
    pub description: String,
    /// After this time it is not to be recorded any more.
    pub valid_until: Option<OffsetDateTime>,
    /// What a refund or capture draws on.
    pub source: Option<Source>,
}

/// What becomes of a movement that is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It is done at once.
    Succeed,
    /// It is refused at once.
    Decline(String),
    /// It is done later.
    SucceedLater(Duration),
    /// It is refused later.
    DeclineLater(Duration, String),
}

/// Why a request is refused before anything is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum RequestInvalid {
    /// The reference is empty, too long or not visible ASCII.
    #[error("reference must have 1 to 64 visible ASCII characters")]
    Reference,
    /// The reference of what it draws on is no reference.
    #[error("the reference of what it draws on must have 1 to 64 visible ASCII characters")]
    SourceReference,
    /// Neither or both of a charge and a capture are named.
    #[error("exactly one of charge_reference and capture_reference must be there")]
    OneSource,
    /// The card number is none.
    #[error("card_number must have 12 to 19 digits, the last of which checks the others")]
    CardNumber,
    /// The card token is not known.
    #[error("card_token is none of ours")]
    CardToken,
    /// Neither or both of a number and a token are given.
    #[error("exactly one of card_number and card_token must be there")]
    OneCard,
    /// The amount is not positive.
    #[error("amount_minor must be positive")]
    Amount,
    /// The currency is none.
    #[error("currency must be an ISO 4217 code")]
    Currency,
    /// The note is too long.
    #[error("description must have at most 200 characters")]
    Description,
    /// The holder's name is empty or too long.
    #[error("holder_name must have 1 to 201 characters")]
    HolderName,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Charge, Self::Payout, Self::Refund, Self::Capture];

    /// The name in the API and in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Payout => "payout",
            Self::Refund => "refund",
            Self::Capture => "capture",
        }
    }

    /// The kind of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What the provider's ids of this kind start with.
    pub(crate) fn id_prefix(self) -> &'static str {
        match self {
            Self::Charge => "ch_",
            Self::Payout => "po_",
            Self::Refund => "re_",
            Self::Capture => "cp_",
        }
    }

    /// What an amount of this kind adds to what the provider owes the customer.
    pub(crate) fn gross_minor(self, amount_minor: i64) -> i64 {
        match self {
            Self::Charge | Self::Capture => amount_minor,
            // A positive number can be negated.
            Self::Payout | Self::Refund => -amount_minor,
        }
    }
}

impl Status {
    /// The name in the API and in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Declined => "declined",
        }
    }

    /// The status of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Pending, Self::Succeeded, Self::Declined]
            .into_iter()
            .find(|status| status.name() == name)
    }
}

impl Movement {
    /// The provider's name for it as it is told.
    pub(crate) fn told_id(&self) -> String {
        format!("{}{}", self.kind.id_prefix(), self.id.simple())
    }

    /// What notices call what became of it: a refund is not declined, it fails.
    pub(crate) fn outcome(&self) -> &'static str {
        match (self.kind, self.status) {
            (Kind::Refund, Status::Declined) => "failed",
            (_, status) => status.name(),
        }
    }

    /// Whether a repeated request asks for the same as the first one did.
    pub(crate) fn is_what(&self, asked: &NewMovement) -> bool {
        self.kind == asked.kind
            && self.reference == asked.reference
            && self.amount_minor == asked.amount_minor
            && self.currency == asked.currency
            && self.description == asked.description
            && self.source == asked.source
    }
}

impl NewMovement {
    /// Whether the request has come too late to be recorded.
    pub(crate) fn is_late(&self, now: OffsetDateTime) -> bool {
        self.valid_until.is_some_and(|until| now > until)
    }

    /// Checks the bounds of a request.
    pub(crate) fn validate(&self) -> Result<(), RequestInvalid> {
        if !is_reference(&self.reference) {
            return Err(RequestInvalid::Reference);
        }
        if self.amount_minor <= 0 {
            return Err(RequestInvalid::Amount);
        }
        if !is_currency(&self.currency) {
            return Err(RequestInvalid::Currency);
        }
        if !is_description(&self.description) {
            return Err(RequestInvalid::Description);
        }
        Ok(())
    }
}

/// Whether a text may be a customer's name for something.
pub(super) fn is_reference(text: &str) -> bool {
    (1..=MAX_REFERENCE_LEN).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a text may be a customer's note.
pub(super) fn is_description(text: &str) -> bool {
    text.chars().count() <= MAX_DESCRIPTION_LEN && !text.contains('\0')
}

/// Whether a text is the code of a currency.
pub(super) fn is_currency(text: &str) -> bool {
    Currency::parse(text).is_ok()
}

impl Plan {
    /// The status that the movement is recorded with.
    pub(crate) fn first_status(&self) -> Status {
        match self {
            Self::Succeed => Status::Succeeded,
            Self::Decline(_) => Status::Declined,
            Self::SucceedLater(_) | Self::DeclineLater(..) => Status::Pending,
        }
    }

    /// The reason of the refusal, now or later.
    pub(crate) fn decline_code(&self) -> Option<&str> {
        match self {
            Self::Decline(code) | Self::DeclineLater(_, code) => Some(code),
            Self::Succeed | Self::SucceedLater(_) => None,
        }
    }

    /// How long it stays pending.
    pub(crate) fn settles_after(&self) -> Option<Duration> {
        match self {
            Self::SucceedLater(delay) | Self::DeclineLater(delay, _) => Some(*delay),
            Self::Succeed | Self::Decline(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> NewMovement {
        NewMovement {
            kind: Kind::Charge,
            reference: "txn_1".to_owned(),
            amount_minor: 100,
            currency: "EUR".to_owned(),
            description: String::new(),
            valid_until: None,
            source: None,
        }
    }

    /// Each bound is checked.
    #[test]
    fn requests_out_of_bounds_are_refused() {
        assert_eq!(asked().validate(), Ok(()));
        for reference in ["", "a b", "ä", &"x".repeat(65)] {
            let reference = reference.to_owned();
            let wrong = NewMovement {
                reference,
                ..asked()
            };
            assert_eq!(wrong.validate(), Err(RequestInvalid::Reference));
        }
        for amount_minor in [0, -1, i64::MIN] {
            let wrong = NewMovement {
                amount_minor,
                ..asked()
            };
            assert_eq!(wrong.validate(), Err(RequestInvalid::Amount));
        }
        let currency = "EURO".to_owned();
        let wrong = NewMovement {
            currency,
            ..asked()
        };
        assert_eq!(wrong.validate(), Err(RequestInvalid::Currency));
        let description = "ü".repeat(201);
        let wrong = NewMovement {
            description,
            ..asked()
        };
        assert_eq!(wrong.validate(), Err(RequestInvalid::Description));
    }
}

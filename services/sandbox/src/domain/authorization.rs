//! Authorisations: money that is reserved on a card until it is captured, given
//! up, or its time is over.

use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use super::movement::{is_currency, is_description, is_reference};
use super::{Card, Fund, FundState, RequestInvalid};

/// How long an authorisation may be captured.
pub(crate) const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How far an authorisation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthorizationStatus {
    /// Taken, and not answered by the card's bank yet.
    Pending,
    /// The money is reserved.
    Authorized,
    /// Refused.
    Declined,
    /// What was not captured was given up.
    Voided,
    /// What was not captured in time was given up.
    Expired,
}

/// An authorisation that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewAuthorization {
    /// The customer's name for it.
    pub reference: String,
    /// The card.
    pub card: Card,
    /// How much, in minor units.
    pub amount_minor: i64,
    /// The ISO 4217 code.
    pub currency: String,
    /// The customer's note.
    pub description: String,
    /// After this time it is not to be recorded any more.
    pub valid_until: Option<OffsetDateTime>,
}

/// An authorisation as it is in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorization {
    /// Its place in the lists.
    pub position: i64,
    /// The customer's name for it.
    pub reference: String,
    /// The provider's name for it.
    pub id: Uuid,
    /// The card.
    pub card: Card,
    /// How much, in minor units.
    pub amount_minor: i64,
    /// How much of it was captured, in minor units.
    pub captured_minor: i64,
    /// The ISO 4217 code.
    pub currency: String,
    /// The customer's note.
    pub description: String,
    /// How far it is.
    pub status: AuthorizationStatus,
    /// Why it was refused.
    pub decline_code: Option<String>,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
    /// Until when it may be captured.
    pub expires_at: OffsetDateTime,
    /// When it was refused or given up.
    pub finished_at: Option<OffsetDateTime>,
}

/// Why an authorisation is not voided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum VoidRefused {
    /// It was declined or is not answered yet.
    #[error("the authorization is not authorized")]
    NotOpen,
    /// There is nothing left to give up.
    #[error("the authorization is captured")]
    Captured,
    /// Its time is over.
    #[error("the authorization is expired")]
    Expired,
}

/// What is to be done to void an authorisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voiding {
    /// It is to be given up now.
    Void,
    /// It was given up before.
    Done,
}

impl AuthorizationStatus {
    const ALL: [Self; 5] = [
        Self::Pending,
        Self::Authorized,
        Self::Declined,
        Self::Voided,
        Self::Expired,
    ];

    /// The name in the API and in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Authorized => "authorized",
            Self::Declined => "declined",
            Self::Voided => "voided",
            Self::Expired => "expired",
        }
    }

    /// The status of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

impl NewAuthorization {
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

    /// Whether an authorisation in the books is what this request asks for.
    pub(crate) fn is_what(&self, known: &Authorization) -> bool {
        known.reference == self.reference
            && known.card.token == self.card.token
            && known.amount_minor == self.amount_minor
            && known.currency == self.currency
            && known.description == self.description
    }
}

impl Authorization {
    /// The status that is told: what is captured wholly is `captured`.
    pub(crate) fn told_status(&self) -> &'static str {
        if self.is_captured() {
            "captured"
        } else {
            self.status.name()
        }
    }

    /// What a capture draws on. A time that is over is over, also before the
    /// job has written it down.
    pub(crate) fn fund(&self, now: OffsetDateTime) -> Fund {
        Fund {
            state: match self.status {
                AuthorizationStatus::Pending => FundState::Pending,
                AuthorizationStatus::Authorized if self.is_captured() => FundState::Open,
                AuthorizationStatus::Authorized if self.expires_at <= now => FundState::Expired,
                AuthorizationStatus::Authorized => FundState::Open,
                AuthorizationStatus::Declined => FundState::Declined,
                AuthorizationStatus::Voided => FundState::Voided,
                AuthorizationStatus::Expired => FundState::Expired,
            },
            currency: self.currency.clone(),
            amount_minor: self.amount_minor,
            taken_minor: self.captured_minor,
        }
    }

    /// Whether it may be given up.
    pub(crate) fn void(&self, now: OffsetDateTime) -> Result<Voiding, VoidRefused> {
        match self.fund(now).state {
            FundState::Open if self.is_captured() => Err(VoidRefused::Captured),
            FundState::Open => Ok(Voiding::Void),
            FundState::Voided => Ok(Voiding::Done),
            FundState::Expired => Err(VoidRefused::Expired),
            FundState::Pending | FundState::Declined => Err(VoidRefused::NotOpen),
        }
    }

    fn is_captured(&self) -> bool {
        self.status == AuthorizationStatus::Authorized && self.captured_minor == self.amount_minor
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const END: OffsetDateTime = datetime!(2025-01-08 00:00 UTC);
    const BEFORE: OffsetDateTime = datetime!(2025-01-07 23:59:59 UTC);

    fn authorization(status: AuthorizationStatus, captured_minor: i64) -> Authorization {
        Authorization {
            position: 1,
            reference: "a1".to_owned(),
            id: Uuid::nil(),
            card: Card {
                token: "tok_1".to_owned(),
                last4: "4242".to_owned(),
                brand: "visa".to_owned(),
                behaviour: None,
            },
            amount_minor: 100,
            captured_minor,
            currency: "EUR".to_owned(),
            description: String::new(),
            status,
            decline_code: None,
            created_at: datetime!(2025-01-01 00:00 UTC),
            expires_at: END,
            finished_at: None,
        }
    }

    /// What is left can be given up until its time is over, and only once.
    #[test]
    fn voiding_gives_up_what_is_left() {
        use AuthorizationStatus::{Authorized, Declined, Expired, Pending, Voided};
        let void = |status, captured, now| authorization(status, captured).void(now);
        assert_eq!(void(Authorized, 0, BEFORE), Ok(Voiding::Void));
        assert_eq!(void(Authorized, 40, BEFORE), Ok(Voiding::Void));
        assert_eq!(void(Authorized, 100, BEFORE), Err(VoidRefused::Captured));
        assert_eq!(void(Authorized, 0, END), Err(VoidRefused::Expired));
        assert_eq!(void(Authorized, 100, END), Err(VoidRefused::Captured));
        assert_eq!(void(Voided, 0, END), Ok(Voiding::Done));
        assert_eq!(void(Expired, 0, END), Err(VoidRefused::Expired));
        assert_eq!(void(Pending, 0, BEFORE), Err(VoidRefused::NotOpen));
        assert_eq!(void(Declined, 0, BEFORE), Err(VoidRefused::NotOpen));
    }

    /// Nothing is captured at or after the end, whatever the job has done.
    #[test]
    fn the_end_is_exact() {
        let open = authorization(AuthorizationStatus::Authorized, 40);
        assert_eq!(open.fund(BEFORE).state, FundState::Open);
        assert_eq!(open.fund(END).state, FundState::Expired);
        assert_eq!(open.told_status(), "authorized");
        let whole = authorization(AuthorizationStatus::Authorized, 100);
        assert_eq!(whole.told_status(), "captured");
    }
}

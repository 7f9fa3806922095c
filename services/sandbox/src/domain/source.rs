//! What refunds and captures draw on: a refund on a charge or capture, a capture
//! on an authorisation.
//!
//! The decision is made while the source's row is locked, so `taken_minor`
//! counts everything that was drawn before, pending draws included: no two draws
//! together take more than there is.

use thiserror::Error;
use time::OffsetDateTime;

use super::movement::{is_currency, is_description, is_reference};
use super::{Kind, Movement, NewMovement, RequestInvalid};

/// The kind of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// Money that was taken in.
    Charge,
    /// Money that was taken from an authorisation.
    Capture,
    /// Money that is reserved on a card.
    Authorization,
}

/// The name of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The kind.
    pub kind: SourceKind,
    /// The customer's name for it.
    pub reference: String,
}

/// How far a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FundState {
    /// It may be drawn on.
    Open,
    /// It is not certain yet.
    Pending,
    /// It was refused.
    Declined,
    /// What was left of it was given up.
    Voided,
    /// Its time is over.
    Expired,
}

/// A source as it is in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fund {
    /// How far it is.
    pub state: FundState,
    /// The ISO 4217 code.
    pub currency: String,
    /// How much it is, in minor units.
    pub amount_minor: i64,
    /// How much of it was drawn, in minor units.
    pub taken_minor: i64,
}

/// A refund or capture that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draw {
    /// The customer's name for it.
    pub reference: String,
    /// What it draws on.
    pub source: Source,
    /// How much, in minor units.
    pub amount_minor: i64,
    /// The source's currency, when the customer wants it to be checked.
    pub currency: Option<String>,
    /// The customer's note.
    pub description: String,
    /// After this time it is not to be recorded any more.
    pub valid_until: Option<OffsetDateTime>,
}

/// Why a refund or capture is refused before anything is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum DrawRefused {
    /// Nothing is known under the source's reference.
    #[error("no such {}", .0.name())]
    NotFound(SourceKind),
    /// A charge or capture that did not succeed, or not yet.
    #[error("only what succeeded can be refunded")]
    NotRefundable,
    /// More than is left of a charge or capture.
    #[error("at most {left_minor} are left to refund")]
    ExceedsRefundable {
        /// How much is left, in minor units.
        left_minor: i64,
    },
    /// An authorisation that was declined or is not answered yet.
    #[error("the authorization is not authorized")]
    NotCapturable,
    /// An authorisation that was given up.
    #[error("the authorization is voided")]
    Voided,
    /// An authorisation whose time is over.
    #[error("the authorization is expired")]
    Expired,
    /// More than is left of an authorisation.
    #[error("at most {left_minor} are left to capture")]
    ExceedsAuthorized {
        /// How much is left, in minor units.
        left_minor: i64,
    },
    /// Another currency than the source's.
    #[error("currency is not that of what it draws on")]
    Currency,
}

impl SourceKind {
    const ALL: [Self; 3] = [Self::Charge, Self::Capture, Self::Authorization];

    /// The name in the API and in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Capture => "capture",
            Self::Authorization => "authorization",
        }
    }

    /// The kind of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Draw {
    /// What it is: an authorisation is captured, everything else refunded.
    pub(crate) fn kind(&self) -> Kind {
        match self.source.kind {
            SourceKind::Charge | SourceKind::Capture => Kind::Refund,
            SourceKind::Authorization => Kind::Capture,
        }
    }

    /// Checks the bounds of a request.
    pub(crate) fn validate(&self) -> Result<(), RequestInvalid> {
        if !is_reference(&self.reference) {
            return Err(RequestInvalid::Reference);
        }
        if !is_reference(&self.source.reference) {
            return Err(RequestInvalid::SourceReference);
        }
        if self.amount_minor <= 0 {
            return Err(RequestInvalid::Amount);
        }
        if !self.currency.as_deref().is_none_or(is_currency) {
            return Err(RequestInvalid::Currency);
        }
        if !is_description(&self.description) {
            return Err(RequestInvalid::Description);
        }
        Ok(())
    }

    /// Whether a movement in the books is what this request asks for.
    pub(crate) fn is_what(&self, movement: &Movement) -> bool {
        movement.kind == self.kind()
            && movement.reference == self.reference
            && movement.source.as_ref() == Some(&self.source)
            && movement.amount_minor == self.amount_minor
            && movement.description == self.description
            && self
                .currency
                .as_ref()
                .is_none_or(|currency| *currency == movement.currency)
    }

    /// The movement that is to be recorded, if the source allows it.
    pub(crate) fn decide(&self, fund: &Fund) -> Result<NewMovement, DrawRefused> {
        let left_minor = fund.amount_minor - fund.taken_minor;
        let exceeds = self.amount_minor > left_minor;
        match (self.source.kind, fund.state) {
            (SourceKind::Charge | SourceKind::Capture, FundState::Open) if exceeds => {
                return Err(DrawRefused::ExceedsRefundable { left_minor });
            }
            (SourceKind::Authorization, FundState::Open) if exceeds => {
                return Err(DrawRefused::ExceedsAuthorized { left_minor });
            }
            (_, FundState::Open) => {}
            (SourceKind::Charge | SourceKind::Capture, _) => {
                return Err(DrawRefused::NotRefundable);
            }
            (SourceKind::Authorization, FundState::Pending | FundState::Declined) => {
                return Err(DrawRefused::NotCapturable);
            }
            (SourceKind::Authorization, FundState::Voided) => return Err(DrawRefused::Voided),
            (SourceKind::Authorization, FundState::Expired) => return Err(DrawRefused::Expired),
        }
        if self
            .currency
            .as_ref()
            .is_some_and(|currency| *currency != fund.currency)
        {
            return Err(DrawRefused::Currency);
        }
        Ok(NewMovement {
            kind: self.kind(),
            reference: self.reference.clone(),
            amount_minor: self.amount_minor,
            currency: fund.currency.clone(),
            description: self.description.clone(),
            valid_until: self.valid_until,
            source: Some(self.source.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draw(kind: SourceKind, amount_minor: i64) -> Draw {
        Draw {
            reference: "re_1".to_owned(),
            source: Source {
                kind,
                reference: "ch_1".to_owned(),
            },
            amount_minor,
            currency: None,
            description: String::new(),
            valid_until: None,
        }
    }

    fn fund(state: FundState) -> Fund {
        Fund {
            state,
            currency: "EUR".to_owned(),
            amount_minor: 100,
            taken_minor: 40,
        }
    }

    /// What is not open is refused by the reason that fits its kind.
    #[test]
    fn only_open_sources_are_drawn_on() {
        use FundState::{Declined, Expired, Open, Pending, Voided};
        for state in [Pending, Declined, Voided, Expired] {
            let refused = draw(SourceKind::Charge, 1).decide(&fund(state));
            assert_eq!(refused, Err(DrawRefused::NotRefundable));
        }
        let capture = |state| draw(SourceKind::Authorization, 1).decide(&fund(state));
        assert_eq!(capture(Pending), Err(DrawRefused::NotCapturable));
        assert_eq!(capture(Declined), Err(DrawRefused::NotCapturable));
        assert_eq!(capture(Voided), Err(DrawRefused::Voided));
        assert_eq!(capture(Expired), Err(DrawRefused::Expired));
        assert_eq!(capture(Open).map(|made| made.kind), Ok(Kind::Capture));
    }

    /// A currency is only compared when it is given.
    #[test]
    fn another_currency_is_refused() {
        let mut refund = draw(SourceKind::Capture, 60);
        assert!(refund.decide(&fund(FundState::Open)).is_ok());
        refund.currency = Some("USD".to_owned());
        let refused = refund.decide(&fund(FundState::Open));
        assert_eq!(refused, Err(DrawRefused::Currency));
    }

    proptest! {
        /// Whatever is asked for in whatever order, the draws that are allowed
        /// never exceed the source, and one is only refused when it would.
        #[test]
        fn draws_never_exceed(
            is_card in any::<bool>(),
            amount_minor in 1..10_000_i64,
            wanted in prop::collection::vec(1..4_000_i64, 1..30),
        ) {
            let kind = if is_card { SourceKind::Authorization } else { SourceKind::Charge };
            let mut fund = Fund { amount_minor, taken_minor: 0, ..fund(FundState::Open) };
            for wanted in wanted {
                let left = fund.amount_minor - fund.taken_minor;
                match draw(kind, wanted).decide(&fund) {
                    Ok(movement) => fund.taken_minor += movement.amount_minor,
                    Err(_) => prop_assert!(wanted > left),
                }
                prop_assert!(fund.taken_minor <= fund.amount_minor);
            }
        }
    }
}

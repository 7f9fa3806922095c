//! What follows from how an authorisation, its capture or its void stands: pure
//! decisions, without which a lost answer could not be told from a refusal.
//!
//! | the authorisation is | and the money | then |
//! |---|---|---|
//! | pending | | wait |
//! | declined | | declined |
//! | authorized | is still wanted | capture, under the same reference |
//! | authorized | is wanted no more | void, then declined |
//! | authorized for another amount | | void, then declined |
//! | captured, voided, expired | | what the capture says; without one, declined |
//!
//! | the capture is | then |
//! |---|---|
//! | pending | wait |
//! | succeeded | succeeded |
//! | declined, rejected | void, then declined |
//! | refused, because it is voided or expired | declined |
//! | anything else | not known |
//!
//! Nothing is told as declined before it is certain that no money can be taken any
//! more: a void that is not answered is not known, and is made again.

use serde::Deserialize;

use super::super::wire::{Lost, MovementForm, REJECTED, Sent};
use super::super::{Order, Sign};
use crate::domain::Answer;

/// The decline code of what was authorised and not captured while it was wanted.
pub(super) const NOT_CAPTURED: &str = "not_captured_in_time";
/// The decline code of what was authorised for another amount.
pub(super) const OTHER_AMOUNT: &str = "authorized_amount_differs";
const VOIDED: &str = "authorization_voided";
const EXPIRED: &str = "authorization_expired";

/// An authorisation as the acquirer tells it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct AuthorizationForm {
    id: String,
    reference: String,
    amount_minor: i64,
    currency: String,
    status: String,
    decline_code: Option<String>,
}

/// Why the acquirer takes no money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declined {
    pub(super) reference: Option<String>,
    pub(super) decline_code: String,
}

/// What follows from how an authorisation stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// There is nothing to do about it now.
    Tell(Answer),
    /// The money is to be taken.
    Capture,
    /// It is to be given up; then this is why.
    Void(Declined),
    /// The capture says whether money was taken. Without one, none was, and this is why.
    AskCapture(Declined),
}

/// What follows from asking for a capture.
pub(super) enum Captured {
    /// This is how it stands.
    Tell(Answer),
    /// The authorisation is to be given up; then this is why.
    Void(Declined),
    /// It is not known.
    Lost(Lost),
}

impl Declined {
    /// A refusal for which the acquirer has no object of its own.
    pub(super) fn by(code: &str) -> Self {
        Self {
            reference: None,
            decline_code: code.to_owned(),
        }
    }
}

impl From<Declined> for Answer {
    fn from(declined: Declined) -> Self {
        Self::Declined {
            reference: declined.reference,
            decline_code: declined.decline_code,
        }
    }
}

impl AuthorizationForm {
    /// What follows from it; `None` when it cannot be read or is about something else.
    pub(super) fn next(self, order: &Order, is_wanted: bool) -> Option<Next> {
        if self.reference != order.reference.to_string() {
            return None;
        }
        let is_right = self.amount_minor == order.amount.minor()
            && self.currency == order.amount.currency().code();
        let declined = |code: &str| Declined {
            reference: Some(self.id.clone()),
            decline_code: code.to_owned(),
        };
        Some(match self.status.as_str() {
            "pending" => Next::Tell(Answer::Accepted {
                reference: self.id.clone(),
            }),
            "declined" => {
                let code = self.decline_code.as_deref().unwrap_or_default();
                Next::Tell(declined(code).into())
            }
            "authorized" if !is_right => Next::Void(declined(OTHER_AMOUNT)),
            "authorized" if is_wanted => Next::Capture,
            "authorized" => Next::Void(declined(NOT_CAPTURED)),
            "captured" => Next::AskCapture(declined(OTHER_AMOUNT)),
            "voided" => Next::AskCapture(declined(VOIDED)),
            "expired" => Next::AskCapture(declined(EXPIRED)),
            _ => return None,
        })
    }
}

/// What follows from asking for a capture.
pub(super) fn captured(order: &Order, sent: Sent<MovementForm>, silence: Sign) -> Captured {
    match sent {
        Sent::Told(form) => match form.answer(order) {
            Some(Answer::Declined {
                reference,
                decline_code,
            }) => Captured::Void(Declined {
                reference,
                decline_code,
            }),
            Some(answer) => Captured::Tell(answer),
            None => Captured::Lost(Lost::unreadable(silence)),
        },
        Sent::Rejected => Captured::Void(Declined::by(REJECTED)),
        Sent::Refused(refused) if [VOIDED, EXPIRED].contains(&&*refused.code) => {
            Captured::Tell(Declined::by(&refused.code).into())
        }
        other => Captured::Lost(left_undone(other, "the capture")),
    }
}

/// What a void has come to: why there was no money, once it is certain that there will
/// be none.
pub(super) fn voided(
    order: &Order,
    declined: Declined,
    sent: Sent<AuthorizationForm>,
    silence: Sign,
) -> Result<Answer, Lost> {
    match sent {
        Sent::Told(form)
            if form.reference == order.reference.to_string()
                && ["voided", "expired"].contains(&&*form.status) =>
        {
            Ok(declined.into())
        }
        Sent::Told(_) => Err(Lost::unreadable(silence)),
        Sent::Refused(refused) if refused.code == EXPIRED => Ok(declined.into()),
        other => Err(left_undone(other, "the void")),
    }
}

/// The authorisation was made and this was not, or may not have been.
fn left_undone<T>(sent: Sent<T>, what: &str) -> Lost {
    let halfway = |seen: &str, sign| Lost::seen(&format!("{what} {seen}"), sign);
    match sent {
        Sent::Told(_) => halfway("cannot be read", Sign::Nothing),
        Sent::Late => halfway("came too late", Sign::Well),
        Sent::TurnedAway => halfway("was turned away", Sign::Nothing),
        Sent::Rejected => halfway("was rejected", Sign::Well),
        Sent::NoConnection(sign) => halfway("was not sent", sign),
        Sent::Refused(refused) => refused.lost(),
        Sent::Lost(lost) => lost,
    }
}

#[cfg(test)]
mod tests;

//! A charge, payout, refund or capture as the provider tells it.

use bursar_money::{Currency, Money};
use serde::Deserialize;

use super::super::{Heard, Order, Sign};
use super::{Found, Lost, Sent};
use crate::domain::{Answer, Asked, Looked};

/// The form of it.
#[derive(Deserialize)]
pub(in super::super) struct MovementForm {
    id: String,
    reference: String,
    amount_minor: i64,
    currency: String,
    status: String,
    decline_code: Option<String>,
}

impl MovementForm {
    /// What it says of an order; `None` when it cannot be read or is about something
    /// else.
    pub(in super::super) fn answer(self, order: &Order) -> Option<Answer> {
        if self.reference != order.reference.to_string() {
            return None;
        }
        let reference = self.id;
        match self.status.as_str() {
            "pending" => Some(Answer::Accepted { reference }),
            "succeeded" => Some(Answer::Succeeded {
                reference,
                amount: Money::new(Currency::parse(&self.currency).ok()?, self.amount_minor),
            }),
            "declined" => Some(Answer::Declined {
                reference: Some(reference),
                decline_code: self.decline_code.unwrap_or_default(),
            }),
            _ => None,
        }
    }
}

impl Sent<MovementForm> {
    /// What a request to move money has come to. `refusals` are the codes by which it
    /// is refused for good.
    pub(in super::super) fn heard(
        self,
        order: &Order,
        refusals: &[&str],
        silence: Sign,
    ) -> Heard<Asked> {
        match self.told(refusals) {
            Ok(form) => match form.answer(order) {
                Some(answer) => Heard::answered(answer),
                None => Lost::unreadable(silence).heard(),
            },
            Err(heard) => heard,
        }
    }
}

impl Found<MovementForm> {
    /// What a question about a movement has brought.
    pub(in super::super) fn heard(self, order: &Order, silence: Sign) -> Heard<Looked> {
        match self {
            Self::Told(form) => match form.answer(order) {
                Some(answer) => Heard::found(answer),
                None => Heard::unanswered(silence),
            },
            Self::Absent => Heard::not_found(),
            Self::Unanswered(sign) => Heard::unanswered(sign),
        }
    }
}

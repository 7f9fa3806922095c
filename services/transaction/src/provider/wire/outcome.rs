//! What became of a request or a question, and what that means for a transaction.

use bursar_server::canary;
use reqwest::StatusCode;

use super::super::{Heard, Sign};
use crate::domain::{Answer, Asked, Looked};

/// The decline code of a request that the provider found wrong.
pub(in super::super) const REJECTED: &str = "request_rejected";

/// What became of a request to act.
pub(in super::super) enum Sent<T> {
    /// It was taken, and this is how it stands.
    Told(T),
    /// It came too late: by agreement it had no effect.
    Late,
    /// It was turned away at the door and not looked at.
    TurnedAway,
    /// The provider found it wrong.
    Rejected,
    /// The provider refused it, by a code of its documentation.
    Refused(Refused),
    /// There was no connection.
    NoConnection(Sign),
    /// It may have been done.
    Lost(Lost),
}

/// A refusal with 404 or 409.
pub(in super::super) struct Refused {
    /// The provider's code.
    pub(in super::super) code: String,
    pub(super) status: StatusCode,
}

/// A request of which it is not known what became of it.
pub(in super::super) struct Lost {
    cause: String,
    sign: Sign,
}

/// What became of a question.
pub(in super::super) enum Found<T> {
    /// The provider knows it, and this is how it stands.
    Told(T),
    /// The provider does not know it.
    Absent,
    /// There is no answer.
    Unanswered(Sign),
}

impl<T> Sent<T> {
    /// What it tells, or what it means for a transaction that nothing is told.
    /// `refusals` are the codes by which it is refused for good.
    pub(in super::super) fn told(self, refusals: &[&str]) -> Result<T, Heard<Asked>> {
        Err(match self {
            Self::Told(told) => return Ok(told),
            Self::Late => Heard::not_sent(Sign::Well),
            Self::TurnedAway => Heard::not_sent(Sign::Nothing),
            Self::NoConnection(sign) => Heard::not_sent(sign),
            Self::Rejected => Heard::declined(REJECTED.to_owned()),
            Self::Refused(refused) if refusals.contains(&&*refused.code) => {
                Heard::declined(refused.code)
            }
            Self::Refused(refused) => refused.lost().heard(),
            Self::Lost(lost) => lost.heard(),
        })
    }
}

impl Refused {
    #[cfg(test)]
    pub(in super::super) fn conflict(code: &str) -> Self {
        Self {
            code: code.to_owned(),
            status: StatusCode::CONFLICT,
        }
    }

    /// A refusal by a code that means nothing certain to us.
    pub(in super::super) fn lost(self) -> Lost {
        Lost::status(self.status)
    }
}

impl Lost {
    /// There is an answer, and it says nothing about what was asked.
    pub(in super::super) fn unreadable(silence: Sign) -> Self {
        Self {
            cause: "an answer that cannot be read".to_owned(),
            sign: silence,
        }
    }

    /// This was seen instead of an answer.
    pub(in super::super) fn seen(cause: &str, sign: Sign) -> Self {
        Self {
            cause: cause.to_owned(),
            sign,
        }
    }

    pub(super) fn status(status: StatusCode) -> Self {
        Self {
            cause: format!("http {}", status.as_u16()),
            sign: sign_of(status),
        }
    }

    /// What it means for a transaction.
    pub(in super::super) fn heard(self) -> Heard<Asked> {
        let outcome = if canary!("provider.silence_is_failure") {
            Asked::Answered(Answer::Declined {
                reference: None,
                decline_code: self.cause,
            })
        } else {
            Asked::Lost { cause: self.cause }
        };
        Heard {
            outcome,
            sign: self.sign,
        }
    }

    /// What it shows of the provider.
    pub(in super::super) fn sign(&self) -> Sign {
        self.sign
    }
}

impl Heard<Asked> {
    /// The provider has answered.
    pub(in super::super) fn answered(answer: Answer) -> Self {
        Self {
            outcome: Asked::Answered(answer),
            sign: Sign::Well,
        }
    }

    /// Nothing was sent, or by agreement it had no effect.
    pub(in super::super) fn not_sent(sign: Sign) -> Self {
        Self {
            outcome: Asked::NotSent,
            sign,
        }
    }

    /// The provider has refused, and has no name for it.
    fn declined(decline_code: String) -> Self {
        Self::answered(Answer::Declined {
            reference: None,
            decline_code,
        })
    }
}

impl Heard<Looked> {
    /// The provider knows it.
    pub(in super::super) fn found(answer: Answer) -> Self {
        Self {
            outcome: Looked::Found(answer),
            sign: Sign::Well,
        }
    }

    /// The provider does not know it.
    pub(in super::super) fn not_found() -> Self {
        Self {
            outcome: Looked::NotFound,
            sign: Sign::Well,
        }
    }

    /// Nothing was learnt.
    pub(in super::super) fn unanswered(sign: Sign) -> Self {
        Self {
            outcome: Looked::Unanswered,
            sign,
        }
    }
}

/// What an answer shows that is none of those that are documented.
pub(super) fn sign_of(status: StatusCode) -> Sign {
    if status.is_server_error() {
        Sign::Failing
    } else {
        Sign::Nothing
    }
}

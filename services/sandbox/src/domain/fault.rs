//! Faults on demand of requests and questions.

use std::time::Duration;

use super::{Kind, Plan};

/// What a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultOperation {
    /// Requests to charge.
    Charge,
    /// Requests to pay out.
    Payout,
    /// Requests to give money back.
    Refund,
    /// Requests to reserve money on a card.
    Authorization,
    /// Requests to take authorised money.
    Capture,
    /// Requests to give an authorisation up.
    Void,
    /// Requests to open an account.
    Account,
    /// Questions about one of them.
    Status,
    /// Questions about many: movements, settlements and their files.
    List,
    /// Notices to the customer.
    Callback,
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// Nothing is recorded, and no answer comes.
    Timeout,
    /// It is recorded, and the connection closes without an answer.
    LostResponse,
    /// It is recorded, and no answer comes.
    NoAnswer,
    /// Nothing is recorded, and the answer is 500.
    Error500,
    /// Nothing is recorded, and the answer is the fault's status.
    HttpError,
    /// It is recorded as declined.
    Decline,
    /// It is recorded, and the answer comes late.
    Slow,
    /// Nothing is recorded, and the connection closes without an answer.
    ConnectionReset,
    /// It is recorded as pending, done later.
    Pending,
    /// It is recorded as pending, declined later.
    PendingDecline,
}

/// A fault that hits one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What it does.
    pub kind: FaultKind,
    /// The decline code, where one is told.
    pub decline_code: Option<String>,
    /// How late a slow answer comes, and how long something stays pending.
    pub delay: Duration,
    /// The answer of an `http_error`.
    pub http_status: Option<u16>,
}

/// How a fault comes and goes: of each `of` requests that it sees, the first
/// `fail` are hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flapping {
    /// How many are hit.
    pub fail: i32,
    /// Of how many.
    pub of: i32,
}

/// The word for a refusal that names none.
const DEFAULT_DECLINE_CODE: &str = "do_not_honor";
/// The answer of an `http_error` that names none.
const DEFAULT_HTTP_STATUS: u16 = 503;

impl FaultOperation {
    const ALL: [Self; 10] = [
        Self::Charge,
        Self::Payout,
        Self::Refund,
        Self::Authorization,
        Self::Capture,
        Self::Void,
        Self::Account,
        Self::Status,
        Self::List,
        Self::Callback,
    ];

    /// The name in the API and in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Payout => "payout",
            Self::Refund => "refund",
            Self::Authorization => "authorization",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Account => "account",
            Self::Status => "status",
            Self::List => "list",
            Self::Callback => "callback",
        }
    }

    /// The operation of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.name() == name)
    }
}

impl From<Kind> for FaultOperation {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Charge => Self::Charge,
            Kind::Payout => Self::Payout,
            Kind::Refund => Self::Refund,
            Kind::Capture => Self::Capture,
        }
    }
}

impl FaultKind {
    const ALL: [Self; 10] = [
        Self::Timeout,
        Self::LostResponse,
        Self::NoAnswer,
        Self::Error500,
        Self::HttpError,
        Self::Decline,
        Self::Slow,
        Self::ConnectionReset,
        Self::Pending,
        Self::PendingDecline,
    ];

    /// The name in the API and in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::LostResponse => "lost_response",
            Self::NoAnswer => "no_answer",
            Self::Error500 => "error_500",
            Self::HttpError => "http_error",
            Self::Decline => "decline",
            Self::Slow => "slow",
            Self::ConnectionReset => "connection_reset",
            Self::Pending => "pending",
            Self::PendingDecline => "pending_decline",
        }
    }

    /// The kind of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether the fault means anything for an operation: a question records
    /// nothing, only movements and authorisations are ever pending, giving up is
    /// not declined, and notices have faults of their own.
    pub(crate) fn fits(self, operation: FaultOperation) -> bool {
        use FaultOperation::{
            Account, Authorization, Callback, Capture, Charge, List, Payout, Refund, Status, Void,
        };
        match operation {
            Callback => false,
            Charge | Payout | Refund | Authorization | Capture => true,
            Account => !matches!(self, Self::Pending | Self::PendingDecline),
            Void => !matches!(self, Self::Pending | Self::PendingDecline | Self::Decline),
            Status => self.loses_request() || self == Self::Slow,
            List => self.loses_request() || matches!(self, Self::Slow | Self::LostResponse),
        }
    }

    /// Whether the request is lost before it is recorded.
    pub(crate) fn loses_request(self) -> bool {
        match self {
            Self::Timeout | Self::Error500 | Self::HttpError | Self::ConnectionReset => true,
            Self::LostResponse
            | Self::NoAnswer
            | Self::Decline
            | Self::Slow
            | Self::Pending
            | Self::PendingDecline => false,
        }
    }
}

impl Fault {
    /// A fault of a kind, at once and with nothing else said.
    pub(crate) fn of(kind: FaultKind) -> Self {
        Self {
            kind,
            decline_code: None,
            delay: Duration::ZERO,
            http_status: None,
        }
    }

    /// The status that is answered when the request is lost with an answer.
    pub(crate) fn error_status(&self) -> Option<u16> {
        match self.kind {
            FaultKind::Error500 => Some(500),
            FaultKind::HttpError => Some(self.http_status.unwrap_or(DEFAULT_HTTP_STATUS)),
            FaultKind::Timeout
            | FaultKind::LostResponse
            | FaultKind::NoAnswer
            | FaultKind::Decline
            | FaultKind::Slow
            | FaultKind::ConnectionReset
            | FaultKind::Pending
            | FaultKind::PendingDecline => None,
        }
    }

    /// The code with which an account is refused under this fault; `None` when it
    /// is opened.
    pub(crate) fn refusal(&self) -> Option<String> {
        (self.kind == FaultKind::Decline).then(|| self.code())
    }

    fn code(&self) -> String {
        self.decline_code
            .clone()
            .unwrap_or_else(|| DEFAULT_DECLINE_CODE.to_owned())
    }

    /// What becomes of a movement that is recorded under this fault.
    pub(crate) fn plan(&self) -> Plan {
        match self.kind {
            FaultKind::Decline => Plan::Decline(self.code()),
            FaultKind::Pending => Plan::SucceedLater(self.delay),
            FaultKind::PendingDecline => Plan::DeclineLater(self.delay, self.code()),
            FaultKind::Timeout
            | FaultKind::LostResponse
            | FaultKind::NoAnswer
            | FaultKind::Error500
            | FaultKind::HttpError
            | FaultKind::Slow
            | FaultKind::ConnectionReset => Plan::Succeed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names are read as they are written, and a fault of requests never fits
    /// notices.
    #[test]
    fn names_and_fits() {
        for operation in FaultOperation::ALL {
            assert_eq!(FaultOperation::parse(operation.name()), Some(operation));
        }
        for kind in FaultKind::ALL {
            assert_eq!(FaultKind::parse(kind.name()), Some(kind));
            assert!(kind.fits(FaultOperation::Refund));
            assert!(!kind.fits(FaultOperation::Callback));
        }
        assert!(!FaultKind::Decline.fits(FaultOperation::Void));
        assert!(!FaultKind::Decline.fits(FaultOperation::Status));
        assert!(!FaultKind::LostResponse.fits(FaultOperation::Status));
        assert!(FaultKind::LostResponse.fits(FaultOperation::List));
        assert!(!FaultKind::Pending.fits(FaultOperation::Account));
    }
}

//! Faults on demand.

use std::time::Duration;

use super::{Kind, Plan};

/// What a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultOperation {
    /// Requests to charge.
    Charge,
    /// Requests to pay out.
    Payout,
    /// Requests to open an account.
    Account,
    /// Questions about any of them.
    Status,
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// Nothing is recorded, and no answer comes.
    Timeout,
    /// It is recorded, and the connection closes without an answer.
    LostResponse,
    /// Nothing is recorded, and the answer is 500.
    Error500,
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
}

/// The word for a refusal that names none.
const DEFAULT_DECLINE_CODE: &str = "do_not_honor";

impl FaultOperation {
    /// The name in the API and in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Payout => "payout",
            Self::Account => "account",
            Self::Status => "status",
        }
    }

    /// The operation of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Charge, Self::Payout, Self::Account, Self::Status]
            .into_iter()
            .find(|operation| operation.name() == name)
    }
}

impl From<Kind> for FaultOperation {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Charge => Self::Charge,
            Kind::Payout => Self::Payout,
        }
    }
}

impl FaultKind {
    const ALL: [Self; 8] = [
        Self::Timeout,
        Self::LostResponse,
        Self::Error500,
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
            Self::Error500 => "error_500",
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
    /// nothing, and an account is never pending.
    pub(crate) fn fits(self, operation: FaultOperation) -> bool {
        match self {
            Self::Timeout | Self::Error500 | Self::Slow | Self::ConnectionReset => true,
            Self::LostResponse | Self::Decline => operation != FaultOperation::Status,
            Self::Pending | Self::PendingDecline => match operation {
                FaultOperation::Charge | FaultOperation::Payout => true,
                FaultOperation::Account | FaultOperation::Status => false,
            },
        }
    }

    /// Whether the request is lost before it is recorded.
    pub(crate) fn loses_request(self) -> bool {
        matches!(self, Self::Timeout | Self::Error500 | Self::ConnectionReset)
    }
}

impl Fault {
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
            | FaultKind::Error500
            | FaultKind::Slow
            | FaultKind::ConnectionReset => Plan::Succeed,
        }
    }
}

//! Why the ledger refuses a posting and why a transaction fails.

use super::limit::{Exceeded, LimitKind};

/// Whose wallet a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The wallet the money would leave.
    Payer,
    /// The wallet the money would reach.
    Payee,
}

/// Why the ledger refused a posting, where the reason is the customers'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// No such wallet, or not the required owner's.
    WalletNotFound,
    /// Not enough available money.
    InsufficientFunds,
    /// The wallet has another currency.
    CurrencyMismatch,
    /// The wallet is frozen.
    WalletFrozen,
    /// The wallet is closed.
    WalletClosed,
    /// A balance would leave the range of 64-bit integers.
    BalanceOverflow,
    /// The wallet may not spend so much at once.
    SingleLimitExceeded,
    /// The wallet may not spend so much in a day.
    DailyLimitExceeded,
    /// The wallet may not spend so much in a month.
    MonthlyLimitExceeded,
    /// No such bonus campaign.
    BonusCampaignNotFound,
    /// The bonus campaign has not begun, is over or was ended.
    BonusCampaignNotActive,
    /// The user would be granted more of the campaign than one may.
    BonusCapExceeded,
    /// The campaign's budget has not so much left.
    BonusBudgetExhausted,
}

/// A refusal of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// Whose wallet it is about.
    pub side: Side,
}

/// Why the ledger refused a posting, where the fault is ours: a posting that
/// this service must never send. It leads to a person, not to a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerFault {
    /// The legs do not sum to zero.
    Unbalanced,
    /// The posting id belongs to another posting.
    PostingIdReused,
    /// No such hold.
    HoldNotFound,
    /// The hold has ended.
    HoldNotActive,
    /// The legs are not what the hold's action says.
    HoldMismatch,
    /// A reason this service does not know, or none.
    Unexplained,
}

/// Why a transaction failed: a subset of the contract's reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The ledger refused.
    Refused(RefusalReason),
    /// The payment provider refused.
    ProviderDeclined,
    /// The payment provider never received the request.
    ProviderNeverReceived,
    /// An operator found that the money has not moved.
    ResolvedAsFailed,
    /// The user may not move so much, or so often.
    LimitExceeded(LimitKind),
    /// A person rejected what fraud screening had stopped.
    FraudRejected,
}

/// What makes it final that a barred posting never happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The ledger refused it.
    Refused(Refusal),
    /// An operator decided it.
    Resolved,
}

/// Why a transaction failed, with a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason.
    pub reason: FailureReason,
    /// The sentence.
    pub message: String,
}

impl Side {
    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Payer => "payer",
            Self::Payee => "payee",
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Payer => "the wallet that the money would leave",
            Self::Payee => "the wallet that the money would reach",
        }
    }
}

impl RefusalReason {
    const ALL: [Self; 13] = [
        Self::WalletNotFound,
        Self::InsufficientFunds,
        Self::CurrencyMismatch,
        Self::WalletFrozen,
        Self::WalletClosed,
        Self::BalanceOverflow,
        Self::SingleLimitExceeded,
        Self::DailyLimitExceeded,
        Self::MonthlyLimitExceeded,
        Self::BonusCampaignNotFound,
        Self::BonusCampaignNotActive,
        Self::BonusCapExceeded,
        Self::BonusBudgetExhausted,
    ];

    /// The name in the contract's `ErrorReason`, without its prefix.
    pub fn name(self) -> &'static str {
        match self {
            Self::WalletNotFound => "WALLET_NOT_FOUND",
            Self::InsufficientFunds => "INSUFFICIENT_FUNDS",
            Self::CurrencyMismatch => "CURRENCY_MISMATCH",
            Self::WalletFrozen => "WALLET_FROZEN",
            Self::WalletClosed => "WALLET_CLOSED",
            Self::BalanceOverflow => "BALANCE_OVERFLOW",
            Self::SingleLimitExceeded => "SINGLE_LIMIT_EXCEEDED",
            Self::DailyLimitExceeded => "DAILY_LIMIT_EXCEEDED",
            Self::MonthlyLimitExceeded => "MONTHLY_LIMIT_EXCEEDED",
            Self::BonusCampaignNotFound => "BONUS_CAMPAIGN_NOT_FOUND",
            Self::BonusCampaignNotActive => "BONUS_CAMPAIGN_NOT_ACTIVE",
            Self::BonusCapExceeded => "BONUS_CAP_EXCEEDED",
            Self::BonusBudgetExhausted => "BONUS_BUDGET_EXHAUSTED",
        }
    }
}

impl Refusal {
    /// The failure that the refusal makes of a transaction.
    pub fn failure(self) -> Failure {
        let of_side = self.side.subject();
        let (subject, predicate) = match self.reason {
            RefusalReason::WalletNotFound => (of_side, "does not exist"),
            RefusalReason::InsufficientFunds => (of_side, "has not enough available money"),
            RefusalReason::CurrencyMismatch => (of_side, "has another currency than the amount"),
            RefusalReason::WalletFrozen => (of_side, "is frozen"),
            RefusalReason::WalletClosed => (of_side, "is closed"),
            RefusalReason::BalanceOverflow => (of_side, "cannot hold so much money"),
            RefusalReason::SingleLimitExceeded => (of_side, "may not spend so much at once"),
            RefusalReason::DailyLimitExceeded => (of_side, "may not spend so much in a day"),
            RefusalReason::MonthlyLimitExceeded => (of_side, "may not spend so much in a month"),
            RefusalReason::BonusCampaignNotFound => ("the bonus campaign", "does not exist"),
            RefusalReason::BonusCampaignNotActive => ("the bonus campaign", "grants nothing now"),
            RefusalReason::BonusCapExceeded => (
                "the user",
                "may not be granted so much of the bonus campaign",
            ),
            RefusalReason::BonusBudgetExhausted => {
                ("the bonus campaign", "has not so much of its budget left")
            }
        };
        Failure {
            reason: FailureReason::Refused(self.reason),
            message: format!("{subject} {predicate}"),
        }
    }

    /// The refusal as text, for the database.
    pub fn encode(self) -> String {
        format!("{}:{}", self.reason.name(), self.side.name())
    }

    /// The refusal that [`Refusal::encode`] wrote.
    pub fn decode(text: &str) -> Option<Self> {
        let (reason, side) = text.split_once(':')?;
        let reason = RefusalReason::ALL
            .into_iter()
            .find(|candidate| candidate.name() == reason)?;
        let side = [Side::Payer, Side::Payee]
            .into_iter()
            .find(|candidate| candidate.name() == side)?;
        Some(Self { reason, side })
    }
}

impl LedgerFault {
    /// What a person reads as the cause of the review.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Unbalanced => "the ledger found the posting unbalanced",
            Self::PostingIdReused => "the posting id belongs to another posting",
            Self::HoldNotFound => "the ledger has no such hold",
            Self::HoldNotActive => "the hold has already ended",
            Self::HoldMismatch => "the posting does not fit the hold",
            Self::Unexplained => "the ledger refused without a reason that is known",
        }
    }
}

impl FailureReason {
    /// The name in the contract's `ErrorReason`, without its prefix.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused(reason) => reason.name(),
            Self::ProviderDeclined => "PROVIDER_DECLINED",
            Self::ProviderNeverReceived => "PROVIDER_NEVER_RECEIVED",
            Self::ResolvedAsFailed => "RESOLVED_AS_FAILED",
            Self::LimitExceeded(kind) => kind.name(),
            Self::FraudRejected => "FRAUD_REJECTED",
        }
    }

    /// The reason of that name.
    pub fn parse(name: &str) -> Option<Self> {
        RefusalReason::ALL
            .into_iter()
            .map(Self::Refused)
            .chain([
                Self::ProviderDeclined,
                Self::ProviderNeverReceived,
                Self::ResolvedAsFailed,
                Self::FraudRejected,
            ])
            .chain(LimitKind::ALL.map(Self::LimitExceeded))
            .find(|reason| reason.name() == name)
    }
}

impl Failure {
    /// The provider refused.
    pub fn declined() -> Self {
        Self {
            reason: FailureReason::ProviderDeclined,
            message: "the payment provider declined".to_owned(),
        }
    }

    /// The provider never received the request.
    pub fn never_received() -> Self {
        Self {
            reason: FailureReason::ProviderNeverReceived,
            message: "the payment provider never received the request".to_owned(),
        }
    }

    /// A person rejected it.
    pub fn rejected() -> Self {
        Self {
            reason: FailureReason::FraudRejected,
            message: "the transaction was not approved".to_owned(),
        }
    }

    /// A limit of the user's would be exceeded.
    pub fn limited(exceeded: &Exceeded) -> Self {
        Self {
            reason: FailureReason::LimitExceeded(exceeded.kind),
            message: exceeded.to_string(),
        }
    }

    /// An operator decided it.
    pub fn resolved() -> Self {
        Self {
            reason: FailureReason::ResolvedAsFailed,
            message: "an operator found that the money has not moved".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A refusal and a reason come back from their text.
    #[test]
    fn names_are_read_back() {
        for reason in RefusalReason::ALL {
            for side in [Side::Payer, Side::Payee] {
                let refusal = Refusal { reason, side };
                assert_eq!(Refusal::decode(&refusal.encode()), Some(refusal));
                let failure = refusal.failure();
                assert_eq!(
                    FailureReason::parse(failure.reason.name()),
                    Some(failure.reason)
                );
            }
        }
        for failure in [
            Failure::declined(),
            Failure::never_received(),
            Failure::resolved(),
            Failure::rejected(),
        ] {
            assert_eq!(
                FailureReason::parse(failure.reason.name()),
                Some(failure.reason)
            );
        }
        for kind in LimitKind::ALL {
            let reason = FailureReason::LimitExceeded(kind);
            assert_eq!(FailureReason::parse(reason.name()), Some(reason));
        }
        assert_eq!(Refusal::decode("INSUFFICIENT_FUNDS"), None);
        assert_eq!(FailureReason::parse("SAME_WALLET"), None);
    }
}

//! What the caller of one of wallet's own operations is told when the ledger
//! refuses its posting. Whoever posts through `PostBatch` gets the reason as it
//! is; here it becomes an error of the contract.

use bursar_aip::id::WalletId;
use bursar_aip::idempotency;
use bursar_contracts::r#type::v1::ErrorReason as CommonReason;
use bursar_contracts::wallet::v1::ErrorReason;
use bursar_status::{Reason, StatusBuilder};
use tonic::{Code, Status};

use super::{CONTENDED_RETRY_AFTER, Error};
use crate::domain::posting::{Posting, Rejected, RejectionReason};

impl Error {
    /// The error of a posting that the ledger refused.
    pub fn rejected(posting: &Posting, rejected: Rejected) -> Self {
        let leg = rejected.leg.and_then(|index| posting.legs.get(index));
        Self::Rejected {
            reason: rejected.reason,
            wallet: leg.map(|leg| leg.account.wallet_id()),
        }
    }
}

/// What becomes of a reason.
enum Telling {
    /// An answer for good: its code, its reason, and a sentence.
    Refusal(Code, ErrorReason, &'static str),
    /// Something else was posted with the key; see `rpc::once`.
    KeyReused,
    /// The legs were made for a state that has passed: another try may do.
    Contended,
    /// A posting of ours that should not have been made.
    Fault,
}

/// The one place where every reason gets its meaning.
fn telling(reason: RejectionReason) -> Telling {
    let unmet = |reason, sentence| Telling::Refusal(Code::FailedPrecondition, reason, sentence);
    let absent = |reason, sentence| Telling::Refusal(Code::NotFound, reason, sentence);
    match reason {
        RejectionReason::WalletNotFound => absent(ErrorReason::WalletNotFound, "no such wallet"),
        RejectionReason::InsufficientFunds => unmet(
            ErrorReason::InsufficientFunds,
            "the wallet has not enough money",
        ),
        RejectionReason::CurrencyMismatch => Telling::Refusal(
            Code::InvalidArgument,
            ErrorReason::CurrencyMismatch,
            "the wallet has another currency",
        ),
        RejectionReason::WalletFrozen => unmet(ErrorReason::WalletFrozen, "the wallet is frozen"),
        RejectionReason::WalletClosed => unmet(ErrorReason::WalletClosed, "the wallet is closed"),
        RejectionReason::BalanceOverflow => unmet(
            ErrorReason::BalanceOverflow,
            "the balance would leave the range of 64-bit integers",
        ),
        RejectionReason::HoldNotFound => absent(ErrorReason::HoldNotFound, "no such hold"),
        RejectionReason::HoldNotActive => unmet(ErrorReason::HoldNotActive, "the hold has ended"),
        RejectionReason::HoldExpired => unmet(ErrorReason::HoldExpired, "the hold's time is over"),
        RejectionReason::HoldManaged => unmet(
            ErrorReason::HoldManaged,
            "the hold belongs to a transaction, which alone ends it",
        ),
        RejectionReason::SingleLimitExceeded => unmet(
            ErrorReason::SingleLimitExceeded,
            "the wallet may not spend so much at once",
        ),
        RejectionReason::DailyLimitExceeded => unmet(
            ErrorReason::DailyLimitExceeded,
            "the wallet may not spend so much in a day",
        ),
        RejectionReason::MonthlyLimitExceeded => unmet(
            ErrorReason::MonthlyLimitExceeded,
            "the wallet may not spend so much in a month",
        ),
        RejectionReason::GrantNotFound => absent(ErrorReason::BonusGrantNotFound, "no such grant"),
        RejectionReason::GrantNotActive => {
            unmet(ErrorReason::BonusGrantNotActive, "the grant has ended")
        }
        RejectionReason::GrantCapExceeded => unmet(
            ErrorReason::BonusCapExceeded,
            "the user would have more of the campaign than one may",
        ),
        RejectionReason::PostingIdReused => Telling::KeyReused,
        RejectionReason::HoldMismatch | RejectionReason::GrantMismatch => Telling::Contended,
        RejectionReason::Unbalanced | RejectionReason::BatchRejected => Telling::Fault,
    }
}

/// Whether a reason is an answer that the caller's duplicates get again.
pub(super) fn is_definite(reason: RejectionReason) -> bool {
    match telling(reason) {
        Telling::Refusal(..) => true,
        Telling::KeyReused | Telling::Contended | Telling::Fault => false,
    }
}

/// What the caller is told. `wallet` is the one at fault.
pub(super) fn status(reason: RejectionReason, wallet: Option<WalletId>) -> Status {
    match telling(reason) {
        Telling::Refusal(code, reason, sentence) => refusal(code, reason, sentence, wallet),
        Telling::KeyReused => idempotency::reused(),
        Telling::Contended => contended(),
        Telling::Fault => {
            let error = Error::Rejected { reason, wallet };
            bursar_status::internal(CommonReason::Internal, &error)
        }
    }
}

/// The answer to a call that other calls were quicker than, again and again.
pub(super) fn contended() -> Status {
    let sentence = "other calls changed it meanwhile; try again";
    StatusBuilder::new(Code::Aborted, ErrorReason::HoldContended, sentence)
        .retry_after(CONTENDED_RETRY_AFTER)
        .into()
}

/// An answer for good.
fn refusal(code: Code, reason: ErrorReason, sentence: &str, wallet: Option<WalletId>) -> Status {
    let wallet = wallet.map(|id| id.to_string());
    let builder = StatusBuilder::new(code, reason, sentence);
    let builder = match code {
        Code::FailedPrecondition => {
            let subject = wallet.as_deref().unwrap_or("hold");
            builder.precondition(reason.name(), subject, sentence)
        }
        _ => builder,
    };
    match wallet {
        Some(wallet) => builder.metadata("wallet_id", wallet).into(),
        None => builder.into(),
    }
}

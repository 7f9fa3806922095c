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

#[cfg(test)]
mod tests {
    use bursar_status::StatusExt;
    use uuid::Uuid;

    use super::*;

    /// The code and the reason of a refused posting's error, and whether the
    /// caller's duplicates get it again.
    fn told(reason: RejectionReason) -> (Code, String, bool) {
        let wallet = Some(WalletId::from_uuid(Uuid::nil()));
        let error = Error::Rejected { reason, wallet };
        let is_kept = error.is_refusal();
        let status = Status::from(error);
        let details = status.get_error_details();
        let info = details.error_info().expect("always set");
        let code = status.code();
        assert_eq!(info.metadata.contains_key("wallet_id"), is_kept);
        let has_precondition = details.precondition_failure().is_some();
        assert_eq!(has_precondition, code == Code::FailedPrecondition);
        assert_eq!(details.retry_info().is_some(), code == Code::Aborted);
        (code, info.reason.clone(), is_kept)
    }

    /// What every reason becomes, and which of them are answers for good.
    #[test]
    fn every_reason_has_its_error() {
        use RejectionReason as Reason;
        for (reason, name) in [
            (Reason::InsufficientFunds, "INSUFFICIENT_FUNDS"),
            (Reason::WalletFrozen, "WALLET_FROZEN"),
            (Reason::WalletClosed, "WALLET_CLOSED"),
            (Reason::BalanceOverflow, "BALANCE_OVERFLOW"),
            (Reason::HoldNotActive, "HOLD_NOT_ACTIVE"),
            (Reason::HoldExpired, "HOLD_EXPIRED"),
            (Reason::HoldManaged, "HOLD_MANAGED"),
            (Reason::SingleLimitExceeded, "SINGLE_LIMIT_EXCEEDED"),
            (Reason::DailyLimitExceeded, "DAILY_LIMIT_EXCEEDED"),
            (Reason::MonthlyLimitExceeded, "MONTHLY_LIMIT_EXCEEDED"),
            (Reason::GrantNotActive, "BONUS_GRANT_NOT_ACTIVE"),
            (Reason::GrantCapExceeded, "BONUS_CAP_EXCEEDED"),
        ] {
            let expected = (Code::FailedPrecondition, name.to_owned(), true);
            assert_eq!(told(reason), expected, "{reason:?}");
        }
        for (reason, name) in [
            (Reason::WalletNotFound, "WALLET_NOT_FOUND"),
            (Reason::HoldNotFound, "HOLD_NOT_FOUND"),
            (Reason::GrantNotFound, "BONUS_GRANT_NOT_FOUND"),
        ] {
            let expected = (Code::NotFound, name.to_owned(), true);
            assert_eq!(told(reason), expected, "{reason:?}");
        }
        let mismatch = (Code::InvalidArgument, "CURRENCY_MISMATCH".to_owned(), true);
        assert_eq!(told(Reason::CurrencyMismatch), mismatch);
        let reused = "IDEMPOTENCY_KEY_REUSED".to_owned();
        let reused = (Code::AlreadyExists, reused, false);
        assert_eq!(told(Reason::PostingIdReused), reused);
        for reason in [Reason::HoldMismatch, Reason::GrantMismatch] {
            let contended = (Code::Aborted, "HOLD_CONTENDED".to_owned(), false);
            assert_eq!(told(reason), contended);
        }
        for reason in [Reason::Unbalanced, Reason::BatchRejected] {
            let fault = (Code::Internal, "INTERNAL".to_owned(), false);
            assert_eq!(told(reason), fault);
        }
    }
}

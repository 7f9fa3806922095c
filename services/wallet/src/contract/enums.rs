//! The enums of the contract, value by value.

use bursar_contracts::wallet::v1 as proto;

use crate::domain::batch::Mode;
use crate::domain::hold::HoldAction;
use crate::domain::posting::{LegBucket, PostingKind, RejectionReason};
use crate::domain::wallet::{Bucket, SystemPurpose, WalletStatus};

pub(super) fn wallet_status(status: WalletStatus) -> proto::WalletStatus {
    match status {
        WalletStatus::Active => proto::WalletStatus::Active,
        WalletStatus::Frozen => proto::WalletStatus::Frozen,
        WalletStatus::Closed => proto::WalletStatus::Closed,
    }
}

pub(super) fn bucket(bucket: Bucket) -> proto::Bucket {
    match bucket {
        Bucket::Available => proto::Bucket::Available,
        Bucket::Held => proto::Bucket::Held,
        Bucket::Bonus => proto::Bucket::Bonus,
    }
}

pub(super) fn posting_kind(kind: PostingKind) -> proto::PostingKind {
    match kind {
        PostingKind::Transfer => proto::PostingKind::Transfer,
        PostingKind::Deposit => proto::PostingKind::Deposit,
        PostingKind::Hold => proto::PostingKind::Hold,
        PostingKind::HoldCapture => proto::PostingKind::HoldCapture,
        PostingKind::HoldVoid => proto::PostingKind::HoldVoid,
        PostingKind::HoldExpiry => proto::PostingKind::HoldExpiry,
        PostingKind::Adjustment => proto::PostingKind::Adjustment,
        PostingKind::BonusFunding => proto::PostingKind::BonusFunding,
        PostingKind::BonusGrant => proto::PostingKind::BonusGrant,
        PostingKind::BonusConversion => proto::PostingKind::BonusConversion,
        PostingKind::BonusExpiry => proto::PostingKind::BonusExpiry,
    }
}

pub(super) fn rejection_reason(reason: RejectionReason) -> proto::RejectionReason {
    match reason {
        RejectionReason::WalletNotFound => proto::RejectionReason::WalletNotFound,
        RejectionReason::InsufficientFunds => proto::RejectionReason::InsufficientFunds,
        RejectionReason::CurrencyMismatch => proto::RejectionReason::CurrencyMismatch,
        RejectionReason::WalletFrozen => proto::RejectionReason::WalletFrozen,
        RejectionReason::WalletClosed => proto::RejectionReason::WalletClosed,
        RejectionReason::Unbalanced => proto::RejectionReason::Unbalanced,
        RejectionReason::BalanceOverflow => proto::RejectionReason::BalanceOverflow,
        RejectionReason::PostingIdReused => proto::RejectionReason::PostingIdReused,
        RejectionReason::HoldNotFound => proto::RejectionReason::HoldNotFound,
        RejectionReason::HoldNotActive => proto::RejectionReason::HoldNotActive,
        RejectionReason::HoldMismatch => proto::RejectionReason::HoldMismatch,
        RejectionReason::BatchRejected => proto::RejectionReason::BatchRejected,
        RejectionReason::HoldExpired => proto::RejectionReason::HoldExpired,
        RejectionReason::HoldManaged => proto::RejectionReason::HoldManaged,
        RejectionReason::SingleLimitExceeded => proto::RejectionReason::SingleLimitExceeded,
        RejectionReason::DailyLimitExceeded => proto::RejectionReason::DailyLimitExceeded,
        RejectionReason::MonthlyLimitExceeded => proto::RejectionReason::MonthlyLimitExceeded,
        RejectionReason::GrantNotFound => proto::RejectionReason::GrantNotFound,
        RejectionReason::GrantNotActive => proto::RejectionReason::GrantNotActive,
        RejectionReason::GrantMismatch => proto::RejectionReason::GrantMismatch,
        RejectionReason::GrantCapExceeded => proto::RejectionReason::GrantCapExceeded,
    }
}

/// `None` for a value that validation refuses.
pub(super) fn leg_bucket_of(bucket: proto::Bucket) -> Option<LegBucket> {
    match bucket {
        proto::Bucket::Available => Some(Bucket::Available.into()),
        proto::Bucket::Held => Some(Bucket::Held.into()),
        proto::Bucket::Spendable => Some(LegBucket::Spendable),
        proto::Bucket::Unspecified | proto::Bucket::Bonus => None,
    }
}

/// The bucket of a filter; `None` for all buckets. No entry is of spendable
/// money as such, and validation refuses to ask for it.
pub(crate) fn filter_bucket_of(bucket: proto::Bucket) -> Option<Bucket> {
    match bucket {
        proto::Bucket::Available => Some(Bucket::Available),
        proto::Bucket::Held => Some(Bucket::Held),
        proto::Bucket::Bonus => Some(Bucket::Bonus),
        proto::Bucket::Unspecified | proto::Bucket::Spendable => None,
    }
}

/// The kind of a filter; `None` for a value that validation refuses.
pub(crate) fn filter_kind_of(kind: proto::PostingKind) -> Option<PostingKind> {
    match kind {
        proto::PostingKind::Unspecified => None,
        proto::PostingKind::HoldExpiry => Some(PostingKind::HoldExpiry),
        proto::PostingKind::BonusFunding => Some(PostingKind::BonusFunding),
        proto::PostingKind::BonusGrant => Some(PostingKind::BonusGrant),
        proto::PostingKind::BonusConversion => Some(PostingKind::BonusConversion),
        proto::PostingKind::BonusExpiry => Some(PostingKind::BonusExpiry),
        proto::PostingKind::Transfer
        | proto::PostingKind::Deposit
        | proto::PostingKind::Hold
        | proto::PostingKind::HoldCapture
        | proto::PostingKind::HoldVoid
        | proto::PostingKind::Adjustment => posting_kind_of(kind),
    }
}

/// `None` for a value that validation refuses: the kinds of wallet's own
/// operations among them.
pub(super) fn posting_kind_of(kind: proto::PostingKind) -> Option<PostingKind> {
    match kind {
        proto::PostingKind::Transfer => Some(PostingKind::Transfer),
        proto::PostingKind::Deposit => Some(PostingKind::Deposit),
        proto::PostingKind::Hold => Some(PostingKind::Hold),
        proto::PostingKind::HoldCapture => Some(PostingKind::HoldCapture),
        proto::PostingKind::HoldVoid => Some(PostingKind::HoldVoid),
        proto::PostingKind::Adjustment => Some(PostingKind::Adjustment),
        proto::PostingKind::Unspecified
        | proto::PostingKind::HoldExpiry
        | proto::PostingKind::BonusFunding
        | proto::PostingKind::BonusGrant
        | proto::PostingKind::BonusConversion
        | proto::PostingKind::BonusExpiry => None,
    }
}

/// `None` for a value that validation refuses.
pub(super) fn hold_action_of(action: proto::HoldAction) -> Option<HoldAction> {
    match action {
        proto::HoldAction::Unspecified => None,
        proto::HoldAction::Place => Some(HoldAction::Place),
        proto::HoldAction::Capture => Some(HoldAction::Capture),
        proto::HoldAction::CaptureFinal => Some(HoldAction::CaptureFinal),
        proto::HoldAction::Void => Some(HoldAction::Void),
    }
}

/// `None` for a value that validation refuses.
pub(super) fn system_purpose_of(purpose: proto::SystemPurpose) -> Option<SystemPurpose> {
    match purpose {
        proto::SystemPurpose::Unspecified => None,
        proto::SystemPurpose::Settlement => Some(SystemPurpose::Settlement),
        proto::SystemPurpose::Fees => Some(SystemPurpose::Fees),
        proto::SystemPurpose::BonusPool => Some(SystemPurpose::BonusPool),
        proto::SystemPurpose::Suspense => Some(SystemPurpose::Suspense),
        proto::SystemPurpose::Receivable => Some(SystemPurpose::Receivable),
        proto::SystemPurpose::Liquidity => Some(SystemPurpose::Liquidity),
    }
}

pub(super) fn mode_of(mode: proto::BatchMode) -> Mode {
    match mode {
        proto::BatchMode::Unspecified | proto::BatchMode::Independent => Mode::Independent,
        proto::BatchMode::Atomic => Mode::Atomic,
    }
}

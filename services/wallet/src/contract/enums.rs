//! The enums of the contract, value by value.

use bursar_contracts::wallet::v1 as proto;

use crate::domain::batch::Mode;
use crate::domain::hold::HoldAction;
use crate::domain::posting::{PostingKind, RejectionReason};
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
        PostingKind::Adjustment => proto::PostingKind::Adjustment,
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
    }
}

/// `None` for a value that validation refuses.
pub(super) fn bucket_of(bucket: proto::Bucket) -> Option<Bucket> {
    match bucket {
        proto::Bucket::Unspecified => None,
        proto::Bucket::Available => Some(Bucket::Available),
        proto::Bucket::Held => Some(Bucket::Held),
        proto::Bucket::Bonus => Some(Bucket::Bonus),
    }
}

/// `None` for a value that validation refuses.
pub(super) fn posting_kind_of(kind: proto::PostingKind) -> Option<PostingKind> {
    match kind {
        proto::PostingKind::Unspecified => None,
        proto::PostingKind::Transfer => Some(PostingKind::Transfer),
        proto::PostingKind::Deposit => Some(PostingKind::Deposit),
        proto::PostingKind::Hold => Some(PostingKind::Hold),
        proto::PostingKind::HoldCapture => Some(PostingKind::HoldCapture),
        proto::PostingKind::HoldVoid => Some(PostingKind::HoldVoid),
        proto::PostingKind::Adjustment => Some(PostingKind::Adjustment),
    }
}

/// `None` for a value that validation refuses.
pub(super) fn hold_action_of(action: proto::HoldAction) -> Option<HoldAction> {
    match action {
        proto::HoldAction::Unspecified => None,
        proto::HoldAction::Place => Some(HoldAction::Place),
        proto::HoldAction::Capture => Some(HoldAction::Capture),
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
    }
}

pub(super) fn mode_of(mode: proto::BatchMode) -> Mode {
    match mode {
        proto::BatchMode::Unspecified | proto::BatchMode::Independent => Mode::Independent,
        proto::BatchMode::Atomic => Mode::Atomic,
    }
}

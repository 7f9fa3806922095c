//! The words by which the database knows the values of the domain's enums.

use std::error::Error;
use std::fmt;

use crate::domain::bonus::GrantStatus;
use crate::domain::hold::{HoldAction, HoldStatus};
use crate::domain::posting::PostingKind;
use crate::domain::wallet::{Bucket, WalletStatus};

/// An enum that the database spells in words.
pub(super) trait Named: Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];

    /// The value as the database spells it.
    fn word(self) -> &'static str;

    /// The value with this spelling.
    fn from_word(word: &str) -> Result<Self, sqlx::Error> {
        Self::ALL
            .iter()
            .copied()
            .find(|value| value.word() == word)
            .ok_or_else(|| unreadable(word))
    }
}

impl Named for Bucket {
    const ALL: &'static [Self] = &Bucket::ALL;

    fn word(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Held => "held",
            Self::Bonus => "bonus",
        }
    }
}

impl Named for WalletStatus {
    const ALL: &'static [Self] = &[Self::Active, Self::Frozen, Self::Closed];

    fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Frozen => "frozen",
            Self::Closed => "closed",
        }
    }
}

impl Named for PostingKind {
    const ALL: &'static [Self] = &[
        Self::Transfer,
        Self::Deposit,
        Self::Hold,
        Self::HoldCapture,
        Self::HoldVoid,
        Self::HoldExpiry,
        Self::Adjustment,
        Self::BonusFunding,
        Self::BonusGrant,
        Self::BonusConversion,
        Self::BonusExpiry,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Deposit => "deposit",
            Self::Hold => "hold",
            Self::HoldCapture => "hold_capture",
            Self::HoldVoid => "hold_void",
            Self::HoldExpiry => "hold_expiry",
            Self::Adjustment => "adjustment",
            Self::BonusFunding => "bonus_funding",
            Self::BonusGrant => "bonus_grant",
            Self::BonusConversion => "bonus_conversion",
            Self::BonusExpiry => "bonus_expiry",
        }
    }
}

impl Named for HoldAction {
    const ALL: &'static [Self] = &[
        Self::Place,
        Self::Capture,
        Self::CaptureFinal,
        Self::Void,
        Self::Expire,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Place => "place",
            Self::Capture => "capture",
            Self::CaptureFinal => "capture_final",
            Self::Void => "void",
            Self::Expire => "expire",
        }
    }
}

impl Named for HoldStatus {
    const ALL: &'static [Self] = &[Self::Active, Self::Captured, Self::Voided, Self::Expired];

    fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Expired => "expired",
        }
    }
}

impl Named for GrantStatus {
    const ALL: &'static [Self] = &[Self::Active, Self::Spent, Self::Converted, Self::Expired];

    fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Spent => "spent",
            Self::Converted => "converted",
            Self::Expired => "expired",
        }
    }
}

/// The error of a value in the database that this version does not know.
pub(super) fn unreadable(value: impl fmt::Display) -> sqlx::Error {
    let cause: Box<dyn Error + Send + Sync> = format!("unknown value `{value}`").into();
    sqlx::Error::Decode(cause)
}

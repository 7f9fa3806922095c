//! Adjustments: money that an operator gives a wallet or takes from it.
//!
//! The other side is the platform's suspense wallet, whose balance is what operators
//! have moved and nobody has explained to the books yet. An adjustment is one posting
//! and knows no provider, no fee and no limit; floors, freezes and closed wallets are
//! the ledger's to mind.

use bursar_aip::id::{TransactionId, UserId, WalletId};

use super::Transaction;

/// Money that an operator gives a wallet or takes from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    /// The wallet.
    pub wallet: WalletId,
    /// Whether it gets or loses the money.
    pub direction: AdjustmentDirection,
    /// Why.
    pub reason: AdjustmentReason,
    /// The transaction that it corrects.
    pub corrects: Option<TransactionId>,
}

/// Whether an adjustment gives or takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdjustmentDirection {
    /// The wallet gets the money.
    Credit,
    /// The wallet loses the money.
    Debit {
        /// The user whose wallet it is.
        owner: UserId,
    },
}

/// Why a wallet is adjusted. The reasons are the contract's, where they are described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdjustmentReason {
    /// A courtesy.
    Goodwill,
    /// Something was booked wrong.
    Correction,
    /// A deposit was claimed back, or the claim was given up.
    Chargeback,
    /// A provider has settled something else than was booked.
    SettlementDifference,
    /// Nobody goes after it any more.
    WriteOff,
    /// A fee is given back.
    FeeReversal,
}

impl AdjustmentReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Goodwill,
        Self::Correction,
        Self::Chargeback,
        Self::SettlementDifference,
        Self::WriteOff,
        Self::FeeReversal,
    ];

    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Goodwill => "goodwill",
            Self::Correction => "correction",
            Self::Chargeback => "chargeback",
            Self::SettlementDifference => "settlement_difference",
            Self::WriteOff => "write_off",
            Self::FeeReversal => "fee_reversal",
        }
    }

    /// The reason of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

impl Transaction {
    /// Whether a wallet has a part in it, so that an adjustment of the wallet may name it
    /// as what is corrected.
    pub fn involves(&self, wallet: WalletId) -> bool {
        let movement = &self.movement;
        movement.from_wallet() == Some(wallet) || movement.to_wallet() == Some(wallet)
    }
}

//! What a transaction does: from where to where.

use std::fmt;
use std::str::FromStr;

use bursar_aip::id::{CampaignId, PayoutAccountId, TransactionId, UserId, WalletId};
use thiserror::Error;

use super::{Adjustment, AdjustmentDirection};

/// The longest name of a payment provider, in characters.
const PROVIDER_NAME_MAX: usize = 32;

/// One movement of money between wallets and payment providers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Movement {
    /// From one wallet to another.
    Transfer {
        /// The wallet the money leaves.
        from: WalletId,
        /// The wallet the money reaches.
        to: WalletId,
    },
    /// From a payment provider into a wallet.
    Deposit {
        /// The wallet the money reaches.
        to: WalletId,
        /// The provider that takes the money in.
        provider: ProviderName,
    },
    /// From a wallet to a payment provider.
    Withdrawal {
        /// The wallet the money leaves.
        from: WalletId,
        /// The provider that pays the money out.
        provider: ProviderName,
        /// The payer's bank account that is paid to, where the provider needs one.
        payout_account: Option<PayoutAccountId>,
    },
    /// Money of an earlier transaction, given back.
    Refund(Refund),
    /// Money that an operator gives a wallet or takes from it.
    Adjustment(Adjustment),
    /// Bonus money out of a campaign's budget.
    BonusGrant {
        /// The campaign.
        campaign: CampaignId,
        /// The wallet that gets it.
        to: WalletId,
    },
}

/// Money of a completed transfer or deposit on its way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The transaction of which it gives back something.
    pub original: TransactionId,
    /// The user whom the original brought the money, and whose wallet pays.
    pub payer: UserId,
    /// The wallet the money leaves.
    pub from: WalletId,
    /// Where it goes.
    pub back: Back,
}

/// Where refunded money goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Back {
    /// To the wallet that a transfer took it from.
    Wallet(WalletId),
    /// To whom a provider took it in from, by that provider.
    Provider {
        /// The provider.
        provider: ProviderName,
        /// Whether the platform pays what the wallet has not got, and has a claim
        /// on its owner for it.
        covers_shortfall: bool,
    },
}

/// The way of the money, which is what the state machine goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Within the ledger: one posting.
    Between,
    /// From a provider into a wallet: the provider first.
    In,
    /// From a wallet to a provider: set aside, then the provider.
    Out,
}

/// A movement's kind alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MovementKind {
    /// See [`Movement::Transfer`].
    Transfer,
    /// See [`Movement::Deposit`].
    Deposit,
    /// See [`Movement::Withdrawal`].
    Withdrawal,
    /// See [`Movement::Refund`].
    Refund,
    /// See [`Movement::Adjustment`].
    Adjustment,
    /// See [`Movement::BonusGrant`].
    BonusGrant,
}

impl Movement {
    /// The kind.
    pub fn kind(&self) -> MovementKind {
        match self {
            Self::Transfer { .. } => MovementKind::Transfer,
            Self::Deposit { .. } => MovementKind::Deposit,
            Self::Withdrawal { .. } => MovementKind::Withdrawal,
            Self::Refund(_) => MovementKind::Refund,
            Self::Adjustment(_) => MovementKind::Adjustment,
            Self::BonusGrant { .. } => MovementKind::BonusGrant,
        }
    }

    /// The way of the money.
    pub fn flow(&self) -> Flow {
        match self {
            Self::Transfer { .. } | Self::Adjustment(_) | Self::BonusGrant { .. } => Flow::Between,
            Self::Deposit { .. } => Flow::In,
            Self::Withdrawal { .. } => Flow::Out,
            Self::Refund(refund) => match refund.back {
                Back::Wallet(_) => Flow::Between,
                Back::Provider { .. } => Flow::Out,
            },
        }
    }

    /// The refund, if it is one.
    pub fn refund(&self) -> Option<&Refund> {
        match self {
            Self::Refund(refund) => Some(refund),
            Self::Transfer { .. }
            | Self::Deposit { .. }
            | Self::Withdrawal { .. }
            | Self::Adjustment(_)
            | Self::BonusGrant { .. } => None,
        }
    }

    /// The adjustment, if it is one.
    pub fn adjustment(&self) -> Option<&Adjustment> {
        match self {
            Self::Adjustment(adjustment) => Some(adjustment),
            Self::Transfer { .. }
            | Self::Deposit { .. }
            | Self::Withdrawal { .. }
            | Self::Refund(_)
            | Self::BonusGrant { .. } => None,
        }
    }

    /// The campaign of a bonus grant.
    pub fn campaign(&self) -> Option<CampaignId> {
        match self {
            Self::BonusGrant { campaign, .. } => Some(*campaign),
            Self::Transfer { .. }
            | Self::Deposit { .. }
            | Self::Withdrawal { .. }
            | Self::Refund(_)
            | Self::Adjustment(_) => None,
        }
    }

    /// The user whose wallet somebody else takes the money from.
    pub fn payer(&self) -> Option<UserId> {
        match self {
            Self::Refund(refund) => Some(refund.payer),
            Self::Adjustment(adjustment) => match adjustment.direction {
                AdjustmentDirection::Debit { owner } => Some(owner),
                AdjustmentDirection::Credit => None,
            },
            Self::Transfer { .. }
            | Self::Deposit { .. }
            | Self::Withdrawal { .. }
            | Self::BonusGrant { .. } => None,
        }
    }

    /// The wallet the money leaves.
    pub fn from_wallet(&self) -> Option<WalletId> {
        match self {
            Self::Transfer { from, .. } | Self::Withdrawal { from, .. } => Some(*from),
            Self::Refund(refund) => Some(refund.from),
            Self::Adjustment(adjustment) => match adjustment.direction {
                AdjustmentDirection::Debit { .. } => Some(adjustment.wallet),
                AdjustmentDirection::Credit => None,
            },
            Self::Deposit { .. } | Self::BonusGrant { .. } => None,
        }
    }

    /// The wallet the money reaches.
    pub fn to_wallet(&self) -> Option<WalletId> {
        match self {
            Self::Transfer { to, .. } | Self::Deposit { to, .. } | Self::BonusGrant { to, .. } => {
                Some(*to)
            }
            Self::Adjustment(adjustment) => match adjustment.direction {
                AdjustmentDirection::Credit => Some(adjustment.wallet),
                AdjustmentDirection::Debit { .. } => None,
            },
            Self::Withdrawal { .. } => None,
            Self::Refund(refund) => match refund.back {
                Back::Wallet(to) => Some(to),
                Back::Provider { .. } => None,
            },
        }
    }

    /// The bank account that is paid to.
    pub fn payout_account(&self) -> Option<PayoutAccountId> {
        match self {
            Self::Withdrawal { payout_account, .. } => *payout_account,
            _ => None,
        }
    }

    /// The payment provider that takes part.
    pub fn provider(&self) -> Option<&ProviderName> {
        match self {
            Self::Transfer { .. } | Self::Adjustment(_) | Self::BonusGrant { .. } => None,
            Self::Deposit { provider, .. } | Self::Withdrawal { provider, .. } => Some(provider),
            Self::Refund(refund) => match &refund.back {
                Back::Wallet(_) => None,
                Back::Provider { provider, .. } => Some(provider),
            },
        }
    }
}

impl MovementKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Transfer,
        Self::Deposit,
        Self::Withdrawal,
        Self::Refund,
        Self::Adjustment,
        Self::BonusGrant,
    ];

    /// Whether it may cost a fee: what customers ask for, and not what is given back or
    /// what operators move.
    pub fn has_fees(self) -> bool {
        match self {
            Self::Transfer | Self::Deposit | Self::Withdrawal => true,
            Self::Refund | Self::Adjustment | Self::BonusGrant => false,
        }
    }

    /// The name in the database, in metrics and in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal",
            Self::Refund => "refund",
            Self::Adjustment => "adjustment",
            Self::BonusGrant => "bonus_grant",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The name of a payment provider: a lower-case letter, then at most 31 of
/// lower-case letters, digits and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProviderName(String);

/// The text is no name of a payment provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a provider's name has 1 to 32 of a-z, 0-9 and _, and starts with a letter")]
pub struct ProviderNameInvalid;

impl ProviderName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProviderName {
    type Err = ProviderNameInvalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let starts_well = text.starts_with(|first: char| first.is_ascii_lowercase());
        let goes_on_well = text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if starts_well && goes_on_well && text.len() <= PROVIDER_NAME_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(ProviderNameInvalid)
        }
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

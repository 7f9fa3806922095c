//! Who takes part: two wallets, two transactions, a provider's terms, a clock.

use std::time::Duration;

use bursar_aip::id::{CampaignId, TransactionId, UserId, WalletId};
use bursar_money::{Currency, PositiveMoney};
use bursar_transaction::domain::{
    Adjustment, AdjustmentDirection, AdjustmentReason, Back, Initiated, Movement, Price,
    ProviderName, Refund, Terms, Transaction,
};
use time::OffsetDateTime;
use uuid::Uuid;

/// What the clock counts in: half of the provider's window.
const UNIT: Duration = Duration::from_secs(30);
/// For how many units after it was recorded an order may still be taken.
pub(crate) const VALID_UNITS: u8 = 1;
/// How many units a look may take at most; its timeout is far shorter.
pub(crate) const LOOK_UNITS: u8 = 1;
/// The provider's terms, in the clock's units: a window of two, and after two
/// nothing is sent any more.
pub(crate) const TERMS: Terms = Terms {
    lookup_window: Duration::from_secs(60),
    give_up_after: Duration::from_secs(60),
};

/// A play: which two transactions there are, and what the wallets begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// A transfer from A to B and one from B to A. A has too little for its own
    /// until the other has arrived.
    Transfers,
    /// A withdrawal from A, which begins with nothing, and a deposit into A.
    Provider,
    /// A refund of an earlier deposit into A, which the platform helps to pay, and
    /// a transfer from A to B: there is enough for one of them.
    Refund,
    /// A withdrawal alone.
    Withdrawal,
    /// An operator takes from A, which begins with nothing, and gives to A.
    Adjustments,
    /// Two grants of bonus money to A, of which the campaign's budget has one.
    Grants,
}

impl Scene {
    /// What each of the two transactions does.
    pub(crate) fn movement(self, tx: usize) -> Movement {
        match (self, tx) {
            (Self::Transfers, 0) | (Self::Refund, 1) => Movement::Transfer {
                from: wallet(0),
                to: wallet(1),
            },
            (Self::Transfers, _) => Movement::Transfer {
                from: wallet(1),
                to: wallet(0),
            },
            (Self::Provider, 0) | (Self::Withdrawal, _) => Movement::Withdrawal {
                from: wallet(0),
                provider: provider(),
                payout_account: None,
            },
            (Self::Provider, _) => Movement::Deposit {
                to: wallet(0),
                provider: provider(),
            },
            (Self::Adjustments, tx) => Movement::Adjustment(Adjustment {
                wallet: wallet(0),
                direction: if tx == 0 {
                    AdjustmentDirection::Debit { owner: owner() }
                } else {
                    AdjustmentDirection::Credit
                },
                reason: AdjustmentReason::Correction,
                corrects: None,
            }),
            (Self::Grants, _) => Movement::BonusGrant {
                campaign: CampaignId::from_uuid(Uuid::from_u128(55)),
                to: wallet(0),
            },
            (Self::Refund, _) => Movement::Refund(Refund {
                original: id(9),
                payer: owner(),
                from: wallet(0),
                back: Back::Provider {
                    provider: provider(),
                    covers_shortfall: true,
                },
            }),
        }
    }

    /// What A and B have at the beginning.
    pub(crate) fn funds(self) -> [i8; 2] {
        match self {
            Self::Transfers => [1, 2],
            Self::Provider | Self::Adjustments | Self::Grants => [0, 0],
            Self::Refund => [3, 0],
            Self::Withdrawal => [2, 0],
        }
    }

    /// When the clock stops: after the last window has closed.
    pub(crate) fn last_hour(self) -> u8 {
        match self {
            Self::Transfers | Self::Adjustments | Self::Grants => 0,
            Self::Provider | Self::Refund | Self::Withdrawal => 3,
        }
    }

    /// How many transactions there are.
    pub(crate) fn transactions(self) -> usize {
        match self {
            Self::Transfers | Self::Provider | Self::Refund | Self::Adjustments | Self::Grants => 2,
            Self::Withdrawal => 1,
        }
    }

    /// Whether a run that was overtaken goes on until it finds that out. All it
    /// can still do is to send once more, so in the larger scenes it leaves its
    /// message on the way and ends.
    pub(crate) fn keeps_overtaken(self) -> bool {
        match self {
            Self::Transfers | Self::Withdrawal | Self::Adjustments | Self::Grants => true,
            Self::Provider | Self::Refund => false,
        }
    }

    /// The transaction as its intent makes it.
    pub(crate) fn initiate(self, tx: usize, clock: u8) -> Transaction {
        let initiated = Initiated {
            movement: self.movement(tx),
            amount: amount(),
            price: Price::default(),
            initiator: owner(),
        };
        Transaction::initiate(id(tx), initiated, at(clock))
    }
}

/// The moment at which the clock shows so many units.
pub(crate) fn at(clock: u8) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + UNIT * u32::from(clock)
}

/// What the clock showed at a moment.
pub(crate) fn clock_at(moment: OffsetDateTime) -> u8 {
    (0..=Scene::Provider.last_hour())
        .find(|clock| at(*clock) == moment)
        .expect("moments are the clock's")
}

pub(crate) fn id(tx: usize) -> TransactionId {
    TransactionId::from_uuid(Uuid::from_u128(100 + tx as u128))
}

pub(crate) fn wallet(index: usize) -> WalletId {
    WalletId::from_uuid(Uuid::from_u128(1 + index as u128))
}

/// Both wallets are one user's.
pub(crate) fn owner() -> UserId {
    UserId::from_uuid(Uuid::from_u128(7))
}

fn provider() -> ProviderName {
    "sandbox".parse().expect("a valid name")
}

/// Every transaction moves two.
pub(crate) const AMOUNT: i8 = 2;

pub(crate) fn amount() -> PositiveMoney {
    let euro = Currency::parse("EUR").expect("EUR is a currency");
    PositiveMoney::new(euro, AMOUNT.into()).expect("two is positive")
}

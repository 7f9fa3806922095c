//! What the ledger is asked to post. Every posting of a transaction has an id
//! that is the same for every attempt, so that repeating it has no effect.

use bursar_aip::id::{HoldId, TransactionId, UserId, WalletId};
use uuid::Uuid;

use super::{Movement, ProviderName, Transaction};

/// What a posting is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostingKind {
    /// A transfer's money moves.
    Transfer,
    /// A deposit's money arrives.
    Deposit,
    /// A withdrawal's money is set aside.
    Place,
    /// A withdrawal's money is gone.
    Capture,
    /// A withdrawal's money is given back.
    Void,
    /// Nothing moves: the id is taken, so that no other posting can have it.
    Bar,
}

/// A bucket of a wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Money that may be spent.
    Available,
    /// Money that is set aside.
    Held,
}

/// Whose money changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// A user's wallet.
    Wallet {
        /// The wallet.
        id: WalletId,
        /// When set, the wallet must be this user's.
        required_owner: Option<UserId>,
    },
    /// What a provider owes the platform.
    Settlement(ProviderName),
    /// The platform's wallet for money without a place; used by bars only,
    /// which leave it as it was.
    Suspense,
}

/// One side of a posting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Whose money changes.
    pub account: Account,
    /// The bucket.
    pub bucket: Bucket,
    /// The change in minor units, never 0.
    pub amount_minor: i64,
}

/// What a posting does to a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldAction {
    /// It opens the hold.
    Place,
    /// It pays the hold out.
    Capture,
    /// It gives the hold back.
    Void,
}

/// The hold of a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The hold.
    pub id: HoldId,
    /// What is done to it.
    pub action: HoldAction,
}

/// A balanced movement for the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The id, the same for every attempt.
    pub id: Uuid,
    /// What it is for.
    pub kind: PostingKind,
    /// The transaction it belongs to.
    pub transaction: TransactionId,
    /// The ISO 4217 code of both legs.
    pub currency_code: &'static str,
    /// The side the money leaves, then the side it reaches.
    pub legs: [Leg; 2],
    /// The hold it opens or ends.
    pub hold: Option<Hold>,
}

impl Transaction {
    /// The posting that a PENDING transaction needs first: the transfer itself
    /// or the hold of a withdrawal. A deposit asks its provider first.
    pub(super) fn opening_posting(&self) -> Option<Posting> {
        match &self.movement {
            Movement::Transfer { from, to } => Some(self.posting(
                self.id.uuid(),
                PostingKind::Transfer,
                self.own(*from, Bucket::Available),
                any(*to, Bucket::Available),
                None,
            )),
            Movement::Withdrawal { from, .. } => Some(self.posting(
                self.derived_id("place"),
                PostingKind::Place,
                self.own(*from, Bucket::Available),
                any(*from, Bucket::Held),
                Some(HoldAction::Place),
            )),
            Movement::Deposit { .. } => None,
        }
    }

    /// The posting that finishes what the provider has done.
    pub(super) fn settlement_posting(&self) -> Option<Posting> {
        match &self.movement {
            Movement::Transfer { .. } => None,
            Movement::Deposit { to, provider } => Some(self.posting(
                self.derived_id("credit"),
                PostingKind::Deposit,
                (Account::Settlement(provider.clone()), Bucket::Available),
                any(*to, Bucket::Available),
                None,
            )),
            Movement::Withdrawal { from, provider } => Some(self.posting(
                self.derived_id("capture"),
                PostingKind::Capture,
                any(*from, Bucket::Held),
                (Account::Settlement(provider.clone()), Bucket::Available),
                Some(HoldAction::Capture),
            )),
        }
    }

    /// The posting that gives back what a withdrawal has set aside.
    pub(super) fn release_posting(&self) -> Option<Posting> {
        match &self.movement {
            Movement::Transfer { .. } | Movement::Deposit { .. } => None,
            Movement::Withdrawal { from, .. } => Some(self.posting(
                self.derived_id("void"),
                PostingKind::Void,
                any(*from, Bucket::Held),
                any(*from, Bucket::Available),
                Some(HoldAction::Void),
            )),
        }
    }

    /// The posting that takes the id of the opening posting and moves nothing.
    pub(super) fn barring_posting(&self) -> Option<Posting> {
        let barred = self.opening_posting()?;
        let leg = |amount_minor| Leg {
            account: Account::Suspense,
            bucket: Bucket::Available,
            amount_minor,
        };
        Some(Posting {
            kind: PostingKind::Bar,
            legs: [leg(1), leg(-1)],
            hold: None,
            ..barred
        })
    }

    fn posting(
        &self,
        id: Uuid,
        kind: PostingKind,
        (payer, payer_bucket): (Account, Bucket),
        (payee, payee_bucket): (Account, Bucket),
        action: Option<HoldAction>,
    ) -> Posting {
        let amount_minor = self.amount.minor();
        Posting {
            id,
            kind,
            transaction: self.id,
            currency_code: self.amount.currency().code(),
            legs: [
                Leg {
                    account: payer,
                    bucket: payer_bucket,
                    // A positive amount always has its negative.
                    amount_minor: -amount_minor,
                },
                Leg {
                    account: payee,
                    bucket: payee_bucket,
                    amount_minor,
                },
            ],
            hold: action.map(|action| Hold {
                id: self.hold_id(),
                action,
            }),
        }
    }

    /// A wallet that must be the initiator's.
    fn own(&self, id: WalletId, bucket: Bucket) -> (Account, Bucket) {
        let required_owner = Some(self.initiator);
        (Account::Wallet { id, required_owner }, bucket)
    }
}

/// Anybody's wallet.
fn any(id: WalletId, bucket: Bucket) -> (Account, Bucket) {
    let required_owner = None;
    (Account::Wallet { id, required_owner }, bucket)
}

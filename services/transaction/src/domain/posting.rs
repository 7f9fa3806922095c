//! What the ledger is asked to post. Every posting of a transaction has an id
//! that is the same for every attempt, so that repeating it has no effect.

use bursar_aip::id::{CampaignId, GrantId, HoldId, TransactionId, UserId, WalletId};
use bursar_money::Currency;
use uuid::Uuid;

use super::{AdjustmentDirection, Back, Movement, ProviderName, Transaction};

/// What a posting is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostingKind {
    /// A transfer's money moves.
    Transfer,
    /// A deposit's money arrives.
    Deposit,
    /// A refund's money moves from wallet to wallet.
    GiveBack,
    /// An operator gives a wallet money or takes some from it.
    Adjustment,
    /// A wallet gets bonus money.
    BonusGrant,
    /// What goes to a provider is set aside.
    Place,
    /// What was set aside is gone.
    Capture,
    /// What was set aside is given back.
    Void,
    /// The platform has paid all of a refund.
    Cover,
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
    /// Bonus money.
    Bonus,
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
    /// What the owner of a user's wallet owes the platform.
    Receivable(WalletId),
    /// The fees that the platform has taken.
    Fees,
    /// What the platform has taken or given of a currency in exchange for another.
    Liquidity,
    /// What a bonus campaign may still grant.
    Budget(CampaignId),
    /// The platform's wallet for money without a place: the other side of adjustments.
    /// Bars use it too, and leave it as it was.
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
    /// The currency.
    pub currency: Currency,
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
    /// The sides the money leaves, then what becomes of it on its way, and last the
    /// side it reaches.
    pub legs: Vec<Leg>,
    /// The hold it opens or ends.
    pub hold: Option<Hold>,
    /// The grant of bonus money it makes.
    pub grant: Option<GrantId>,
}

impl Transaction {
    /// The posting that a PENDING transaction needs first: the whole movement where it
    /// stays within the ledger, or the hold of what goes to a provider. A deposit asks its provider first,
    /// and so does a refund of which the wallet pays nothing.
    pub(super) fn opening_posting(&self) -> Option<Posting> {
        match &self.movement {
            Movement::Transfer { from, to } => Some(self.posting(
                self.id.uuid(),
                PostingKind::Transfer,
                owned(*from, self.initiator),
                any(*to, Bucket::Available),
            )),
            Movement::Withdrawal { from, .. } => self.place(*from, self.initiator),
            Movement::Deposit { .. } => None,
            Movement::Refund(refund) => match refund.back {
                Back::Wallet(to) => Some(self.posting(
                    self.id.uuid(),
                    PostingKind::GiveBack,
                    owned(refund.from, refund.payer),
                    any(to, Bucket::Available),
                )),
                Back::Provider { .. } => self.place(refund.from, refund.payer),
            },
            Movement::Adjustment(adjustment) => {
                let (wallet, platform) = (adjustment.wallet, suspense());
                let (payer, payee) = match adjustment.direction {
                    AdjustmentDirection::Credit => (platform, any(wallet, Bucket::Available)),
                    AdjustmentDirection::Debit { owner } => (owned(wallet, owner), platform),
                };
                Some(self.posting(self.id.uuid(), PostingKind::Adjustment, payer, payee))
            }
            Movement::BonusGrant { campaign, to } => Some(Posting {
                grant: Some(self.grant_id()),
                ..self.posting(
                    self.id.uuid(),
                    PostingKind::BonusGrant,
                    (Account::Budget(*campaign), Bucket::Available),
                    any(*to, Bucket::Bonus),
                )
            }),
        }
    }

    /// Sets aside what the wallet pays, the fee included. Each share has an id of its own: the
    /// posting of the one before it must not be taken for this one.
    fn place(&self, from: WalletId, owner: UserId) -> Option<Posting> {
        let id = match self.shares() {
            0 => self.derived_id("place"),
            number => self.derived_id(&format!("place/{number}")),
        };
        let held = self.set_aside();
        (held > 0).then(|| Posting {
            legs: vec![
                self.leg(owned(from, owner), -held),
                self.leg(any(from, Bucket::Held), held),
            ],
            ..self.on_hold(id, PostingKind::Place, HoldAction::Place)
        })
    }

    /// The posting that finishes what the provider has done.
    pub(super) fn settlement_posting(&self) -> Option<Posting> {
        match &self.movement {
            Movement::Transfer { .. } | Movement::Adjustment(_) | Movement::BonusGrant { .. } => {
                None
            }
            Movement::Deposit { to, provider } => Some(self.posting(
                self.derived_id("credit"),
                PostingKind::Deposit,
                settlement(provider),
                any(*to, Bucket::Available),
            )),
            Movement::Withdrawal { from, provider, .. } => Some(self.pay_out(*from, provider)),
            Movement::Refund(refund) => match &refund.back {
                Back::Wallet(_) => None,
                Back::Provider { provider, .. } => Some(self.pay_out(refund.from, provider)),
            },
        }
    }

    /// What is set aside in the wallet for what goes to a provider, in minor units.
    fn set_aside(&self) -> i64 {
        // Only a withdrawal has a fee, and then the wallet pays all.
        self.wallet_pays() + self.price.added_minor()
    }

    /// The provider has the money and the platform its fee: from what was set
    /// aside, and what the wallet did not have, from the claim on its owner.
    fn pay_out(&self, from: WalletId, provider: &ProviderName) -> Posting {
        let (held, receivable) = (self.set_aside(), self.receivable());
        let mut legs = Vec::with_capacity(3);
        if held > 0 {
            legs.push(self.leg(any(from, Bucket::Held), -held));
        }
        if receivable > 0 {
            let claim = (Account::Receivable(from), Bucket::Available);
            legs.push(self.leg(claim, -receivable));
        }
        legs.extend(self.fee_leg());
        legs.push(self.leg(settlement(provider), self.amount.minor()));
        let id = self.derived_id("capture");
        if self.hold.is_some() {
            Posting {
                legs,
                ..self.on_hold(id, PostingKind::Capture, HoldAction::Capture)
            }
        } else {
            Posting {
                legs,
                ..self.empty(id, PostingKind::Cover)
            }
        }
    }

    /// The posting that gives back what was set aside; `None` when nothing was.
    pub(super) fn release_posting(&self) -> Option<Posting> {
        self.hold?;
        let from = self.movement.from_wallet()?;
        let held = self.set_aside();
        Some(Posting {
            legs: vec![
                self.leg(any(from, Bucket::Held), -held),
                self.leg(any(from, Bucket::Available), held),
            ],
            ..self.on_hold(self.derived_id("void"), PostingKind::Void, HoldAction::Void)
        })
    }

    /// The posting that takes the id of the opening posting and moves nothing.
    pub(super) fn barring_posting(&self) -> Option<Posting> {
        let barred = self.opening_posting()?;
        Some(Posting {
            kind: PostingKind::Bar,
            legs: vec![self.leg(suspense(), 1), self.leg(suspense(), -1)],
            hold: None,
            grant: None,
            ..barred
        })
    }

    /// The whole amount from one side to the other: on its way the fee goes to the
    /// platform, and the rest through its liquidity where it changes the currency.
    fn posting(
        &self,
        id: Uuid,
        kind: PostingKind,
        payer: (Account, Bucket),
        payee: (Account, Bucket),
    ) -> Posting {
        let (debited, credited) = (
            self.price.debited(self.amount),
            self.price.credited(self.amount),
        );
        // A positive amount always has its negative.
        let mut legs = vec![self.leg(payer, -debited.minor())];
        legs.extend(self.fee_leg());
        if credited.currency() != debited.currency() {
            let liquidity = || (Account::Liquidity, Bucket::Available);
            let given = debited.minor() - self.price.fee_minor();
            legs.push(self.leg(liquidity(), given));
            legs.push(leg(liquidity(), -credited.minor(), credited.currency()));
        }
        legs.push(leg(payee, credited.minor(), credited.currency()));
        Posting {
            legs,
            ..self.empty(id, kind)
        }
    }

    /// What the platform gets of it, if it gets anything.
    fn fee_leg(&self) -> Option<Leg> {
        let fee = self.price.fee_minor();
        (fee > 0).then(|| self.leg((Account::Fees, Bucket::Available), fee))
    }

    /// A leg in the currency of the amount.
    fn leg(&self, side: (Account, Bucket), amount_minor: i64) -> Leg {
        leg(side, amount_minor, self.amount.currency())
    }

    fn on_hold(&self, id: Uuid, kind: PostingKind, action: HoldAction) -> Posting {
        let hold = Hold {
            id: self.hold_id(),
            action,
        };
        Posting {
            hold: Some(hold),
            ..self.empty(id, kind)
        }
    }

    /// A posting whose legs are still to be named.
    fn empty(&self, id: Uuid, kind: PostingKind) -> Posting {
        Posting {
            id,
            kind,
            transaction: self.id,
            legs: Vec::new(),
            hold: None,
            grant: None,
        }
    }
}

fn leg((account, bucket): (Account, Bucket), amount_minor: i64, currency: Currency) -> Leg {
    Leg {
        account,
        bucket,
        amount_minor,
        currency,
    }
}

/// Money that a wallet may spend, which must be this user's.
fn owned(id: WalletId, owner: UserId) -> (Account, Bucket) {
    let required_owner = Some(owner);
    (Account::Wallet { id, required_owner }, Bucket::Available)
}

/// Anybody's wallet.
fn any(id: WalletId, bucket: Bucket) -> (Account, Bucket) {
    let required_owner = None;
    (Account::Wallet { id, required_owner }, bucket)
}

fn suspense() -> (Account, Bucket) {
    (Account::Suspense, Bucket::Available)
}

fn settlement(provider: &ProviderName) -> (Account, Bucket) {
    (Account::Settlement(provider.clone()), Bucket::Available)
}

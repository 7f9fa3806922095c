//! The part of the ledger that one batch sees: its wallets and holds, under
//! locks, and those of its postings that are recorded already.

use std::collections::HashMap;

use bursar_aip::id::{CampaignId, GrantId, HoldId, UserId, WalletId};

use super::bonus::{BonusGrant, GrantChange};
use super::decide::Applied;
use super::hold::Hold;
use super::limit::Allowance;
use super::posting::{PostingId, Recorded};
use super::wallet::Wallet;

/// Which of a wallet's buckets a leg that takes spendable money takes from first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SpendOrder {
    /// Bonus money, then available money.
    BonusFirst,
    /// Available money down to 0, then bonus money, then the wallet's credit.
    AvailableFirst,
    /// Available money only.
    #[default]
    AvailableOnly,
}

/// Wallets, holds and recorded postings. Whoever fills it holds the row locks
/// of its wallets, so that what is decided on it can be written as decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    wallets: HashMap<WalletId, Wallet>,
    holds: HashMap<HoldId, Hold>,
    recorded: HashMap<PostingId, Recorded>,
    grants: HashMap<GrantId, BonusGrant>,
    granted: HashMap<(CampaignId, UserId), i64>,
    allowances: HashMap<WalletId, Allowance>,
    spend_order: SpendOrder,
}

impl Book {
    /// A book of these wallets, holds and recorded postings.
    pub fn new(
        wallets: impl IntoIterator<Item = Wallet>,
        holds: impl IntoIterator<Item = Hold>,
        recorded: impl IntoIterator<Item = Recorded>,
    ) -> Self {
        Self {
            wallets: wallets
                .into_iter()
                .map(|wallet| (wallet.id, wallet))
                .collect(),
            holds: holds.into_iter().map(|hold| (hold.id, hold)).collect(),
            recorded: recorded
                .into_iter()
                .map(|posting| (posting.id, posting))
                .collect(),
            ..Self::default()
        }
    }

    /// The book with these grants: all that are active of every wallet in it
    /// that has bonus money, and those that its postings name.
    pub fn with_grants(mut self, grants: impl IntoIterator<Item = BonusGrant>) -> Self {
        self.grants
            .extend(grants.into_iter().map(|grant| (grant.id, grant)));
        self
    }

    /// The book with what users were granted in campaigns up to now.
    pub fn with_granted(
        mut self,
        granted: impl IntoIterator<Item = ((CampaignId, UserId), i64)>,
    ) -> Self {
        self.granted.extend(granted);
        self
    }

    /// The book with the allowances of every wallet in it that has limits.
    pub fn with_allowances(mut self, allowances: impl IntoIterator<Item = Allowance>) -> Self {
        let by_wallet = allowances
            .into_iter()
            .map(|allowance| (allowance.wallet, allowance));
        self.allowances.extend(by_wallet);
        self
    }

    /// The book with an order in which spendable money is taken.
    pub fn with_spend_order(mut self, order: SpendOrder) -> Self {
        self.spend_order = order;
        self
    }

    /// A wallet, if it exists.
    pub fn wallet(&self, id: WalletId) -> Option<&Wallet> {
        self.wallets.get(&id)
    }

    /// A hold, if it exists.
    pub fn hold(&self, id: HoldId) -> Option<&Hold> {
        self.holds.get(&id)
    }

    /// A posting, if it is in the ledger.
    pub fn recorded(&self, id: PostingId) -> Option<&Recorded> {
        self.recorded.get(&id)
    }

    /// A grant, if it exists.
    pub fn grant(&self, id: GrantId) -> Option<&BonusGrant> {
        self.grants.get(&id)
    }

    /// A wallet's grants, in no order.
    pub fn grants_of(&self, wallet: WalletId) -> impl Iterator<Item = &BonusGrant> {
        self.grants
            .values()
            .filter(move |grant| grant.wallet == wallet)
    }

    /// How much a user was granted in a campaign, in minor units.
    pub fn granted(&self, campaign: CampaignId, user: UserId) -> i64 {
        self.granted
            .get(&(campaign, user))
            .copied()
            .unwrap_or_default()
    }

    /// A wallet's allowance; `None` for one without limits.
    pub fn allowance(&self, wallet: WalletId) -> Option<Allowance> {
        self.allowances.get(&wallet).copied()
    }

    /// The order in which spendable money is taken.
    pub fn spend_order(&self) -> SpendOrder {
        self.spend_order
    }

    /// Turns the book to what was decided. What it returns turns it back.
    pub fn apply(&mut self, applied: &Applied) -> Undo {
        let wallets = applied
            .wallets
            .iter()
            .filter_map(|wallet| self.wallets.insert(wallet.id, wallet.clone()))
            .collect();
        let hold = applied.hold.as_ref().map(|change| {
            let id = change.after.id;
            (id, self.holds.insert(id, change.after.clone()))
        });
        let grants = applied
            .grants
            .iter()
            .map(|change| self.change_grant(change))
            .collect();
        let allowances = applied
            .allowances
            .iter()
            .filter_map(|after| self.allowances.insert(after.wallet, *after))
            .collect();
        let posting = applied.recorded.id;
        self.recorded.insert(posting, applied.recorded.clone());
        Undo {
            posting,
            wallets,
            hold,
            grants,
            allowances,
        }
    }

    fn change_grant(&mut self, change: &GrantChange) -> (BonusGrant, Option<BonusGrant>) {
        let after = &change.after;
        if change.before.is_none() {
            // The cap was checked with this very sum.
            *self
                .granted
                .entry((after.campaign, after.owner))
                .or_default() += after.amount;
        }
        (after.clone(), self.grants.insert(after.id, after.clone()))
    }

    fn ungrant(&mut self, grant: &BonusGrant) {
        let key = (grant.campaign, grant.owner);
        let sum = self.granted(grant.campaign, grant.owner) - grant.amount;
        if sum == 0 {
            self.granted.remove(&key);
        } else {
            self.granted.insert(key, sum);
        }
    }

    /// Turns the book back to before the [`Book::apply`] that returned `undo`.
    /// Of several, the latest comes first.
    pub fn revert(&mut self, undo: Undo) {
        self.recorded.remove(&undo.posting);
        for wallet in undo.wallets {
            self.wallets.insert(wallet.id, wallet);
        }
        match undo.hold {
            Some((id, Some(before))) => {
                self.holds.insert(id, before);
            }
            Some((id, None)) => {
                self.holds.remove(&id);
            }
            None => {}
        }
        for (after, before) in undo.grants {
            match before {
                Some(before) => {
                    self.grants.insert(before.id, before);
                }
                None => {
                    self.grants.remove(&after.id);
                    self.ungrant(&after);
                }
            }
        }
        for allowance in undo.allowances {
            self.allowances.insert(allowance.wallet, allowance);
        }
    }
}

/// What [`Book::apply`] changed, as it was before.
#[derive(Debug)]
pub struct Undo {
    posting: PostingId,
    wallets: Vec<Wallet>,
    hold: Option<(HoldId, Option<Hold>)>,
    /// Each grant as it became and as it was.
    grants: Vec<(BonusGrant, Option<BonusGrant>)>,
    allowances: Vec<Allowance>,
}

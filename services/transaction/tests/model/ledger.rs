//! A ledger as honest as the real one: an id is posted once and for ever, no
//! wallet and no budget goes below zero, a hold ends once.

use bursar_transaction::domain::{Account, Bucket, HoldAction, Posting, PostingKind};
use uuid::Uuid;

use crate::cast::{AMOUNT, id, wallet};

/// How many accounts there are; see [`account`].
pub(crate) const ACCOUNTS: usize = 8;
/// Where what providers owe stands.
pub(crate) const SETTLEMENT: usize = 4;
/// Where what A's owner owes the platform stands.
pub(crate) const RECEIVABLE: usize = 5;
/// The other side of adjustments.
pub(crate) const SUSPENSE: usize = 6;
/// What the campaign may still grant.
pub(crate) const BUDGET: usize = 7;
/// What that is at the beginning: enough for one grant.
pub(crate) const BUDGETED: i8 = AMOUNT;
/// The first accounts are wallets, which have no credit.
const IN_WALLETS: usize = 4;

/// What a set of postings does to each account.
pub(crate) type Deltas = [i8; ACCOUNTS];

/// A posting of the state machine, with only what the ledger looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slip {
    pub(crate) id: Uuid,
    pub(crate) tx: usize,
    pub(crate) moves_nothing: bool,
    hold: Option<Act>,
    pub(crate) deltas: Deltas,
}

/// What is done to the hold of the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Act {
    Place,
    Capture,
    Void,
}

/// The ledger's word on a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Word {
    Applied,
    Refused,
    IdReused,
    HoldNotActive,
}

/// What has been posted, in a fixed order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ledger {
    applied: Vec<Slip>,
}

impl Slip {
    pub(crate) fn of(posting: &Posting) -> Self {
        let mut deltas = [0; ACCOUNTS];
        for leg in &posting.legs {
            let amount = i8::try_from(leg.amount_minor).expect("amounts are small");
            deltas[account(&leg.account, leg.bucket)] += amount;
        }
        Self {
            id: posting.id,
            tx: (0..2)
                .find(|tx| id(*tx) == posting.transaction)
                .expect("there are two transactions"),
            moves_nothing: posting.kind == PostingKind::Bar,
            hold: posting.hold.map(|hold| match hold.action {
                HoldAction::Place => Act::Place,
                HoldAction::Capture => Act::Capture,
                HoldAction::Void => Act::Void,
            }),
            deltas,
        }
    }
}

/// The place of an account: A's available and held money, B's, then the platform's.
pub(crate) fn account(account: &Account, bucket: Bucket) -> usize {
    match account {
        Account::Wallet { id, .. } => {
            let index = (0..2).find(|index| wallet(*index) == *id);
            let first = 2 * index.expect("there are two wallets");
            match bucket {
                // To the books it is all one; how it is spent is another matter.
                Bucket::Available | Bucket::Bonus => first,
                Bucket::Held => first + 1,
            }
        }
        Account::Settlement(_) => SETTLEMENT,
        Account::Receivable(_) => RECEIVABLE,
        Account::Suspense => SUSPENSE,
        Account::Budget(_) => BUDGET,
        Account::Fees | Account::Liquidity => {
            unreachable!("the scenes have neither fees nor rates")
        }
    }
}

impl Ledger {
    /// Posts, or says why not. Without `remembers` it has forgotten which ids
    /// it has seen.
    pub(crate) fn post(&mut self, slip: &Slip, funds: [i8; 2], remembers: bool) -> Word {
        if remembers && let Some(first) = self.applied.iter().find(|one| one.id == slip.id) {
            return if first == slip {
                Word::Applied
            } else {
                Word::IdReused
            };
        }
        if matches!(slip.hold, Some(Act::Capture | Act::Void)) && !self.is_held(slip.tx) {
            return Word::HoldNotActive;
        }
        let balances = self.balances(funds);
        let overdraws = |account: usize| balances[account] + slip.deltas[account] < 0;
        if (0..IN_WALLETS).chain([BUDGET]).any(overdraws) {
            return Word::Refused;
        }
        let place = self.applied.partition_point(|one| one < slip);
        self.applied.insert(place, *slip);
        Word::Applied
    }

    /// True when nothing can be posted under the id any more.
    pub(crate) fn has_taken(&self, id: Uuid) -> bool {
        self.applied.iter().any(|one| one.id == id)
    }

    fn is_held(&self, tx: usize) -> bool {
        let acts = |act: Act| {
            let own = self.applied.iter().filter(|one| one.tx == tx);
            own.filter(|one| one.hold == Some(act)).count()
        };
        acts(Act::Place) > acts(Act::Capture) + acts(Act::Void)
    }

    /// What every account has.
    pub(crate) fn balances(&self, funds: [i8; 2]) -> Deltas {
        let mut balances = [funds[0], 0, funds[1], 0, 0, 0, 0, BUDGETED];
        for slip in &self.applied {
            add(&mut balances, &slip.deltas);
        }
        balances
    }

    /// True when no wallet and no budget has less than nothing.
    pub(crate) fn is_covered(&self, funds: [i8; 2]) -> bool {
        let balances = self.balances(funds);
        let wallets = balances[..IN_WALLETS].iter();
        wallets
            .chain([&balances[BUDGET]])
            .all(|balance| *balance >= 0)
    }

    /// What one transaction has done to the accounts.
    pub(crate) fn effect(&self, tx: usize) -> Deltas {
        let mut effect = [0; ACCOUNTS];
        for slip in self.of(tx) {
            add(&mut effect, &slip.deltas);
        }
        effect
    }

    /// The postings of a transaction.
    pub(crate) fn of(&self, tx: usize) -> impl Iterator<Item = &Slip> {
        self.applied.iter().filter(move |one| one.tx == tx)
    }
}

fn add(sum: &mut Deltas, deltas: &Deltas) {
    for (sum, delta) in sum.iter_mut().zip(deltas) {
        *sum += delta;
    }
}

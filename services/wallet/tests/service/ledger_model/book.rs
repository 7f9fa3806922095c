//! What the ledger should know: a small model that shares nothing with the
//! service's code. It keeps sums, not entries, and says of everything that is
//! asked for what the answer must be.

mod deeds;
pub(super) mod requests;
mod spending;

use std::collections::BTreeMap;

use time::Date;

use self::spending::Spending;
pub(super) use self::spending::month_before;

/// Three wallets in the first currency and two in the second.
pub(super) const WALLETS: usize = 5;
/// Which currency each wallet has.
pub(super) const CURRENCY_OF: [usize; WALLETS] = [0, 0, 0, 1, 1];
/// Which of three users owns each wallet: the first has two that share a cap.
pub(super) const USER_OF: [usize; WALLETS] = [0, 0, 1, 0, 2];
/// The campaign's first budget, and what one user may be granted.
pub(super) const BUDGET: i64 = 150;
pub(super) const CAP: i64 = 90;

/// The name of a refusal, without the prefix of any enum.
pub(super) type Refusal = &'static str;

/// From which bucket spendable money is taken first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    BonusFirst,
    AvailableFirst,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Active,
    Frozen,
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) status: Status,
    pub(super) available: i64,
    pub(super) held: i64,
    pub(super) bonus: i64,
    pub(super) credit: i64,
    /// How many entries it has had.
    pub(super) version: i64,
    pub(super) spending: Option<Spending>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldState {
    Active,
    Captured,
    Voided,
    Expired,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) wallet: usize,
    /// Whether it belongs to a transaction.
    pub(super) is_managed: bool,
    pub(super) amount: i64,
    pub(super) captured: i64,
    pub(super) state: HoldState,
    /// Whether its time is over.
    pub(super) is_due: bool,
    placed: Date,
}

impl Hold {
    pub(super) fn remaining(&self) -> i64 {
        match self.state {
            HoldState::Active => self.amount - self.captured,
            HoldState::Captured | HoldState::Voided | HoldState::Expired => 0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GrantState {
    Active,
    Spent,
    Converted,
    Expired,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) wallet: usize,
    pub(super) amount: i64,
    pub(super) remaining: i64,
    pub(super) state: GrantState,
    pub(super) is_due: bool,
}

/// A posting, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Deposit {
        to: usize,
        amount: i64,
    },
    /// The payee's leg has the payer's currency, whatever the payee has.
    Transfer {
        from: usize,
        to: usize,
        amount: i64,
        /// Whether bonus money may pay too.
        spendable: bool,
    },
    /// Between the currencies, two for one.
    Exchange {
        from: usize,
        to: usize,
        amount: i64,
    },
    Place {
        wallet: usize,
        hold: usize,
        amount: i64,
    },
    /// Takes so much and, when it is final, gives so much back.
    Capture {
        wallet: usize,
        hold: usize,
        taken: i64,
        back: Option<i64>,
    },
    Void {
        wallet: usize,
        hold: usize,
        amount: i64,
    },
}

/// A posting that is asked for. Two with one id and one serial are the same.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) serial: usize,
    pub(super) deed: Deed,
}

/// What must become of a posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Applied,
    Replayed,
    Refused(Refusal),
}

#[derive(Debug, Clone)]
pub(super) struct Book {
    order: Order,
    /// The day of UTC on which everything happens.
    pub(super) today: Date,
    pub(super) accounts: Vec<Account>,
    pub(super) holds: BTreeMap<usize, Hold>,
    pub(super) grants: Vec<Grant>,
    pub(super) budget: i64,
    pub(super) has_ended: bool,
    /// What is in the ledger: ids with the serials that they belong to.
    posted: BTreeMap<String, usize>,
}

impl Book {
    pub(super) fn new(order: Order, today: Date) -> Self {
        let account = Account {
            status: Status::Active,
            available: 0,
            held: 0,
            bonus: 0,
            credit: 0,
            version: 0,
            spending: None,
        };
        Self {
            order,
            today,
            accounts: vec![account; WALLETS],
            holds: BTreeMap::new(),
            grants: Vec::new(),
            budget: BUDGET,
            has_ended: false,
            posted: BTreeMap::new(),
        }
    }

    /// Answers a call.
    pub(super) fn call(&mut self, is_atomic: bool, asks: &[Asked]) -> Vec<Outcome> {
        let before = self.clone();
        let outcomes: Vec<Outcome> = asks.iter().map(|asked| self.post(asked)).collect();
        let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
        let Some(culprit) = outcomes.iter().position(refused).filter(|_| is_atomic) else {
            return outcomes;
        };
        let reason = outcomes[culprit];
        *self = before;
        let answers = asks.iter().enumerate().map(|(index, asked)| {
            if index == culprit {
                reason
            } else if self.posted.get(&asked.id) == Some(&asked.serial) {
                Outcome::Replayed
            } else {
                Outcome::Refused("BATCH_REJECTED")
            }
        });
        answers.collect()
    }

    fn post(&mut self, asked: &Asked) -> Outcome {
        match self.posted.get(&asked.id) {
            Some(serial) if *serial == asked.serial => return Outcome::Replayed,
            Some(_) => return Outcome::Refused("POSTING_ID_REUSED"),
            None => {}
        }
        match self.attempt(|book| book.deed(asked.deed)) {
            Ok(()) => {
                self.posted.insert(asked.id.clone(), asked.serial);
                Outcome::Applied
            }
            Err(reason) => Outcome::Refused(reason),
        }
    }

    /// Does all of it or nothing.
    fn attempt<T>(
        &mut self,
        what: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut after = self.clone();
        let done = what(&mut after)?;
        *self = after;
        Ok(done)
    }

    fn place(
        &mut self,
        wallet: usize,
        hold: usize,
        amount: i64,
        is_managed: bool,
    ) -> Result<(), Refusal> {
        self.may_change(wallet, true)?;
        if self.holds.contains_key(&hold) {
            return Err("HOLD_MISMATCH");
        }
        self.take(wallet, amount)?;
        self.accounts[wallet].held += amount;
        self.accounts[wallet].version += 1;
        self.spend(wallet, amount)?;
        let placed = Hold {
            wallet,
            is_managed,
            amount,
            captured: 0,
            state: HoldState::Active,
            is_due: false,
            placed: self.today,
        };
        self.holds.insert(hold, placed);
        Ok(())
    }

    /// Takes money out of a hold; what is left goes back when it is final.
    fn capture(&mut self, hold: usize, taken: i64, is_final: bool) {
        let known = self.holds.get_mut(&hold).expect("it is captured");
        let wallet = known.wallet;
        let rest = known.remaining() - taken;
        known.captured += taken;
        if is_final || rest == 0 {
            known.state = HoldState::Captured;
        }
        let placed = known.placed;
        let back = if is_final { rest } else { 0 };
        let account = &mut self.accounts[wallet];
        account.held -= taken + back;
        account.version += 1;
        if back > 0 {
            self.give(wallet, back);
            self.unspend(wallet, back, placed);
        }
    }

    /// Ends a hold with all that remains of it back in its wallet.
    fn give_back(&mut self, hold: usize, state: HoldState) {
        let known = self.holds.get_mut(&hold).expect("it is given back");
        let (wallet, rest, placed) = (known.wallet, known.remaining(), known.placed);
        known.state = state;
        self.accounts[wallet].held -= rest;
        self.accounts[wallet].version += 1;
        self.give(wallet, rest);
        self.unspend(wallet, rest, placed);
    }

    fn may_change(&self, wallet: usize, takes: bool) -> Result<(), Refusal> {
        match self.accounts[wallet].status {
            Status::Closed => Err("WALLET_CLOSED"),
            Status::Frozen if takes => Err("WALLET_FROZEN"),
            Status::Frozen | Status::Active => Ok(()),
        }
    }

    fn give(&mut self, wallet: usize, amount: i64) {
        self.accounts[wallet].available += amount;
        self.accounts[wallet].version += 1;
    }

    /// Takes available money, if any is to be taken.
    fn take(&mut self, wallet: usize, amount: i64) -> Result<(), Refusal> {
        let account = &mut self.accounts[wallet];
        if amount == 0 {
            return Ok(());
        }
        if account.available - amount < -account.credit {
            return Err("INSUFFICIENT_FUNDS");
        }
        account.available -= amount;
        account.version += 1;
        Ok(())
    }

    /// Takes as much of `amount` out of bonus money as the order says.
    fn pay_by_bonus(&mut self, wallet: usize, amount: i64) -> i64 {
        let wanted = match self.order {
            Order::BonusFirst => amount,
            Order::AvailableFirst => amount - self.accounts[wallet].available.max(0),
            Order::Never => 0,
        };
        let mut left = wanted.max(0);
        // All last as long, so the oldest is the first to expire.
        let usable = self.grants.iter_mut().filter(|grant| {
            grant.wallet == wallet && grant.state == GrantState::Active && !grant.is_due
        });
        let mut paid = 0;
        for grant in usable {
            let part = left.min(grant.remaining);
            grant.remaining -= part;
            left -= part;
            paid += part;
            if grant.remaining == 0 {
                grant.state = GrantState::Spent;
            }
        }
        if paid > 0 {
            self.accounts[wallet].bonus -= paid;
            self.accounts[wallet].version += 1;
        }
        paid
    }
}

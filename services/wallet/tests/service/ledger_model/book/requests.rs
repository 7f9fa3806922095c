//! What the model answers to the calls that are not postings.

use super::spending::{Spending, first_of};
use super::{Book, CAP, CURRENCY_OF, Grant, GrantState, HoldState, Refusal, Status, USER_OF};

/// A call with an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    PlaceHold {
        wallet: usize,
        /// The number that the hold gets when it is placed.
        hold: usize,
        amount: i64,
    },
    CaptureHold {
        hold: usize,
        amount: Option<i64>,
        is_final: bool,
        to: usize,
    },
    VoidHold {
        hold: usize,
    },
    Freeze {
        wallet: usize,
    },
    Unfreeze {
        wallet: usize,
    },
    Close {
        wallet: usize,
    },
    SetCredit {
        wallet: usize,
        limit: i64,
    },
    SetLimits {
        wallet: usize,
        caps: [Option<i64>; 3],
    },
    Grant {
        wallet: usize,
        amount: i64,
    },
    Convert {
        grant: usize,
    },
    Fund {
        amount: i64,
    },
    EndCampaign,
}

impl Book {
    /// Answers a call with a key that is new.
    pub(crate) fn ask(&mut self, request: Request) -> Result<(), Refusal> {
        self.attempt(|book| match request {
            Request::PlaceHold {
                wallet,
                hold,
                amount,
            } => book.place(wallet, hold, amount, false),
            Request::CaptureHold {
                hold,
                amount,
                is_final,
                to,
            } => book.capture_hold(hold, amount, is_final, to),
            Request::VoidHold { hold } => book.void_hold(hold),
            Request::Freeze { wallet } => book.set_status(wallet, Status::Frozen),
            Request::Unfreeze { wallet } => book.set_status(wallet, Status::Active),
            Request::Close { wallet } => book.close(wallet),
            Request::SetCredit { wallet, limit } => book.set_credit(wallet, limit),
            Request::SetLimits { wallet, caps } => book.set_limits(wallet, caps),
            Request::Grant { wallet, amount } => book.grant(wallet, amount),
            Request::Convert { grant } => book.convert(grant),
            Request::Fund { amount } => {
                if book.has_ended {
                    return Err("BONUS_CAMPAIGN_NOT_ACTIVE");
                }
                book.budget += amount;
                Ok(())
            }
            Request::EndCampaign => {
                (book.budget, book.has_ended) = (0, true);
                Ok(())
            }
        })
    }

    fn capture_hold(
        &mut self,
        hold: usize,
        amount: Option<i64>,
        is_final: bool,
        to: usize,
    ) -> Result<(), Refusal> {
        let known = self.holds.get(&hold).ok_or("HOLD_NOT_FOUND")?;
        if known.is_managed {
            return Err("HOLD_MANAGED");
        }
        if matches!(known.state, HoldState::Captured | HoldState::Voided) {
            return Err("HOLD_NOT_ACTIVE");
        }
        if to == known.wallet {
            return Err("INVALID_FIELD");
        }
        if known.state == HoldState::Expired {
            return Err("HOLD_EXPIRED");
        }
        let taken = amount.unwrap_or(known.remaining());
        if taken > known.remaining() {
            return Err("CAPTURE_EXCEEDS_HOLD");
        }
        if CURRENCY_OF[known.wallet] != CURRENCY_OF[to] {
            return Err("CURRENCY_MISMATCH");
        }
        self.may_change(to, false)?;
        if known.is_due {
            return Err("HOLD_EXPIRED");
        }
        self.capture(hold, taken, is_final);
        self.give(to, taken);
        Ok(())
    }

    fn void_hold(&mut self, hold: usize) -> Result<(), Refusal> {
        let known = self.holds.get(&hold).ok_or("HOLD_NOT_FOUND")?;
        if known.is_managed {
            return Err("HOLD_MANAGED");
        }
        match known.state {
            HoldState::Captured | HoldState::Voided => return Err("HOLD_NOT_ACTIVE"),
            HoldState::Expired => {
                self.may_change(known.wallet, false)?;
                return Err("HOLD_NOT_ACTIVE");
            }
            HoldState::Active => {}
        }
        self.give_back(hold, HoldState::Voided);
        Ok(())
    }

    fn set_status(&mut self, wallet: usize, status: Status) -> Result<(), Refusal> {
        self.may_change(wallet, false)?;
        self.accounts[wallet].status = status;
        Ok(())
    }

    fn close(&mut self, wallet: usize) -> Result<(), Refusal> {
        let account = &mut self.accounts[wallet];
        match account.status {
            Status::Closed => return Ok(()),
            Status::Frozen => return Err("WALLET_FROZEN"),
            Status::Active => {}
        }
        if (account.available, account.held, account.bonus) != (0, 0, 0) {
            return Err("WALLET_NOT_EMPTY");
        }
        account.status = Status::Closed;
        Ok(())
    }

    fn set_credit(&mut self, wallet: usize, limit: i64) -> Result<(), Refusal> {
        self.may_change(wallet, false)?;
        let account = &mut self.accounts[wallet];
        if account.available < -limit {
            return Err("CREDIT_LIMIT_IN_USE");
        }
        account.credit = limit;
        Ok(())
    }

    fn set_limits(&mut self, wallet: usize, caps: [Option<i64>; 3]) -> Result<(), Refusal> {
        self.may_change(wallet, false)?;
        let today = self.today;
        match &mut self.accounts[wallet].spending {
            Some(spending) => spending.caps = caps,
            None if caps == [None; 3] => {}
            unset => {
                *unset = Some(Spending {
                    caps,
                    day: today,
                    day_spent: 0,
                    month: first_of(today),
                    month_spent: 0,
                });
            }
        }
        Ok(())
    }

    /// The campaign grants the first currency only.
    fn grant(&mut self, wallet: usize, amount: i64) -> Result<(), Refusal> {
        if CURRENCY_OF[wallet] != 0 {
            return Err("CURRENCY_MISMATCH");
        }
        if self.has_ended {
            return Err("BONUS_CAMPAIGN_NOT_ACTIVE");
        }
        self.may_change(wallet, false)?;
        let own = self
            .grants
            .iter()
            .filter(|grant| USER_OF[grant.wallet] == USER_OF[wallet]);
        let granted: i64 = own.map(|grant| grant.amount).sum();
        if granted + amount > CAP {
            return Err("BONUS_CAP_EXCEEDED");
        }
        if amount > self.budget {
            return Err("BONUS_BUDGET_EXHAUSTED");
        }
        self.budget -= amount;
        self.accounts[wallet].bonus += amount;
        self.accounts[wallet].version += 1;
        self.grants.push(Grant {
            wallet,
            amount,
            remaining: amount,
            state: GrantState::Active,
            is_due: false,
        });
        Ok(())
    }

    fn convert(&mut self, grant: usize) -> Result<(), Refusal> {
        let known = &self.grants[grant];
        if known.state != GrantState::Active || known.is_due {
            return Err("BONUS_GRANT_NOT_ACTIVE");
        }
        let wallet = known.wallet;
        self.may_change(wallet, true)?;
        let left = self.end_grant(grant, GrantState::Converted);
        self.give(wallet, left);
        Ok(())
    }

    /// Takes what is left of a grant out of its wallet's bonus money.
    fn end_grant(&mut self, grant: usize, state: GrantState) -> i64 {
        let grant = &mut self.grants[grant];
        let left = std::mem::take(&mut grant.remaining);
        grant.state = state;
        self.accounts[grant.wallet].bonus -= left;
        self.accounts[grant.wallet].version += 1;
        left
    }

    /// Gives back what remains of all holds whose time is over.
    pub(crate) fn sweep_holds(&mut self) {
        let due = |hold: &super::Hold| hold.is_due && hold.state == HoldState::Active;
        let numbers: Vec<usize> = self
            .holds
            .iter()
            .filter(|(_, hold)| due(hold))
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            self.give_back(number, HoldState::Expired);
        }
    }

    /// Gives what is left of all grants whose time is over back to the campaign,
    /// and from there to the pool once it was ended.
    pub(crate) fn sweep_grants(&mut self) {
        for grant in 0..self.grants.len() {
            let known = &self.grants[grant];
            if known.is_due && known.state == GrantState::Active {
                self.budget += self.end_grant(grant, GrantState::Expired);
            }
        }
        if self.has_ended {
            self.budget = 0;
        }
    }
}

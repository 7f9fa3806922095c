//! What the model makes of a posting.

use super::{Book, CURRENCY_OF, Deed, HoldState, Refusal};

impl Book {
    pub(super) fn deed(&mut self, deed: Deed) -> Result<(), Refusal> {
        match deed {
            Deed::Deposit { to, amount } => {
                self.may_change(to, false)?;
                self.give(to, amount);
                Ok(())
            }
            Deed::Transfer {
                from,
                to,
                amount,
                spendable,
            } => {
                self.may_change(from, true)?;
                if CURRENCY_OF[from] != CURRENCY_OF[to] {
                    return Err("CURRENCY_MISMATCH");
                }
                self.may_change(to, false)?;
                let bonus = if spendable {
                    self.pay_by_bonus(from, amount)
                } else {
                    0
                };
                self.take(from, amount - bonus)?;
                self.give(to, amount);
                if from == to {
                    return Ok(());
                }
                self.spend(from, amount)
            }
            Deed::Exchange { from, to, amount } => {
                self.may_change(from, true)?;
                self.may_change(to, false)?;
                self.take(from, amount)?;
                self.give(to, 2 * amount);
                self.spend(from, amount)
            }
            Deed::Place {
                wallet,
                hold,
                amount,
            } => self.place(wallet, hold, amount, true),
            Deed::Capture {
                wallet,
                hold,
                taken,
                back,
            } => {
                self.may_change(wallet, false)?;
                let remaining = self.capturable(hold)?;
                let fits = match back {
                    Some(back) => taken + back == remaining,
                    None => taken <= remaining,
                };
                if !fits {
                    return Err("HOLD_MISMATCH");
                }
                self.capture(hold, taken, back.is_some());
                Ok(())
            }
            Deed::Void {
                wallet,
                hold,
                amount,
            } => {
                self.may_change(wallet, false)?;
                let known = self.holds.get(&hold).ok_or("HOLD_NOT_FOUND")?;
                if !known.is_managed {
                    return Err("HOLD_MANAGED");
                }
                if known.state != HoldState::Active {
                    return Err("HOLD_NOT_ACTIVE");
                }
                if known.remaining() != amount {
                    return Err("HOLD_MISMATCH");
                }
                self.give_back(hold, HoldState::Voided);
                Ok(())
            }
        }
    }

    /// What a posting may capture of a hold at most.
    fn capturable(&self, hold: usize) -> Result<i64, Refusal> {
        let known = self.holds.get(&hold).ok_or("HOLD_NOT_FOUND")?;
        if !known.is_managed {
            return Err("HOLD_MANAGED");
        }
        match known.state {
            HoldState::Active if known.is_due => Err("HOLD_EXPIRED"),
            HoldState::Active => Ok(known.remaining()),
            HoldState::Expired => Err("HOLD_EXPIRED"),
            HoldState::Captured | HoldState::Voided => Err("HOLD_NOT_ACTIVE"),
        }
    }
}

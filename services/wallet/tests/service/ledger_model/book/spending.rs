//! What wallets spend, and may: at once, in a day and in a month.

use time::{Date, Month};

use super::{Book, Refusal};

/// What a wallet may spend, and has spent of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spending {
    pub(crate) caps: [Option<i64>; 3],
    pub(super) day: Date,
    pub(super) day_spent: i64,
    pub(super) month: Date,
    pub(super) month_spent: i64,
}

impl Book {
    pub(super) fn spend(&mut self, wallet: usize, amount: i64) -> Result<(), Refusal> {
        let today = self.today;
        let Some(spending) = &mut self.accounts[wallet].spending else {
            return Ok(());
        };
        spending.turn_to(today);
        spending.day_spent += amount;
        spending.month_spent += amount;
        let [single, daily, monthly] = spending.caps;
        let is_over = |cap: Option<i64>, spent| cap.is_some_and(|cap| spent > cap);
        if is_over(single, amount) {
            return Err("SINGLE_LIMIT_EXCEEDED");
        }
        if is_over(daily, spending.day_spent) {
            return Err("DAILY_LIMIT_EXCEEDED");
        }
        if is_over(monthly, spending.month_spent) {
            return Err("MONTHLY_LIMIT_EXCEEDED");
        }
        Ok(())
    }

    pub(super) fn unspend(&mut self, wallet: usize, amount: i64, spent_on: Date) {
        let today = self.today;
        let Some(spending) = &mut self.accounts[wallet].spending else {
            return;
        };
        spending.turn_to(today);
        if spent_on == today {
            spending.day_spent = (spending.day_spent - amount).max(0);
        }
        if first_of(spent_on) == first_of(today) {
            spending.month_spent = (spending.month_spent - amount).max(0);
        }
    }

    /// Moves everything that remembers a day back, which is to move on.
    pub(crate) fn shift(&mut self, by: impl Fn(Date) -> Date, is_month: bool) {
        for hold in self.holds.values_mut() {
            hold.placed = by(hold.placed);
        }
        for account in &mut self.accounts {
            if let Some(spending) = &mut account.spending {
                spending.day = by(spending.day);
                if is_month {
                    spending.month = by(spending.month);
                }
            }
        }
    }

    /// What a wallet has spent today and this month.
    pub(crate) fn spent(&self, wallet: usize) -> Option<(i64, i64)> {
        let mut spending = self.accounts[wallet].spending.clone()?;
        spending.turn_to(self.today);
        Some((spending.day_spent, spending.month_spent))
    }
}

impl Spending {
    fn turn_to(&mut self, today: Date) {
        if self.day != today {
            (self.day, self.day_spent) = (today, 0);
        }
        if self.month != first_of(today) {
            (self.month, self.month_spent) = (first_of(today), 0);
        }
    }
}

pub(super) fn first_of(day: Date) -> Date {
    day.replace_day(1).expect("every month has a first day")
}

/// The same day a month earlier, or the last of that month, as PostgreSQL has it.
pub(crate) fn month_before(day: Date) -> Date {
    let (year, month) = match day.month() {
        Month::January => (day.year() - 1, Month::December),
        month => (day.year(), month.previous()),
    };
    let last = month.length(year);
    Date::from_calendar_date(year, month, day.day().min(last)).expect("the month has that day")
}

//! Limits on what a wallet spends: at once, in a day and in a month of UTC.
//!
//! What counts is the money that leaves the wallet's available and bonus
//! buckets by a transfer or into a hold. What a hold gives back, because it is
//! voided, expires or is captured in part only, is given back to the day and the
//! month in which the hold was placed, while they last. Deposits, corrections
//! and the bonus rules are not spending.
//!
//! All of it is exact integers under the wallet's row lock, in the transaction
//! of the posting: two postings cannot both use the last of a limit.

use bursar_aip::id::WalletId;
use time::{Date, OffsetDateTime};

use super::posting::RejectionReason;

/// How much may be spent, in minor units; `None` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// By one posting.
    pub single: Option<i64>,
    /// In a day.
    pub daily: Option<i64>,
    /// In a month.
    pub monthly: Option<i64>,
}

impl Limits {
    /// Whether there is no limit at all.
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A wallet's limits and what is used up of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The wallet.
    pub wallet: WalletId,
    /// Its limits.
    pub limits: Limits,
    /// The day that `day_spent` is about.
    pub day: Date,
    /// What was spent on that day.
    pub day_spent: i64,
    /// The first day of the month that `month_spent` is about.
    pub month: Date,
    /// What was spent in that month.
    pub month_spent: i64,
}

impl Allowance {
    /// A wallet that has spent nothing yet.
    pub fn unused(wallet: WalletId, limits: Limits, now: OffsetDateTime) -> Self {
        Self {
            wallet,
            limits,
            day: day(now),
            day_spent: 0,
            month: month(now),
            month_spent: 0,
        }
    }

    /// The same limits as they stand at `now`: what was spent on another day or
    /// in another month does not count any more.
    pub fn at(self, now: OffsetDateTime) -> Self {
        let (today, this_month) = (day(now), month(now));
        Self {
            day: today,
            day_spent: if self.day == today { self.day_spent } else { 0 },
            month: this_month,
            month_spent: if self.month == this_month {
                self.month_spent
            } else {
                0
            },
            ..self
        }
    }

    /// The allowance after spending `amount`, which is more than 0.
    pub fn spend(self, amount: i64, now: OffsetDateTime) -> Result<Self, RejectionReason> {
        let current = self.at(now);
        let within = |limit: Option<i64>, spent: i64| {
            // What cannot be counted is above every limit.
            let spent = spent.checked_add(amount)?;
            limit.is_none_or(|limit| spent <= limit).then_some(spent)
        };
        within(self.limits.single, 0).ok_or(RejectionReason::SingleLimitExceeded)?;
        let day_spent = within(self.limits.daily, current.day_spent)
            .ok_or(RejectionReason::DailyLimitExceeded)?;
        let month_spent = within(self.limits.monthly, current.month_spent)
            .ok_or(RejectionReason::MonthlyLimitExceeded)?;
        Ok(Self {
            day_spent,
            month_spent,
            ..current
        })
    }

    /// The allowance after `amount`, which was spent at `spent_at`, came back.
    pub fn give_back(self, amount: i64, spent_at: OffsetDateTime, now: OffsetDateTime) -> Self {
        let current = self.at(now);
        let less = |spent: i64, is_same: bool| {
            if is_same {
                // A limit that was set after the spending did not count it.
                spent.saturating_sub(amount).max(0)
            } else {
                spent
            }
        };
        Self {
            day_spent: less(current.day_spent, day(spent_at) == current.day),
            month_spent: less(current.month_spent, month(spent_at) == current.month),
            ..current
        }
    }
}

fn day(at: OffsetDateTime) -> Date {
    at.to_offset(time::UtcOffset::UTC).date()
}

fn month(at: OffsetDateTime) -> Date {
    let day = day(at);
    // The first of a month exists in every month.
    day.replace_day(1).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use bursar_aip::id::WalletId;
    use proptest::prelude::*;
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;

    fn allowance(limits: Limits) -> Allowance {
        let wallet = WalletId::from_uuid(Uuid::nil());
        Allowance::unused(wallet, limits, datetime!(2026-03-31 23:59:59.999999 UTC))
    }

    /// Each limit lets exactly its amount pass and not one unit more.
    #[test]
    fn limits_are_exact() {
        let now = datetime!(2026-03-31 12:00 UTC);
        let limits = Limits {
            single: Some(10),
            daily: Some(15),
            monthly: Some(22),
        };
        let fresh = allowance(limits);
        assert_eq!(
            fresh.spend(11, now),
            Err(RejectionReason::SingleLimitExceeded)
        );
        let spent = fresh.spend(10, now).expect("10 is the limit");
        assert_eq!(
            spent.spend(6, now),
            Err(RejectionReason::DailyLimitExceeded)
        );
        let spent = spent.spend(5, now).expect("15 is the limit");
        assert_eq!(
            spent.spend(1, now),
            Err(RejectionReason::DailyLimitExceeded)
        );
        let earlier = spent.at(datetime!(2026-03-30 12:00 UTC));
        let spent = earlier
            .spend(7, datetime!(2026-03-30 12:00 UTC))
            .expect("22 is the limit of the month");
        assert_eq!(
            spent.spend(1, datetime!(2026-03-29 12:00 UTC)),
            Err(RejectionReason::MonthlyLimitExceeded)
        );
    }

    /// A new day and a new month begin at midnight of UTC, with nothing spent.
    #[test]
    fn days_and_months_begin_anew() {
        let limits = Limits {
            daily: Some(10),
            monthly: Some(12),
            ..Limits::default()
        };
        let last = datetime!(2026-03-31 23:59:59.999999 UTC);
        let spent = allowance(limits).spend(10, last).expect("within");
        assert_eq!(
            spent.spend(1, last),
            Err(RejectionReason::DailyLimitExceeded)
        );
        let first = datetime!(2026-04-01 00:00 UTC);
        let spent = spent.spend(10, first).expect("a new day and month");
        assert_eq!((spent.day_spent, spent.month_spent), (10, 10));
        assert_eq!(
            spent.spend(3, datetime!(2026-04-02 00:00 UTC)),
            Err(RejectionReason::MonthlyLimitExceeded)
        );
    }

    /// Days and months end at midnight of UTC, to the microsecond, wherever the
    /// instants were written.
    #[test]
    fn midnight_is_that_of_utc() {
        let limits = Limits {
            daily: Some(10),
            monthly: Some(10),
            ..Limits::default()
        };
        // Still the last instant of March in London and in UTC.
        let last = datetime!(2026-04-01 00:59:59.999999 +1);
        let spent = allowance(limits).spend(10, last).expect("within");
        assert_eq!(spent, spent.at(datetime!(2026-03-31 23:59:59.999999 UTC)));
        let same = datetime!(2026-03-31 18:59:59.999999 -5);
        assert_eq!(
            spent.spend(1, same),
            Err(RejectionReason::DailyLimitExceeded)
        );
        // A microsecond later it is April in UTC, and still March in New York.
        let first = datetime!(2026-03-31 19:00 -5);
        let anew = spent.spend(10, first).expect("a new day and month");
        assert_eq!((anew.day_spent, anew.month_spent), (10, 10));
        // What was spent before midnight does not come back after it.
        let back = anew.give_back(10, last, first);
        assert_eq!((back.day_spent, back.month_spent), (10, 10));
        let back = anew.give_back(4, first, datetime!(2026-04-01 23:59:59.999999 UTC));
        assert_eq!((back.day_spent, back.month_spent), (6, 6));
        let later = back.give_back(4, first, datetime!(2026-04-02 00:00 UTC));
        assert_eq!((later.day_spent, later.month_spent), (0, 2));
    }

    /// What comes back counts for the day and the month in which it was spent.
    #[test]
    fn what_comes_back_counts_where_it_was_spent() {
        let limits = Limits {
            daily: Some(10),
            monthly: Some(20),
            ..Limits::default()
        };
        let monday = datetime!(2026-03-02 10:00 UTC);
        let tuesday = datetime!(2026-03-03 10:00 UTC);
        let spent = allowance(limits).spend(10, monday).expect("within");
        let same_day = spent.give_back(4, monday, monday);
        assert_eq!((same_day.day_spent, same_day.month_spent), (6, 6));
        let spent = spent.spend(5, tuesday).expect("within");
        let next_day = spent.give_back(10, monday, tuesday);
        assert_eq!((next_day.day_spent, next_day.month_spent), (5, 5));
        let next_month = datetime!(2026-04-01 10:00 UTC);
        let later = spent.give_back(10, monday, next_month);
        assert_eq!((later.day_spent, later.month_spent), (0, 0));
    }

    proptest! {
        /// Whatever is spent and comes back, no limit is ever exceeded and
        /// nothing is ever negative.
        #[test]
        fn nothing_exceeds_a_limit(
            steps in prop::collection::vec((any::<bool>(), 1..=i64::MAX, 0i64..100), 0..60),
            daily in 0..=i64::MAX,
            monthly in 0..=i64::MAX,
        ) {
            let limits = Limits { single: None, daily: Some(daily), monthly: Some(monthly) };
            let mut now = datetime!(2026-01-01 00:00 UTC);
            let mut allowance = allowance(limits);
            for (is_spending, amount, hours) in steps {
                now += time::Duration::hours(hours);
                if is_spending {
                    allowance = allowance.spend(amount, now).unwrap_or(allowance);
                } else {
                    allowance = allowance.give_back(amount, now, now);
                }
                prop_assert!((0..=daily).contains(&allowance.day_spent));
                prop_assert!((0..=monthly).contains(&allowance.month_spent));
            }
        }
    }
}

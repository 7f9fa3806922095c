//! Spending limits as the contract has them.

use bursar_contracts::wallet::v1 as proto;
use time::{Date, Month, OffsetDateTime};

use super::timestamp;
use crate::domain::limit::{Allowance, Limits};
use crate::domain::wallet::Wallet;

/// The limits of a request.
pub(crate) fn limits(request: &proto::SetSpendingLimitsRequest) -> Limits {
    Limits {
        single: request.single_minor,
        daily: request.daily_minor,
        monthly: request.monthly_minor,
    }
}

/// A wallet's limits, and what is used up of them at `now`.
pub(crate) fn spending_limits(
    wallet: &Wallet,
    allowance: Option<Allowance>,
    now: OffsetDateTime,
) -> proto::SpendingLimits {
    let current = allowance
        .unwrap_or_else(|| Allowance::unused(wallet.id, Limits::default(), now))
        .at(now);
    proto::SpendingLimits {
        wallet_id: wallet.id.to_string(),
        currency_code: wallet.currency.code().to_owned(),
        single_minor: current.limits.single,
        daily_minor: current.limits.daily,
        monthly_minor: current.limits.monthly,
        daily_spent_minor: current.day_spent,
        monthly_spent_minor: current.month_spent,
        daily_resets_at: current.day.next_day().map(midnight),
        monthly_resets_at: next_month(current.month).map(midnight),
    }
}

fn midnight(day: Date) -> prost_types::Timestamp {
    timestamp(day.midnight().assume_utc())
}

/// The first day of the month after; `None` after the last one there is.
fn next_month(month: Date) -> Option<Date> {
    let (year, next) = match month.month() {
        Month::December => (month.year().checked_add(1)?, Month::January),
        other => (month.year(), other.next()),
    };
    Date::from_calendar_date(year, next, 1).ok()
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    /// The year turns with December.
    #[test]
    fn months_follow_each_other() {
        assert_eq!(
            next_month(date!(2026 - 12 - 01)),
            Some(date!(2027 - 01 - 01))
        );
        assert_eq!(
            next_month(date!(2028 - 02 - 01)),
            Some(date!(2028 - 03 - 01))
        );
        assert_eq!(next_month(Date::MAX), None);
    }
}

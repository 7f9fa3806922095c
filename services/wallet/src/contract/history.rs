//! Balances, statements and days as the contract has them.

use bursar_aip::id::WalletId;
use bursar_contracts::wallet::v1 as proto;
use bursar_money::Currency;
use prost_types::Timestamp;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime};
use tonic::Status;

use super::posting::{instant, invalid};
use super::{enums, timestamp};
use crate::domain::history::{BalancedLine, TimeBasis};
use crate::domain::posting::PostingKind;
use crate::domain::wallet::{Balance, Bucket};
use crate::store::wallet_days::PeriodSums;

/// The longest time that a statement covers.
const LONGEST_STATEMENT: Duration = Duration::days(366);
/// The most days that a list covers.
const MOST_DAYS: i64 = 366;
/// The most months that a list covers.
const MOST_MONTHS: i32 = 120;

/// From when a statement is, and up to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    /// Its beginning, which is in it.
    pub(crate) from: OffsetDateTime,
    /// Its end, which is not.
    pub(crate) to: OffsetDateTime,
}

/// By which time entries count.
pub(crate) fn basis(basis: proto::TimeBasis) -> TimeBasis {
    match basis {
        proto::TimeBasis::Unspecified | proto::TimeBasis::Effective => TimeBasis::Effective,
        proto::TimeBasis::Recorded => TimeBasis::Recorded,
    }
}

/// The same for the contract.
pub(crate) fn proto_basis(basis: TimeBasis) -> proto::TimeBasis {
    match basis {
        TimeBasis::Effective => proto::TimeBasis::Effective,
        TimeBasis::Recorded => proto::TimeBasis::Recorded,
    }
}

/// A required instant of a request.
pub(crate) fn required_instant(
    at: Option<&Timestamp>,
    path: &str,
) -> Result<OffsetDateTime, Status> {
    let at = at.ok_or_else(|| invalid(path, "must be given"))?;
    instant(at, path)
}

/// The period of a statement.
pub(crate) fn period(from: Option<&Timestamp>, to: Option<&Timestamp>) -> Result<Period, Status> {
    let period = Period {
        from: required_instant(from, "from")?,
        to: required_instant(to, "to")?,
    };
    if period.from >= period.to {
        return Err(invalid("to", "must be after `from`"));
    }
    if period.to - period.from > LONGEST_STATEMENT {
        return Err(invalid("to", "must be at most 366 days after `from`"));
    }
    Ok(period)
}

/// The days of a list, first and last.
pub(crate) fn days(from: &str, to: &str) -> Result<(Date, Date), Status> {
    let (from, to) = (day(from, "from_day")?, day(to, "to_day")?);
    if to < from {
        return Err(invalid("to_day", "must not be before `from_day`"));
    }
    if (to - from).whole_days() >= MOST_DAYS {
        return Err(invalid(
            "to_day",
            "must be at most 365 days after `from_day`",
        ));
    }
    Ok((from, to))
}

fn day(text: &str, path: &str) -> Result<Date, Status> {
    Date::parse(text, format_description!("[year]-[month]-[day]"))
        .map_err(|_| invalid(path, "must be a day such as 2026-01-31"))
}

/// The months of a list: the first day of the first, and the last of the last.
pub(crate) fn months(from: &str, to: &str) -> Result<(Date, Date), Status> {
    let (from, to) = (month(from, "from_month")?, month(to, "to_month")?);
    if to < from {
        return Err(invalid("to_month", "must not be before `from_month`"));
    }
    let number = |day: Date| day.year() * 12 + i32::from(u8::from(day.month()));
    if number(to) - number(from) >= MOST_MONTHS {
        return Err(invalid(
            "to_month",
            "must be at most 119 months after `from_month`",
        ));
    }
    let last = to.month().length(to.year());
    // A month has its last day.
    Ok((from, to.replace_day(last).unwrap_or(to)))
}

fn month(text: &str, path: &str) -> Result<Date, Status> {
    Date::parse(
        &format!("{text}-01"),
        format_description!("[year]-[month]-[day]"),
    )
    .map_err(|_| invalid(path, "must be a month such as 2026-01"))
}

/// Money by bucket.
pub(crate) fn balance(balance: Balance) -> proto::Balance {
    proto::Balance {
        available_minor: balance.available,
        held_minor: balance.held,
        bonus_minor: balance.bonus,
    }
}

/// What a statement is about.
pub(crate) struct StatementHead {
    /// The wallet.
    pub(crate) wallet: WalletId,
    /// Its currency.
    pub(crate) currency: Currency,
    /// By which time entries count.
    pub(crate) basis: TimeBasis,
    /// From when and up to when.
    pub(crate) period: Period,
    /// The version up to which entries count.
    pub(crate) as_of: i64,
    /// The money at its beginning.
    pub(crate) opening: Balance,
    /// The money at its end.
    pub(crate) closing: Balance,
}

/// A statement without its lines.
pub(crate) fn statement(head: &StatementHead) -> proto::Statement {
    proto::Statement {
        wallet_id: head.wallet.to_string(),
        currency_code: head.currency.code().to_owned(),
        basis: proto_basis(head.basis).into(),
        from: Some(timestamp(head.period.from)),
        to: Some(timestamp(head.period.to)),
        as_of_version: head.as_of,
        opening: Some(balance(head.opening)),
        closing: Some(balance(head.closing)),
    }
}

/// A line of a statement.
pub(crate) fn statement_entry(balanced: &BalancedLine) -> proto::StatementEntry {
    let line = &balanced.line;
    proto::StatementEntry {
        version: line.version,
        posting_id: line.posting.to_string(),
        transaction_id: line
            .transaction
            .map(|transaction| transaction.to_string())
            .unwrap_or_default(),
        kind: enums::posting_kind(line.kind).into(),
        bucket: enums::bucket(line.bucket).into(),
        amount_minor: line.amount,
        effective_at: Some(timestamp(line.effective_at)),
        recorded_at: Some(timestamp(line.recorded_at)),
        balance: Some(balance(balanced.balance)),
    }
}

/// The name of a posting's kind, as JSON has it.
pub(crate) fn kind_name(kind: PostingKind) -> &'static str {
    enums::posting_kind(kind).as_str_name()
}

/// The name of a bucket, as JSON has it.
pub(crate) fn bucket_name(bucket: Bucket) -> &'static str {
    enums::bucket(bucket).as_str_name()
}

/// A wallet's day.
pub(crate) fn wallet_day(sums: &PeriodSums, currency: Currency) -> proto::WalletDay {
    let (available, held, bonus) = turnovers(sums);
    proto::WalletDay {
        day: sums.start.to_string(),
        currency_code: currency.code().to_owned(),
        available: Some(available),
        held: Some(held),
        bonus: Some(bonus),
        entries: sums.entries,
    }
}

/// A wallet's month.
pub(crate) fn wallet_month(sums: &PeriodSums, currency: Currency) -> proto::WalletMonth {
    let (available, held, bonus) = turnovers(sums);
    let month = u8::from(sums.start.month());
    proto::WalletMonth {
        month: format!("{:04}-{month:02}", sums.start.year()),
        currency_code: currency.code().to_owned(),
        available: Some(available),
        held: Some(held),
        bonus: Some(bonus),
        entries: sums.entries,
    }
}

fn turnovers(sums: &PeriodSums) -> (proto::Turnover, proto::Turnover, proto::Turnover) {
    let turnover = |in_minor, out_minor| proto::Turnover {
        in_minor,
        out_minor,
    };
    (
        turnover(sums.available_in, sums.available_out),
        turnover(sums.held_in, sums.held_out),
        turnover(sums.bonus_in, sums.bonus_out),
    )
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    /// Ranges of days and months are whole, in order and bounded.
    #[test]
    fn ranges_are_bounded() {
        assert_eq!(
            days("2026-01-01", "2026-12-31").expect("a year"),
            (date!(2026 - 01 - 01), date!(2026 - 12 - 31))
        );
        for (from, to) in [
            ("2026-01-02", "2026-01-01"),
            ("2026-01-01", "2027-01-02"),
            ("2026-02-30", "2026-03-01"),
            ("2026-01-01", "2026-13-01"),
        ] {
            assert!(days(from, to).is_err(), "{from} {to}");
        }
        assert_eq!(
            months("2024-02", "2024-02").expect("a month"),
            (date!(2024 - 02 - 01), date!(2024 - 02 - 29))
        );
        assert!(months("2016-01", "2025-12").is_ok());
        for (from, to) in [
            ("2016-01", "2026-01"),
            ("2026-02", "2026-01"),
            ("2026-00", "2026-01"),
        ] {
            assert!(months(from, to).is_err(), "{from} {to}");
        }
    }

    /// A statement has a beginning and an end after it, not more than a year apart.
    #[test]
    fn periods_are_bounded() {
        let at = |seconds| Timestamp { seconds, nanos: 0 };
        let year = 366 * 86_400;
        assert!(period(Some(&at(0)), Some(&at(year))).is_ok());
        for (from, to) in [
            (None, Some(at(1))),
            (Some(at(0)), None),
            (Some(at(5)), Some(at(5))),
            (Some(at(5)), Some(at(4))),
            (Some(at(0)), Some(at(year + 1))),
        ] {
            assert!(
                period(from.as_ref(), to.as_ref()).is_err(),
                "{from:?} {to:?}"
            );
        }
    }
}

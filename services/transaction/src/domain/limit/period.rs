//! Days and months of UTC.

use time::{Date, OffsetDateTime, UtcOffset};

/// A time over which amounts are summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// A day.
    Day,
    /// A calendar month.
    Month,
}

impl Period {
    /// Every period.
    pub const ALL: [Self; 2] = [Self::Day, Self::Month];

    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The period of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.name() == name)
    }

    /// The first day of the one that a time is in.
    pub fn starts_on(self, at: OffsetDateTime) -> Date {
        let day = at.to_offset(UtcOffset::UTC).date();
        match self {
            Self::Day => day,
            Self::Month => first_of_month(day),
        }
    }

    /// When the one that starts on a day starts, and when it is over.
    pub fn bounds(self, starts_on: Date) -> (OffsetDateTime, OffsetDateTime) {
        let next = match self {
            Self::Day => starts_on.next_day(),
            // No month has more than 31 days, and the day after next month's first
            // weeks is still in next month.
            Self::Month => starts_on
                .checked_add(time::Duration::days(31))
                .map(first_of_month),
        };
        let next = next.unwrap_or(Date::MAX);
        (
            starts_on.midnight().assume_utc(),
            next.midnight().assume_utc(),
        )
    }

    /// When the one that a time is in is over.
    pub fn ends_at(self, at: OffsetDateTime) -> OffsetDateTime {
        self.bounds(self.starts_on(at)).1
    }
}

fn first_of_month(day: Date) -> Date {
    day.replace_day(1)
        .expect("every month of the calendar has a first day")
}

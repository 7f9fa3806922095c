//! When the runs of a schedule are due.
//!
//! A recurring schedule counts local dates and puts each of them, with its time of
//! day, on the time line by the rules of its time zone:
//!
//! - Where the clocks are put forward over the time of day, the run is later by as
//!   much: 02:30 in a gap from 02:00 to 03:00 is 03:30 of that day.
//! - Where they are put back and show the time of day twice, the run is at the first.
//! - A day that a zone left out as a whole (Samoa's 30 December 2011) is moved to the
//!   next day; where that has a run of its own, the two are one.
//! - A month without the day of the month has its run on its last day, and the next
//!   month that has the day, on that day again.
//!
//! The dates are counted from an anchor, which is kept: neither a run that was late
//! nor a change of a zone's rules moves the dates that follow. The rules are those of
//! the IANA database that the program was built with, whatever the machine has.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use time::{Date, Month, OffsetDateTime, Time};

/// The rules of time zones that came with the program.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// How far the first date may be from the date of the start, and the next one from
/// where counting by local dates alone puts it. A gap moves a time by a day at most.
const SLACK: i64 = 3;

/// A time zone of the IANA database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone(TimeZone);

impl Zone {
    /// The zone of a name, whatever its case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let zone = ZONES.get(name).ok()?;
        zone.iana_name().is_some().then_some(Self(zone))
    }

    /// The name as the database spells it.
    pub(crate) fn name(&self) -> &str {
        self.0
            .iana_name()
            .expect("only zones with a name are parsed")
    }

    /// The date on the zone's calendars.
    fn date(&self, at: OffsetDateTime) -> Option<Date> {
        let at = Timestamp::from_second(at.unix_timestamp()).ok()?;
        from_civil(self.0.to_datetime(at).date())
    }

    /// When the zone's clocks show this time of this date.
    fn instant(&self, date: Date, at: Time) -> Option<OffsetDateTime> {
        let [hour, minute] = [at.hour(), at.minute()].map(i8::try_from);
        let local = civil_date(date)?.at(hour.ok()?, minute.ok()?, 0, 0);
        let instant = self.0.to_ambiguous_timestamp(local).compatible().ok()?;
        OffsetDateTime::from_unix_timestamp(instant.as_second()).ok()
    }
}

/// What is counted, and on which day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Days.
    Day,
    /// Weeks, on the anchor's weekday.
    Week,
    /// Months, on this day or the month's last.
    Month {
        /// The day, 1 to 31.
        day: u8,
    },
}

/// Local dates at equal distances, with a time of day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recurrence {
    /// What is counted.
    pub(crate) unit: Unit,
    /// Every how many of them; at least 1.
    pub(crate) interval: u16,
    /// The time of day, in whole minutes.
    pub(crate) time_of_day: Time,
    /// Whose clocks and calendars.
    pub(crate) zone: Zone,
    /// The date of the first run; of months any date of its month.
    pub(crate) anchor: Date,
}

impl Recurrence {
    /// The recurrence whose first run is the first that can be at `start` or later.
    /// `None` past the end of the calendar.
    pub(crate) fn starting(
        unit: Unit,
        interval: u16,
        time_of_day: Time,
        zone: Zone,
        start: OffsetDateTime,
    ) -> Option<Self> {
        let near = zone.date(start)?;
        // Every date, or every month, around the start is tried.
        let each = Self {
            unit: match unit {
                Unit::Week => Unit::Day,
                Unit::Day | Unit::Month { .. } => unit,
            },
            interval: 1,
            time_of_day,
            zone,
            anchor: near,
        };
        let anchor = (-SLACK..=SLACK).find_map(|steps| {
            let date = each.date(steps)?;
            let due = each.zone.instant(date, time_of_day)?;
            (due >= start).then_some(date)
        })?;
        Some(Self {
            unit,
            interval,
            anchor,
            ..each
        })
    }

    /// The first time later than `after`. `None` past the end of the calendar.
    pub(crate) fn next_after(&self, after: OffsetDateTime) -> Option<OffsetDateTime> {
        let about = self.steps_to(self.zone.date(after)?);
        (about - SLACK..=about + SLACK)
            .filter(|steps| *steps >= 0)
            .chain([0])
            .filter_map(|steps| self.zone.instant(self.date(steps)?, self.time_of_day))
            .filter(|due| *due > after)
            .min()
    }

    /// The date that many steps from the anchor.
    fn date(&self, steps: i64) -> Option<Date> {
        let count = steps.checked_mul(i64::from(self.interval))?;
        match self.unit {
            Unit::Day => self.anchor.checked_add(time::Duration::days(count)),
            Unit::Week => self
                .anchor
                .checked_add(time::Duration::days(count.checked_mul(7)?)),
            Unit::Month { day } => {
                let month = months(self.anchor).checked_add(count)?;
                let year = i32::try_from(month.div_euclid(12)).ok()?;
                let number = u8::try_from(month.rem_euclid(12)).ok()? + 1;
                let month = Month::try_from(number).ok()?;
                let day = day.min(month.length(year));
                Date::from_calendar_date(year, month, day).ok()
            }
        }
    }

    /// How many whole steps a date is from the anchor.
    fn steps_to(&self, date: Date) -> i64 {
        let interval = i64::from(self.interval);
        let days = (date - self.anchor).whole_days();
        match self.unit {
            Unit::Day => days.div_euclid(interval),
            Unit::Week => days.div_euclid(interval * 7),
            Unit::Month { .. } => (months(date) - months(self.anchor)).div_euclid(interval),
        }
    }
}

/// The number of a date's month, counted through all years.
fn months(date: Date) -> i64 {
    i64::from(date.year()) * 12 + i64::from(u8::from(date.month())) - 1
}

fn civil_date(date: Date) -> Option<civil::Date> {
    let year = i16::try_from(date.year()).ok()?;
    let [month, day] = [u8::from(date.month()), date.day()].map(i8::try_from);
    civil::Date::new(year, month.ok()?, day.ok()?).ok()
}

fn from_civil(date: civil::Date) -> Option<Date> {
    let month = Month::try_from(u8::try_from(date.month()).ok()?).ok()?;
    Date::from_calendar_date(date.year().into(), month, u8::try_from(date.day()).ok()?).ok()
}

#[cfg(test)]
mod tests;

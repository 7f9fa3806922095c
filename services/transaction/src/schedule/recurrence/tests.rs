use proptest::prelude::*;
use time::macros::{date, datetime, time};

use super::*;

/// Zones with all that zones do: no change at all, changes in either half of the year,
/// at midnight, across it, by half an hour, several times a year, and a day left out.
const ZONES: [&str; 10] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Scoresbysund",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Pacific/Apia",
];
/// How many runs of each recurrence are compared.
const RUNS: usize = 40;

fn zone(name: &str) -> Zone {
    Zone::parse(name).expect("there is such a zone")
}

fn recurrence(
    unit: Unit,
    interval: u16,
    at: Time,
    name: &str,
    start: OffsetDateTime,
) -> Recurrence {
    Recurrence::starting(unit, interval, at, zone(name), start).expect("it has a first date")
}

/// The first runs from the start on.
fn runs(recurrence: &Recurrence, start: OffsetDateTime, count: usize) -> Vec<OffsetDateTime> {
    let first = recurrence.next_after(start - time::Duration::SECOND);
    std::iter::successors(first, |due| recurrence.next_after(*due))
        .take(count)
        .collect()
}

/// The same by looking at the clocks, minute after minute.
mod model {
    use super::*;

    const MINUTE: time::Duration = time::Duration::MINUTE;

    /// What the zone's clocks show.
    fn shown(zone: &Zone, at: OffsetDateTime) -> time::PrimitiveDateTime {
        let at = Timestamp::from_second(at.unix_timestamp()).expect("it is on the calendar");
        let local = zone.0.to_datetime(at);
        let date = from_civil(local.date()).expect("it is on the calendar");
        let [hour, minute] = [local.hour(), local.minute()].map(|part| part.try_into());
        let time = Time::from_hms(hour.expect("small"), minute.expect("small"), 0);
        date.with_time(time.expect("a clock shows a time"))
    }

    /// The first minute at which the clocks show this; where they never do, as much
    /// after the last minute before as if they had gone on.
    fn instant(zone: &Zone, date: Date, at: Time) -> OffsetDateTime {
        let wanted = date.with_time(at);
        // No zone is farther from UTC than 15 hours, and a day may be left out.
        let mut minute = wanted.assume_utc() - time::Duration::hours(15);
        let mut before = minute;
        loop {
            let now = shown(zone, minute);
            if now == wanted {
                return minute;
            }
            if now > wanted {
                return before + (wanted - shown(zone, before));
            }
            before = minute;
            minute += MINUTE;
        }
    }

    fn day_of(year: i32, month: Month, unit: Unit) -> Date {
        let Unit::Month { day } = unit else {
            panic!("only months have a day");
        };
        let dates = (1..=day).rev();
        dates
            .filter_map(|day| Date::from_calendar_date(year, month, day).ok())
            .next()
            .expect("every month has a first")
    }

    /// Walks through the days, or the months, from before the start on.
    pub(super) fn runs(
        unit: Unit,
        interval: u16,
        at: Time,
        zone: &Zone,
        start: OffsetDateTime,
    ) -> Vec<OffsetDateTime> {
        let mut date = shown(zone, start).date() - time::Duration::days(2);
        if let Unit::Month { .. } = unit {
            date = day_of(date.year(), date.month(), unit);
        }
        let next = |date: Date, count: u16| match unit {
            Unit::Day => date + time::Duration::days(count.into()),
            Unit::Week => date + time::Duration::weeks(count.into()),
            Unit::Month { .. } => (0..count).fold(date, |date, _| {
                let month = date.month().next();
                let year = date.year() + i32::from(month == Month::January);
                day_of(year, month, unit)
            }),
        };
        while instant(zone, date, at) < start {
            date = match unit {
                Unit::Week => date.next_day().expect("it is on the calendar"),
                Unit::Day | Unit::Month { .. } => next(date, 1),
            };
        }
        let mut runs = vec![];
        while runs.len() < RUNS {
            let due = instant(zone, date, at);
            if runs.last() != Some(&due) {
                runs.push(due);
            }
            date = next(date, interval);
        }
        runs
    }
}

fn units() -> impl Strategy<Value = Unit> {
    prop_oneof![
        Just(Unit::Day),
        Just(Unit::Week),
        (1..=31_u8).prop_map(|day| Unit::Month { day }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Runs are when somebody with a calendar and an eye on the clock would make them,
    /// each later than the one before.
    #[test]
    fn runs_are_what_clocks_and_calendars_show(
        unit in units(),
        interval in 1..=40_u16,
        (hour, minute) in (0..24_u8, 0..60_u8),
        zone in prop::sample::select(&ZONES[..]).prop_map(zone),
        // From 2005 to 2035.
        start in 1_104_537_600..2_051_222_400_i64,
    ) {
        let at = Time::from_hms(hour, minute, 0).expect("it is a time");
        let start = OffsetDateTime::from_unix_timestamp(start).expect("it is a moment");
        let expected = model::runs(unit, interval, at, &zone, start);
        let recurrence = Recurrence::starting(unit, interval, at, zone, start);
        let found = runs(&recurrence.expect("it has a first date"), start, RUNS);
        prop_assert!(found.is_sorted_by(|one, next| one < next));
        prop_assert_eq!(found, expected);
    }

    /// Where one looks from does not matter: the next run is the first that is later.
    #[test]
    fn the_next_run_is_the_first_that_is_later(
        unit in units(),
        interval in 1..=366_u16,
        zone in prop::sample::select(&ZONES[..]).prop_map(zone),
        start in 1_104_537_600..2_051_222_400_i64,
        seconds in -100_000_000..1_000_000_000_i64,
    ) {
        let start = OffsetDateTime::from_unix_timestamp(start).expect("it is a moment");
        let recurrence = Recurrence::starting(unit, interval, time!(2:30), zone, start);
        let recurrence = recurrence.expect("it has a first date");
        let after = start + time::Duration::seconds(seconds);
        let next = recurrence.next_after(after).expect("the calendar goes on");
        prop_assert!(next > after && next >= start);
        let before = next - time::Duration::SECOND;
        prop_assert_eq!(recurrence.next_after(before), Some(next));
        if before > after {
            prop_assert_eq!(recurrence.next_after(after.midpoint_to(before)), Some(next));
        }
    }
}

trait Midpoint {
    fn midpoint_to(self, other: Self) -> Self;
}

impl Midpoint for OffsetDateTime {
    fn midpoint_to(self, other: Self) -> Self {
        self + (other - self) / 2
    }
}

/// A day of the month that a month has not got is its last day, and comes back.
#[test]
fn month_ends_clamp_and_come_back() {
    let start = datetime!(2027-12-31 08:00 UTC);
    let monthly = recurrence(Unit::Month { day: 31 }, 1, time!(9:00), "UTC", start);
    let days = runs(&monthly, start, 6);
    let days: Vec<Date> = days.into_iter().map(OffsetDateTime::date).collect();
    // 2028 is a leap year.
    let expected = [
        date!(2027 - 12 - 31),
        date!(2028 - 01 - 31),
        date!(2028 - 02 - 29),
        date!(2028 - 03 - 31),
        date!(2028 - 04 - 30),
        date!(2028 - 05 - 31),
    ];
    assert_eq!(days, expected);
}

/// The 29th of February is there every four years, and the 28th in between; 2100 is no
/// leap year.
#[test]
fn leap_years_are_kept() {
    let start = datetime!(2095-06-01 00:00 UTC);
    let yearly = recurrence(Unit::Month { day: 29 }, 12, time!(0:00), "UTC", start);
    // From June on, so every 29th of June.
    assert_eq!(runs(&yearly, start, 1), [datetime!(2095-06-29 00:00 UTC)]);
    let start = datetime!(2095-02-01 00:00 UTC);
    let yearly = recurrence(Unit::Month { day: 29 }, 12, time!(0:00), "UTC", start);
    let days = runs(&yearly, start, 10).into_iter();
    let days: Vec<u8> = days.map(OffsetDateTime::day).collect();
    assert_eq!(days, [28, 29, 28, 28, 28, 28, 28, 28, 28, 29]);
}

/// In spring the run is later by the hour that is left out, in autumn it is at the first
/// of the two times; the days around are as ever.
#[test]
fn clocks_that_change_move_a_run_at_most() {
    let start = datetime!(2027-03-27 00:00 UTC);
    let daily = recurrence(Unit::Day, 1, time!(2:30), "Europe/Berlin", start);
    let spring = [
        datetime!(2027-03-27 01:30 UTC),
        datetime!(2027-03-28 01:30 UTC), // 03:30 there
        datetime!(2027-03-29 00:30 UTC),
    ];
    assert_eq!(runs(&daily, start, 3), spring);
    let autumn = [
        datetime!(2027-10-30 00:30 UTC),
        datetime!(2027-10-31 00:30 UTC), // 02:30 for the first time
        datetime!(2027-11-01 01:30 UTC),
    ];
    let start = datetime!(2027-10-30 00:00 UTC);
    let later = std::iter::successors(daily.next_after(start), |due| daily.next_after(*due));
    assert_eq!(later.take(3).collect::<Vec<_>>(), autumn);
}

/// A day that a zone left out has no run of its own; a monthly one is on the day after.
#[test]
fn a_day_that_was_left_out_is_one_with_the_next() {
    let start = datetime!(2011-12-29 00:00 UTC);
    let daily = recurrence(Unit::Day, 1, time!(9:00), "Pacific/Apia", start);
    let found = runs(&daily, start, 3);
    let expected = [
        datetime!(2011-12-29 19:00 UTC), // 29 December there
        datetime!(2011-12-30 19:00 UTC), // 31 December there
        datetime!(2011-12-31 19:00 UTC),
    ];
    assert_eq!(found, expected);
    let monthly = recurrence(
        Unit::Month { day: 30 },
        1,
        time!(9:00),
        "Pacific/Apia",
        start,
    );
    assert_eq!(runs(&monthly, start, 1), [datetime!(2011-12-30 19:00 UTC)]);
}

/// Weeks are counted on the weekday of the first run, whatever day the start is on.
#[test]
fn weeks_keep_their_weekday() {
    // A Monday, after the time of day.
    let start = datetime!(2027-03-01 10:00 UTC);
    let weekly = recurrence(Unit::Week, 2, time!(9:00), "UTC", start);
    let expected = [
        datetime!(2027-03-02 09:00 UTC),
        datetime!(2027-03-16 09:00 UTC),
    ];
    assert_eq!(runs(&weekly, start, 2), expected);
}

/// Names are those of the IANA database; anything else is no zone.
#[test]
fn zones_have_names() {
    assert_eq!(zone("europe/berlin").name(), "Europe/Berlin");
    for name in ["", "Berlin", "Europe/Atlantis", "+02:00", "../etc/passwd"] {
        assert_eq!(Zone::parse(name), None, "{name}");
    }
}

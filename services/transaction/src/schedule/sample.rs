//! A schedule for the tests of the rules.

use std::time::Duration;

use bursar_aip::id::{ScheduleId, TenantId, UserId, WalletId};
use bursar_money::{Currency, PositiveMoney};
use time::macros::datetime;
use time::{OffsetDateTime, Time};
use uuid::Uuid;

use super::recurrence::{Recurrence, Unit, Zone};
use super::{Failures, MissedRule, MissedRuns, Schedule, State, Timing};

/// So many hours after the first run of [`daily`].
pub(crate) fn at(hours: i64) -> OffsetDateTime {
    datetime!(2027-01-10 00:00 UTC) + time::Duration::hours(hours)
}

/// Every day at midnight, UTC. A run that is more than an hour late is missed and
/// skipped; one that is refused is not tried again; three failures pause it.
pub(crate) fn daily() -> Schedule {
    let zone = Zone::parse("UTC").expect("there is such a zone");
    let recurrence = Recurrence::starting(Unit::Day, 1, Time::MIDNIGHT, zone, at(0));
    let euro = Currency::parse("EUR").expect("there is such a currency");
    let mut schedule = Schedule {
        id: ScheduleId::from_uuid(Uuid::from_u128(1)),
        tenant: TenantId::default(),
        initiator: UserId::from_uuid(Uuid::from_u128(2)),
        tier: 1,
        from: WalletId::from_uuid(Uuid::from_u128(3)),
        to: WalletId::from_uuid(Uuid::from_u128(4)),
        amount: PositiveMoney::new(euro, 100).expect("it is positive"),
        description: String::new(),
        start_at: at(0),
        timing: Timing::Recurring(recurrence.expect("it has a first date")),
        end_at: None,
        max_runs: None,
        missed: MissedRuns {
            rule: MissedRule::Skip,
            after: Duration::from_secs(3600),
            catch_up_limit: 10,
        },
        failures: Failures {
            max_retries: 0,
            retry_interval: Duration::from_secs(3600),
            pause_after: 3,
        },
        state: State::Active,
        next_run_at: None,
        run_count: 0,
        failures_in_a_row: 0,
        created_at: at(-1),
        updated_at: at(-1),
        version: 1,
    };
    schedule.next_run_at = schedule.first_due();
    schedule
}

//! Transactions' ids as an axis of time.
//!
//! Ids are UUIDv7, which start with the milliseconds since 1970, and the indexes have
//! them where they have no `created_at`. An id is chosen before its transaction is
//! recorded: a moment before, and by a schedule's run up to [`OLDEST`] before, for a run
//! keeps its id until its attempt can be made. So a statement cuts the index by ids with
//! this margin and tells by `created_at` what counts.

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// How much older than its transaction's `created_at` an id may be.
const MARGIN: Duration = Duration::DAY;
/// How old an id may be for a transaction to be asked for under it: less than the
/// margin by more than the time in which that is answered, and clocks differ.
pub(crate) const OLDEST: Duration = Duration::hours(20);
/// How much younger an id may be: clocks differ.
const SLACK: Duration = Duration::minutes(1);

/// An id that those of transactions of that time or later are not below.
pub(super) fn first(at: OffsetDateTime) -> Uuid {
    least(at.saturating_sub(MARGIN))
}

/// An id that those of transactions of that time or earlier are below.
pub(super) fn end(at: OffsetDateTime) -> Uuid {
    least(at.saturating_add(SLACK))
}

/// The least id that is made at a time.
pub(super) fn least(at: OffsetDateTime) -> Uuid {
    let milliseconds = (at.unix_timestamp_nanos() / 1_000_000).max(0);
    let milliseconds = u128::try_from(milliseconds).unwrap_or_default();
    Uuid::from_u128(milliseconds << 80)
}

/// How old an id is, from the clock that made it.
pub(crate) fn age(id: Uuid, now: OffsetDateTime) -> Duration {
    let made = Duration::milliseconds(i64::try_from(id.as_u128() >> 80).unwrap_or(i64::MAX));
    (now - OffsetDateTime::UNIX_EPOCH).saturating_sub(made)
}

#[cfg(test)]
mod tests {
    use bursar_server::now;

    use super::*;

    /// An id that was chosen as long ago as may be is within what statements look at,
    /// and its age is told to the millisecond.
    #[test]
    fn an_old_id_is_looked_at() {
        let created_at = now();
        let chosen_at = created_at - OLDEST;
        let id = least(chosen_at);
        assert!(first(created_at) < id && id < end(created_at));
        let difference = age(id, created_at) - OLDEST;
        assert!(difference >= Duration::ZERO && difference < Duration::MILLISECOND);
    }

    /// Ids are those of the clock that makes them.
    #[test]
    fn the_axis_is_that_of_new_ids() {
        let before = now();
        let id = Uuid::now_v7();
        assert!(least(before) <= id && id < end(before));
        assert!(age(id, now()) < Duration::MINUTE);
    }

    /// Times that no clock shows bound nothing and end nothing.
    #[test]
    fn far_times_are_cut_off() {
        assert_eq!(first(OffsetDateTime::UNIX_EPOCH), Uuid::nil());
        let last = time::PrimitiveDateTime::MAX.assume_utc();
        assert!(end(last) > Uuid::now_v7());
    }
}

//! Instants as the contract writes them.

use prost_types::Timestamp;
use time::OffsetDateTime;
use time::macros::datetime;

/// The range of a `google.protobuf.Timestamp`.
const FIRST: OffsetDateTime = datetime!(0001-01-01 00:00 UTC);
const LAST: OffsetDateTime = datetime!(9999-12-31 23:59:59.999999999 UTC);

/// An instant as the contract has it.
pub fn timestamp(instant: OffsetDateTime) -> Timestamp {
    Timestamp {
        seconds: instant.unix_timestamp(),
        nanos: i32::try_from(instant.nanosecond()).expect("a nanosecond is below a billion"),
    }
}

/// The instant of a timestamp; `None` when its fields are none of the years 1 to 9999.
pub fn instant(timestamp: &Timestamp) -> Option<OffsetDateTime> {
    let second = OffsetDateTime::from_unix_timestamp(timestamp.seconds).ok()?;
    let nanosecond = u32::try_from(timestamp.nanos).ok()?;
    let instant = second.replace_nanosecond(nanosecond).ok()?;
    (FIRST..=LAST).contains(&instant).then_some(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written is read as it was, at the ends of the range and before 1970, too.
    #[test]
    fn instants_are_read_as_written() {
        let instants = [
            FIRST,
            datetime!(1969-12-31 23:59:59.25 UTC),
            OffsetDateTime::UNIX_EPOCH,
            LAST,
        ];
        for written in instants {
            assert_eq!(instant(&timestamp(written)), Some(written));
        }
    }

    /// What is no timestamp is no instant.
    #[test]
    fn other_numbers_are_no_instants() {
        let first = FIRST.unix_timestamp();
        let last = LAST.unix_timestamp();
        let wrong = [
            (first - 1, 999_999_999),
            (last + 1, 0),
            (i64::MIN, 0),
            (i64::MAX, 0),
            (0, -1),
            (0, 1_000_000_000),
        ];
        for (seconds, nanos) in wrong {
            assert_eq!(
                instant(&Timestamp { seconds, nanos }),
                None,
                "{seconds} {nanos}"
            );
        }
    }
}

//! A line of the audit trail, and the bytes of it that are hashed.
//!
//! The lines of a tenant form a chain. Each has a position (1, 2, 3, … without
//! a gap) and a hash over itself and the hash of the line before, so that
//! whoever changes, removes or inserts a line must rewrite everything after it.
//!
//! # The encoding
//!
//! The hash of a line is the SHA-256 of these parts, each preceded by its
//! length in bytes as a 64-bit big-endian number, so that no two different
//! lines have the same encoding:
//!
//! | part | bytes |
//! |---|---|
//! | the format | the text `bursar.audit.v1` |
//! | the hash of the line before | 32 bytes, all zero before the first line |
//! | the position | 64-bit big-endian |
//! | tenant | text |
//! | event id | the UUID's 16 bytes |
//! | source, type, subject | text each |
//! | subject version | 64-bit big-endian |
//! | actor, correlation id | text each |
//! | occurred at, recorded at | microseconds since the Unix epoch, 64-bit big-endian each |
//! | data | the JSON text, as stored |
//!
//! Text is UTF-8. PostgreSQL computes the same in `src/invariants.rs`; the
//! tests hold the two against each other. A change of the encoding is a new
//! format name, never an edit of this one.

use bursar_aip::id::TenantId;
use time::OffsetDateTime;
use uuid::Uuid;

/// The name of the encoding, hashed with every line.
const FORMAT: &str = "bursar.audit.v1";

/// A SHA-256.
pub type Hash = [u8; 32];

/// What stands for the hash of the line before the first.
pub const GENESIS: Hash = [0; 32];

/// A line of the audit trail: something that happened in some service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The tenant in which it happened.
    pub tenant: TenantId,
    /// The id of the event that told of it.
    pub event_id: Uuid,
    /// The service that published the event, such as `bursar.transaction`.
    pub source: String,
    /// What happened, such as `transaction.completed`.
    pub kind: String,
    /// The id of what it happened to.
    pub subject: String,
    /// How many events the subject had had, this one included.
    pub subject_version: i64,
    /// Who caused it.
    pub actor: String,
    /// The id that joins all log lines and events of one request.
    pub correlation_id: String,
    /// When it happened, in whole microseconds.
    pub occurred_at: OffsetDateTime,
    /// When this line was written, in whole microseconds.
    pub recorded_at: OffsetDateTime,
    /// The event's data as a JSON object, without personal data.
    pub data: String,
}

/// Where a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The position of the last line; 0 when there is none.
    pub position: i64,
    /// The hash of the last line; [`GENESIS`] when there is none.
    pub hash: Hash,
}

impl Head {
    /// The end of a chain without lines.
    pub const EMPTY: Self = Self {
        position: 0,
        hash: GENESIS,
    };

    /// The bytes to hash for `line`, when it is the next of this chain.
    pub fn encode_next(&self, line: &Line) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512 + line.data.len());
        let mut part = |content: &[u8]| {
            let length = u64::try_from(content.len()).expect("a length fits 64 bits");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(content);
        };
        part(FORMAT.as_bytes());
        part(&self.hash);
        part(&(self.position + 1).to_be_bytes());
        part(line.tenant.as_str().as_bytes());
        part(line.event_id.as_bytes());
        part(line.source.as_bytes());
        part(line.kind.as_bytes());
        part(line.subject.as_bytes());
        part(&line.subject_version.to_be_bytes());
        part(line.actor.as_bytes());
        part(line.correlation_id.as_bytes());
        part(&unix_microseconds(line.occurred_at).to_be_bytes());
        part(&unix_microseconds(line.recorded_at).to_be_bytes());
        part(line.data.as_bytes());
        bytes
    }
}

/// Rounds a time down to whole microseconds, which is what the database keeps.
pub fn to_microseconds(at: OffsetDateTime) -> OffsetDateTime {
    let nanoseconds = at.nanosecond() / 1_000 * 1_000;
    at.replace_nanosecond(nanoseconds)
        .expect("a rounded nanosecond is below a billion")
}

/// Whole microseconds since the Unix epoch.
fn unix_microseconds(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000))
        .expect("the years -9999 to 9999 fit 64 bits of microseconds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use time::Duration;

    fn line() -> Line {
        Line {
            tenant: TenantId::default(),
            event_id: Uuid::from_u128(7),
            source: "bursar.admin".to_owned(),
            kind: "admin.ticket.created".to_owned(),
            subject: "tkt_1".to_owned(),
            subject_version: 1,
            actor: "usr_1".to_owned(),
            correlation_id: "c".to_owned(),
            occurred_at: OffsetDateTime::UNIX_EPOCH,
            recorded_at: OffsetDateTime::UNIX_EPOCH + Duration::SECOND,
            data: "{}".to_owned(),
        }
    }

    /// The encoding is fixed: these are its bytes.
    #[test]
    fn the_encoding_is_what_the_table_says() {
        let bytes = Head::EMPTY.encode_next(&line());
        let mut expected = Vec::new();
        let parts: [&[u8]; 14] = [
            b"bursar.audit.v1",
            &[0; 32],
            &[0, 0, 0, 0, 0, 0, 0, 1],
            b"default",
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
            b"bursar.admin",
            b"admin.ticket.created",
            b"tkt_1",
            &[0, 0, 0, 0, 0, 0, 0, 1],
            b"usr_1",
            b"c",
            &[0; 8],
            &[0, 0, 0, 0, 0, 0x0f, 0x42, 0x40],
            b"{}",
        ];
        for part in parts {
            expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0]);
            expected.push(u8::try_from(part.len()).expect("the parts are short"));
            expected.extend_from_slice(part);
        }
        assert_eq!(bytes, expected);
    }

    /// Every field, the position and the hash before all count.
    #[test]
    fn a_change_of_any_part_changes_the_bytes() {
        let start = line();
        let changed = |change: fn(&mut Line)| {
            let mut line = start.clone();
            change(&mut line);
            Head::EMPTY.encode_next(&line)
        };
        let encodings = HashSet::from([
            Head::EMPTY.encode_next(&start),
            Head {
                position: 1,
                ..Head::EMPTY
            }
            .encode_next(&start),
            Head {
                hash: [1; 32],
                ..Head::EMPTY
            }
            .encode_next(&start),
            changed(|line| line.tenant = "other".parse().expect("a tenant")),
            changed(|line| line.event_id = Uuid::from_u128(8)),
            changed(|line| line.source.push('x')),
            changed(|line| line.kind.push('x')),
            changed(|line| line.subject.push('x')),
            changed(|line| line.subject_version += 1),
            changed(|line| line.actor.push('x')),
            changed(|line| line.correlation_id.push('x')),
            changed(|line| line.occurred_at += Duration::MICROSECOND),
            changed(|line| line.recorded_at += Duration::MICROSECOND),
            changed(|line| line.data.push(' ')),
        ]);
        assert_eq!(encodings.len(), 14);
    }

    proptest! {
        /// What one field loses to its neighbour is seen.
        #[test]
        fn moving_text_between_fields_changes_the_bytes(left in ".{0,20}", right in ".{0,20}", cut in 0_usize..20) {
            let joined = format!("{left}{right}");
            let cut = (0..=joined.len().min(cut)).rev().find(|&at| joined.is_char_boundary(at)).unwrap_or(0);
            let encode = |source: &str, kind: &str| Head::EMPTY.encode_next(&Line {
                source: source.to_owned(),
                kind: kind.to_owned(),
                ..line()
            });
            let same = joined[..cut] == left && joined[cut..] == right;
            prop_assert_eq!(encode(&left, &right) == encode(&joined[..cut], &joined[cut..]), same);
        }

        /// Rounding drops less than a microsecond and is stable, before 1970 too.
        #[test]
        fn rounding_is_down_and_stable(nanoseconds in -10_i128.pow(18)..10_i128.pow(18)) {
            let at = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).expect("in range");
            let rounded = to_microseconds(at);
            prop_assert!(at - rounded < Duration::MICROSECOND && rounded <= at);
            prop_assert_eq!(to_microseconds(rounded), rounded);
        }
    }
}

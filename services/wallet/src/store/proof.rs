//! The ledger's proof: what is to be sealed, blocks, checkpoints, and postings
//! as they are hashed.
//!
//! Lock order: the row of `ledger_sealer` comes first, and whoever seals holds it
//! until it commits. It takes no other row lock that anybody waits for.

pub mod blocks;
pub mod checkpoints;
pub mod postings;
pub mod sealing;

use time::OffsetDateTime;

use super::names::unreadable;

/// Microseconds since 1970, as hashes have them. The database's instants are in
/// microseconds, so nothing is lost.
fn micros(at: OffsetDateTime) -> i64 {
    // The instants that PostgreSQL has are fewer than a bigint of microseconds.
    i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000)).unwrap_or(i64::MAX)
}

/// The instant of [`micros`].
fn instant(micros: i64) -> Result<OffsetDateTime, sqlx::Error> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
        .map_err(|_| unreadable(micros))
}

/// A hash or the like that the database has in a column of bytes.
fn bytes<const N: usize>(stored: &[u8]) -> Result<bursar_proof::HexBytes<N>, sqlx::Error> {
    stored.try_into().map_err(unreadable)
}

/// A count or a height, which is never negative.
fn natural(stored: i64) -> Result<u64, sqlx::Error> {
    u64::try_from(stored).map_err(unreadable)
}

/// A count or a height as the database has it.
fn stored(natural: u64) -> Result<i64, sqlx::Error> {
    i64::try_from(natural).map_err(unreadable)
}

//! The provider's clock.

use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

use crate::domain::Clock;

/// What the clock shows now.
pub(crate) async fn now(conn: &mut PgConnection) -> Result<OffsetDateTime, sqlx::Error> {
    Ok(read(conn).await?.now(bursar_server::now()))
}

/// The name of the lock under which time takes effect.
const TIME_PASSES: i64 = 0x7361_6e64_626f_7801;

/// The clock.
pub(crate) async fn read(conn: &mut PgConnection) -> Result<Clock, sqlx::Error> {
    let row = sqlx::query!("SELECT ahead_us, frozen_at FROM test_clock")
        .fetch_one(conn)
        .await?;
    Ok(Clock {
        ahead: Duration::microseconds(row.ahead_us),
        frozen_at: row.frozen_at,
    })
}

/// The clock, which nobody else changes until the transaction ends.
pub(crate) async fn lock(conn: &mut PgConnection) -> Result<Clock, sqlx::Error> {
    let row = sqlx::query!("SELECT ahead_us, frozen_at FROM test_clock FOR UPDATE")
        .fetch_one(conn)
        .await?;
    Ok(Clock {
        ahead: Duration::microseconds(row.ahead_us),
        frozen_at: row.frozen_at,
    })
}

/// Sets the clock.
pub(crate) async fn write(conn: &mut PgConnection, clock: &Clock) -> Result<(), sqlx::Error> {
    // The bounds of the clock are far within 64 bits of microseconds.
    let ahead_us = i64::try_from(clock.ahead.whole_microseconds()).unwrap_or(i64::MAX);
    sqlx::query!(
        "UPDATE test_clock SET ahead_us = $1, frozen_at = $2",
        ahead_us,
        clock.frozen_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Waits until no other transaction finishes what is due, and keeps others from
/// it until this one ends. It leaves nothing behind, so that a turn without work
/// writes nothing.
pub(crate) async fn finish_alone(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", TIME_PASSES)
        .execute(conn)
        .await?;
    Ok(())
}

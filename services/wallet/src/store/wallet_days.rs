//! A wallet's days and months as lists.

use bursar_aip::id::WalletId;
use sqlx::{PgConnection, query_as, query_scalar};
use time::Date;

/// The sums of a day or a month. A sum beyond 64 bits is the largest `i64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodSums {
    /// The day, or the first day of the month.
    pub start: Date,
    /// What came into available money.
    pub available_in: i64,
    /// What went out of it.
    pub available_out: i64,
    /// What came into held money.
    pub held_in: i64,
    /// What went out of it.
    pub held_out: i64,
    /// What came into bonus money.
    pub bonus_in: i64,
    /// What went out of it.
    pub bonus_out: i64,
    /// How many entries there are.
    pub entries: i64,
}

/// The version up to which a wallet's entries are in its days.
pub async fn projected_version(
    conn: &mut PgConnection,
    wallet: WalletId,
) -> Result<i64, sqlx::Error> {
    query_scalar!(
        r#"SELECT coalesce(max(version), 0) AS "version!"
         FROM projection_cursors WHERE wallet_id = $1"#,
        wallet.uuid(),
    )
    .fetch_one(conn)
    .await
}

/// A wallet's days from one to another, both included, newest first.
pub async fn days(
    conn: &mut PgConnection,
    wallet: WalletId,
    from: Date,
    to: Date,
    limit: i64,
) -> Result<Vec<PeriodSums>, sqlx::Error> {
    query_as!(
        PeriodSums,
        r#"SELECT day AS "start!",
             least(available_in, 9223372036854775807)::bigint AS "available_in!",
             least(available_out, 9223372036854775807)::bigint AS "available_out!",
             least(held_in, 9223372036854775807)::bigint AS "held_in!",
             least(held_out, 9223372036854775807)::bigint AS "held_out!",
             least(bonus_in, 9223372036854775807)::bigint AS "bonus_in!",
             least(bonus_out, 9223372036854775807)::bigint AS "bonus_out!",
             entries AS "entries!"
         FROM wallet_days
         WHERE wallet_id = $1 AND day BETWEEN $2 AND $3
         ORDER BY day DESC
         LIMIT $4"#,
        wallet.uuid(),
        from,
        to,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// A wallet's months whose days are from one day to another, newest first. A
/// month that lies only partly between them has only the sums of that part.
pub async fn months(
    conn: &mut PgConnection,
    wallet: WalletId,
    from: Date,
    to: Date,
    limit: i64,
) -> Result<Vec<PeriodSums>, sqlx::Error> {
    query_as!(
        PeriodSums,
        r#"SELECT date_trunc('month', day::timestamp)::date AS "start!",
             least(sum(available_in), 9223372036854775807)::bigint AS "available_in!",
             least(sum(available_out), 9223372036854775807)::bigint AS "available_out!",
             least(sum(held_in), 9223372036854775807)::bigint AS "held_in!",
             least(sum(held_out), 9223372036854775807)::bigint AS "held_out!",
             least(sum(bonus_in), 9223372036854775807)::bigint AS "bonus_in!",
             least(sum(bonus_out), 9223372036854775807)::bigint AS "bonus_out!",
             sum(entries)::bigint AS "entries!"
         FROM wallet_days
         WHERE wallet_id = $1 AND day BETWEEN $2 AND $3
         GROUP BY 1
         ORDER BY 1 DESC
         LIMIT $4"#,
        wallet.uuid(),
        from,
        to,
        limit,
    )
    .fetch_all(conn)
    .await
}

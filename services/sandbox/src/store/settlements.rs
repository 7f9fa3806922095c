//! What was settled: by day, and in all.

use sqlx::PgConnection;
use time::{Date, OffsetDateTime};

use super::unreadable;
use crate::domain::Kind;

/// A day with something to settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Day {
    /// The day by UTC.
    pub date: Date,
    /// How many movements.
    pub lines: i64,
}

/// What all movements of a kind and currency come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Total {
    /// The ISO 4217 code.
    pub currency: String,
    /// What was done.
    pub kind: Kind,
    /// The sum of the amounts, in minor units.
    pub amount_minor: i128,
    /// The sum of the fees, in minor units.
    pub fee_minor: i128,
}

/// At most `limit` days with something to settle, in order, after a day.
pub(crate) async fn days(
    conn: &mut PgConnection,
    after: Date,
    limit: i64,
) -> Result<Vec<Day>, sqlx::Error> {
    sqlx::query_as!(
        Day,
        r#"SELECT (finished_at AT TIME ZONE 'UTC')::date AS "date!", count(*) AS "lines!"
         FROM movements
         WHERE status = 'succeeded' AND (finished_at AT TIME ZONE 'UTC')::date > $1
         GROUP BY 1
         ORDER BY 1
         LIMIT $2"#,
        after,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// When the first of what is pending will end.
pub(crate) async fn first_awaited(
    conn: &mut PgConnection,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    sqlx::query_scalar!("SELECT min(settle_at) FROM movements WHERE status = 'pending'")
        .fetch_one(conn)
        .await
}

/// What all that succeeded comes to.
pub(crate) async fn totals(conn: &mut PgConnection) -> Result<Vec<Total>, sqlx::Error> {
    // A sum of 64-bit numbers is a numeric, which is read as text.
    let rows = sqlx::query!(
        r#"SELECT currency, kind, sum(amount_minor)::text AS "amount_minor!",
             sum(fee_minor)::text AS "fee_minor!"
         FROM movements
         WHERE status = 'succeeded'
         GROUP BY currency, kind
         ORDER BY currency, kind"#,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let number = |text: &str, column| text.parse().map_err(|_| unreadable(column));
            Ok(Total {
                kind: Kind::parse(&row.kind).ok_or_else(|| unreadable("kind"))?,
                currency: row.currency,
                amount_minor: number(&row.amount_minor, "amount_minor")?,
                fee_minor: number(&row.fee_minor, "fee_minor")?,
            })
        })
        .collect()
}

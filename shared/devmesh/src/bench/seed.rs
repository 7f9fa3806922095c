//! Wallets with money in them, for the load to move.
//!
//! They are a whole ledger: each has an entry by which its money came from a
//! settlement wallet, so that the invariants hold before and after the load.

use anyhow::Context;
use sqlx::{Connection, PgConnection};

/// What each wallet gets, in minor units.
const OPENING_MINOR: i64 = 1_000_000_000;
/// How many wallets one statement opens, so that none runs for minutes.
const CHUNK: u32 = 100_000;
/// How many wallets one posting fills: many, so that postings are few.
const LEGS: i32 = 1_000;

/// The wallet that all the money comes from. Negative as the settlement
/// wallets of the platform are.
const BANK: &str = "INSERT INTO wallets
    (id, tenant_id, system_purpose, system_name, currency, status, available, held, bonus,
     min_available, version, event_version, created_at)
    VALUES ('00000000-0000-4000-8000-000000000001', 'default', 'settlement', 'bench', 'EUR',
        'active', 0, 0, 0, -9223372036854775808, 0, 0, clock_timestamp())
    ON CONFLICT DO NOTHING";

/// `$1` wallets of `$2` each, in postings of `$3` wallets, and the bank's side
/// of each posting.
const WALLETS: &str = "WITH opened AS MATERIALIZED (
        SELECT uuidv7() AS id, n, (n - 1) / $3 + 1 AS posting
        FROM generate_series(1, $1::int) AS n
    ), posting AS MATERIALIZED (
        SELECT posting, uuidv7() AS id, count(*)::bigint * $2 AS total,
            array_agg(opened.id ORDER BY n) AS wallet_ids
        FROM opened GROUP BY posting
    ), bank AS (
        UPDATE wallets
        SET available = available - (SELECT sum(total) FROM posting),
            version = version + (SELECT count(*) FROM posting)
        WHERE id = '00000000-0000-4000-8000-000000000001'
        RETURNING id, version, available
    ), paid AS (
        SELECT posting.id, posting.wallet_ids, bank.id AS bank_id, total,
            bank.version - count(*) OVER () + row_number() OVER (ORDER BY posting) AS version,
            bank.available + sum(total) OVER () - sum(total) OVER (ORDER BY posting)
                AS balance_after
        FROM posting CROSS JOIN bank
    ), wallet_rows AS (
        INSERT INTO wallets (id, tenant_id, owner_user_id, currency, status, available, held,
            bonus, min_available, version, event_version, created_at)
        SELECT id, 'default', uuidv7(), 'EUR', 'active', $2, 0, 0, 0, 1, 0, clock_timestamp()
        FROM opened
    ), posting_rows AS (
        INSERT INTO postings (id, tenant_id, transaction_id, kind, fingerprint, leg_wallet_ids,
            leg_versions, effective_at, recorded_at)
        SELECT id, 'default', uuidv7(), 'deposit', sha256(id::text::bytea),
            bank_id || wallet_ids,
            version || array_fill(1::bigint, ARRAY[cardinality(wallet_ids)]),
            clock_timestamp(), clock_timestamp()
        FROM paid
    )
    INSERT INTO entries (wallet_id, version, posting_id, amount, balance_after, bucket,
        currency, tenant_id)
    SELECT opened.id, 1, posting.id, $2, $2, 'available'::wallet_bucket, 'EUR', 'default'
    FROM opened JOIN posting USING (posting)
    UNION ALL
    SELECT bank_id, version, id, -total, balance_after, 'available', 'EUR', 'default'
    FROM paid";

/// Opens so many wallets as the owner of the tables, and lets PostgreSQL look
/// at them, as it would have long since in production.
pub(super) async fn wallets(owner_url: &str, count: u32) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(owner_url).await?;
    sqlx::query(BANK).execute(&mut connection).await?;
    let mut left = count;
    while left > 0 {
        let chunk = left.min(CHUNK);
        sqlx::query(WALLETS)
            .bind(i32::try_from(chunk)?)
            .bind(OPENING_MINOR)
            .bind(LEGS)
            .execute(&mut connection)
            .await
            .context("the wallets cannot be opened")?;
        left -= chunk;
    }
    for table in ["wallets", "postings", "entries"] {
        let statement = format!("VACUUM (ANALYZE) {table}");
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&mut connection)
            .await?;
    }
    connection.close().await?;
    Ok(())
}

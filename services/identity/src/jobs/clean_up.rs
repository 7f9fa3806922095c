//! Deletes what has expired: refresh tokens, sessions and idempotency keys.
//!
//! Nothing depends on when it runs: what has expired counts for nothing
//! before it is deleted. Rows go in batches, each its own transaction, so that
//! no lock is held for long; several processes share the work.

use std::time::Duration;

use bursar_aip::idempotency;
use bursar_server::{database, now};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::store::{refresh_tokens, sessions};

/// How long a round waits for the next.
const INTERVAL: Duration = Duration::from_secs(300);

/// How many rows one transaction deletes.
const BATCH: i64 = 500;

/// How many batches of each kind a round deletes; what is left is for the next.
const MAX_BATCHES: usize = 200;

/// Runs rounds until the process shall end.
pub(crate) async fn run(pool: PgPool, shutdown: CancellationToken) -> anyhow::Result<()> {
    loop {
        match round(&pool, now()).await {
            Ok(deleted) if deleted > 0 => tracing::info!(deleted, "expired rows are deleted"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the clean-up failed; the next round tries again"),
        }
        if !super::next_round(INTERVAL, &shutdown).await {
            return Ok(());
        }
    }
}

/// What a batch deletes.
#[derive(Clone, Copy)]
enum Expired {
    RefreshTokens,
    Sessions,
    IdempotencyKeys,
}

/// Deletes what expired before `now` and says how many rows went.
async fn round(pool: &PgPool, now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let mut deleted = 0;
    for expired in [
        Expired::RefreshTokens,
        Expired::Sessions,
        Expired::IdempotencyKeys,
    ] {
        for _ in 0..MAX_BATCHES {
            let batch = delete(pool, expired, now).await?;
            deleted += batch;
            if batch < BATCH.unsigned_abs() {
                break;
            }
        }
    }
    Ok(deleted)
}

async fn delete(pool: &PgPool, expired: Expired, now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let mut transaction = database::begin(pool).await?;
    let deleted = match expired {
        Expired::RefreshTokens => {
            refresh_tokens::delete_expired(&mut transaction, now, BATCH).await?
        }
        Expired::Sessions => sessions::delete_expired(&mut transaction, now, BATCH).await?,
        Expired::IdempotencyKeys => {
            idempotency::delete_expired(&mut transaction, now, BATCH).await?
        }
    };
    transaction.commit().await?;
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use bursar_server::now;
    use bursar_testkit::TestDatabase;
    use time::Duration;

    use super::*;

    /// What expired goes, in as many batches as it takes, and nothing else does.
    #[tokio::test]
    async fn only_what_expired_is_deleted() {
        let database = TestDatabase::create(&crate::migrations()).await;
        let now = now();
        for (number, expires_at) in [(1_100, now), (3, now + Duration::SECOND)] {
            fill(&database.pool, number, expires_at).await;
        }
        let deleted = round(&database.pool, now)
            .await
            .expect("the role may delete");
        assert_eq!(deleted, 3 * 1_100);
        for table in ["sessions", "refresh_tokens", "idempotency_keys"] {
            assert_eq!(count(&database.pool, table).await, 3, "{table}");
        }
        assert_eq!(round(&database.pool, now).await.expect("deletes"), 0);
    }

    async fn count(pool: &PgPool, table: &str) -> i64 {
        // The names are the test's own.
        let query = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar(query)
            .fetch_one(pool)
            .await
            .expect("counted")
    }

    /// A user with sessions, each with a token, and as many idempotency keys.
    async fn fill(pool: &PgPool, number: i64, expires_at: OffsetDateTime) {
        for statement in [
            "INSERT INTO users (id, tenant_id, email, display_name, version, created_at)
             VALUES (md5($1::text)::uuid, 'default', $1 || '@example.com', 'x', 1, $2 - interval '7 days')",
            "INSERT INTO sessions (id, tenant_id, user_id, user_agent, version, created_at, last_used_at, expires_at)
             SELECT md5($1 || ' ' || number)::uuid, 'default', md5($1::text)::uuid, '', 1,
                 $2 - interval '7 days', $2 - interval '7 days', $2
             FROM generate_series(1, $1) AS number",
            "INSERT INTO refresh_tokens (id, tenant_id, session_id, token_hash, created_at, expires_at)
             SELECT id, 'default', id, sha256(uuid_send(id)), created_at, expires_at
             FROM sessions
             WHERE user_id = md5($1::text)::uuid AND expires_at = $2",
            "INSERT INTO idempotency_keys (tenant_id, principal, method, key, fingerprint, created_at, expires_at)
             SELECT 'default', $1::text, 'method', number::text, sha256(''), $2 - interval '1 day', $2
             FROM generate_series(1, $1) AS number",
        ] {
            sqlx::query(statement)
                .bind(number)
                .bind(expires_at)
                .execute(pool)
                .await
                .expect(statement);
        }
    }
}

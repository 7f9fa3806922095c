//! What the database knows about one transaction beside its row: for explanations.
//!
//! Each read is one statement by a key or an index, with a bound, and stands alone:
//! where one fails, the others still tell their part.

use bursar_aip::id::{ScheduleId, TenantId, TransactionId};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// The most rows of one part.
const LIMIT: i64 = 200;

/// The idempotency key under which something was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRow {
    pub(crate) method: String,
    /// The first 16 hexadecimal digits of its SHA-256.
    pub(crate) key_hash: String,
    pub(crate) is_answered: bool,
}

/// The key of the request that made one of these, while it is kept. Only the keys
/// of the one who asked are looked at.
#[tracing::instrument(name = "store.explain.key", skip_all)]
pub(crate) async fn key(
    conn: &mut PgConnection,
    tenant: &TenantId,
    principal: &str,
    resources: &[Uuid],
) -> Result<Option<KeyRow>, sqlx::Error> {
    sqlx::query_as!(
        KeyRow,
        r#"SELECT method,
             left(encode(sha256(convert_to(key, 'UTF8')), 'hex'), 16) AS "key_hash!",
             answer_code IS NOT NULL AS "is_answered!"
         FROM idempotency_keys
         WHERE tenant_id = $1 AND principal = $2 AND resource = ANY ($3)
         LIMIT 1"#,
        tenant.as_str(),
        principal,
        resources,
    )
    .fetch_optional(conn)
    .await
}

/// The number of the schedule's run that made a transaction; `None` when none did. A
/// schedule has at most some thousand runs, which are read by its key.
#[tracing::instrument(name = "store.explain.run", skip_all)]
pub(crate) async fn run(
    conn: &mut PgConnection,
    schedule: ScheduleId,
    id: TransactionId,
) -> Result<Option<i32>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT number
         FROM schedule_runs
         WHERE schedule_id = $1 AND $2 = ANY (transaction_ids)
         LIMIT 1",
        schedule.uuid(),
        id.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// A callback that is about a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallbackRow {
    pub(crate) provider: String,
    pub(crate) callback_id: String,
    pub(crate) kind: String,
    pub(crate) received_at: OffsetDateTime,
    pub(crate) matched_at: Option<OffsetDateTime>,
}

/// The callbacks about a transaction, first come first.
#[tracing::instrument(name = "store.explain.callbacks", skip_all)]
pub(crate) async fn callbacks(
    conn: &mut PgConnection,
    id: TransactionId,
) -> Result<Vec<CallbackRow>, sqlx::Error> {
    sqlx::query_as!(
        CallbackRow,
        "SELECT provider, callback_id, kind, received_at, matched_at
         FROM provider_callbacks
         WHERE transaction_id = $1
         ORDER BY received_at, callback_id
         LIMIT $2",
        id.uuid(),
        LIMIT,
    )
    .fetch_all(conn)
    .await
}

/// A refund of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefundRow {
    pub(crate) transaction_id: Uuid,
    pub(crate) state: String,
    pub(crate) currency_code: String,
    pub(crate) amount_minor: i64,
    pub(crate) created_at: OffsetDateTime,
}

/// The refunds of a transaction, in the order in which they were asked for.
#[tracing::instrument(name = "store.explain.refunds", skip_all)]
pub(crate) async fn refunds(
    conn: &mut PgConnection,
    id: TransactionId,
) -> Result<Vec<RefundRow>, sqlx::Error> {
    sqlx::query_as!(
        RefundRow,
        "SELECT transaction_id, state, currency_code, amount_minor, created_at
         FROM transactions
         WHERE original_transaction_id = $1
         ORDER BY transaction_id
         LIMIT $2",
        id.uuid(),
        LIMIT,
    )
    .fetch_all(conn)
    .await
}

/// When a transaction is looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckRow {
    pub(crate) next_check_at: OffsetDateTime,
    pub(crate) attempts: i32,
    pub(crate) lease_until: OffsetDateTime,
}

/// The check of a transaction, or of the bulk transfer that it is under way with.
#[tracing::instrument(name = "store.explain.check", skip_all)]
pub(crate) async fn check(
    conn: &mut PgConnection,
    id: TransactionId,
) -> Result<Option<CheckRow>, sqlx::Error> {
    sqlx::query_as!(
        CheckRow,
        r#"SELECT next_check_at AS "next_check_at!", attempts AS "attempts!",
             lease_until AS "lease_until!"
         FROM transaction_checks
         WHERE transaction_id = $1
         UNION ALL
         SELECT checks.next_check_at, checks.attempts, checks.lease_until
         FROM bulk_transfer_items
         JOIN bulk_transfer_checks AS checks USING (bulk_transfer_id)
         JOIN transactions USING (transaction_id)
         WHERE bulk_transfer_items.transaction_id = $1 AND transactions.state = 'PENDING'
         LIMIT 1"#,
        id.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// A matched line of a provider's settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettledRow {
    pub(crate) file_id: Uuid,
    pub(crate) line: i64,
    pub(crate) provider_reference: String,
    pub(crate) currency_code: String,
    pub(crate) gross_minor: i64,
    pub(crate) fee_minor: i64,
    pub(crate) rule: String,
    pub(crate) matched_at: OffsetDateTime,
}

/// The settlement lines that a transaction was matched with.
#[tracing::instrument(name = "store.explain.settled", skip_all)]
pub(crate) async fn settled(
    conn: &mut PgConnection,
    id: TransactionId,
) -> Result<Vec<SettledRow>, sqlx::Error> {
    sqlx::query_as!(
        SettledRow,
        "SELECT lines.file_id, lines.line, lines.provider_reference, lines.currency_code,
             lines.gross_minor, lines.fee_minor, matches.rule, matches.matched_at
         FROM settlement_match_transactions AS matched
         JOIN settlement_matches AS matches USING (match_id)
         JOIN settlement_lines AS lines ON lines.match_id = matches.match_id
         WHERE matched.transaction_id = $1
         ORDER BY matches.matched_at, lines.file_id, lines.line
         LIMIT $2",
        id.uuid(),
        LIMIT,
    )
    .fetch_all(conn)
    .await
}

/// A break with a provider's settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BreakRow {
    pub(crate) break_id: Uuid,
    pub(crate) reason: String,
    pub(crate) state: String,
    pub(crate) first_seen_at: OffsetDateTime,
}

/// The breaks about a transaction, in the order in which they were first seen.
#[tracing::instrument(name = "store.explain.breaks", skip_all)]
pub(crate) async fn breaks(
    conn: &mut PgConnection,
    id: TransactionId,
) -> Result<Vec<BreakRow>, sqlx::Error> {
    sqlx::query_as!(
        BreakRow,
        "SELECT break_id, reason, state, first_seen_at
         FROM settlement_breaks
         WHERE transaction_id = $1
         ORDER BY break_id
         LIMIT $2",
        id.uuid(),
        LIMIT,
    )
    .fetch_all(conn)
    .await
}

//! What the worker keeps of users.
//!
//! Days are counted up, so each COMPLETED transaction must come once: the worker's
//! inbox sees to that. Payees may come as often as they like.

use bursar_aip::id::{TenantId, UserId, WalletId};
use bursar_money::PositiveMoney;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

/// How many days are deleted by one statement.
const DELETE_BATCH: i64 = 5_000;

/// A payment that is COMPLETED: a transfer or a withdrawal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payment {
    pub(crate) tenant: TenantId,
    pub(crate) user: UserId,
    pub(crate) amount: PositiveMoney,
    /// The wallet that a transfer reached.
    pub(crate) payee: Option<WalletId>,
    pub(crate) completed_at: OffsetDateTime,
}

/// Takes payments in. Rows are locked in the order of their keys.
#[tracing::instrument(name = "store.fraud.record_payments", skip_all)]
pub(crate) async fn record(
    conn: &mut PgConnection,
    payments: &[Payment],
) -> Result<(), sqlx::Error> {
    let tenants: Vec<String> = payments.iter().map(|one| one.tenant.to_string()).collect();
    let users: Vec<Uuid> = payments.iter().map(|one| one.user.uuid()).collect();
    let payees: Vec<Option<Uuid>> = payments
        .iter()
        .map(|one| one.payee.map(WalletId::uuid))
        .collect();
    let ats: Vec<OffsetDateTime> = payments.iter().map(|one| one.completed_at).collect();
    let currencies: Vec<&str> = payments
        .iter()
        .map(|one| one.amount.currency().code())
        .collect();
    let minors: Vec<i64> = payments.iter().map(|one| one.amount.minor()).collect();
    let days: Vec<Date> = ats
        .iter()
        .map(|at| at.to_offset(time::UtcOffset::UTC).date())
        .collect();
    sqlx::query!(
        "INSERT INTO fraud_payees AS known (user_id, wallet_id, tenant_id, first_completed_at)
         SELECT user_id, payee_id, min(tenant_id), min(completed_at)
         FROM UNNEST($1::text[], $2::uuid[], $3::uuid[], $4::timestamptz[])
             AS payment (tenant_id, user_id, payee_id, completed_at)
         WHERE payee_id IS NOT NULL
         GROUP BY user_id, payee_id
         ORDER BY user_id, payee_id
         ON CONFLICT (user_id, wallet_id) DO UPDATE
         SET first_completed_at = excluded.first_completed_at
         WHERE excluded.first_completed_at < known.first_completed_at",
        &tenants,
        &users,
        &payees as &[Option<Uuid>],
        &ats,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO fraud_profile_days AS kept (
             user_id, currency_code, day, tenant_id, payments, sum_minor, max_minor
         )
         SELECT user_id, currency_code, day, min(tenant_id), count(*), sum(minor), max(minor)
         FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::date[], $5::bigint[])
             AS payment (tenant_id, user_id, currency_code, day, minor)
         GROUP BY user_id, currency_code, day
         ORDER BY user_id, currency_code, day
         ON CONFLICT (user_id, currency_code, day) DO UPDATE
         SET payments = kept.payments + excluded.payments,
             sum_minor = kept.sum_minor + excluded.sum_minor,
             max_minor = greatest(kept.max_minor, excluded.max_minor)",
        &tenants,
        &users,
        &currencies as &[&str],
        &days,
        &minors,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes days that nobody looks at any more, at most some thousands; returns how
/// many. What a back-test may reach, 31 days and the 30 before each, is kept, and
/// some more.
#[tracing::instrument(name = "store.fraud.delete_old_days", skip_all)]
pub(crate) async fn delete_old(conn: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "DELETE FROM fraud_profile_days
         WHERE (user_id, currency_code, day) IN (
             SELECT user_id, currency_code, day
             FROM fraud_profile_days
             WHERE day < (clock_timestamp() AT TIME ZONE 'UTC')::date - 400
             LIMIT $1
         )",
        DELETE_BATCH,
    )
    .execute(conn)
    .await?;
    Ok(deleted.rows_affected())
}

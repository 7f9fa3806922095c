//! The bank accounts that users are paid out to, as they are kept: sealed.

use bursar_aip::id::{PayoutAccountId, TenantId, UserId};
use bursar_money::Currency;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::unreadable;
use crate::domain::ProviderName;

/// A row of the table.
pub(crate) struct SealedAccount {
    /// The id.
    pub(crate) id: PayoutAccountId,
    /// The tenant it belongs to.
    pub(crate) tenant: TenantId,
    /// Whose it is.
    pub(crate) user: UserId,
    /// Who pays to it.
    pub(crate) provider: ProviderName,
    /// Its currency.
    pub(crate) currency: Currency,
    /// The bank's code.
    pub(crate) sort_code: String,
    /// Number and name.
    pub(crate) sealed: Vec<u8>,
    /// When it was registered.
    pub(crate) created_at: OffsetDateTime,
    /// When it was archived.
    pub(crate) archived_at: Option<OffsetDateTime>,
}

struct Row {
    payout_account_id: Uuid,
    tenant_id: String,
    user_id: Uuid,
    provider: String,
    currency_code: String,
    sort_code: String,
    sealed: Vec<u8>,
    created_at: OffsetDateTime,
    archived_at: Option<OffsetDateTime>,
}

impl TryFrom<Row> for SealedAccount {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: PayoutAccountId::from_uuid(row.payout_account_id),
            tenant: row.tenant_id.parse().map_err(|_| unreadable("tenant_id"))?,
            user: UserId::from_uuid(row.user_id),
            provider: row.provider.parse().map_err(|_| unreadable("provider"))?,
            currency: Currency::parse(&row.currency_code)
                .map_err(|_| unreadable("currency_code"))?,
            sort_code: row.sort_code,
            sealed: row.sealed,
            created_at: row.created_at,
            archived_at: row.archived_at,
        })
    }
}

/// Records a new account.
#[tracing::instrument(name = "store.payout_accounts.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    account: &SealedAccount,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO payout_accounts (
             payout_account_id, tenant_id, user_id, provider, currency_code, sort_code, sealed,
             created_at, archived_at
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        account.id.uuid(),
        account.tenant.as_str(),
        account.user.uuid(),
        account.provider.as_str(),
        account.currency.code(),
        account.sort_code,
        account.sealed,
        account.created_at,
        account.archived_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many accounts of a user's are not archived. Whoever counts makes others of the
/// same user wait until its database transaction ends, so that the count holds until
/// then.
#[tracing::instrument(name = "store.payout_accounts.count", skip_all)]
pub(crate) async fn count(
    conn: &mut PgConnection,
    tenant: &TenantId,
    user: UserId,
) -> Result<i64, sqlx::Error> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended('payout accounts of ' || $1::text, 0))",
        user.to_string(),
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!"
         FROM payout_accounts
         WHERE user_id = $1 AND tenant_id = $2 AND archived_at IS NULL"#,
        user.uuid(),
        tenant.as_str(),
    )
    .fetch_one(conn)
    .await
}

/// The account of an id.
#[tracing::instrument(name = "store.payout_accounts.find", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    id: PayoutAccountId,
) -> Result<Option<SealedAccount>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT payout_account_id, tenant_id, user_id, provider, currency_code, sort_code, sealed,
             created_at, archived_at
         FROM payout_accounts
         WHERE payout_account_id = $1",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?
    .map(SealedAccount::try_from)
    .transpose()
}

/// A page of a tenant's accounts that are not archived, a user's or everybody's, newest
/// first, behind an id.
#[tracing::instrument(name = "store.payout_accounts.list", skip_all)]
pub(crate) async fn list(
    conn: &mut PgConnection,
    tenant: &TenantId,
    user: Option<UserId>,
    before: Option<PayoutAccountId>,
    limit: i64,
) -> Result<Vec<SealedAccount>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT payout_account_id, tenant_id, user_id, provider, currency_code, sort_code, sealed,
             created_at, archived_at
         FROM payout_accounts
         WHERE tenant_id = $1
           AND ($2::uuid IS NULL OR user_id = $2)
           AND ($3::uuid IS NULL OR payout_account_id < $3)
           AND archived_at IS NULL
         ORDER BY payout_account_id DESC
         LIMIT $4",
        tenant.as_str(),
        user.map(UserId::uuid),
        before.map(PayoutAccountId::uuid),
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(SealedAccount::try_from)
    .collect()
}

/// Archives an account; false when it is archived already. Whoever comes second waits
/// for the first, and is told so.
#[tracing::instrument(name = "store.payout_accounts.archive", skip_all)]
pub(crate) async fn archive(
    conn: &mut PgConnection,
    id: PayoutAccountId,
    at: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let archived = sqlx::query!(
        "UPDATE payout_accounts
         SET archived_at = $2
         WHERE payout_account_id = $1 AND archived_at IS NULL",
        id.uuid(),
        at,
    )
    .execute(conn)
    .await?;
    Ok(archived.rows_affected() == 1)
}

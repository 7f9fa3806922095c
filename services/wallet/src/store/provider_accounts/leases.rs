//! Accounts that are being opened, and the leases on them.
//!
//! A lease says who works on an account; its epoch, which grows with every
//! change of hands, is what every write of a run is bound to. So a run that was
//! overtaken cannot write any more. All times of leases are the database's, and
//! a clock that is wrong somewhere else gives nobody a lease too early.

use std::time::Duration;

use bursar_aip::id::{ProviderAccountId, TenantId, UserId, WalletId};
use bursar_money::Currency;
use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, query, query_as, query_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use super::super::names::unreadable;
use super::{currency, provider, tenant};
use crate::domain::provider_account::{Failure, Progress, ProviderName};

/// The word and the code of a failure.
fn told(failure: &Failure) -> (&'static str, Option<&str>) {
    match failure {
        Failure::Declined { code } => ("declined", Some(code)),
        Failure::AlreadyRegistered => ("already_registered", None),
        Failure::Unavailable => ("unavailable", None),
    }
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}

/// A pending account whose lease is ours.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The account.
    pub id: ProviderAccountId,
    /// The change of hands under which the lease was got.
    pub epoch: i64,
    /// The tenant.
    pub tenant: TenantId,
    /// The wallet.
    pub wallet: WalletId,
    /// The wallet's owner.
    pub owner: UserId,
    /// The provider.
    pub provider: ProviderName,
    /// The wallet's currency.
    pub currency: Currency,
    /// Who holds it, encrypted.
    pub holder_sealed: Vec<u8>,
    /// What was done for it.
    pub progress: Progress,
    /// What joins it with the request that began it.
    pub correlation_id: String,
}

struct ClaimedRow {
    id: Uuid,
    lease_epoch: i64,
    tenant_id: String,
    wallet_id: Uuid,
    owner_user_id: Uuid,
    provider: String,
    currency: String,
    holder_sealed: Option<Vec<u8>>,
    attempts: i32,
    age_ms: i64,
    sent_ago_ms: Option<i64>,
    correlation_id: String,
}

impl TryFrom<ClaimedRow> for Claimed {
    type Error = sqlx::Error;

    fn try_from(row: ClaimedRow) -> Result<Self, sqlx::Error> {
        // A clock that was set back makes ages negative: count them as none.
        let ago = |millis: i64| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
        Ok(Self {
            id: ProviderAccountId::from_uuid(row.id),
            epoch: row.lease_epoch,
            tenant: tenant(&row.tenant_id)?,
            wallet: WalletId::from_uuid(row.wallet_id),
            owner: UserId::from_uuid(row.owner_user_id),
            provider: provider(&row.provider)?,
            currency: currency(&row.currency)?,
            holder_sealed: row.holder_sealed.ok_or(sqlx::Error::RowNotFound)?,
            progress: Progress {
                attempts: u32::try_from(row.attempts).map_err(|_| unreadable(row.attempts))?,
                sent_ago: row.sent_ago_ms.map(ago),
                age: ago(row.age_ms),
            },
            correlation_id: row.correlation_id,
        })
    }
}

/// Takes the leases of at most `limit` accounts at a provider that are due.
pub async fn take_due(
    conn: &mut PgConnection,
    provider: ProviderName,
    lease: Duration,
    limit: i64,
) -> Result<Vec<Claimed>, sqlx::Error> {
    query_as!(
        ClaimedRow,
        r#"UPDATE provider_accounts
         SET lease_epoch = lease_epoch + 1, attempts = least(attempts, 1000000) + 1,
             lease_until = clock_timestamp() + $2, next_check_at = clock_timestamp() + $2
         WHERE id IN (
             SELECT id
             FROM provider_accounts
             WHERE provider = $1 AND next_check_at <= clock_timestamp()
               AND lease_until <= clock_timestamp()
             ORDER BY next_check_at
             LIMIT $3
             FOR UPDATE SKIP LOCKED
         )
         RETURNING id, lease_epoch, tenant_id, wallet_id, owner_user_id, provider, currency,
             holder_sealed, attempts, correlation_id,
             (extract(epoch FROM clock_timestamp() - created_at) * 1000)::bigint AS "age_ms!",
             CASE WHEN requests > 0
                  THEN (extract(epoch FROM clock_timestamp() - requested_at) * 1000)::bigint
             END AS sent_ago_ms"#,
        provider.name(),
        interval(lease),
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Claimed::try_from)
    .collect()
}

/// Notes that the provider is about to be sent a request, if the lease is still
/// ours; false when it is not.
pub async fn note_request(conn: &mut PgConnection, claimed: &Claimed) -> Result<bool, sqlx::Error> {
    let noted = query!(
        "UPDATE provider_accounts
         SET requests = requests + 1, requested_at = clock_timestamp()
         WHERE id = $1 AND lease_epoch = $2 AND status = 'pending'",
        claimed.id.uuid(),
        claimed.epoch,
    )
    .execute(conn)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// Takes the note back of a request that was not sent, if the lease is still
/// ours. The time stays: of an earlier request, it errs on the side of waiting.
pub async fn forget_request(
    conn: &mut PgConnection,
    claimed: &Claimed,
) -> Result<bool, sqlx::Error> {
    let forgotten = query!(
        "UPDATE provider_accounts
         SET requests = requests - 1
         WHERE id = $1 AND lease_epoch = $2 AND status = 'pending' AND requests > 0",
        claimed.id.uuid(),
        claimed.epoch,
    )
    .execute(conn)
    .await?;
    Ok(forgotten.rows_affected() == 1)
}

/// Gives the lease back and sets the next check, if it is still ours; false when
/// it is not.
pub async fn release(
    conn: &mut PgConnection,
    claimed: &Claimed,
    next_check_in: Duration,
) -> Result<bool, sqlx::Error> {
    let released = query!(
        "UPDATE provider_accounts
         SET lease_until = clock_timestamp(), next_check_at = clock_timestamp() + $3
         WHERE id = $1 AND lease_epoch = $2 AND status = 'pending'",
        claimed.id.uuid(),
        claimed.epoch,
        interval(next_check_in),
    )
    .execute(conn)
    .await?;
    Ok(released.rows_affected() == 1)
}

/// What is stored of an account that was opened.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// Number and name, encrypted.
    pub sealed: &'a [u8],
    /// The keyed hash of the number.
    pub digest: &'a [u8],
    /// The bank's name.
    pub bank_name: &'a str,
    /// The bank's code.
    pub bank_code: &'a str,
}

/// The unique index by which a number belongs to one wallet.
pub const NUMBER_TAKEN: &str = "provider_accounts_number";

/// Records an opened account and forgets its holder, if the lease is still ours;
/// when it was opened, or `None` when the lease is not. Fails by
/// [`NUMBER_TAKEN`] when the number is another wallet's.
pub async fn activate(
    conn: &mut PgConnection,
    claimed: &Claimed,
    opened: Opened<'_>,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    query_scalar!(
        r#"UPDATE provider_accounts
         SET status = 'active', account_sealed = $3, account_digest = $4, bank_name = $5,
             bank_code = $6, holder_sealed = NULL, next_check_at = NULL,
             finished_at = clock_timestamp(), lease_until = clock_timestamp()
         WHERE id = $1 AND lease_epoch = $2 AND status = 'pending'
         RETURNING finished_at AS "finished_at!""#,
        claimed.id.uuid(),
        claimed.epoch,
        opened.sealed,
        opened.digest,
        opened.bank_name,
        opened.bank_code,
    )
    .fetch_optional(conn)
    .await
}

/// Records that an account is not opened and forgets its holder, if the lease is
/// still ours; when that was, or `None` when the lease is not.
pub async fn fail(
    conn: &mut PgConnection,
    claimed: &Claimed,
    failure: &Failure,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    let (word, code) = told(failure);
    query_scalar!(
        r#"UPDATE provider_accounts
         SET status = 'failed', failure = $3, decline_code = $4, holder_sealed = NULL,
             next_check_at = NULL, finished_at = clock_timestamp(),
             lease_until = clock_timestamp()
         WHERE id = $1 AND lease_epoch = $2 AND status = 'pending'
         RETURNING finished_at AS "finished_at!""#,
        claimed.id.uuid(),
        claimed.epoch,
        word,
        code,
    )
    .fetch_optional(conn)
    .await
}

/// The version of the next event of a wallet. It locks the wallet's row, as all
/// who write events of the wallet do.
pub async fn next_event_version(
    conn: &mut PgConnection,
    wallet: WalletId,
) -> Result<i64, sqlx::Error> {
    query_scalar!(
        "UPDATE wallets SET event_version = event_version + 1 WHERE id = $1
         RETURNING event_version",
        wallet.uuid(),
    )
    .fetch_one(conn)
    .await
}

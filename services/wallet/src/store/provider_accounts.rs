//! Accounts at providers; [`leases`] has those that are being opened.

pub mod leases;

use bursar_aip::id::{ProviderAccountId, TenantId, UserId, WalletId};
use bursar_money::Currency;
use sqlx::{PgConnection, query, query_as, query_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use super::names::unreadable;
use crate::domain::provider_account::{Failure, ProviderAccount, ProviderName, State};

/// An account, with what is encrypted of it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The account.
    pub account: ProviderAccount,
    /// Number and name of an active one, encrypted.
    pub sealed: Option<Vec<u8>>,
}

struct Row {
    id: Uuid,
    tenant_id: String,
    wallet_id: Uuid,
    owner_user_id: Uuid,
    provider: String,
    currency: String,
    status: String,
    failure: Option<String>,
    decline_code: Option<String>,
    account_sealed: Option<Vec<u8>>,
    bank_name: Option<String>,
    bank_code: Option<String>,
    created_at: OffsetDateTime,
    finished_at: Option<OffsetDateTime>,
}

impl Row {
    fn state(&self) -> Result<State, sqlx::Error> {
        let broken = || unreadable(&self.status);
        Ok(match (self.status.as_str(), self.finished_at) {
            ("pending", None) => State::Pending,
            ("active", Some(at)) => State::Active {
                bank_name: self.bank_name.clone().ok_or_else(broken)?,
                bank_code: self.bank_code.clone().ok_or_else(broken)?,
                at,
            },
            ("failed", Some(at)) => State::Failed {
                failure: failure(self.failure.as_deref(), self.decline_code.as_deref())?,
                at,
            },
            _ => return Err(broken()),
        })
    }
}

impl TryFrom<Row> for Stored {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            account: ProviderAccount {
                id: ProviderAccountId::from_uuid(row.id),
                state: row.state()?,
                tenant: tenant(&row.tenant_id)?,
                wallet: WalletId::from_uuid(row.wallet_id),
                owner: UserId::from_uuid(row.owner_user_id),
                provider: provider(&row.provider)?,
                currency: currency(&row.currency)?,
                created_at: row.created_at,
            },
            sealed: row.account_sealed,
        })
    }
}

fn tenant(text: &str) -> Result<TenantId, sqlx::Error> {
    text.parse().map_err(|_| unreadable(text))
}

fn provider(name: &str) -> Result<ProviderName, sqlx::Error> {
    ProviderName::parse(name).ok_or_else(|| unreadable(name))
}

fn currency(code: &str) -> Result<Currency, sqlx::Error> {
    Currency::parse(code).map_err(|_| unreadable(code))
}

fn failure(word: Option<&str>, code: Option<&str>) -> Result<Failure, sqlx::Error> {
    match (word, code) {
        (Some("declined"), Some(code)) => Ok(Failure::Declined {
            code: code.to_owned(),
        }),
        (Some("already_registered"), None) => Ok(Failure::AlreadyRegistered),
        (Some("unavailable"), None) => Ok(Failure::Unavailable),
        (other, _) => Err(unreadable(other.unwrap_or_default())),
    }
}

/// An account that is to be opened.
#[derive(Clone, Debug)]
pub struct NewAccount<'a> {
    /// Its id.
    pub id: ProviderAccountId,
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The wallet.
    pub wallet: WalletId,
    /// The wallet's owner.
    pub owner: UserId,
    /// The provider.
    pub provider: ProviderName,
    /// The wallet's currency.
    pub currency: Currency,
    /// Who holds it, encrypted.
    pub holder_sealed: &'a [u8],
    /// What joins its opening with the request.
    pub correlation_id: &'a str,
}

/// Records an account that is to be opened, at once due; `None` when the wallet
/// has one at the provider already. Waits while another transaction records one.
pub async fn insert(
    conn: &mut PgConnection,
    new: &NewAccount<'_>,
) -> Result<Option<ProviderAccount>, sqlx::Error> {
    let created_at = query_scalar!(
        "INSERT INTO provider_accounts
             (id, tenant_id, wallet_id, owner_user_id, provider, currency, status, holder_sealed,
              created_at, next_check_at, correlation_id)
         VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, clock_timestamp(), clock_timestamp(), $8)
         ON CONFLICT (wallet_id, provider) WHERE status <> 'failed' DO NOTHING
         RETURNING created_at",
        new.id.uuid(),
        new.tenant.as_str(),
        new.wallet.uuid(),
        new.owner.uuid(),
        new.provider.name(),
        new.currency.code(),
        new.holder_sealed,
        new.correlation_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(created_at.map(|created_at| ProviderAccount {
        id: new.id,
        tenant: new.tenant.clone(),
        wallet: new.wallet,
        owner: new.owner,
        provider: new.provider,
        currency: new.currency,
        state: State::Pending,
        created_at,
    }))
}

/// The account of a wallet at a provider that is pending or active.
pub async fn find_live(
    conn: &mut PgConnection,
    wallet: WalletId,
    provider: ProviderName,
) -> Result<Option<ProviderAccountId>, sqlx::Error> {
    let id = query_scalar!(
        "SELECT id FROM provider_accounts
         WHERE wallet_id = $1 AND provider = $2 AND status <> 'failed'",
        wallet.uuid(),
        provider.name(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(ProviderAccountId::from_uuid))
}

/// An account of the tenant. With `owner`, only if its wallet is that user's.
pub async fn find(
    conn: &mut PgConnection,
    tenant: &TenantId,
    id: ProviderAccountId,
    owner: Option<UserId>,
) -> Result<Option<Stored>, sqlx::Error> {
    query_as!(
        Row,
        "SELECT id, tenant_id, wallet_id, owner_user_id, provider, currency, status, failure,
             decline_code, account_sealed, bank_name, bank_code, created_at, finished_at
         FROM provider_accounts
         WHERE id = $1 AND tenant_id = $2 AND ($3::uuid IS NULL OR owner_user_id = $3)",
        id.uuid(),
        tenant.as_str(),
        owner.map(UserId::uuid),
    )
    .fetch_optional(conn)
    .await?
    .map(Stored::try_from)
    .transpose()
}

/// At most `limit` accounts of a wallet, newest first, older than `before`.
pub async fn list(
    conn: &mut PgConnection,
    wallet: WalletId,
    before: Option<ProviderAccountId>,
    limit: i64,
) -> Result<Vec<Stored>, sqlx::Error> {
    query_as!(
        Row,
        "SELECT id, tenant_id, wallet_id, owner_user_id, provider, currency, status, failure,
             decline_code, account_sealed, bank_name, bank_code, created_at, finished_at
         FROM provider_accounts
         WHERE wallet_id = $1 AND ($2::uuid IS NULL OR id < $2)
         ORDER BY id DESC
         LIMIT $3",
        wallet.uuid(),
        before.map(ProviderAccountId::uuid),
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Stored::try_from)
    .collect()
}

/// How many accounts at a provider are pending, and for how many seconds the
/// oldest has been.
pub async fn pending(
    conn: &mut PgConnection,
    provider: ProviderName,
) -> Result<(i64, i64), sqlx::Error> {
    let row = query!(
        r#"SELECT count(*) AS "count!",
             coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::bigint
                 AS "oldest_seconds!"
         FROM provider_accounts
         WHERE provider = $1 AND next_check_at IS NOT NULL"#,
        provider.name(),
    )
    .fetch_one(conn)
    .await?;
    Ok((row.count, row.oldest_seconds))
}

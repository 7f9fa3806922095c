//! The table of states: the fold of each transaction's events.

use bursar_aip::id::{HoldId, TenantId, TransactionId, UserId, WalletId};
use bursar_money::{Currency, PositiveMoney};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::unreadable;
use crate::domain::{Failure, FailureReason, Movement, MovementKind, State, Transaction};

/// A transaction with what is no part of its fold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The fold.
    pub(crate) transaction: Transaction,
    /// The tenant it belongs to.
    pub(crate) tenant: TenantId,
    /// The initiator's note.
    pub(crate) description: String,
}

/// A row of the table.
pub(super) struct Row {
    pub(super) transaction_id: Uuid,
    pub(super) tenant_id: String,
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) currency_code: String,
    pub(super) amount_minor: i64,
    pub(super) from_wallet_id: Option<Uuid>,
    pub(super) to_wallet_id: Option<Uuid>,
    pub(super) provider: Option<String>,
    pub(super) initiator_user_id: Uuid,
    pub(super) description: String,
    pub(super) hold_id: Option<Uuid>,
    pub(super) provider_requests: i32,
    pub(super) provider_requested_at: Option<OffsetDateTime>,
    pub(super) provider_reference: Option<String>,
    pub(super) decline_code: Option<String>,
    pub(super) unknown_since: Option<OffsetDateTime>,
    pub(super) failure_reason: Option<String>,
    pub(super) failure_message: Option<String>,
    pub(super) review_cause: Option<String>,
    pub(super) beneficiary_user_id: Option<Uuid>,
    pub(super) posted_at: Option<OffsetDateTime>,
    pub(super) created_at: OffsetDateTime,
    pub(super) updated_at: OffsetDateTime,
    pub(super) version: i64,
}

impl Row {
    fn movement(&self) -> Option<Movement> {
        let from = self.from_wallet_id.map(WalletId::from_uuid);
        let to = self.to_wallet_id.map(WalletId::from_uuid);
        let provider = || self.provider.as_ref()?.parse().ok();
        Some(match MovementKind::parse(&self.kind)? {
            MovementKind::Transfer => Movement::Transfer {
                from: from?,
                to: to?,
            },
            MovementKind::Deposit => Movement::Deposit {
                to: to?,
                provider: provider()?,
            },
            MovementKind::Withdrawal => Movement::Withdrawal {
                from: from?,
                provider: provider()?,
            },
        })
    }

    fn amount(&self) -> Option<PositiveMoney> {
        let currency = Currency::parse(&self.currency_code).ok()?;
        PositiveMoney::new(currency, self.amount_minor).ok()
    }

    fn failure(&self) -> Result<Option<Failure>, sqlx::Error> {
        let (Some(reason), Some(message)) = (&self.failure_reason, &self.failure_message) else {
            return Ok(None);
        };
        Ok(Some(Failure {
            reason: FailureReason::parse(reason).ok_or_else(|| unreadable("failure_reason"))?,
            message: message.clone(),
        }))
    }
}

impl TryFrom<Row> for Stored {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let transaction = Transaction {
            id: TransactionId::from_uuid(row.transaction_id),
            movement: row.movement().ok_or_else(|| unreadable("kind"))?,
            amount: row.amount().ok_or_else(|| unreadable("amount_minor"))?,
            initiator: UserId::from_uuid(row.initiator_user_id),
            state: State::parse(&row.state).ok_or_else(|| unreadable("state"))?,
            hold: row.hold_id.map(HoldId::from_uuid),
            provider_requests: u32::try_from(row.provider_requests)
                .map_err(|_| unreadable("provider_requests"))?,
            failure: row.failure()?,
            provider_requested_at: row.provider_requested_at,
            provider_reference: row.provider_reference,
            decline_code: row.decline_code,
            unknown_since: row.unknown_since,
            review_cause: row.review_cause,
            beneficiary: row.beneficiary_user_id.map(UserId::from_uuid),
            posted_at: row.posted_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        };
        Ok(Self {
            transaction,
            tenant: row.tenant_id.parse().map_err(|_| unreadable("tenant_id"))?,
            description: row.description,
        })
    }
}

/// Records a new transaction.
#[tracing::instrument(name = "store.transactions.insert", skip_all)]
pub(crate) async fn insert(conn: &mut PgConnection, stored: &Stored) -> Result<(), sqlx::Error> {
    let transaction = &stored.transaction;
    let movement = &transaction.movement;
    sqlx::query!(
        "INSERT INTO transactions (
             transaction_id, tenant_id, kind, state, currency_code, amount_minor, from_wallet_id,
             to_wallet_id, provider, initiator_user_id, description, provider_requests,
             provider_requested_at, created_at, updated_at, version
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        transaction.id.uuid(),
        stored.tenant.as_str(),
        movement.kind().name(),
        transaction.state.name(),
        transaction.amount.currency().code(),
        transaction.amount.minor(),
        movement.from_wallet().map(WalletId::uuid),
        movement.to_wallet().map(WalletId::uuid),
        movement.provider().map(|provider| provider.as_str()),
        transaction.initiator.uuid(),
        stored.description,
        i32::try_from(transaction.provider_requests).unwrap_or(i32::MAX),
        transaction.provider_requested_at,
        transaction.created_at,
        transaction.updated_at,
        transaction.version,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Turns the row to what later events made of it, if it is still at the
/// version `from`; false when it is not.
#[tracing::instrument(name = "store.transactions.update", skip_all)]
pub(crate) async fn update(
    conn: &mut PgConnection,
    transaction: &Transaction,
    from: i64,
) -> Result<bool, sqlx::Error> {
    let failure = transaction.failure.as_ref();
    let updated = sqlx::query!(
        "UPDATE transactions
         SET state = $3, hold_id = $4, provider_requests = $5, provider_requested_at = $6,
             provider_reference = $7, decline_code = $8, unknown_since = $9, failure_reason = $10,
             failure_message = $11, review_cause = $12, beneficiary_user_id = $13, posted_at = $14,
             updated_at = $15, version = $16
         WHERE transaction_id = $1 AND version = $2",
        transaction.id.uuid(),
        from,
        transaction.state.name(),
        transaction.hold.map(HoldId::uuid),
        i32::try_from(transaction.provider_requests).unwrap_or(i32::MAX),
        transaction.provider_requested_at,
        transaction.provider_reference,
        transaction.decline_code,
        transaction.unknown_since,
        failure.map(|failure| failure.reason.name()),
        failure.map(|failure| failure.message.as_str()),
        transaction.review_cause,
        transaction.beneficiary.map(UserId::uuid),
        transaction.posted_at,
        transaction.updated_at,
        transaction.version,
    )
    .execute(conn)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// The transaction of an id.
#[tracing::instrument(name = "store.transactions.find", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    id: TransactionId,
) -> Result<Option<Stored>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT transaction_id, tenant_id, kind, state, currency_code, amount_minor,
             from_wallet_id, to_wallet_id, provider, initiator_user_id, description, hold_id,
             provider_requests, provider_requested_at, provider_reference, decline_code,
             unknown_since, failure_reason, failure_message, review_cause, beneficiary_user_id,
             posted_at, created_at, updated_at, version
         FROM transactions
         WHERE transaction_id = $1",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?
    .map(Stored::try_from)
    .transpose()
}

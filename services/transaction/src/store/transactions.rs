//! The table of states: the fold of each transaction's events.

pub(super) mod row;

use bursar_aip::id::{
    CampaignId, HoldId, PayoutAccountId, TenantId, TransactionId, UserId, WalletId,
};
use bursar_server::canary;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::events::EventBatch;
use super::prices::PriceColumns;
use crate::domain::{Event, Initiated, Resolution, State, Transaction};
use row::select_rows;

/// A transaction with what is no part of its fold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The fold.
    pub(crate) transaction: Transaction,
    /// The tenant it belongs to.
    pub(crate) tenant: TenantId,
    /// The initiator's note.
    pub(crate) description: String,
    /// The sum of its refunds that have not failed, in minor units.
    pub(crate) refunded_minor: i64,
}

impl Stored {
    /// A transaction that begins, and its first event.
    pub(crate) fn initiate(
        id: TransactionId,
        initiated: Initiated,
        tenant: TenantId,
        description: String,
        at: OffsetDateTime,
    ) -> (Self, Event) {
        let stored = Self {
            transaction: Transaction::initiate(id, initiated.clone(), at),
            tenant,
            description,
            refunded_minor: 0,
        };
        (stored, Event::Initiated(initiated))
    }
}

/// Records a new transaction, whose events go into a batch.
#[tracing::instrument(name = "store.transactions.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    stored: &Stored,
    batch: &EventBatch,
) -> Result<(), sqlx::Error> {
    let transaction = &stored.transaction;
    let movement = &transaction.movement;
    let refund = movement.refund();
    let adjustment = movement.adjustment();
    let price = PriceColumns::from(&transaction.price);
    sqlx::query!(
        "INSERT INTO transactions (
             transaction_id, tenant_id, kind, state, currency_code, amount_minor, from_wallet_id,
             to_wallet_id, provider, initiator_user_id, description, provider_requests,
             provider_requested_at, created_at, updated_at, version, original_transaction_id,
             payer_user_id, covers_shortfall, fee_minor, fee_payer, fee_rule_id,
             converted_currency_code, converted_minor, fx_rate, fx_spread_basis_points, fx_source,
             fx_observed_at, fx_rate_id, payout_account_id, adjustment_reason,
             corrected_transaction_id, campaign_id, event_batches
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31,
             $32, $33, ARRAY[$34::uuid])",
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
        refund.map(|refund| refund.original.uuid()),
        movement.payer().map(UserId::uuid),
        transaction.covers_shortfall(),
        price.fee_minor,
        price.fee_payer,
        price.fee_rule_id,
        price.converted_currency_code,
        price.converted_minor,
        price.fx_rate,
        price.fx_spread_basis_points,
        price.fx_source,
        price.fx_observed_at,
        price.fx_rate_id,
        movement.payout_account().map(PayoutAccountId::uuid),
        adjustment.map(|adjustment| adjustment.reason.name()),
        adjustment.and_then(|adjustment| Some(adjustment.corrects?.uuid())),
        movement.campaign().map(CampaignId::uuid),
        batch.name(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Turns the row to what later events made of it, if it is still at the
/// version `from`; false when it is not. Those events go into a batch. A refund that
/// fails by it gives back what it had reserved of its original.
#[tracing::instrument(name = "store.transactions.update", skip_all)]
pub(crate) async fn update(
    conn: &mut PgConnection,
    transaction: &Transaction,
    from: i64,
    batch: &EventBatch,
) -> Result<bool, sqlx::Error> {
    let failure = transaction.failure.as_ref();
    let updated = sqlx::query!(
        "UPDATE transactions
         SET state = $3, hold_id = $4, provider_requests = $5, provider_requested_at = $6,
             provider_reference = $7, decline_code = $8, unknown_since = $9, failure_reason = $10,
             failure_message = $11, review_cause = $12, beneficiary_user_id = $13, posted_at = $14,
             updated_at = $15, version = $16, share_number = $17, share_wallet_minor = $18,
             stopped_in = $19, resolution = $20, approved_at = $21,
             payment_method = CASE WHEN $22 THEN payment_method END,
             event_batches = event_batches || $23::uuid
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
        i32::try_from(transaction.shares()).unwrap_or(i32::MAX),
        transaction.share.map(|share| share.wallet_minor),
        transaction.stopped_in.map(State::name),
        transaction.resolution.map(Resolution::name),
        transaction.approved_at,
        transaction.may_be_asked(),
        batch.name(),
    )
    .execute(&mut *conn)
    .await?;
    let is_updated = updated.rows_affected() == 1 || canary!("state.version_ignored");
    if is_updated
        && transaction.state == State::Failed
        && let Some(refund) = transaction.movement.refund()
    {
        // FAILED is final and has one version, so this happens once.
        reserve(conn, refund.original, -transaction.amount.minor()).await?;
    }
    Ok(is_updated)
}

/// Changes what is reserved of a transaction for refunds. The row is locked from
/// then on; its constraint lets the sum never exceed the amount.
#[tracing::instrument(name = "store.transactions.reserve", skip_all)]
pub(crate) async fn reserve(
    conn: &mut PgConnection,
    original: TransactionId,
    change_minor: i64,
) -> Result<(), sqlx::Error> {
    let reserved = sqlx::query!(
        "UPDATE transactions SET refunded_minor = refunded_minor + $2 WHERE transaction_id = $1",
        original.uuid(),
        change_minor,
    )
    .execute(conn)
    .await?;
    match reserved.rows_affected() {
        1 => Ok(()),
        _ => Err(sqlx::Error::RowNotFound),
    }
}

/// Locks the row of a transaction, so that what is reserved of it stays as it is.
#[tracing::instrument(name = "store.transactions.lock", skip_all)]
pub(crate) async fn lock(conn: &mut PgConnection, id: TransactionId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT transaction_id FROM transactions WHERE transaction_id = $1 FOR NO KEY UPDATE",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(())
}

/// The transaction of an id.
#[tracing::instrument(name = "store.transactions.find", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    id: TransactionId,
) -> Result<Option<Stored>, sqlx::Error> {
    select_rows!(
        "FROM transactions
         WHERE transaction_id = $1",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?
    .map(Stored::try_from)
    .transpose()
}

/// The transactions of some ids, in any order.
#[tracing::instrument(name = "store.transactions.find_all", skip_all)]
pub(crate) async fn find_all(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<Stored>, sqlx::Error> {
    let rows = select_rows!(
        "FROM transactions
         WHERE transaction_id = ANY ($1)",
        ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Stored::try_from).collect()
}

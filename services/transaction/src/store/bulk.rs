//! Bulk transfers, and which transactions are theirs.

use bursar_aip::id::{BulkTransferId, TenantId, TransactionId, UserId, WalletId};
use bursar_money::{Currency, PositiveMoney};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::prices::PriceColumns;
use super::transactions::Stored;
use super::unreadable;
use crate::bulk::{Bulk, Counts, Item, ItemResult, Mode};
use crate::domain::{Failure, FailureReason, Initiated, Movement, Refusal, State, Transaction};

struct BulkRow {
    bulk_transfer_id: Uuid,
    tenant_id: String,
    mode: String,
    initiator_user_id: Uuid,
    transfer_count: i32,
    completed_count: i32,
    failed_count: i32,
    review_count: i32,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl TryFrom<BulkRow> for Bulk {
    type Error = sqlx::Error;

    fn try_from(row: BulkRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: BulkTransferId::from_uuid(row.bulk_transfer_id),
            tenant: row.tenant_id.parse().map_err(|_| unreadable("tenant_id"))?,
            mode: Mode::parse(&row.mode).ok_or_else(|| unreadable("mode"))?,
            initiator: UserId::from_uuid(row.initiator_user_id),
            transfers: row.transfer_count,
            counts: Counts {
                completed: row.completed_count,
                failed: row.failed_count,
                review: row.review_count,
            },
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Records a new bulk transfer.
#[tracing::instrument(name = "store.bulk.insert", skip_all)]
pub(crate) async fn insert(conn: &mut PgConnection, bulk: &Bulk) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO bulk_transfers (
             bulk_transfer_id, tenant_id, mode, initiator_user_id, transfer_count, created_at,
             updated_at
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        bulk.id.uuid(),
        bulk.tenant.as_str(),
        bulk.mode.name(),
        bulk.initiator.uuid(),
        bulk.transfers,
        bulk.created_at,
        bulk.updated_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records which transactions are a bulk transfer's.
#[tracing::instrument(name = "store.bulk.insert_items", skip_all)]
pub(crate) async fn insert_items(
    conn: &mut PgConnection,
    bulk: &Bulk,
    items: &[Item],
) -> Result<(), sqlx::Error> {
    let positions: Vec<i32> = items.iter().map(|item| item.position).collect();
    let keys: Vec<&str> = items.iter().map(|item| item.key.as_str()).collect();
    let transactions: Vec<Uuid> = items
        .iter()
        .map(|item| item.stored.transaction.id.uuid())
        .collect();
    sqlx::query!(
        "INSERT INTO bulk_transfer_items (
             bulk_transfer_id, position, tenant_id, item_key, transaction_id
         )
         SELECT $1, position, $2, item_key, transaction_id
         FROM UNNEST($3::integer[], $4::text[], $5::uuid[])
             AS new (position, item_key, transaction_id)",
        bulk.id.uuid(),
        bulk.tenant.as_str(),
        &positions,
        &keys as &[&str],
        &transactions,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The bulk transfer of an id.
#[tracing::instrument(name = "store.bulk.find", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    id: BulkTransferId,
) -> Result<Option<Bulk>, sqlx::Error> {
    sqlx::query_as!(
        BulkRow,
        "SELECT bulk_transfer_id, tenant_id, mode, initiator_user_id, transfer_count,
             completed_count, failed_count, review_count, created_at, updated_at
         FROM bulk_transfers
         WHERE bulk_transfer_id = $1",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?
    .map(Bulk::try_from)
    .transpose()
}

/// The bulk transfer that a transaction belongs to.
#[tracing::instrument(name = "store.bulk.of_transaction", skip_all)]
pub(crate) async fn of_transaction(
    conn: &mut PgConnection,
    transaction: TransactionId,
) -> Result<Option<BulkTransferId>, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "SELECT bulk_transfer_id FROM bulk_transfer_items WHERE transaction_id = $1",
        transaction.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.map(BulkTransferId::from_uuid))
}

/// Turns the counts of a bulk transfer.
#[tracing::instrument(name = "store.bulk.count", skip_all)]
pub(crate) async fn count(conn: &mut PgConnection, bulk: &Bulk) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE bulk_transfers
         SET completed_count = $2, failed_count = $3, review_count = $4, updated_at = $5
         WHERE bulk_transfer_id = $1",
        bulk.id.uuid(),
        bulk.counts.completed,
        bulk.counts.failed,
        bulk.counts.review,
        bulk.updated_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes what the ledger refused; no refusal takes an earlier one back.
#[tracing::instrument(name = "store.bulk.note", skip_all)]
pub(crate) async fn note(
    conn: &mut PgConnection,
    bulk: BulkTransferId,
    notes: &[(i32, Option<Refusal>)],
) -> Result<(), sqlx::Error> {
    if notes.is_empty() {
        return Ok(());
    }
    let positions: Vec<i32> = notes.iter().map(|(position, _)| *position).collect();
    let refusals: Vec<Option<String>> = notes
        .iter()
        .map(|(_, refusal)| refusal.map(Refusal::encode))
        .collect();
    sqlx::query!(
        "UPDATE bulk_transfer_items AS items
         SET refusal = new.refusal
         FROM UNNEST($2::integer[], $3::text[]) AS new (position, refusal)
         WHERE items.bulk_transfer_id = $1 AND items.position = new.position",
        bulk.uuid(),
        &positions,
        &refusals as &[Option<String>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The transfers of a bulk transfer that are under way, in order. Each is as its
/// first event made it: the ledger's answer is the only other one that it gets
/// before it is at rest.
#[tracing::instrument(name = "store.bulk.pending", skip_all)]
pub(crate) async fn pending(
    conn: &mut PgConnection,
    bulk: &Bulk,
) -> Result<Vec<Item>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT items.position, items.item_key, items.refusal, transactions.transaction_id,
             transactions.currency_code, transactions.amount_minor,
             transactions.from_wallet_id AS "from_wallet_id!",
             transactions.to_wallet_id AS "to_wallet_id!", transactions.description,
             transactions.created_at, transactions.fee_minor, transactions.fee_payer,
             transactions.fee_rule_id
         FROM bulk_transfer_items AS items
         JOIN transactions USING (transaction_id)
         WHERE items.bulk_transfer_id = $1
           AND transactions.state = 'PENDING' AND transactions.version = 1
         ORDER BY items.position"#,
        bulk.id.uuid(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let currency =
                Currency::parse(&row.currency_code).map_err(|_| unreadable("currency_code"))?;
            // No transfer of a bulk transfer changes its currency.
            let price = PriceColumns {
                fee_minor: row.fee_minor,
                fee_payer: row.fee_payer,
                fee_rule_id: row.fee_rule_id,
                ..PriceColumns::default()
            };
            let initiated = Initiated {
                price: price.read()?,
                movement: Movement::Transfer {
                    from: WalletId::from_uuid(row.from_wallet_id),
                    to: WalletId::from_uuid(row.to_wallet_id),
                },
                amount: PositiveMoney::new(currency, row.amount_minor)
                    .map_err(|_| unreadable("amount_minor"))?,
                initiator: bulk.initiator,
            };
            let id = TransactionId::from_uuid(row.transaction_id);
            Ok(Item {
                position: row.position,
                key: row.item_key,
                stored: Stored {
                    transaction: Transaction::initiate(id, initiated, row.created_at),
                    tenant: bulk.tenant.clone(),
                    description: row.description,
                    refunded_minor: 0,
                },
                refusal: refusal(row.refusal.as_deref())?,
            })
        })
        .collect()
}

/// The results of at most `limit` transfers from a position on, in order.
#[tracing::instrument(name = "store.bulk.results", skip_all)]
pub(crate) async fn results(
    conn: &mut PgConnection,
    tenant: &TenantId,
    bulk: BulkTransferId,
    from_position: i32,
    limit: i64,
) -> Result<Vec<ItemResult>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT items.position, items.item_key, items.refusal, transactions.transaction_id,
             transactions.state, transactions.failure_reason, transactions.failure_message
         FROM bulk_transfer_items AS items
         JOIN transactions USING (transaction_id)
         WHERE items.bulk_transfer_id = $1 AND items.tenant_id = $2 AND items.position >= $3
         ORDER BY items.position
         LIMIT $4",
        bulk.uuid(),
        tenant.as_str(),
        from_position,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let failure = match (row.failure_reason, row.failure_message) {
                (Some(reason), Some(message)) => Some(Failure {
                    reason: FailureReason::parse(&reason)
                        .ok_or_else(|| unreadable("failure_reason"))?,
                    message,
                }),
                (_, _) => None,
            };
            Ok(ItemResult {
                position: row.position,
                key: row.item_key,
                transaction: TransactionId::from_uuid(row.transaction_id),
                state: State::parse(&row.state).ok_or_else(|| unreadable("state"))?,
                failure,
                is_refused: row.refusal.is_some(),
            })
        })
        .collect()
}

fn refusal(text: Option<&str>) -> Result<Option<Refusal>, sqlx::Error> {
    text.map(|text| Refusal::decode(text).ok_or_else(|| unreadable("refusal")))
        .transpose()
}

#[cfg(test)]
mod tests;

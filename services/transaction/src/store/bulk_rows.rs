//! The rows of many transfers in one statement.
//!
//! What is written is what [`super::transactions`] writes of one transaction. A
//! transfer is PENDING with its first event and at rest with its second, so these
//! are all the rows that there are.

use bursar_aip::id::UserId;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::events::EventBatch;
use super::transactions::Stored;
use crate::domain::{Fee, State, Transaction};

/// Records new transfers, whose events go into a batch.
#[tracing::instrument(name = "store.bulk_rows.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    new: &[&Stored],
    batch: &EventBatch,
) -> Result<(), sqlx::Error> {
    if new.is_empty() {
        return Ok(());
    }
    let tenants: Vec<&str> = new.iter().map(|one| one.tenant.as_str()).collect();
    let transactions: Vec<&Transaction> = new.iter().map(|one| &one.transaction).collect();
    let ids: Vec<Uuid> = transactions.iter().map(|one| one.id.uuid()).collect();
    let initiators: Vec<Uuid> = transactions
        .iter()
        .map(|one| one.initiator.uuid())
        .collect();
    let created: Vec<OffsetDateTime> = transactions.iter().map(|one| one.created_at).collect();
    let currencies: Vec<&str> = transactions
        .iter()
        .map(|one| one.amount.currency().code())
        .collect();
    let amounts: Vec<i64> = transactions.iter().map(|one| one.amount.minor()).collect();
    let from: Vec<Option<Uuid>> = transactions
        .iter()
        .map(|one| one.movement.from_wallet().map(|wallet| wallet.uuid()))
        .collect();
    let to: Vec<Option<Uuid>> = transactions
        .iter()
        .map(|one| one.movement.to_wallet().map(|wallet| wallet.uuid()))
        .collect();
    let fees: Vec<Option<Fee>> = transactions.iter().map(|one| one.price.fee).collect();
    let fee_minors: Vec<Option<i64>> = fees.iter().map(|fee| fee.map(|fee| fee.minor)).collect();
    let fee_payers: Vec<Option<&str>> = fees
        .iter()
        .map(|fee| fee.map(|fee| fee.payer.name()))
        .collect();
    let fee_rules: Vec<Option<Uuid>> = fees
        .iter()
        .map(|fee| fee.map(|fee| fee.rule.uuid()))
        .collect();
    let descriptions: Vec<&str> = new.iter().map(|one| one.description.as_str()).collect();
    // The state is that of every transfer after its first event. None of them has a
    // quote, without which no money changes its currency.
    sqlx::query!(
        "INSERT INTO transactions (
             transaction_id, tenant_id, kind, state, currency_code, amount_minor, from_wallet_id,
             to_wallet_id, initiator_user_id, description, created_at, updated_at, version,
             fee_minor, fee_payer, fee_rule_id, event_batches
         )
         SELECT transaction_id, tenant_id, 'transfer', 'PENDING', currency_code, amount_minor,
             from_wallet_id, to_wallet_id, initiator_user_id, description, created_at, created_at,
             1, fee_minor, fee_payer, fee_rule_id, ARRAY[$13::uuid]
         FROM UNNEST($1::text[], $2::uuid[], $3::timestamptz[], $4::uuid[], $5::text[],
                 $6::bigint[], $7::uuid[], $8::uuid[], $9::text[], $10::bigint[], $11::text[],
                 $12::uuid[])
             AS new (tenant_id, initiator_user_id, created_at, transaction_id, currency_code,
                 amount_minor, from_wallet_id, to_wallet_id, description, fee_minor, fee_payer,
                 fee_rule_id)",
        &tenants as &[&str],
        &initiators,
        &created,
        &ids,
        &currencies as &[&str],
        &amounts,
        &from as &[Option<Uuid>],
        &to as &[Option<Uuid>],
        &descriptions as &[&str],
        &fee_minors as &[Option<i64>],
        &fee_payers as &[Option<&str>],
        &fee_rules as &[Option<Uuid>],
        batch.name(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Turns the rows of transfers from their first event to their second, which go into a
/// batch; false, and nothing may be committed, when one of them is not at its first. They
/// are locked in the order of their ids, as everybody does who locks several.
#[tracing::instrument(name = "store.bulk_rows.update", skip_all)]
pub(crate) async fn update(
    conn: &mut PgConnection,
    ended: &[&Transaction],
    batch: &EventBatch,
) -> Result<bool, sqlx::Error> {
    if ended.is_empty() {
        return Ok(true);
    }
    let ids: Vec<Uuid> = ended.iter().map(|one| one.id.uuid()).collect();
    let states: Vec<&str> = ended.iter().map(|one| one.state.name()).collect();
    let reasons: Vec<Option<&str>> = ended
        .iter()
        .map(|one| one.failure.as_ref().map(|failure| failure.reason.name()))
        .collect();
    let messages: Vec<Option<&str>> = ended
        .iter()
        .map(|one| one.failure.as_ref().map(|failure| failure.message.as_str()))
        .collect();
    let causes: Vec<Option<&str>> = ended
        .iter()
        .map(|one| one.review_cause.as_deref())
        .collect();
    let stops: Vec<Option<&str>> = ended
        .iter()
        .map(|one| one.stopped_in.map(State::name))
        .collect();
    let beneficiaries: Vec<Option<Uuid>> = ended
        .iter()
        .map(|one| one.beneficiary.map(UserId::uuid))
        .collect();
    let posted: Vec<Option<OffsetDateTime>> = ended.iter().map(|one| one.posted_at).collect();
    let updated: Vec<OffsetDateTime> = ended.iter().map(|one| one.updated_at).collect();
    let versions: Vec<i64> = ended.iter().map(|one| one.version).collect();
    sqlx::query!(
        "SELECT transaction_id
         FROM transactions
         WHERE transaction_id = ANY ($1)
         ORDER BY transaction_id
         FOR NO KEY UPDATE",
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    let done = sqlx::query!(
        "UPDATE transactions
         SET state = new.state, failure_reason = new.failure_reason,
             failure_message = new.failure_message, review_cause = new.review_cause,
             stopped_in = new.stopped_in, beneficiary_user_id = new.beneficiary_user_id,
             posted_at = new.posted_at, updated_at = new.updated_at, version = new.version,
             event_batches = transactions.event_batches || $11::uuid
         FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                 $7::uuid[], $8::timestamptz[], $9::timestamptz[], $10::bigint[])
             AS new (transaction_id, state, failure_reason, failure_message, review_cause,
                 stopped_in, beneficiary_user_id, posted_at, updated_at, version)
         WHERE transactions.transaction_id = new.transaction_id
           AND transactions.version = new.version - 1",
        &ids,
        &states as &[&str],
        &reasons as &[Option<&str>],
        &messages as &[Option<&str>],
        &causes as &[Option<&str>],
        &stops as &[Option<&str>],
        &beneficiaries as &[Option<Uuid>],
        &posted as &[Option<OffsetDateTime>],
        &updated,
        &versions,
        batch.name(),
    )
    .execute(conn)
    .await?;
    Ok(usize::try_from(done.rows_affected()).is_ok_and(|rows| rows == ended.len()))
}

//! Postings as they are hashed, read from the ledger's rows.
//!
//! Nothing here uses the enums of the domain: a row that was tampered with may
//! have any value, and is to be named rather than to be unreadable.

use std::collections::HashMap;

use bursar_aip::id::{TenantId, UserId};
use bursar_proof::{EntryRecord, PostingRecord};
use sqlx::{PgConnection, query, query_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{bytes, instant};
use crate::domain::posting::PostingId;

/// The postings with these ids in their order; `None` for one that is not there.
/// An entry that is missing or belongs to another posting is left out, whereby
/// the record has another leaf than was sealed.
pub async fn records(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<Option<PostingRecord<'static>>>, sqlx::Error> {
    let rows = query!(
        r#"SELECT postings.id, postings.tenant_id, postings.transaction_id,
             postings.kind::text AS "kind!", postings.hold_id,
             postings.hold_action::text AS hold_action, postings.fingerprint,
             CASE WHEN isfinite(postings.effective_at)
                 THEN (extract(epoch FROM postings.effective_at) * 1000000)::bigint ELSE 0
             END AS "effective_at_us!",
             CASE WHEN isfinite(postings.recorded_at)
                 THEN (extract(epoch FROM postings.recorded_at) * 1000000)::bigint ELSE 0
             END AS "recorded_at_us!",
             entries.wallet_id AS "wallet_id?", entries.version AS "version?",
             entries.bucket::text AS bucket, entries.currency AS "currency?",
             entries.amount AS "amount?", entries.balance_after AS "balance_after?"
         FROM postings
         CROSS JOIN UNNEST(postings.leg_wallet_ids, postings.leg_versions)
             WITH ORDINALITY AS leg (wallet_id, version, place)
         LEFT JOIN entries ON entries.wallet_id = leg.wallet_id
             AND entries.version = leg.version
             AND entries.posting_id = postings.id
         WHERE postings.id = ANY($1)
         ORDER BY postings.id, leg.place"#,
        ids,
    )
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<Uuid, PostingRecord<'static>> = HashMap::with_capacity(ids.len());
    for row in rows {
        let fingerprint = bytes(&row.fingerprint)?;
        let posting = found.entry(row.id).or_insert_with(|| PostingRecord {
            posting_id: row.id,
            tenant: row.tenant_id.into(),
            transaction_id: row.transaction_id,
            kind: row.kind.into(),
            hold_id: row.hold_id,
            hold_action: row.hold_action.map(Into::into),
            fingerprint,
            effective_at_us: row.effective_at_us,
            recorded_at_us: row.recorded_at_us,
            entries: Vec::new(),
        });
        if let (Some(wallet_id), Some(version), Some(bucket), Some(currency)) =
            (row.wallet_id, row.version, row.bucket, row.currency)
        {
            posting.entries.push(EntryRecord {
                wallet_id,
                version,
                bucket: bucket.into(),
                currency: currency.into(),
                amount: row.amount.unwrap_or_default(),
                balance_after: row.balance_after.unwrap_or_default(),
            });
        }
    }
    Ok(ids.iter().map(|id| found.remove(id)).collect())
}

/// When a posting was recorded. `None` if there is none of this id in the
/// tenant, or if `owner` is given and does not own all of its wallets.
pub async fn recorded_at(
    conn: &mut PgConnection,
    tenant: &TenantId,
    posting: PostingId,
    owner: Option<UserId>,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    query_scalar!(
        "SELECT recorded_at
         FROM postings
         WHERE id = $1 AND tenant_id = $2
             AND ($3::uuid IS NULL OR NOT EXISTS (
                 SELECT FROM UNNEST(leg_wallet_ids) AS leg (wallet_id)
                 LEFT JOIN wallets ON wallets.id = leg.wallet_id
                 WHERE wallets.owner_user_id IS DISTINCT FROM $3
             ))",
        posting.uuid(),
        tenant.as_str(),
        owner.map(UserId::uuid),
    )
    .fetch_optional(conn)
    .await
}

/// The postings that are in no block and in no batch that waits for one, the
/// earliest recorded first, as many as `limit`. Those recorded before
/// `sealed_until`, in microseconds, are in blocks.
pub async fn unsealed_from_before(
    conn: &mut PgConnection,
    sealed_until: Option<i64>,
    limit: usize,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let sealed_until = sealed_until.map(instant).transpose()?;
    query_scalar!(
        "SELECT id
         FROM postings
         WHERE ($1::timestamptz IS NULL OR recorded_at >= $1)
             AND NOT EXISTS (
                 SELECT FROM ledger_blocks
                 WHERE last_recorded_at >= $1 AND postings.id = ANY(posting_ids)
             )
             AND NOT EXISTS (
                 SELECT FROM ledger_unsealed WHERE postings.id = ANY(posting_ids)
             )
         ORDER BY recorded_at, id
         LIMIT $2",
        sealed_until,
        i64::try_from(limit).unwrap_or(i64::MAX),
    )
    .fetch_all(conn)
    .await
}

//! Whose turn it is to seal, and what is to be sealed.

use std::time::Duration;

use bursar_proof::{Hash, MAX_BLOCK_POSTINGS};
use sqlx::{PgConnection, query};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{blocks, micros};

/// The right to seal until the transaction ends.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// How often the right went from one process to another.
    pub epoch: i64,
    /// The database's time.
    pub now_us: i64,
    /// Whether there may be postings from before there were blocks.
    pub has_older: bool,
}

/// Takes the turn, or renews it, for `length`; `None` while it is another's or
/// another one is just taking it. Holds the row's lock until the transaction
/// ends, so nobody else can seal before that.
pub async fn take_turn(
    conn: &mut PgConnection,
    holder: Uuid,
    length: Duration,
) -> Result<Option<Turn>, sqlx::Error> {
    let row = query!(
        r#"UPDATE ledger_sealer AS sealer
         SET holder = $1,
             epoch = sealer.epoch + (sealer.holder IS DISTINCT FROM $1)::int,
             expires_at = clock_timestamp() + make_interval(secs => $2)
         FROM (
             SELECT is_only FROM ledger_sealer
             WHERE holder = $1 OR expires_at <= clock_timestamp()
             FOR UPDATE SKIP LOCKED
         ) AS free
         WHERE sealer.is_only = free.is_only
         RETURNING epoch, has_older, clock_timestamp() AS "now!""#,
        holder,
        length.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Turn {
        epoch: row.epoch,
        now_us: micros(row.now),
        has_older: row.has_older,
    }))
}

/// Gives the turn back, so that another process need not wait.
pub async fn release(conn: &mut PgConnection, holder: Uuid) -> Result<(), sqlx::Error> {
    query!(
        "UPDATE ledger_sealer SET holder = NULL, expires_at = '-infinity' WHERE holder = $1",
        holder,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Remembers that no posting is left from before there were blocks.
pub async fn no_older(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    query!("UPDATE ledger_sealer SET has_older = false")
        .execute(conn)
        .await?;
    Ok(())
}

/// Batches of the ledger that are in no block.
#[derive(Debug, Default)]
pub struct Unsealed {
    /// The rows.
    pub rows: Vec<i64>,
    /// Their postings.
    pub postings: Vec<Uuid>,
    /// The leaf of each posting.
    pub leaves: Vec<Hash>,
}

/// The oldest batches that fit into one block together. The order of the rows is
/// that of each wallet's versions: a row's id is drawn under the locks of its
/// wallets.
pub async fn unsealed(conn: &mut PgConnection) -> Result<Unsealed, sqlx::Error> {
    let limit = i64::try_from(MAX_BLOCK_POSTINGS).unwrap_or(i64::MAX);
    let rows = query!(
        "SELECT id, posting_ids, leaf_hashes
         FROM (
             SELECT id, posting_ids, leaf_hashes,
                 sum(cardinality(posting_ids)) OVER (ORDER BY id) AS up_to
             FROM (
                 SELECT id, posting_ids, leaf_hashes
                 FROM ledger_unsealed ORDER BY id LIMIT $1
             ) AS oldest
         ) AS counted
         WHERE up_to <= $1
         ORDER BY id",
        limit,
    )
    .fetch_all(conn)
    .await?;
    let mut unsealed = Unsealed::default();
    for row in rows {
        unsealed.rows.push(row.id);
        unsealed.postings.extend(row.posting_ids);
        unsealed.leaves.extend(blocks::leaves(&row.leaf_hashes)?);
    }
    Ok(unsealed)
}

/// The earliest and the latest recorded time of postings. `None` if one of them
/// is not in the ledger.
pub async fn recorded_span(
    conn: &mut PgConnection,
    postings: &[Uuid],
) -> Result<Option<(i64, i64)>, sqlx::Error> {
    let row = query!(
        r#"SELECT count(*) AS "found!", min(recorded_at) AS first, max(recorded_at) AS last
         FROM postings WHERE id = ANY($1)"#,
        postings,
    )
    .fetch_one(conn)
    .await?;
    let is_whole = usize::try_from(row.found) == Ok(postings.len());
    let times: Option<(OffsetDateTime, OffsetDateTime)> = row.first.zip(row.last);
    Ok(times
        .filter(|_| is_whole)
        .map(|(first, last)| (micros(first), micros(last))))
}

/// Removes batches that are in a block now, and queues their wallets for the
/// projections, a row for each batch and tenant in the order of the batches.
pub async fn remove(conn: &mut PgConnection, rows: &[i64]) -> Result<(), sqlx::Error> {
    query!(
        "WITH removed AS (
             DELETE FROM ledger_unsealed WHERE id = ANY($1) RETURNING id, wallet_ids
         )
         INSERT INTO projection_queue (tenant_id, wallet_ids)
         SELECT wallets.tenant_id, array_agg(wallets.id ORDER BY wallets.id)
         FROM removed
         CROSS JOIN UNNEST(removed.wallet_ids) AS changed (id)
         JOIN wallets ON wallets.id = changed.id
         GROUP BY removed.id, wallets.tenant_id
         ORDER BY removed.id",
        rows,
    )
    .execute(conn)
    .await?;
    Ok(())
}

//! Checkpoints.

use bursar_proof::{Checkpoint, VerifyingKey};
use sqlx::{PgConnection, query, query_as};
use time::OffsetDateTime;

use super::{bytes, instant, micros, natural, stored};
use crate::store::names::unreadable;

/// A checkpoint and the key that verifies it.
#[derive(Debug)]
pub struct Signed {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The public key.
    pub public_key: VerifyingKey,
}

struct CheckpointRow {
    height: i64,
    block_hash: Vec<u8>,
    postings_total: i64,
    signed_at: OffsetDateTime,
    key_id: Vec<u8>,
    public_key: Vec<u8>,
    signature: Vec<u8>,
}

impl TryFrom<CheckpointRow> for Signed {
    type Error = sqlx::Error;

    fn try_from(row: CheckpointRow) -> Result<Self, sqlx::Error> {
        let public_key = bytes(&row.public_key)?;
        Ok(Self {
            checkpoint: Checkpoint {
                height: natural(row.height)?,
                block_hash: bytes(&row.block_hash)?,
                postings_total: natural(row.postings_total)?,
                signed_at_us: micros(row.signed_at),
                key_id: bytes(&row.key_id)?,
                signature: bytes(&row.signature)?,
            },
            public_key: VerifyingKey::try_from(public_key.as_bytes()).map_err(unreadable)?,
        })
    }
}

/// The latest checkpoint.
pub async fn latest(conn: &mut PgConnection) -> Result<Option<Signed>, sqlx::Error> {
    Ok(before(conn, i64::MAX, 1).await?.pop())
}

/// Checkpoints below a height, the highest first.
pub async fn before(
    conn: &mut PgConnection,
    height: i64,
    limit: i64,
) -> Result<Vec<Signed>, sqlx::Error> {
    let rows = query_as!(
        CheckpointRow,
        "SELECT height, block_hash, postings_total, signed_at, key_id, public_key, signature
         FROM ledger_checkpoints
         WHERE height < $1
         ORDER BY height DESC
         LIMIT $2",
        height,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Signed::try_from).collect()
}

/// The first checkpoint at or above a height.
pub async fn first_from(
    conn: &mut PgConnection,
    height: u64,
) -> Result<Option<Signed>, sqlx::Error> {
    let row = query_as!(
        CheckpointRow,
        "SELECT height, block_hash, postings_total, signed_at, key_id, public_key, signature
         FROM ledger_checkpoints
         WHERE height >= $1
         ORDER BY height
         LIMIT 1",
        stored(height)?,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Signed::try_from).transpose()
}

/// The checkpoint of the block of a height.
pub async fn at(conn: &mut PgConnection, height: u64) -> Result<Option<Signed>, sqlx::Error> {
    let first = first_from(conn, height).await?;
    Ok(first.filter(|signed| signed.checkpoint.height == height))
}

/// Writes a checkpoint. Fails on the primary key if there is one of its height.
pub async fn insert(conn: &mut PgConnection, signed: &Signed) -> Result<(), sqlx::Error> {
    let checkpoint = &signed.checkpoint;
    query!(
        "INSERT INTO ledger_checkpoints (height, block_hash, postings_total, signed_at, key_id,
             public_key, signature)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        stored(checkpoint.height)?,
        checkpoint.block_hash.as_bytes(),
        stored(checkpoint.postings_total)?,
        instant(checkpoint.signed_at_us)?,
        checkpoint.key_id.as_bytes(),
        signed.public_key.as_bytes(),
        checkpoint.signature.as_bytes(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

//! Blocks.

use bursar_proof::{Block, Hash};
use sqlx::{PgConnection, query, query_as};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{bytes, instant, micros, natural, stored};
use crate::domain::posting::PostingId;
use crate::store::names::unreadable;

/// A block and what is in it.
#[derive(Debug)]
pub struct Sealed {
    /// The block.
    pub block: Block,
    /// Its postings.
    pub postings: Vec<Uuid>,
    /// The leaf of each posting.
    pub leaves: Vec<Hash>,
}

struct BlockRow {
    height: i64,
    previous_hash: Vec<u8>,
    root: Vec<u8>,
    posting_count: i32,
    postings_total: i64,
    first_recorded_at: OffsetDateTime,
    last_recorded_at: OffsetDateTime,
    sealed_at: OffsetDateTime,
    hash: Vec<u8>,
}

impl TryFrom<BlockRow> for Block {
    type Error = sqlx::Error;

    fn try_from(row: BlockRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            height: natural(row.height)?,
            previous_hash: bytes(&row.previous_hash)?,
            root: bytes(&row.root)?,
            posting_count: u32::try_from(row.posting_count).map_err(unreadable)?,
            postings_total: natural(row.postings_total)?,
            first_recorded_us: micros(row.first_recorded_at),
            last_recorded_us: micros(row.last_recorded_at),
            sealed_at_us: micros(row.sealed_at),
            hash: bytes(&row.hash)?,
        })
    }
}

/// The latest block.
pub async fn latest(conn: &mut PgConnection) -> Result<Option<Block>, sqlx::Error> {
    Ok(before(conn, i64::MAX, 1).await?.pop())
}

/// Blocks below a height, the highest first.
pub async fn before(
    conn: &mut PgConnection,
    height: i64,
    limit: i64,
) -> Result<Vec<Block>, sqlx::Error> {
    let rows = query_as!(
        BlockRow,
        "SELECT height, previous_hash, root, posting_count, postings_total, first_recorded_at,
             last_recorded_at, sealed_at, hash
         FROM ledger_blocks
         WHERE height < $1
         ORDER BY height DESC
         LIMIT $2",
        height,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Block::try_from).collect()
}

/// The blocks from one height to another, the lowest first.
pub async fn between(
    conn: &mut PgConnection,
    first: u64,
    last: u64,
) -> Result<Vec<Block>, sqlx::Error> {
    let rows = query_as!(
        BlockRow,
        "SELECT height, previous_hash, root, posting_count, postings_total, first_recorded_at,
             last_recorded_at, sealed_at, hash
         FROM ledger_blocks
         WHERE height BETWEEN $1 AND $2
         ORDER BY height",
        stored(first)?,
        stored(last)?,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Block::try_from).collect()
}

/// The block of a height with what is in it.
pub async fn at(conn: &mut PgConnection, height: u64) -> Result<Option<Sealed>, sqlx::Error> {
    let row = query!(
        "SELECT height, previous_hash, root, posting_count, postings_total, first_recorded_at,
             last_recorded_at, sealed_at, hash, posting_ids, leaf_hashes
         FROM ledger_blocks
         WHERE height = $1",
        stored(height)?,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let leaves = leaves(&row.leaf_hashes)?;
    let block = BlockRow {
        height: row.height,
        previous_hash: row.previous_hash,
        root: row.root,
        posting_count: row.posting_count,
        postings_total: row.postings_total,
        first_recorded_at: row.first_recorded_at,
        last_recorded_at: row.last_recorded_at,
        sealed_at: row.sealed_at,
        hash: row.hash,
    };
    Ok(Some(Sealed {
        block: block.try_into()?,
        postings: row.posting_ids,
        leaves,
    }))
}

/// The height of the block with a posting, which was recorded at this time.
pub async fn height_of(
    conn: &mut PgConnection,
    posting: PostingId,
    recorded_at: OffsetDateTime,
) -> Result<Option<u64>, sqlx::Error> {
    let height = sqlx::query_scalar!(
        "SELECT height
         FROM ledger_blocks
         WHERE tstzrange(first_recorded_at, last_recorded_at, '[]') @> $2::timestamptz
             AND $1 = ANY(posting_ids)",
        posting.uuid(),
        recorded_at,
    )
    .fetch_optional(conn)
    .await?;
    height.map(natural).transpose()
}

/// Writes a block. Fails on the primary key if there is one of its height.
pub async fn insert(conn: &mut PgConnection, sealed: &Sealed) -> Result<(), sqlx::Error> {
    let block = &sealed.block;
    query!(
        "INSERT INTO ledger_blocks (height, previous_hash, root, posting_count, postings_total,
             first_recorded_at, last_recorded_at, sealed_at, hash, posting_ids, leaf_hashes)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        stored(block.height)?,
        block.previous_hash.as_bytes(),
        block.root.as_bytes(),
        i32::try_from(block.posting_count).map_err(unreadable)?,
        stored(block.postings_total)?,
        instant(block.first_recorded_us)?,
        instant(block.last_recorded_us)?,
        instant(block.sealed_at_us)?,
        block.hash.as_bytes(),
        &sealed.postings,
        sealed
            .leaves
            .iter()
            .flat_map(Hash::as_bytes)
            .copied()
            .collect::<Vec<u8>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Leaves that stand one behind the other.
pub(super) fn leaves(stored: &[u8]) -> Result<Vec<Hash>, sqlx::Error> {
    stored.chunks(32).map(bytes).collect()
}

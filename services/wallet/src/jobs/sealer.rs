//! Seals what the ledger has recorded into blocks, and signs blocks.
//!
//! The writers leave a row in `ledger_unsealed` with each batch they commit. A
//! round takes the oldest of them, as many as fit into a block, writes the block
//! and removes the rows in one transaction. A batch that commits late is just
//! found later; nothing looks at ids to tell what is missing.
//!
//! One process at a time does this, by a lease on the database's clock whose row
//! stays locked until the round commits ([`sealing::take_turn`]). A process that
//! was stopped in a round and goes on after another took over can therefore
//! write nothing, and if it could, the height's primary key would refuse it. A
//! round that is cut off anywhere leaves nothing behind.
//!
//! What vouches for postings is the signature, which comes on a schedule and
//! after [`MAX_UNSIGNED_BLOCKS`] at the latest, so that the proof of a posting,
//! which has the blocks up to the next signature, stays short.

mod older;

use std::time::Duration;

use bursar_proof::{Block, BlockDraft, DraftRefused, MAX_BLOCK_POSTINGS, Signer};
use bursar_server::{crash_point, database};
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::proof::blocks::{self, Sealed};
use crate::store::proof::checkpoints::{self, Signed};
use crate::store::proof::sealing::{self, Turn};

/// How long blocks wait for company.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the turn is kept without a round.
const LEASE: Duration = Duration::from_secs(15);
/// How many blocks may be behind the last signature.
const MAX_UNSIGNED_BLOCKS: u64 = 256;
/// The most postings of one batch: a block that has room for fewer is as full as
/// it can be.
const MAX_BATCH_POSTINGS: usize = 1_000;

/// Seals and signs.
pub struct Sealer {
    pool: PgPool,
    signer: Signer,
    signing_interval: Duration,
    /// Names this process; new for every run.
    holder: Uuid,
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Nothing: another process seals.
    NotOurTurn,
    /// This many postings were sealed.
    Sealed(usize),
}

/// Why a round did nothing.
#[derive(Debug, thiserror::Error)]
pub enum SealFailed {
    /// A batch names a posting that the ledger does not have.
    #[error("an unsealed batch names a posting that is not in the ledger")]
    PostingMissing,
    /// The postings from before there were blocks are in no possible order.
    #[error("the versions of the older postings have gaps")]
    OlderOutOfOrder,
    /// The block cannot be made.
    #[error(transparent)]
    Draft(#[from] DraftRefused),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// What a block is made of.
struct Contents {
    sealed_from: Option<Vec<i64>>,
    postings: Vec<Uuid>,
    leaves: Vec<bursar_proof::Hash>,
}

impl Sealer {
    /// A sealer that signs with this key and, while there is something new, as
    /// often as this.
    pub fn new(pool: PgPool, signer: Signer, signing_interval: Duration) -> Self {
        Self {
            pool,
            signer,
            signing_interval,
            holder: Uuid::now_v7(),
        }
    }

    /// Runs until `shutdown`. What cannot be sealed now is sealed later.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        while !shutdown.is_cancelled() {
            let is_full = match self.round().await {
                Ok(Round::Sealed(postings)) => postings > MAX_BLOCK_POSTINGS - MAX_BATCH_POSTINGS,
                Ok(Round::NotOurTurn) => false,
                Err(error) => {
                    tracing::warn!(%error, "nothing could be sealed");
                    false
                }
            };
            if !is_full {
                tokio::select! {
                    () = tokio::time::sleep(INTERVAL) => {}
                    () = shutdown.cancelled() => {}
                }
            }
        }
        let mut connection = self.pool.acquire().await?;
        sealing::release(&mut connection, self.holder).await?;
        Ok(())
    }

    /// Seals one block of what there is and signs it if that is due.
    pub async fn round(&self) -> Result<Round, SealFailed> {
        let mut transaction = database::begin(&self.pool).await?;
        let Some(turn) = sealing::take_turn(&mut transaction, self.holder, LEASE).await? else {
            transaction.rollback().await?;
            return Ok(Round::NotOurTurn);
        };
        let latest = blocks::latest(&mut transaction).await?;
        let sealed = self.seal(&mut transaction, turn, latest.as_ref()).await?;
        let postings = sealed.as_ref().map_or(0, |sealed| sealed.postings.len());
        let latest = sealed.map(|sealed| sealed.block).or(latest);
        if let Some(block) = &latest {
            self.sign(&mut transaction, turn, block).await?;
        }
        crash_point!("sealer.before_commit");
        transaction.commit().await?;
        crash_point!("sealer.after_commit");
        if let Some(block) = latest.filter(|_| postings > 0) {
            metrics::counter!("bursar_ledger_sealed_postings_total").increment(postings as u64);
            tracing::debug!(height = block.height, postings, "sealed a block");
        }
        Ok(Round::Sealed(postings))
    }

    async fn seal(
        &self,
        conn: &mut PgConnection,
        turn: Turn,
        previous: Option<&Block>,
    ) -> Result<Option<Sealed>, SealFailed> {
        let Some(contents) = contents(conn, turn, previous).await? else {
            return Ok(None);
        };
        let (first_recorded_us, last_recorded_us) =
            sealing::recorded_span(conn, &contents.postings)
                .await?
                .ok_or(SealFailed::PostingMissing)?;
        let block = Block::seal(&BlockDraft {
            previous,
            leaves: &contents.leaves,
            first_recorded_us,
            last_recorded_us,
            sealed_at_us: turn.now_us,
        })?;
        let sealed = Sealed {
            block,
            postings: contents.postings,
            leaves: contents.leaves,
        };
        blocks::insert(conn, &sealed).await?;
        if let Some(rows) = contents.sealed_from {
            sealing::remove(conn, &rows).await?;
        }
        Ok(Some(sealed))
    }

    /// Signs the block, the latest, if it is time.
    async fn sign(
        &self,
        conn: &mut PgConnection,
        turn: Turn,
        block: &Block,
    ) -> Result<(), SealFailed> {
        let last = checkpoints::latest(conn).await?;
        let is_due = last.is_none_or(|Signed { checkpoint, .. }| {
            let unsigned = block.height.saturating_sub(checkpoint.height);
            let age = u64::try_from(turn.now_us.saturating_sub(checkpoint.signed_at_us));
            let is_old = age.is_ok_and(|age| Duration::from_micros(age) >= self.signing_interval);
            unsigned > 0 && (is_old || unsigned >= MAX_UNSIGNED_BLOCKS)
        });
        if is_due {
            let signed = Signed {
                checkpoint: self.signer.sign(block, turn.now_us),
                public_key: self.signer.verifying_key(),
            };
            checkpoints::insert(conn, &signed).await?;
        }
        Ok(())
    }
}

/// What comes into the next block; `None` if there is nothing.
async fn contents(
    conn: &mut PgConnection,
    turn: Turn,
    previous: Option<&Block>,
) -> Result<Option<Contents>, SealFailed> {
    if turn.has_older {
        if let Some((postings, leaves)) = older::next(conn, previous).await? {
            return Ok(Some(Contents {
                sealed_from: None,
                postings,
                leaves,
            }));
        }
        sealing::no_older(conn).await?;
    }
    let unsealed = sealing::unsealed(conn).await?;
    if unsealed.rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(Contents {
        sealed_from: Some(unsealed.rows),
        postings: unsealed.postings,
        leaves: unsealed.leaves,
    }))
}

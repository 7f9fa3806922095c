//! The export of the ledger with its proof, for `bursar-verify`: the same rows
//! by RPC and by the program's own `export` command.
//!
//! What it reads is never changed, so it needs no snapshot, only the height at
//! which to stop.

pub mod command;

use bursar_proof::export::{OutOfOrder, Sequence};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::proof::{blocks, checkpoints, postings};

/// Lines are gathered into parts of about this size; a line is never divided.
const PART_BYTES: usize = 256 << 10;

/// An export under way: blocks from one height to another.
#[derive(Debug)]
pub struct Export {
    sequence: Option<Sequence>,
    next: u64,
    last: u64,
    is_begun: bool,
}

/// Why an export could not go on. What was written of it has no end row, so
/// nobody takes it for whole.
#[derive(Debug, thiserror::Error)]
pub enum ExportFailed {
    /// There is no block of this height.
    #[error("block {height} is missing")]
    BlockMissing {
        /// The height.
        height: u64,
    },
    /// A block names a posting that the ledger does not have.
    #[error("posting {posting} of block {height} is missing from the ledger")]
    PostingMissing {
        /// The posting.
        posting: Uuid,
        /// The block's height.
        height: u64,
    },
    /// A block has more or fewer postings than it says.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// A row could not be spelled.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Export {
    /// An export of the blocks from `first` to `last`; without any when `last` is
    /// less.
    pub fn new(first: u64, last: u64) -> Self {
        Self {
            sequence: Some(Sequence::default()),
            next: first,
            last,
            is_begun: false,
        }
    }

    /// The next parts of the export, each of whole lines; `None` behind the last.
    pub async fn next(
        &mut self,
        conn: &mut PgConnection,
    ) -> Result<Option<Vec<Vec<u8>>>, ExportFailed> {
        let Some(mut sequence) = self.sequence.take() else {
            return Ok(None);
        };
        let mut parts = Parts::default();
        if !self.is_begun {
            self.is_begun = true;
            parts.push(sequence.header().to_line()?);
        }
        if self.next > self.last {
            parts.push(sequence.end()?.to_line()?);
            return Ok(Some(parts.0));
        }
        block(conn, self.next, &mut sequence, &mut parts).await?;
        self.next += 1;
        self.sequence = Some(sequence);
        Ok(Some(parts.0))
    }
}

/// Lines of parts.
#[derive(Default)]
struct Parts(Vec<Vec<u8>>);

impl Parts {
    fn push(&mut self, line: Vec<u8>) {
        match self.0.last_mut() {
            Some(part) if part.len() + line.len() < PART_BYTES => part.extend(line),
            Some(_) | None => self.0.push(line),
        }
        if let Some(part) = self.0.last_mut() {
            part.push(b'\n');
        }
    }
}

/// The lines of one block.
async fn block(
    conn: &mut PgConnection,
    height: u64,
    sequence: &mut Sequence,
    parts: &mut Parts,
) -> Result<(), ExportFailed> {
    let sealed = blocks::at(conn, height)
        .await?
        .ok_or(ExportFailed::BlockMissing { height })?;
    let records = postings::records(conn, &sealed.postings).await?;
    parts.push(sequence.block(sealed.block, sealed.leaves)?.to_line()?);
    for (posting, record) in sealed.postings.into_iter().zip(records) {
        let record = record.ok_or(ExportFailed::PostingMissing { posting, height })?;
        parts.push(sequence.posting(record)?.to_line()?);
    }
    if let Some(signed) = checkpoints::at(conn, height).await? {
        parts.push(sequence.checkpoint(signed.checkpoint)?.to_line()?);
    }
    Ok(())
}

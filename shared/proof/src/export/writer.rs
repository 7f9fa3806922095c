//! Writing an export.

use std::io::{self, Write};

use super::row::{Counts, Row};
use crate::block::Block;
use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::posting::PostingRecord;

/// The order of an export's rows and their counts. It gives the rows as lines,
/// for whoever sends them another way than a [`Writer`].
#[derive(Debug, Default)]
pub struct Sequence {
    counts: Counts,
    /// How many postings of the latest block are still to come.
    missing: u32,
}

/// A row that may not stand where it was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row of the export is out of order")]
pub struct OutOfOrder;

impl Sequence {
    /// The first row.
    pub fn header(&self) -> Row {
        Row::header()
    }

    /// A block, whose postings come next.
    pub fn block(&mut self, block: Block, leaf_hashes: Vec<Hash>) -> Result<Row, OutOfOrder> {
        self.whole()?;
        self.missing = block.posting_count;
        self.counts.blocks += 1;
        Ok(Row::Block { block, leaf_hashes })
    }

    /// The next posting of the latest block.
    pub fn posting(&mut self, posting: PostingRecord<'static>) -> Result<Row, OutOfOrder> {
        self.missing = self.missing.checked_sub(1).ok_or(OutOfOrder)?;
        self.counts.postings += 1;
        self.counts.entries += u64::try_from(posting.entries.len()).map_err(|_| OutOfOrder)?;
        Ok(Row::Posting(posting))
    }

    /// The checkpoint of the latest block, behind its postings.
    pub fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<Row, OutOfOrder> {
        self.whole()?;
        self.counts.checkpoints += 1;
        Ok(Row::Checkpoint(checkpoint))
    }

    /// The last row.
    pub fn end(self) -> Result<Row, OutOfOrder> {
        self.whole()?;
        Ok(Row::End(self.counts))
    }

    fn whole(&self) -> Result<(), OutOfOrder> {
        if self.missing == 0 {
            Ok(())
        } else {
            Err(OutOfOrder)
        }
    }
}

/// Writes an export.
pub struct Writer<W> {
    sequence: Sequence,
    to: W,
}

/// An export that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteFailed {
    /// A row was out of order.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// The destination failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A row could not be spelled.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl<W: Write> Writer<W> {
    /// Begins an export. A destination that is slow for small writes should be
    /// buffered.
    pub fn begin(to: W) -> Result<Self, WriteFailed> {
        let sequence = Sequence::default();
        let header = sequence.header();
        let mut writer = Self { sequence, to };
        writer.write(&header)?;
        Ok(writer)
    }

    /// Writes a block, whose postings come next.
    pub fn block(&mut self, block: Block, leaf_hashes: Vec<Hash>) -> Result<(), WriteFailed> {
        let row = self.sequence.block(block, leaf_hashes)?;
        self.write(&row)
    }

    /// Writes the next posting of the latest block.
    pub fn posting(&mut self, posting: PostingRecord<'static>) -> Result<(), WriteFailed> {
        let row = self.sequence.posting(posting)?;
        self.write(&row)
    }

    /// Writes the checkpoint of the latest block, behind its postings.
    pub fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), WriteFailed> {
        let row = self.sequence.checkpoint(checkpoint)?;
        self.write(&row)
    }

    /// Writes the last row and gives the destination back, flushed.
    pub fn end(mut self) -> Result<W, WriteFailed> {
        let row = std::mem::take(&mut self.sequence).end()?;
        self.write(&row)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn write(&mut self, row: &Row) -> Result<(), WriteFailed> {
        let mut line = row.to_line()?;
        line.push(b'\n');
        self.to.write_all(&line)?;
        Ok(())
    }
}

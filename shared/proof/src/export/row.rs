//! The rows of an export.

use serde::{Deserialize, Serialize};

use crate::block::Block;
use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::posting::PostingRecord;
use crate::text;

/// The name of the format, in the header.
pub const FORMAT: &str = "bursar.ledger.export";
/// The version of the format, in the header.
pub const VERSION: u32 = 1;

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Row {
    /// The first row.
    Header {
        /// [`FORMAT`].
        format: String,
        /// [`VERSION`].
        version: u32,
    },
    /// A block; its postings follow.
    Block {
        /// The block.
        block: Block,
        /// The leaf hash of each of its postings.
        leaf_hashes: Vec<Hash>,
    },
    /// A posting of the block before it.
    Posting(PostingRecord<'static>),
    /// A signature over the block before it.
    Checkpoint(Checkpoint),
    /// The last row.
    End(Counts),
}

/// How many rows of each kind an export has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Blocks.
    #[serde(with = "text")]
    pub blocks: u64,
    /// Postings.
    #[serde(with = "text")]
    pub postings: u64,
    /// Entries of postings.
    #[serde(with = "text")]
    pub entries: u64,
    /// Checkpoints.
    #[serde(with = "text")]
    pub checkpoints: u64,
}

/// A line that is no row.
#[derive(Debug, thiserror::Error)]
pub enum RowUnreadable {
    /// It is not the JSON of a row.
    #[error("it is no row of an export: {0}")]
    Json(#[from] serde_json::Error),
    /// It is a row in another spelling than its one.
    #[error("it is not spelled as rows are")]
    Spelling,
}

impl Row {
    /// The first row.
    pub fn header() -> Self {
        Self::Header {
            format: FORMAT.to_owned(),
            version: VERSION,
        }
    }

    /// The row's one spelling, without the line's end.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads a line without its end, and refuses any spelling but the row's one.
    pub fn from_line(line: &[u8]) -> Result<Self, RowUnreadable> {
        let row: Self = serde_json::from_slice(line)?;
        if row.to_line()? == line {
            Ok(row)
        } else {
            Err(RowUnreadable::Spelling)
        }
    }
}

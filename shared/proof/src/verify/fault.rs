//! What the verifier names.

use std::fmt;

use uuid::Uuid;

use crate::block::BlockFault;
use crate::checkpoint::CheckpointFault;
use crate::export::{Counts, RowUnreadable};
use crate::hash::Hash;

/// The first row that contradicts what stands before it.
#[derive(Debug)]
pub struct Alteration {
    /// Its line, from 1.
    pub line: u64,
    /// Which row it is.
    pub subject: Subject,
    /// What is wrong with it.
    pub check: Check,
}

/// A row, by the name that it has in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The first row.
    Header,
    /// A block, by its height.
    Block(u64),
    /// A posting.
    Posting(Uuid),
    /// The checkpoint over the block of a height.
    Checkpoint(u64),
    /// The last row.
    End,
    /// A line that cannot be read.
    Unreadable,
    /// What should follow the last line.
    Missing,
}

/// What is wrong with a row.
#[derive(Debug, thiserror::Error)]
pub enum Check {
    /// The line does not end, or not soon enough.
    #[error("the line has no end, or is longer than any row")]
    LineEnd,
    /// The line is no row.
    #[error(transparent)]
    Row(RowUnreadable),
    /// The header is not that of an export of this version.
    #[error("it is not the header of an export of this version")]
    Header,
    /// A row of another kind belongs here.
    #[error("{expected} belongs here")]
    Order {
        /// What belongs here.
        expected: &'static str,
    },
    /// The block is wrong.
    #[error(transparent)]
    Block(#[from] BlockFault),
    /// The recorded times of the block are not those of its postings.
    #[error("its first and last recorded times are not those of its postings")]
    BlockTimes,
    /// The block is not the one that was expected.
    #[error("it is not the block that is known from elsewhere, whose hash is {expected}")]
    Unexpected {
        /// The expected hash.
        expected: Hash,
    },
    /// The posting is not what was sealed.
    #[error("its leaf hash is {computed}; its block, at place {index}, has {sealed}")]
    Leaf {
        /// The hash of the row.
        computed: Hash,
        /// The hash in the block.
        sealed: Hash,
        /// Its place in the block, from 0.
        index: usize,
    },
    /// The posting was there before.
    #[error("a posting of the same id stands before it")]
    Duplicate,
    /// The posting has too few entries.
    #[error("it has {entries} entries, and a posting has two at least")]
    Entries {
        /// How many it has.
        entries: usize,
    },
    /// The posting does not balance.
    #[error("its entries sum to {sum} in {currency}")]
    Sum {
        /// The sum in minor units.
        sum: i128,
        /// The currency.
        currency: String,
    },
    /// A wallet's version is not the next one.
    #[error("the entry of wallet {wallet_id} has version {version} where {expected} comes next")]
    Version {
        /// The wallet.
        wallet_id: Uuid,
        /// The entry's version.
        version: i64,
        /// The next one.
        expected: i64,
    },
    /// A balance does not follow from the one before.
    #[error(
        "the entry of wallet {wallet_id} at version {version} leaves {stated} in {bucket}, which \
         is not the {before} before it and the amount"
    )]
    Balance {
        /// The wallet.
        wallet_id: Uuid,
        /// The entry's version.
        version: i64,
        /// The bucket.
        bucket: String,
        /// The balance after the entry before.
        before: i64,
        /// The balance that the entry states.
        stated: i64,
    },
    /// A wallet has one currency and one tenant.
    #[error("the entry of wallet {wallet_id} has another currency or tenant than the ones before")]
    Wallet {
        /// The wallet.
        wallet_id: Uuid,
    },
    /// The checkpoint does not vouch for its block.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointFault),
    /// The counts of the last row are wrong.
    #[error("it counts {stated:?}, and there are {found:?}")]
    Counts {
        /// What it says.
        stated: Counts,
        /// What there is.
        found: Counts,
    },
    /// The expected block is not in the export.
    #[error("block {height}, which is known from elsewhere, is not in the export")]
    NotReached {
        /// Its height.
        height: u64,
    },
    /// Nothing of the export is signed, or not all of it and that was asked for.
    #[error("no checkpoint vouches for the last {blocks} blocks")]
    Unsigned {
        /// How many blocks.
        blocks: u64,
    },
}

impl Alteration {
    pub(super) fn unreadable(line: u64, check: Check) -> Self {
        Self {
            line,
            subject: Subject::Unreadable,
            check,
        }
    }
}

impl std::error::Error for Alteration {}

impl fmt::Display for Alteration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "line {}: {}: {}",
            self.line, self.subject, self.check
        )
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => formatter.write_str("the header"),
            Self::Block(height) => write!(formatter, "block {height}"),
            Self::Posting(id) => write!(formatter, "posting {id}"),
            Self::Checkpoint(height) => write!(formatter, "the checkpoint of block {height}"),
            Self::End => formatter.write_str("the end row"),
            Self::Unreadable => formatter.write_str("unreadable"),
            Self::Missing => formatter.write_str("after the last line"),
        }
    }
}

//! Blocks: each vouches for its postings and for the block before it.

use serde::{Deserialize, Serialize};

use crate::encoding::Encoder;
use crate::hash::Hash;
use crate::{merkle, text};

/// The most postings of a block. It bounds what a verifier keeps in memory and
/// the line of a block in an export.
pub const MAX_BLOCK_POSTINGS: usize = 4_096;

/// Names the encoding of blocks. A change of fields is a new version.
const DOMAIN: &str = "bursar.ledger.block.v1";

/// A block of the chain, without its leaves. Times are in microseconds since
/// 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Its place in the chain: 1, 2, 3 and so on.
    #[serde(with = "text")]
    pub height: u64,
    /// The hash of the block before it; [`Hash::ZERO`] in the first.
    pub previous_hash: Hash,
    /// The root over its postings' leaves.
    pub root: Hash,
    /// How many postings it has: 1 to [`MAX_BLOCK_POSTINGS`].
    pub posting_count: u32,
    /// How many postings it and all blocks before it have.
    #[serde(with = "text")]
    pub postings_total: u64,
    /// The earliest recorded time of its postings.
    #[serde(with = "text")]
    pub first_recorded_us: i64,
    /// The latest recorded time of its postings.
    #[serde(with = "text")]
    pub last_recorded_us: i64,
    /// When it was made.
    #[serde(with = "text")]
    pub sealed_at_us: i64,
    /// The hash over all of the above.
    pub hash: Hash,
}

/// What a new block is made of.
#[derive(Debug, Clone, Copy)]
pub struct BlockDraft<'a> {
    /// The block before it; none for the first.
    pub previous: Option<&'a Block>,
    /// The leaves of its postings, in their order.
    pub leaves: &'a [Hash],
    /// The earliest recorded time of its postings.
    pub first_recorded_us: i64,
    /// The latest recorded time of its postings.
    pub last_recorded_us: i64,
    /// The time.
    pub sealed_at_us: i64,
}

/// A block that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DraftRefused {
    /// It has no postings or too many.
    #[error("a block has 1 to {MAX_BLOCK_POSTINGS} postings, not {postings}")]
    Size {
        /// How many it has.
        postings: usize,
    },
    /// The chain is as long as it can be.
    #[error("the chain cannot become any longer")]
    ChainFull,
}

/// What is wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockFault {
    /// The stored hash is not that of the other fields.
    #[error("its hash is not the hash of its content, which is {computed}")]
    Hash {
        /// The hash of the content.
        computed: Hash,
    },
    /// The root is not that of the leaves.
    #[error("its root is not the root of its leaf hashes, which is {computed}")]
    Root {
        /// The root of the leaves.
        computed: Hash,
    },
    /// The number of postings is not that of the leaves, or out of bounds.
    #[error("it says {stated} postings and has {leaves} leaf hashes")]
    Count {
        /// The number in the block.
        stated: u32,
        /// How many leaves there are.
        leaves: usize,
    },
    /// It does not have the height that comes next.
    #[error("its height is {stated} where {expected} comes next")]
    Height {
        /// The height in the block.
        stated: u64,
        /// The one that comes next.
        expected: u64,
    },
    /// It does not follow the block before it.
    #[error("its previous hash is {stated}; the block before it has {expected}")]
    Previous {
        /// The hash in the block.
        stated: Hash,
        /// The hash of the block before.
        expected: Hash,
    },
    /// The running total does not continue.
    #[error("its total of postings is {stated}; the blocks have {expected}")]
    Total {
        /// The total in the block.
        stated: u64,
        /// The sum.
        expected: u64,
    },
    /// It claims a place that no block can have.
    #[error("its height, previous hash and total do not fit each other")]
    Beginning,
}

impl Block {
    /// Makes the block that comes next.
    pub fn seal(draft: &BlockDraft<'_>) -> Result<Self, DraftRefused> {
        let postings = draft.leaves.len();
        if postings == 0 || postings > MAX_BLOCK_POSTINGS {
            return Err(DraftRefused::Size { postings });
        }
        let posting_count = u32::try_from(postings).map_err(|_| DraftRefused::Size { postings })?;
        let (height, previous_hash, before) = match draft.previous {
            None => (0, Hash::ZERO, 0),
            Some(block) => (block.height, block.hash, block.postings_total),
        };
        let mut block = Self {
            height: height.checked_add(1).ok_or(DraftRefused::ChainFull)?,
            previous_hash,
            root: merkle::root(draft.leaves),
            posting_count,
            postings_total: before
                .checked_add(u64::from(posting_count))
                .ok_or(DraftRefused::ChainFull)?,
            first_recorded_us: draft.first_recorded_us,
            last_recorded_us: draft.last_recorded_us,
            sealed_at_us: draft.sealed_at_us,
            hash: Hash::ZERO,
        };
        block.hash = block.content_hash();
        Ok(block)
    }

    /// The canonical bytes of everything but the hash.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(DOMAIN, 160);
        encoder.u64(self.height);
        encoder.fixed(self.previous_hash.as_bytes());
        encoder.fixed(self.root.as_bytes());
        encoder.u32(self.posting_count);
        encoder.u64(self.postings_total);
        encoder.i64(self.first_recorded_us);
        encoder.i64(self.last_recorded_us);
        encoder.i64(self.sealed_at_us);
        encoder.finish()
    }

    /// The hash that the block must have.
    pub fn content_hash(&self) -> Hash {
        Hash::of(&[&self.encode()])
    }

    /// Checks the block by itself: its hash, and that it can be where it says.
    pub fn check(&self) -> Result<(), BlockFault> {
        let computed = self.content_hash();
        if self.hash != computed {
            return Err(BlockFault::Hash { computed });
        }
        let own = u64::from(self.posting_count);
        let fits = match self.height {
            0 => false,
            1 => self.previous_hash == Hash::ZERO && self.postings_total == own,
            _ => self.previous_hash != Hash::ZERO && self.postings_total > own,
        };
        if fits {
            Ok(())
        } else {
            Err(BlockFault::Beginning)
        }
    }

    /// Checks that the block follows another.
    pub fn check_follows(&self, previous: &Self) -> Result<(), BlockFault> {
        let expected = previous.height.saturating_add(1);
        if self.height != expected {
            return Err(BlockFault::Height {
                stated: self.height,
                expected,
            });
        }
        if self.previous_hash != previous.hash {
            return Err(BlockFault::Previous {
                stated: self.previous_hash,
                expected: previous.hash,
            });
        }
        let expected = previous
            .postings_total
            .saturating_add(u64::from(self.posting_count));
        if self.postings_total != expected {
            return Err(BlockFault::Total {
                stated: self.postings_total,
                expected,
            });
        }
        Ok(())
    }

    /// Checks that the leaves are the block's.
    pub fn check_leaves(&self, leaves: &[Hash]) -> Result<(), BlockFault> {
        let is_count_right = usize::try_from(self.posting_count) == Ok(leaves.len())
            && (1..=MAX_BLOCK_POSTINGS).contains(&leaves.len());
        if !is_count_right {
            return Err(BlockFault::Count {
                stated: self.posting_count,
                leaves: leaves.len(),
            });
        }
        let computed = merkle::root(leaves);
        if self.root != computed {
            return Err(BlockFault::Root { computed });
        }
        Ok(())
    }
}

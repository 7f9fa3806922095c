//! The proof of one posting.

use serde::{Deserialize, Serialize};

use crate::block::{Block, BlockFault};
use crate::checkpoint::{Checkpoint, CheckpointFault, TrustedKeys};
use crate::hash::Hash;
use crate::merkle;
use crate::posting::PostingRecord;

/// Everything that leads from a posting to a signature. As JSON it is what the
/// RPC returns; zeros and empty lists may be missing there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionProof {
    /// The posting.
    pub posting: PostingRecord<'static>,
    /// The place of its leaf in its block, from 0.
    #[serde(default)]
    pub leaf_index: u32,
    /// The hashes that lead from the leaf to the block's root, nearest first.
    #[serde(default)]
    pub path: Vec<Hash>,
    /// The block of the posting.
    pub block: Block,
    /// The blocks after it, up to the one that is signed; none if it is.
    #[serde(default)]
    pub following: Vec<Block>,
    /// The signature.
    pub checkpoint: Checkpoint,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InclusionFault {
    /// The posting and the path do not lead to the block's root.
    #[error("the posting, its place and the path do not lead to the root of its block")]
    Path,
    /// A block is wrong in itself or does not follow the one before.
    #[error("block {height}: {fault}")]
    Block {
        /// The block.
        height: u64,
        /// What is wrong.
        fault: BlockFault,
    },
    /// The checkpoint does not vouch for the last block.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] CheckpointFault),
}

impl InclusionProof {
    /// Checks that one of the keys vouches for the posting.
    pub fn check(&self, keys: &TrustedKeys) -> Result<(), InclusionFault> {
        let at = |block: &Block| {
            let height = block.height;
            move |fault| InclusionFault::Block { height, fault }
        };
        self.check_path()?;
        self.block.check().map_err(at(&self.block))?;
        let mut last = &self.block;
        for block in &self.following {
            block.check().map_err(at(block))?;
            block.check_follows(last).map_err(at(block))?;
            last = block;
        }
        self.checkpoint.check(last, keys)?;
        Ok(())
    }

    fn check_path(&self) -> Result<(), InclusionFault> {
        let index = usize::try_from(self.leaf_index).map_err(|_| InclusionFault::Path)?;
        let count = usize::try_from(self.block.posting_count).map_err(|_| InclusionFault::Path)?;
        let root = merkle::root_by_path(self.posting.leaf(), index, count, &self.path);
        if root == Some(self.block.root) {
            Ok(())
        } else {
            Err(InclusionFault::Path)
        }
    }
}

//! Proof that the ledger was not changed after the fact.
//!
//! Each posting, with its entries, has one canonical byte string
//! ([`PostingRecord::encode`]). Its hash is a leaf; the leaves of up to
//! [`MAX_BLOCK_POSTINGS`] postings form a Merkle tree ([`merkle`]); its root
//! stands in a [`Block`] that also holds the hash of the block before it; and
//! now and then a block's hash is signed ([`Checkpoint`]). Whoever holds the
//! public key can then check, with nothing else from us:
//!
//! - one posting, by an [`InclusionProof`];
//! - everything, by an export ([`export`]) that [`verify`] replays: it stops at
//!   the first row that contradicts what stands before it and names it.
//!
//! What this can not show: that a posting was missing from the beginning, or
//! that blocks behind the last signed one are the ones there were before. For
//! the latter, keep the height and hash of a checkpoint elsewhere and tell the
//! verifier to expect them.
//!
//! The crate is pure: it knows no clock, no database and no network. The
//! encoding is described byte by byte in `docs/ledger-proof.md`.

mod block;
mod checkpoint;
mod encoding;
pub mod export;
mod hash;
mod inclusion;
pub mod merkle;
mod posting;
mod text;
pub mod verify;

pub use block::{Block, BlockDraft, BlockFault, DraftRefused, MAX_BLOCK_POSTINGS};
pub use checkpoint::{
    Checkpoint, CheckpointFault, KeyId, KeyUnreadable, Signature, Signer, TrustedKeys, VerifyingKey,
};
pub use hash::{Hash, HexBytes, HexUnreadable};
pub use inclusion::{InclusionFault, InclusionProof};
pub use posting::{EntryRecord, PostingRecord};

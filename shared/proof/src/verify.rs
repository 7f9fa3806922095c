//! Verifying an export: one pass that replays it and stops at the first row
//! that contradicts what stands before it.
//!
//! A change of a single line, be it of one byte, is found at that very line: a
//! row has one spelling, a block's line carries the hash over itself and over
//! the leaf hashes of its postings, and every posting is held against its leaf
//! hash. Whoever changes several lines so that they agree with each other must
//! change the hash of every later block too, and then the next signature does
//! not fit: the named line is then the first at which the forgery cannot go on.
//! Behind the last signature it could; [`Summary::unsigned`] says how much that
//! is.
//!
//! Memory: one block's leaf hashes, one line of at most [`MAX_LINE_BYTES`], per
//! wallet about 150 bytes, and per posting the 16 bytes of its id in a hash set
//! (20 to 40 bytes, so about 30 MB a million postings).

mod fault;
mod ledger;
mod replay;

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};

use crate::checkpoint::{Checkpoint, TrustedKeys};
use crate::export::{Counts, Row};
use crate::hash::Hash;

pub use fault::{Alteration, Check, Subject};

/// The longest line that is read. A block of the largest size takes about 300 kB.
pub const MAX_LINE_BYTES: u64 = 4 << 20;

/// What an export is held against.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The public keys whose checkpoints count.
    pub keys: TrustedKeys,
    /// A block that is known from elsewhere, such as an earlier checkpoint.
    pub expected: Option<Expected>,
    /// Whether blocks behind the last signature are a fault.
    pub is_unsigned_refused: bool,
}

/// A block that the chain must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: Hash,
}

/// What an export that was found unaltered contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The rows.
    pub counts: Counts,
    /// The heights of the first and the last block; none without blocks.
    pub heights: Option<(u64, u64)>,
    /// How many wallets have entries.
    pub wallets: u64,
    /// The currencies of the entries.
    pub currencies: BTreeSet<String>,
    /// The last checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// What stands behind the last checkpoint, or behind the expected block if
    /// that comes later: the blocks and their postings. Nobody vouches for them.
    pub unsigned: Unsigned,
}

/// Blocks that no signature vouches for yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unsigned {
    /// How many blocks.
    pub blocks: u64,
    /// How many postings they have.
    pub postings: u64,
}

/// Why an export did not verify.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A row is not what it was.
    #[error(transparent)]
    Altered(#[from] Box<Alteration>),
    /// The export could not be read.
    #[error("the export cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads an export and replays it.
pub fn verify(mut export: impl BufRead, options: &Options) -> Result<Summary, VerifyError> {
    let mut replay = replay::Replay::new(options);
    let mut bytes = Vec::new();
    let mut line = 0;
    loop {
        bytes.clear();
        let limit = MAX_LINE_BYTES + 1;
        (&mut export).take(limit).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(replay.finish(line)?);
        }
        line += 1;
        let at = |check| Box::new(Alteration::unreadable(line, check));
        let Some(content) = bytes.strip_suffix(b"\n") else {
            return Err(at(Check::LineEnd).into());
        };
        let row = Row::from_line(content).map_err(|error| at(Check::Row(error)))?;
        replay.accept(line, row)?;
    }
}

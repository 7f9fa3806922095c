//! The export: the whole chain with its postings as JSON Lines.
//!
//! A row a line: the header; then each block, directly followed by its postings
//! in the order of its leaf hashes and by its checkpoint, if it has one; at last
//! the end, with counts, by which a truncated export is noticed. There is one
//! spelling of each row, the one that [`Row::to_line`] gives; the verifier
//! refuses any other, so that no byte of an export can be changed unseen.

mod row;
mod writer;

pub use row::{Counts, FORMAT, Row, RowUnreadable, VERSION};
pub use writer::{OutOfOrder, Sequence, WriteFailed, Writer};

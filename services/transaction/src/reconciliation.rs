//! Reconciliation: what providers say they did, held against what we recorded.
//!
//! A provider's settlement comes as lines: of a file that [`read`] takes apart
//! as it arrives, or of the provider's own list. [`reconcile`] joins lines with
//! transactions by [`Rule`]s, which are data, and explains what it cannot join:
//! every line and every transaction it is given ends in exactly one [`Match`] or
//! one [`Found`] break, except transactions that nothing speaks of, which the
//! caller looks for when a whole day is there.
//!
//! Nothing here decides a transaction or moves money. What the break of a payout under
//! way says is evidence for whoever moves it on, where its provider cannot be asked. A
//! break shows legs that would make the books agree ([`legs`]); whether they are posted
//! is a person's matter.

pub mod breaks;
pub mod format;
pub(crate) mod invariants;
pub mod line;
pub mod listing;
pub mod matching;
pub mod read;
pub mod rule;

pub use breaks::{Leg, Reason, Subject, legs};
pub use format::{Format, FormatInvalid};
pub use line::{Line, LineId, LineType, Recorded, Standing};
pub use matching::{Found, Match, Outcome, reconcile};
pub use read::{Problem, ProblemCode, Reader, Totals};
pub use rule::{Cardinality, Key, Rule, RulesInvalid};

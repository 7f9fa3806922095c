//! Decides the postings of a call, one after another or all together.
//!
//! A posting that is in the ledger already, or was applied earlier in the same
//! batch, is answered with its first result; an id that belongs to another
//! posting is refused. In an atomic call one refusal refuses every posting that
//! is not in the ledger from before: those that are cannot be taken back, so
//! they are still answered as the applied postings they are.

use std::collections::BTreeSet;

use bursar_aip::id::{HoldId, WalletId};
use time::OffsetDateTime;

use super::book::{Book, Undo};
use super::decide::{Applied, decide};
use super::posting::{Posting, Recorded, Rejected, RejectionReason};
use super::wallet::SystemAccount;

/// Whether the postings of a call stand or fall together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Each is applied or refused on its own, in order.
    Independent,
    /// All are applied, or none is.
    Atomic,
}

/// What became of a posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the ledger now.
    Applied(Recorded),
    /// It was in the ledger before.
    Replayed(Recorded),
    /// It is not in the ledger.
    Rejected(Rejected),
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
pub struct Decided {
    /// One outcome a posting, in their order.
    pub outcomes: Vec<Outcome>,
    /// What is to be written: the index of each applied posting and its effect.
    pub applied: Vec<(usize, Applied)>,
}

/// Decides a call and turns the book to what was decided.
pub fn decide_call(
    book: &mut Book,
    postings: &[Posting],
    mode: Mode,
    now: OffsetDateTime,
) -> Decided {
    let mut outcomes = Vec::with_capacity(postings.len());
    let mut applied = Vec::with_capacity(postings.len());
    let mut undo = Vec::new();
    for (index, posting) in postings.iter().enumerate() {
        match decide_posting(book, posting, now) {
            Decision::New(effect) => {
                undo.push(book.apply(&effect));
                outcomes.push(Outcome::Applied(effect.recorded.clone()));
                applied.push((index, effect));
            }
            Decision::Known(recorded) => outcomes.push(Outcome::Replayed(recorded)),
            Decision::Refused(rejected) if mode == Mode::Atomic => {
                revert(book, undo);
                return refuse_all(book, postings, index, rejected);
            }
            Decision::Refused(rejected) => outcomes.push(Outcome::Rejected(rejected)),
        }
    }
    Decided { outcomes, applied }
}

#[expect(
    clippy::large_enum_variant,
    reason = "it lives for a moment on the stack; a box would be an allocation a posting"
)]
enum Decision {
    New(Applied),
    Known(Recorded),
    Refused(Rejected),
}

fn decide_posting(book: &Book, posting: &Posting, now: OffsetDateTime) -> Decision {
    match book.recorded(posting.id) {
        Some(recorded) if recorded.is(posting) => Decision::Known(recorded.clone()),
        Some(_) => Decision::Refused(RejectionReason::PostingIdReused.whole()),
        None => match decide(book, posting, now) {
            Ok(applied) => Decision::New(applied),
            Err(rejected) => Decision::Refused(rejected),
        },
    }
}

fn revert(book: &mut Book, undo: Vec<Undo>) {
    for step in undo.into_iter().rev() {
        book.revert(step);
    }
}

/// The answers to an atomic call whose posting at `culprit` was refused, on
/// the book from before the call.
fn refuse_all(book: &Book, postings: &[Posting], culprit: usize, rejected: Rejected) -> Decided {
    let outcomes = postings
        .iter()
        .enumerate()
        .map(|(index, posting)| match book.recorded(posting.id) {
            _ if index == culprit => Outcome::Rejected(rejected),
            Some(recorded) if recorded.is(posting) => Outcome::Replayed(recorded.clone()),
            Some(_) | None => Outcome::Rejected(RejectionReason::BatchRejected.whole()),
        })
        .collect();
    Decided {
        outcomes,
        applied: Vec::new(),
    }
}

/// The wallets that postings touch, in the order in which their rows are to be
/// locked: by id, which is the order of the UUIDs in PostgreSQL too.
pub fn wallets_of<'a>(postings: impl Iterator<Item = &'a Posting>) -> BTreeSet<WalletId> {
    postings
        .flat_map(|posting| &posting.legs)
        .map(|leg| leg.account.wallet_id())
        .collect()
}

/// The holds that postings name, in the order in which their rows are to be locked.
pub fn holds_of<'a>(postings: impl Iterator<Item = &'a Posting>) -> BTreeSet<HoldId> {
    postings
        .filter_map(|posting| posting.hold.as_ref())
        .map(|step| step.hold)
        .collect()
}

/// The platform's wallets that a posting touches.
pub fn system_accounts_of(posting: &Posting) -> impl Iterator<Item = (WalletId, &SystemAccount)> {
    posting.legs.iter().filter_map(|leg| match &leg.account {
        super::posting::Account::System { id, account } => Some((*id, account)),
        super::posting::Account::User(_) => None,
    })
}

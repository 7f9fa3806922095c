//! One batch: lock, look, decide, write, commit.
//!
//! ```text
//! BEGIN
//! SELECT … FROM wallets … ORDER BY id FOR UPDATE      every wallet of every posting
//! SELECT … FROM holds … ORDER BY id FOR UPDATE        only when a posting names a hold
//! SELECT … FROM postings …                            which of them are recorded already
//!   decide every posting in the pure domain
//! WITH … INSERT … UPDATE …                            all that was decided, in one statement
//! COMMIT
//! ```
//!
//! The isolation level is READ COMMITTED: whatever a decision rests on is under
//! a row lock by then, or recorded for good.

use bursar_events::Event;
use bursar_status::correlation;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::contract::event;
use crate::domain::batch::{Decided, Mode, Outcome, decide_call, holds_of, wallets_of};
use crate::domain::book::Book;
use crate::domain::decide::Applied;
use crate::domain::posting::Posting;
use crate::jobs::queue::{Call, Origin};
use crate::store::ledger;
use crate::store::write::{self, Batch};

/// Postings that are decided together: a call, or one posting of it.
pub(super) struct Part<'a> {
    pub(super) postings: &'a [Posting],
    mode: Mode,
    origin: &'a Origin,
}

impl<'a> Part<'a> {
    /// A whole call.
    pub(super) fn whole(call: &'a Call) -> Self {
        Self {
            postings: &call.postings,
            mode: call.mode,
            origin: &call.origin,
        }
    }

    /// One posting of a call.
    pub(super) fn one(call: &'a Call, index: usize) -> Self {
        Self {
            postings: &call.postings[index..=index],
            ..Self::whole(call)
        }
    }
}

/// Writes a batch in one transaction; what became of each part's postings.
pub(super) async fn write(
    connection: &mut PgConnection,
    parts: &[Part<'_>],
) -> Result<Vec<Vec<Outcome>>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let mut book = load(&mut transaction, parts).await?;
    // Taken under the locks, so that a wallet's entries are recorded in the
    // order of their versions, as far as the clocks of replicas agree.
    let now = bursar_server::now();
    let decided: Vec<Decided> = parts
        .iter()
        .map(|part| decide_call(&mut book, part.postings, part.mode, now))
        .collect();
    if decided.iter().all(|part| part.applied.is_empty()) {
        transaction.rollback().await?;
    } else {
        let rows = Batch::of(&applied(parts, &decided));
        let events = events(parts, &decided).await;
        write::write(&mut transaction, &rows, &events, now).await?;
        transaction.commit().await?;
    }
    Ok(decided.into_iter().map(|part| part.outcomes).collect())
}

/// Everything that the parts can see and change, under locks.
async fn load(connection: &mut PgConnection, parts: &[Part<'_>]) -> Result<Book, sqlx::Error> {
    let postings = || parts.iter().flat_map(|part| part.postings);
    let wallet_ids: Vec<Uuid> = wallets_of(postings())
        .into_iter()
        .map(|id| id.uuid())
        .collect();
    let wallets = ledger::lock_wallets(connection, &wallet_ids).await?;
    let hold_ids: Vec<Uuid> = holds_of(postings())
        .into_iter()
        .map(|id| id.uuid())
        .collect();
    let holds = if hold_ids.is_empty() {
        Vec::new()
    } else {
        ledger::lock_holds(connection, &hold_ids).await?
    };
    let posting_ids: Vec<Uuid> = postings().map(|posting| posting.id.uuid()).collect();
    let recorded = ledger::recorded(connection, &posting_ids).await?;
    Ok(Book::new(wallets, holds, recorded))
}

/// The applied postings with their effects, in the order of the decisions.
fn applied<'a>(parts: &'a [Part<'a>], decided: &'a [Decided]) -> Vec<(&'a Posting, &'a Applied)> {
    let pairs = parts.iter().zip(decided);
    pairs
        .flat_map(|(part, decided)| {
            let effects = decided.applied.iter();
            effects.map(|(index, effect)| (&part.postings[*index], effect))
        })
        .collect()
}

/// The events of a batch. Each carries the correlation id and the trace of the
/// call that it came with, not of the writer.
async fn events(parts: &[Part<'_>], decided: &[Decided]) -> Vec<Event> {
    let mut events = Vec::new();
    for (part, decided) in parts.iter().zip(decided) {
        let origin = part.origin;
        let of_part = async {
            origin.span.in_scope(|| {
                for (index, effect) in &decided.applied {
                    let posting = &part.postings[*index];
                    let recorded_at = effect.recorded.recorded_at;
                    events.extend(effect.movements.iter().map(|movement| {
                        event::posted(posting, movement, recorded_at, origin.actor.clone())
                    }));
                }
            });
        };
        correlation::scope(origin.correlation.clone(), of_part).await;
    }
    events
}

//! Limits of bulk transfers.
//!
//! The transfers of an atomic one reserve together: when one of them does not fit,
//! nothing is recorded and the refusal is kept for the key. Those of an independent
//! one reserve each for itself, earlier ones first; what does not fit is recorded as
//! failed in the same database transaction, and is never sent to the ledger.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{LimitError, Mover, reserve_each, reserve_together};
use crate::bulk::error::Error;
use crate::bulk::{Bulk, Item, ItemResult, Mode};
use crate::domain::limit::Exceeded;
use crate::domain::{Event, Failure, StepError, Transaction};
use crate::store::events::{EventBatch, Told};
use crate::store::transactions::Stored;
use crate::store::{bulk, bulk_rows};

/// Reserves what the transfers use. Returns what some of an independent bulk transfer
/// exceed, each with its index.
pub(crate) async fn reserve(
    conn: &mut PgConnection,
    mover: Mover<'_>,
    mode: Mode,
    items: &[Item],
) -> Result<Vec<(usize, Exceeded)>, Error> {
    let stored: Vec<&Stored> = items.iter().map(|item| &item.stored).collect();
    match mode {
        Mode::Independent => {
            let exceeded = reserve_each(conn, mover, &stored).await;
            Ok(exceeded.map_err(LimitError::Unread)?)
        }
        Mode::Atomic => {
            let exceeded = reserve_together(conn, mover, &stored).await;
            match exceeded.map_err(LimitError::Unread)? {
                None => Ok(Vec::new()),
                Some((position, exceeded)) => Err(Error::LimitExceeded {
                    position,
                    exceeded: Box::new(exceeded),
                }),
            }
        }
    }
}

/// Records that some transfers failed, behind the record of all of them, and takes
/// them out of those that are under way. Returns their results.
pub(crate) async fn end(
    conn: &mut PgConnection,
    bulk: &mut Bulk,
    items: &mut Vec<Item>,
    exceeded: &[(usize, Exceeded)],
    at: OffsetDateTime,
    actor: &str,
) -> Result<Vec<ItemResult>, Error> {
    if exceeded.is_empty() {
        return Ok(Vec::new());
    }
    let mut ended = Vec::with_capacity(exceeded.len());
    for (place, exceeded) in exceeded {
        let mut item = items[*place].clone();
        let event = Event::Failed(Failure::limited(exceeded));
        let transaction = &mut item.stored.transaction;
        transaction.apply(&event, at).map_err(StepError::from)?;
        bulk.counts.add(transaction.state);
        ended.push((item, event));
    }
    items.retain(|item| ended.iter().all(|(gone, _)| gone.position != item.position));

    let rows: Vec<&Transaction> = ended
        .iter()
        .map(|(item, _)| &item.stored.transaction)
        .collect();
    let batch = EventBatch::new();
    if !bulk_rows::update(conn, &rows, &batch).await? {
        // They were recorded by this database transaction.
        return Err(Error::Damaged { bulk: bulk.id });
    }
    let told: Vec<Told<'_>> = ended
        .iter()
        .map(|(item, event)| Told {
            stored: &item.stored,
            events: std::slice::from_ref(event),
            actor,
        })
        .collect();
    batch.append_all(conn, &told).await?;
    bulk::count(conn, bulk).await?;
    Ok(ended.iter().map(|(item, _)| ItemResult::of(item)).collect())
}

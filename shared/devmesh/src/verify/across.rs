//! The invariants that hold between databases.
//!
//! Two databases have no common snapshot, and a mesh may be at work while it is
//! verified. So transactions are read first and what they caused afterwards: by
//! then the effect of a final state must be there. What still looks wrong is
//! looked at once more by itself, in that order again, and only what stays wrong
//! counts.
//!
//! Both sides come sorted by the transaction's id and are compared as they
//! arrive, so the check needs no memory however long the history is.

use std::cmp::Ordering;
use std::pin::Pin;
use std::time::Duration;

use futures::stream::Peekable;
use futures::{Stream, StreamExt, TryStreamExt};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::Line;
use crate::servers::databases::Databases;

mod ledger;
mod provider;
mod transaction;

use transaction::Transaction;

/// How many offending transactions are looked at again and counted at most.
const MAX_COUNTED: usize = 1_000;
/// What was in flight is through after this.
const SECOND_LOOK_AFTER: Duration = Duration::from_secs(1);

/// One side of a comparison: a row that belongs to a transaction.
trait Keyed {
    /// The transaction's id.
    fn id(&self) -> Uuid;
}

/// Checks them.
///
/// # Errors
/// When a database cannot be read.
pub async fn verify(databases: &Databases) -> anyhow::Result<Vec<Line>> {
    let connect = |service: &str| {
        let url = databases.application_url(service);
        async move { PgConnection::connect(&url).await }
    };
    let mut transactions = connect("transaction").await?;
    let mut ledger = connect("wallet").await?;
    let mut provider = connect("sandbox").await?;

    let unposted = compare(
        transaction::all(&mut transactions),
        ledger::effects(&mut ledger),
        ledger::agree,
    )
    .await?;
    let unposted = second_look(unposted, async |id| {
        let transaction = transaction::one(&mut transactions, id).await?;
        let effect = ledger::effect(&mut ledger, id).await?;
        Ok(ledger::agree(transaction.as_ref(), effect.as_ref()))
    })
    .await?;

    let unmatched = compare(
        transaction::at_provider(&mut transactions),
        provider::movements(&mut provider),
        provider::agree,
    )
    .await?;
    let unmatched = second_look(unmatched, async |id| {
        let transaction = transaction::one(&mut transactions, id).await?;
        let movement = provider::movement(&mut provider, id).await?;
        Ok(provider::agree(transaction.as_ref(), movement.as_ref()))
    })
    .await?;
    let foreign = provider::foreign(&mut provider, MAX_COUNTED).await?;

    Ok(vec![
        Line::new(
            "mesh",
            15,
            "a transaction completed, or moved nothing",
            unposted,
        ),
        Line::new(
            "mesh",
            16,
            "the provider's movements are ours, one each",
            unmatched + foreign,
        ),
    ])
}

/// Walks both sides in the order of their ids and returns the transactions on
/// which they do not agree.
async fn compare<R: Keyed>(
    transactions: impl Stream<Item = sqlx::Result<Transaction>>,
    rows: impl Stream<Item = sqlx::Result<R>>,
    agree: impl Fn(Option<&Transaction>, Option<&R>) -> bool,
) -> sqlx::Result<Vec<Uuid>> {
    let mut transactions = std::pin::pin!(transactions.peekable());
    let mut rows = std::pin::pin!(rows.peekable());
    let mut wrong = Vec::new();
    while wrong.len() < MAX_COUNTED {
        // The transactions' statement is sent first, so its snapshot is older.
        let left = next_id(transactions.as_mut()).await?;
        let right = next_id(rows.as_mut()).await?;
        let order = match (left, right) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => left.cmp(&right),
        };
        let transaction = match order {
            Ordering::Less | Ordering::Equal => transactions.try_next().await?,
            Ordering::Greater => None,
        };
        let row = match order {
            Ordering::Greater | Ordering::Equal => rows.try_next().await?,
            Ordering::Less => None,
        };
        if !agree(transaction.as_ref(), row.as_ref()) {
            wrong.extend(left.into_iter().chain(right).min());
        }
    }
    Ok(wrong)
}

async fn next_id<T: Keyed>(
    mut stream: Pin<&mut Peekable<impl Stream<Item = sqlx::Result<T>>>>,
) -> sqlx::Result<Option<Uuid>> {
    match stream.as_mut().peek().await {
        Some(Ok(row)) => Ok(Some(row.id())),
        // Taken out, because an error cannot be copied.
        Some(Err(_)) => stream.try_next().await.map(|_| None),
        None => Ok(None),
    }
}

/// How many of them are still wrong a moment later.
async fn second_look(
    wrong: Vec<Uuid>,
    mut is_right: impl AsyncFnMut(Uuid) -> sqlx::Result<bool>,
) -> sqlx::Result<usize> {
    if wrong.is_empty() {
        return Ok(0);
    }
    tokio::time::sleep(SECOND_LOOK_AFTER).await;
    let mut still_wrong = 0;
    for id in wrong {
        if !is_right(id).await? {
            tracing::error!(transaction_id = %format_args!("txn_{id}"), "breaks an invariant");
            still_wrong += 1;
        }
    }
    Ok(still_wrong)
}

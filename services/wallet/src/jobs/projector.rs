//! Folds what the ledger recorded into the projections.
//!
//! The sealer queues the wallets of every batch that it sealed. A slice takes a
//! few rows of that queue and folds their wallets' entries from where each
//! wallet's cursor stands, in one transaction: queue, projections and cursors
//! change together, so a slice that is cut off has not happened. A wallet that
//! another projector holds, or that has more entries than a slice takes, goes
//! back to the end of the queue.
//!
//! It takes a bounded share of the time, so it lags while the ledger is busy;
//! balances and statements are exact all the same. When the lag passes a minute
//! it takes a larger share, still a small one: callers come first.

use std::time::Duration;

use bursar_aip::id::WalletId;
use bursar_server::{crash_point, database, now};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::pace::Share;
use crate::domain::fold::{Fold, FoldError, FoldedEntry};
use crate::store::projections::{self, Cursor, Span};

/// How many rows of the queue a slice takes at most. A row is a ledger batch.
const QUEUE_ROWS: i64 = 16;
/// How many entries a slice folds at most.
const SLICE_ENTRIES: i64 = 5_000;
/// How long it waits when there was nothing to do.
const IDLE: Duration = Duration::from_millis(500);
/// How long it waits after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The lag beyond which it takes the larger share.
const LONG_LAG: time::Duration = time::Duration::seconds(60);
/// The share, in percent, that it takes to catch up.
const CATCHING_UP_PERCENT: u32 = 25;

/// What a slice did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// How many rows it took out of the queue.
    pub queue_rows: usize,
    /// How many entries it folded.
    pub entries: usize,
    /// When the oldest of them was recorded.
    pub oldest: Option<OffsetDateTime>,
}

/// Runs until `shutdown`, with `percent` of the time. What fails is tried again.
pub async fn run(pool: PgPool, percent: u32, shutdown: CancellationToken) -> anyhow::Result<()> {
    while !shutdown.is_cancelled() {
        let started = Instant::now();
        let rest = match slice(&pool).await {
            Ok(slice) if slice.queue_rows == 0 => {
                lag().set(0.0);
                IDLE
            }
            Ok(slice) => {
                let behind = slice.oldest.map_or(time::Duration::ZERO, |at| now() - at);
                lag().set(behind.as_seconds_f64());
                metrics::counter!("bursar_projection_entries_total")
                    .increment(u64::try_from(slice.entries).unwrap_or(u64::MAX));
                let percent = if behind > LONG_LAG {
                    percent.max(CATCHING_UP_PERCENT)
                } else {
                    percent
                };
                Share::percent(percent).rest_after(started.elapsed())
            }
            Err(error) => {
                tracing::warn!(%error, "projections lag; trying again");
                metrics::counter!("bursar_projection_failures_total").increment(1);
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}

fn lag() -> metrics::Gauge {
    metrics::gauge!("bursar_projection_lag_seconds")
}

/// Takes wallets out of the queue and folds their entries, in one transaction.
pub async fn slice(pool: &PgPool) -> Result<Slice, sqlx::Error> {
    let mut transaction = database::begin(pool).await?;
    let (queue_rows, wallets) = projections::take_queued(&mut transaction, QUEUE_ROWS).await?;
    let (entries, oldest) = if wallets.is_empty() {
        (0, None)
    } else {
        fold(&mut transaction, &wallets).await?
    };
    crash_point!("projector.before_slice_commit");
    transaction.commit().await?;
    crash_point!("projector.after_slice_commit");
    Ok(Slice {
        queue_rows,
        entries,
        oldest,
    })
}

/// Folds up to a slice of these wallets' entries and queues again what is left.
async fn fold(
    conn: &mut PgConnection,
    wallets: &[Uuid],
) -> Result<(usize, Option<OffsetDateTime>), sqlx::Error> {
    let cursors = projections::lock_cursors(conn, wallets).await?;
    let (spans, mut left) = plan(&cursors, SLICE_ENTRIES);
    let is_held = |id: &&Uuid| {
        let found = cursors.binary_search_by_key(*id, |cursor| cursor.wallet.uuid());
        found.is_err()
    };
    left.extend(wallets.iter().filter(is_held));
    let folded = fold_spans(conn, &cursors, &spans).await?;
    left.retain(|wallet| !folded.broken.contains(wallet));
    if !left.is_empty() {
        projections::queue_again(conn, &left).await?;
    }
    Ok((folded.entries, folded.oldest))
}

/// What to fold with room for `budget` entries, and the wallets that are then
/// not done.
fn plan(cursors: &[Cursor], mut budget: i64) -> (Vec<Span>, Vec<Uuid>) {
    let (mut spans, mut left) = (Vec::new(), Vec::new());
    for cursor in cursors {
        let waiting = cursor.wallet_version - cursor.version;
        let taken = waiting.min(budget);
        if taken > 0 {
            budget -= taken;
            spans.push(Span {
                wallet: cursor.wallet,
                after: cursor.version,
                through: cursor.version + taken,
            });
        }
        if taken < waiting {
            left.push(cursor.wallet.uuid());
        }
    }
    (spans, left)
}

/// What became of spans.
struct Folded {
    entries: usize,
    oldest: Option<OffsetDateTime>,
    /// The wallets whose entries are not as they should be.
    broken: Vec<Uuid>,
}

/// Folds spans of wallets whose cursors the transaction holds. A wallet whose
/// entries are not as they should be stays where it is, and the others go on.
async fn fold_spans(
    conn: &mut PgConnection,
    cursors: &[Cursor],
    spans: &[Span],
) -> Result<Folded, sqlx::Error> {
    let entries = projections::entries(conn, spans).await?;
    let (mut folds, mut broken) = (Vec::new(), Vec::new());
    for span in spans {
        let Some(cursor) = cursors.iter().find(|cursor| cursor.wallet == span.wallet) else {
            continue;
        };
        match fold_span(cursor, span, &entries) {
            Ok(fold) => folds.push((cursor, fold)),
            Err(error) => {
                tracing::error!(wallet = %span.wallet, %error,
                    "a wallet's entries cannot be projected; verify the ledger");
                metrics::counter!("bursar_projection_broken_wallets_total").increment(1);
                broken.push(span.wallet.uuid());
            }
        }
    }
    let rows: Vec<(&Cursor, &Fold)> = folds.iter().map(|(cursor, fold)| (*cursor, fold)).collect();
    if !rows.is_empty() {
        projections::write(conn, &rows).await?;
    }
    Ok(Folded {
        entries: entries.len(),
        oldest: entries.iter().map(|(_, entry)| entry.recorded_at).min(),
        broken,
    })
}

/// Folds a span out of entries that are in the order of wallets and versions.
fn fold_span(
    cursor: &Cursor,
    span: &Span,
    entries: &[(WalletId, FoldedEntry)],
) -> Result<Fold, FoldError> {
    let start = entries.partition_point(|(wallet, _)| *wallet < span.wallet);
    let own = entries[start..]
        .iter()
        .take_while(|(wallet, _)| *wallet == span.wallet);
    let mut fold = Fold::resume(cursor.version, cursor.balance);
    for (_, entry) in own {
        fold.add(entry)?;
    }
    fold.reaches(span.through)?;
    Ok(fold)
}

/// Folds a part of one wallet's entries. Returns whether it has come to the end
/// of them, or to where they are broken; false also while somebody else holds the
/// wallet's cursor.
pub async fn fold_wallet(pool: &PgPool, wallet: WalletId) -> Result<bool, sqlx::Error> {
    let mut transaction = database::begin(pool).await?;
    let cursors = projections::lock_cursors(&mut transaction, &[wallet.uuid()]).await?;
    let (spans, left) = plan(&cursors, SLICE_ENTRIES);
    let folded = fold_spans(&mut transaction, &cursors, &spans).await?;
    crash_point!("projector.before_wallet_commit");
    transaction.commit().await?;
    crash_point!("projector.after_wallet_commit");
    let is_at_end = left.is_empty() && !cursors.is_empty();
    Ok(is_at_end || !folded.broken.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::wallet::Balance;

    fn cursor(id: u128, version: i64, wallet_version: i64) -> Cursor {
        Cursor {
            wallet: WalletId::from_uuid(Uuid::from_u128(id)),
            tenant: "default".to_owned(),
            currency: "EUR".to_owned(),
            version,
            balance: Balance::default(),
            wallet_version,
        }
    }

    /// A slice never takes more than its budget, and whoever is not done is named.
    #[test]
    fn slices_are_bounded() {
        let cursors = [
            cursor(1, 0, 3),
            cursor(2, 5, 5),
            cursor(3, 10, 90),
            cursor(4, 0, 1),
        ];
        let (spans, left) = plan(&cursors, 20);
        let taken: Vec<_> = spans
            .iter()
            .map(|span| (span.after, span.through))
            .collect();
        assert_eq!(taken, [(0, 3), (10, 27)]);
        assert_eq!(left, [Uuid::from_u128(3), Uuid::from_u128(4)]);
        let (spans, left) = plan(&cursors, 1_000);
        assert_eq!((spans.len(), left.len()), (3, 0));
    }
}

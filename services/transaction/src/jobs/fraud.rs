//! The fraud worker: keeps what the rules know of users, and tries the rules of the
//! stage AFTER, both by the events of transactions that are COMPLETED.
//!
//! An event's effects are one database transaction with the inbox, so an event that is
//! delivered again has none. The worker is late by as much as the events are; what
//! must not be late is read by the screening itself. A platform that has history
//! before its first worker gets it by publishing those events again.

use std::time::Duration;

use bursar_aip::id::TransactionId;
use bursar_events::consumer::{Consumer, Kinds};
use bursar_events::{HandlerError, Received};
use bursar_server::{Job, Start, now};
use futures::FutureExt;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use crate::domain::MovementKind;
use crate::fraud::screener::Screener;
use crate::fraud::{Stage, Subject, Verdict};
use crate::store::fraud::cases::{self, Case};
use crate::store::fraud::hits;
use crate::store::fraud::profiles::{self, Payment};
use crate::store::transactions::{self, Stored};
use crate::watch;

/// The consumer group: its place in the stream, and its rows in the inbox.
const GROUP: &str = "transaction-fraud";
const SOURCE: &str = "bursar.transaction";
const COMPLETED: &str = "transaction.completed";
/// Who is told to have opened a case.
const ACTOR: &str = "service:transaction";
/// How often old rows are folded and cases counted.
const KEEPING: Duration = Duration::from_secs(60);
/// How many batches of old rows go at a time.
const MAX_BATCHES: u32 = 20;

/// The job that consumes the events; `None` without a Redis, when the rules see every
/// payee as new and no averages.
pub(crate) fn worker(start: &Start, screener: Screener) -> anyhow::Result<Option<Job>> {
    if start.config.redis_events_url.is_none() {
        tracing::warn!("BURSAR_REDIS_EVENTS_URL is not set; fraud profiles are not kept");
        return Ok(None);
    }
    let mut consumer = Consumer::new(GROUP, vec![SOURCE], Kinds::Only(vec![COMPLETED]));
    consumer
        .stream_prefix
        .clone_from(&start.config.events_stream_prefix);
    let (pool, redis, shutdown) = (start.pool.clone(), start.redis()?, start.shutdown.clone());
    Ok(Some(Job::new("fraud", async move {
        consumer
            .run(
                pool,
                redis,
                move |conn, event| handle(screener.clone(), conn, event).boxed(),
                shutdown,
            )
            .await;
        Ok(())
    })))
}

/// Takes in that a transaction is COMPLETED, in the transaction of the inbox.
#[tracing::instrument(name = "job.fraud", skip_all)]
async fn handle(
    screener: Screener,
    conn: &mut PgConnection,
    event: &Received,
) -> Result<(), HandlerError> {
    let id = TransactionId::from_uuid(event.aggregate_id);
    // The row is written with the event that tells of it.
    let found = transactions::find(conn, id).await?;
    let stored = found.ok_or_else(|| HandlerError::poison(format!("{id} is not there")))?;
    let Some(subject) = Subject::of(&stored.tenant, &stored.transaction) else {
        return Ok(());
    };
    look_back(&screener, conn, &subject).await?;
    if let Some(payment) = payment(&stored, &subject)? {
        profiles::record(conn, &[payment]).await?;
    }
    Ok(())
}

/// Opens a case when a rule says so. It is too late to deny.
async fn look_back(
    screener: &Screener,
    conn: &mut PgConnection,
    subject: &Subject,
) -> Result<(), HandlerError> {
    let screenings = screener
        .look_back(conn, std::slice::from_ref(subject))
        .await?;
    let found: Vec<_> = screenings
        .iter()
        .map(|screening| (subject, screening))
        .collect();
    hits::record(conn, &found).await?;
    let suspected = screenings
        .iter()
        .filter(|screening| screening.verdict != Verdict::Allow);
    let opened: Vec<Case> = suspected
        .filter_map(|screening| Case::of(Stage::After, subject, screening, now()))
        .collect();
    cases::open(conn, &subject.tenant, &opened, ACTOR).await?;
    Ok(())
}

/// What the profile keeps of it; `None` for a deposit.
fn payment(stored: &Stored, subject: &Subject) -> Result<Option<Payment>, HandlerError> {
    if subject.kind == MovementKind::Deposit {
        return Ok(None);
    }
    let missing = || HandlerError::poison(format!("{} was not posted", subject.transaction));
    Ok(Some(Payment {
        tenant: subject.tenant.clone(),
        user: subject.user,
        amount: subject.amount,
        payee: subject.payee,
        completed_at: stored.transaction.posted_at.ok_or_else(missing)?,
    }))
}

/// Folds old hits into numbers, deletes old days, and counts the open cases.
pub(crate) async fn keep(pool: PgPool, shutdown: CancellationToken) -> anyhow::Result<()> {
    loop {
        if let Err(error) = keep_once(&pool).await {
            tracing::warn!(%error, "fraud screening is not tidied up");
        }
        if !super::next_turn(KEEPING, &shutdown).await {
            return Ok(());
        }
    }
}

async fn keep_once(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut conn = pool.acquire().await?;
    for _ in 0..MAX_BATCHES {
        let folded = hits::fold(&mut conn).await?;
        let deleted = profiles::delete_old(&mut conn).await?;
        if folded + deleted == 0 {
            break;
        }
    }
    let (open, oldest) = cases::waiting(&mut conn).await?;
    watch::fraud_cases(open, oldest, now());
    Ok(())
}

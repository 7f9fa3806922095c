//! The fraud worker: keeps what the rules know of users, and tries the rules of the
//! stage AFTER, both by the events of transactions that are COMPLETED.
//!
//! Events that come together take effect together. Their effects are one database
//! transaction with the inbox, so an event that is delivered again has none. The worker is
//! late by as much as the events are; what must not be late is read by the screening
//! itself. A platform that has history before its first worker gets it by publishing those
//! events again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bursar_aip::id::TransactionId;
use bursar_events::consumer::{Consumer, Kinds};
use bursar_events::{HandlerError, Received};
use bursar_server::{Job, Start, crash_point, now};
use bursar_status::correlation::{self, CorrelationId};
use futures::FutureExt;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

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
            .run_together(
                pool,
                redis,
                move |conn, events| handle(screener.clone(), conn, events).boxed(),
                shutdown,
            )
            .await;
        Ok(())
    })))
}

/// A transaction that is COMPLETED, and the event that tells of it.
struct Completed<'a> {
    event: &'a Received,
    stored: Stored,
    subject: Subject,
}

/// Takes in that transactions are COMPLETED, in the transaction of the inbox. Where rules
/// look at them, those of one user come one after the other: what the rules know counts
/// the one before.
#[tracing::instrument(name = "job.fraud", skip_all, fields(events = events.len()))]
async fn handle(
    screener: Screener,
    conn: &mut PgConnection,
    events: &[&Received],
) -> Result<(), HandlerError> {
    let mut completed = read(conn, events).await?;
    let tenants = completed.iter().map(|one| &one.subject.tenant);
    if !screener.looks_back(conn, tenants).await? {
        return take_in(conn, &completed).await;
    }
    while !completed.is_empty() {
        let mut users = HashSet::new();
        let (turn, later): (Vec<_>, Vec<_>) = completed
            .into_iter()
            .partition(|one| users.insert((one.subject.tenant.clone(), one.subject.user)));
        look_back(&screener, conn, &turn).await?;
        take_in(conn, &turn).await?;
        completed = later;
    }
    Ok(())
}

/// Adds to what the rules know of the users.
async fn take_in(conn: &mut PgConnection, completed: &[Completed<'_>]) -> Result<(), HandlerError> {
    let payments: Vec<Option<Payment>> = completed.iter().map(payment).collect::<Result<_, _>>()?;
    let payments: Vec<Payment> = payments.into_iter().flatten().collect();
    profiles::record(conn, &payments).await?;
    Ok(())
}

/// What the events are about, in their order, as far as the rules look at it.
async fn read<'a>(
    conn: &mut PgConnection,
    events: &[&'a Received],
) -> Result<Vec<Completed<'a>>, HandlerError> {
    let ids: Vec<Uuid> = events.iter().map(|event| event.aggregate_id).collect();
    let found = transactions::find_all(conn, &ids).await?;
    let mut found: HashMap<Uuid, Stored> = found
        .into_iter()
        .map(|stored| (stored.transaction.id.uuid(), stored))
        .collect();
    let mut completed = Vec::with_capacity(events.len());
    for &event in events {
        // The row is written with the event that tells of it.
        let stored = found.remove(&event.aggregate_id).ok_or_else(|| {
            let id = TransactionId::from_uuid(event.aggregate_id);
            HandlerError::poison(format!("{id} is not there"))
        })?;
        if let Some(subject) = Subject::of(&stored.tenant, &stored.transaction) {
            completed.push(Completed {
                event,
                stored,
                subject,
            });
        }
    }
    Ok(completed)
}

/// Opens cases where a rule says so. It is too late to deny.
async fn look_back(
    screener: &Screener,
    conn: &mut PgConnection,
    completed: &[Completed<'_>],
) -> Result<(), HandlerError> {
    let subjects: Vec<Subject> = completed.iter().map(|one| one.subject.clone()).collect();
    let screenings = screener.look_back(conn, &subjects).await?;
    let found: Vec<_> = subjects.iter().zip(&screenings).collect();
    hits::record(conn, &found).await?;
    for (one, screening) in completed.iter().zip(&screenings) {
        if screening.verdict == Verdict::Allow {
            continue;
        }
        let Some(case) = Case::of(Stage::After, &one.subject, screening, now()) else {
            continue;
        };
        // The case belongs to the request that the transaction belongs to.
        let correlation = CorrelationId::parse(&one.event.correlation_id);
        let correlation = correlation.unwrap_or_else(CorrelationId::generate);
        let cases = [case];
        let opening = cases::open(conn, &one.subject.tenant, &cases, ACTOR);
        correlation::scope(correlation, opening).await?;
    }
    Ok(())
}

/// What the profile keeps of it; `None` for a deposit.
fn payment(completed: &Completed<'_>) -> Result<Option<Payment>, HandlerError> {
    let Completed {
        stored, subject, ..
    } = completed;
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
        crash_point!("fraud.before_fold");
        let folded = hits::fold(&mut conn).await?;
        crash_point!("fraud.after_fold");
        let deleted = profiles::delete_old(&mut conn).await?;
        crash_point!("fraud.after_days_delete");
        if folded + deleted == 0 {
            break;
        }
    }
    let (open, oldest) = cases::waiting(&mut conn).await?;
    watch::fraud_cases(open, oldest, now());
    Ok(())
}

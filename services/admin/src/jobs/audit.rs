//! Feeds the audit trail from the events of the whole mesh, admin's own among
//! them.
//!
//! Every kind of event is audited unless [`NOT_AUDITED`] names it, so that a
//! new kind cannot be forgotten. Each event becomes one line, in the
//! transaction in which the inbox notes it. An event that this version of the
//! contract cannot read is parked as a dead letter, together with what follows
//! of its subject, and is replayed after an upgrade: the trail is late then,
//! never wrong.

mod data;

use bursar_aip::id::TenantId;
use bursar_events::consumer::{Consumer, Kinds};
use bursar_events::{HandlerError, Received};
use bursar_server::{Job, Start, now};
use futures::FutureExt;
use sqlx::PgConnection;

use crate::domain::audit::{Line, to_microseconds};
use crate::store::audit_events;

/// The consumer group: its place in every stream, and its rows in the inbox.
const GROUP: &str = "admin-audit";

/// Who publishes what is audited.
const SOURCES: [&str; 4] = [
    "bursar.identity",
    "bursar.wallet",
    "bursar.transaction",
    "bursar.admin",
];

/// Wallet tells every movement of money by one of these. They are left out:
/// the ledger's entries are the record of movements, append-only and provable
/// themselves, and the transaction's own events say who asked for it. A copy
/// would double the trail and prove nothing more.
const NOT_AUDITED: [&str; 3] = ["wallet.credited", "wallet.debited", "wallet.moved"];

/// The job that consumes the events.
pub(crate) fn job(start: &Start) -> anyhow::Result<Job> {
    let mut consumer = Consumer::new(GROUP, SOURCES, Kinds::Except(NOT_AUDITED.to_vec()));
    // A chain grows under one lock: more at a time would only wait for it, with
    // connections that calls need.
    consumer.concurrency = 1;
    consumer
        .stream_prefix
        .clone_from(&start.config.events_stream_prefix);
    let pool = start.pool.clone();
    let redis = start.redis()?;
    let shutdown = start.shutdown.clone();
    Ok(Job::new("audit", async move {
        consumer
            .run(
                pool,
                redis,
                |connection, event| record(connection, event).boxed(),
                shutdown,
            )
            .await;
        Ok(())
    }))
}

/// Writes an event into the audit trail, once.
#[tracing::instrument(name = "job.audit", skip_all, fields(event = %event.id, kind = event.kind))]
async fn record(connection: &mut PgConnection, event: &Received) -> Result<(), HandlerError> {
    let line = line(event)?;
    if !audit_events::append(connection, &line).await? {
        tracing::debug!("the audit trail has the event already");
    }
    Ok(())
}

/// The line that an event becomes.
fn line(event: &Received) -> Result<Line, HandlerError> {
    Ok(Line {
        tenant: TenantId::parse(&event.tenant).map_err(HandlerError::poison)?,
        event_id: event.id,
        source: event.source.clone(),
        kind: event.kind.clone(),
        subject: event.subject.clone(),
        subject_version: event.version,
        actor: event.actor.clone(),
        correlation_id: event.correlation_id.clone(),
        occurred_at: to_microseconds(event.occurred_at),
        recorded_at: now(),
        data: data::to_json(&event.schema, &event.data).map_err(HandlerError::poison)?,
    })
}

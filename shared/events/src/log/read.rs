//! The events of one aggregate, as they stand in the log.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// An event of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its id.
    pub event_id: Uuid,
    /// Its place among its aggregate's events, from 1.
    pub version: i64,
    /// What happened, such as `wallet.credited`.
    pub kind: String,
    /// The encoded message.
    pub data: Vec<u8>,
    /// Who caused it.
    pub actor: String,
    /// The request that it belongs to.
    pub correlation_id: String,
    /// The W3C trace context of its writer, when that was traced.
    pub traceparent: Option<String>,
    /// When it happened.
    pub occurred_at: OffsetDateTime,
    /// When it was written.
    pub recorded_at: OffsetDateTime,
    /// Whether the relay is done with it.
    pub is_published: bool,
}

/// The events of an aggregate in order: those that are rows of `events`, and those in the
/// batches of these names.
pub async fn of_aggregate(
    connection: &mut PgConnection,
    aggregate_id: Uuid,
    batches: &[Uuid],
) -> Result<Vec<Logged>, sqlx::Error> {
    sqlx::query_as!(
        Logged,
        r#"
        SELECT
            event_id AS "event_id!", version AS "version!", kind AS "kind!", data AS "data!",
            actor AS "actor!", correlation_id AS "correlation_id!", traceparent,
            occurred_at AS "occurred_at!", recorded_at AS "recorded_at!",
            is_published AS "is_published!"
        FROM (
            SELECT
                event_id, version, kind, data, actor, correlation_id, traceparent, occurred_at,
                recorded_at,
                NOT EXISTS (
                    SELECT FROM outbox
                    WHERE outbox.partition = events_partition(events.aggregate_id)
                        AND outbox.seq = events.seq
                ) AS is_published
            FROM events
            WHERE aggregate_id = $1
            UNION ALL
            SELECT
                event.id, event.version, batch.kinds[event.type], event.data,
                batch.actors[event.origin], batch.correlation_ids[event.origin],
                batch.traceparents[event.origin], event.occurred_at, batch.recorded_at,
                NOT EXISTS (SELECT FROM outbox_batches WHERE outbox_batches.seq = batch.seq)
            FROM event_batches AS batch
            CROSS JOIN LATERAL UNNEST(
                batch.event_ids, batch.aggregate_ids, batch.versions, batch.data,
                batch.occurred_at, batch.types, batch.origins
            ) AS event (id, aggregate_id, version, data, occurred_at, type, origin)
            WHERE batch.id = ANY ($2) AND event.aggregate_id = $1
        ) AS log
        ORDER BY version
        "#,
        aggregate_id,
        batches,
    )
    .fetch_all(connection)
    .await
}

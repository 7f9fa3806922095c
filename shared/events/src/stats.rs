//! How the events of a database are doing.

use sqlx::PgConnection;

/// Events that are not published 30 seconds after they were written
/// (invariant 10). No row is good.
pub const UNPUBLISHED_EVENTS_SQL: &str = "
    SELECT seq, aggregate_id, version, 1 AS events, recorded_at
    FROM outbox
    WHERE recorded_at < clock_timestamp() - interval '30 seconds'
    UNION ALL
    SELECT seq, NULL, NULL, events, recorded_at
    FROM outbox_batches
    WHERE recorded_at < clock_timestamp() - interval '30 seconds'
    ORDER BY recorded_at";

/// Aggregates whose versions do not run 1, 2, 3 without a gap (invariant 8).
/// No row is good.
pub const VERSION_GAPS_SQL: &str = "
    SELECT aggregate_kind, aggregate_id, count(*) AS events, min(version) AS first, \
     max(version) AS last
    FROM event_log
    GROUP BY aggregate_kind, aggregate_id
    HAVING min(version) <> 1 OR max(version) <> count(*)";

/// How the events of a database are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// How many events are written and not yet published.
    pub unpublished_events: u64,
    /// How long the oldest of them has waited, in milliseconds; 0 when there is none.
    pub oldest_unpublished_age_ms: u64,
    /// How many events the consumers of this database have parked.
    pub dead_letters: u64,
}

/// Reads how the events of a database are doing.
pub async fn stats(connection: &mut PgConnection) -> Result<Stats, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        SELECT
            outbox.unpublished_events AS "unpublished_events!",
            outbox.oldest_unpublished_age_ms AS "oldest_unpublished_age_ms!",
            (SELECT count(*) FROM dead_letters WHERE replayed_at IS NULL) AS "dead_letters!"
        FROM (
            SELECT
                COALESCE(sum(events), 0)::bigint AS unpublished_events,
                COALESCE(
                    (EXTRACT(EPOCH FROM clock_timestamp() - min(recorded_at)) * 1000)::bigint, 0
                ) AS oldest_unpublished_age_ms
            FROM (
                SELECT count(*) AS events, min(recorded_at) AS recorded_at FROM outbox
                UNION ALL
                SELECT sum(events), min(recorded_at) FROM outbox_batches
            ) AS waiting
        ) AS outbox
        "#
    )
    .fetch_one(connection)
    .await?;
    Ok(Stats {
        unpublished_events: row.unpublished_events.try_into().unwrap_or(0),
        // A clock that was set back makes ages negative for a moment.
        oldest_unpublished_age_ms: row.oldest_unpublished_age_ms.try_into().unwrap_or(0),
        dead_letters: row.dead_letters.try_into().unwrap_or(0),
    })
}

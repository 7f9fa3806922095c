//! The log: what it takes, what it refuses, what it says about itself.

use bursar_events::{MIGRATOR, UNPUBLISHED_EVENTS_SQL, VERSION_GAPS_SQL};
use bursar_status::correlation::{self, CorrelationId};
use sqlx::{Executor, PgPool};
use uuid::Uuid;

use crate::fixture::{Fixture, event};

async fn code(pool: &PgPool, sql: &'static str) -> Option<String> {
    let error = pool.execute(sql).await.err()?;
    Some(error.as_database_error()?.code()?.into_owned())
}

/// The application role can read and add, and nothing else.
#[tokio::test]
async fn the_application_cannot_change_the_log() {
    let fixture = Fixture::new().await;
    fixture.append(&[event(Uuid::now_v7(), 1)]).await;
    for sql in [
        "UPDATE events SET actor = 'x'",
        "DELETE FROM events",
        "TRUNCATE events",
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "DROP TABLE events",
        "SET session_replication_role = replica",
        "UPDATE outbox SET seq = 1",
        "TRUNCATE outbox",
        "DELETE FROM dead_letters",
    ] {
        assert_eq!(
            code(&fixture.pool, sql).await.as_deref(),
            Some("42501"),
            "{sql}"
        );
    }
}

/// Who may do everything is still refused, also where ordinary triggers sleep,
/// and an event reaches the outbox even there.
#[tokio::test]
async fn triggers_hold_in_replica_mode() {
    let fixture = Fixture::new().await;
    let id = Uuid::now_v7();
    fixture.append(&[event(id, 1)]).await;
    for mode in ["origin", "replica"] {
        for change in [
            "UPDATE events SET actor = 'x'",
            "DELETE FROM events",
            "TRUNCATE events",
        ] {
            let mut transaction = fixture.owner.begin().await.unwrap();
            sqlx::query("SELECT set_config('session_replication_role', $1, true)")
                .bind(mode)
                .execute(&mut *transaction)
                .await
                .unwrap();
            let error = transaction.execute(change).await.unwrap_err();
            let error = error.as_database_error().unwrap();
            assert_eq!(error.code().as_deref(), Some("42501"), "{change} in {mode}");
            assert!(error.message().contains("append-only"), "{error}");
        }
    }
    let mut transaction = fixture.owner.begin().await.unwrap();
    transaction
        .execute("SET LOCAL session_replication_role = replica")
        .await
        .unwrap();
    bursar_events::append(&mut transaction, &[event(id, 2)])
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(fixture.stats().await.unpublished_events, 2);
}

/// Sequence numbers follow versions inside a statement, whatever the order in
/// which the events are given.
#[tokio::test]
async fn numbers_follow_versions() {
    let fixture = Fixture::new().await;
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let mut events: Vec<_> = (1..=20)
        .rev()
        .flat_map(|version| [event(second, version), event(first, version)])
        .collect();
    events.swap(3, 30);
    fixture.append(&events).await;
    for id in [first, second] {
        let versions: Vec<i64> =
            sqlx::query_scalar("SELECT version FROM events WHERE aggregate_id = $1 ORDER BY seq")
                .bind(id)
                .fetch_all(&fixture.pool)
                .await
                .unwrap();
        assert_eq!(versions, (1..=20).collect::<Vec<i64>>());
    }
    fixture.append(&[]).await;
}

/// The same version cannot be written twice; the constraint says so by name.
#[tokio::test]
async fn a_version_is_taken_once() {
    let fixture = Fixture::new().await;
    let id = Uuid::now_v7();
    fixture.append(&[event(id, 1)]).await;
    let mut connection = fixture.pool.acquire().await.unwrap();
    let error = bursar_events::append(&mut connection, &[event(id, 1)])
        .await
        .unwrap_err();
    let constraint = error
        .as_database_error()
        .and_then(|error| error.constraint());
    assert_eq!(constraint, Some("events_aggregate_version"));
}

/// An event knows its schema, the request that caused it, and a tenant.
#[tokio::test]
async fn an_event_knows_where_it_comes_from() {
    let fixture = Fixture::new().await;
    let id = Uuid::now_v7();
    let correlation_id = CorrelationId::parse("request-7").unwrap();
    let event = correlation::scope(correlation_id, async { event(id, 1) }).await;
    assert_eq!(event.schema, "bursar.identity.v1.UserRegistered");
    assert_eq!(event.id.get_version_num(), 7);
    fixture.append(&[event]).await;
    let row: (String, String, String) = sqlx::query_as(
        "SELECT schema, correlation_id, tenant_id FROM events WHERE aggregate_id = $1",
    )
    .bind(id)
    .fetch_one(&fixture.pool)
    .await
    .unwrap();
    assert_eq!(row.0, "bursar.identity.v1.UserRegistered");
    assert_eq!(row.1, "request-7");
    assert_eq!(row.2, "default");
}

/// The numbers and the invariants tell a healthy log from a sick one.
#[tokio::test]
async fn sickness_shows() {
    let fixture = Fixture::new().await;
    let (whole, broken) = (Uuid::now_v7(), Uuid::now_v7());
    let rows = async |sql: &'static str| fixture.pool.fetch_all(sql).await.unwrap().len();
    fixture.append(&[event(whole, 1), event(whole, 2)]).await;
    assert_eq!(rows(VERSION_GAPS_SQL).await, 0);
    assert_eq!(rows(UNPUBLISHED_EVENTS_SQL).await, 0);

    fixture.append(&[event(broken, 1), event(broken, 3)]).await;
    assert_eq!(rows(VERSION_GAPS_SQL).await, 1);
    fixture
        .owner
        .execute(
            "UPDATE outbox SET recorded_at = recorded_at - interval '31 seconds' WHERE version = 3",
        )
        .await
        .unwrap();
    assert_eq!(rows(UNPUBLISHED_EVENTS_SQL).await, 1);
    let stats = fixture.stats().await;
    assert_eq!(stats.unpublished_events, 4);
    assert!(stats.oldest_unpublished_age_ms >= 31_000, "{stats:?}");
    assert_eq!(stats.dead_letters, 0);
}

/// Migrations that are applied already change nothing.
#[tokio::test]
async fn migrations_run_again() {
    let fixture = Fixture::new().await;
    fixture.append(&[event(Uuid::now_v7(), 1)]).await;
    MIGRATOR.run(&fixture.owner).await.unwrap();
    assert_eq!(fixture.stats().await.unpublished_events, 1);
}

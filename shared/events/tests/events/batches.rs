//! Events that are written together in one row: as good as those in rows.

use std::collections::HashMap;

use bursar_events::relay::republish;
use bursar_events::{Event, VERSION_GAPS_SQL, append_locked, append_named, of_aggregate};
use futures::future::join_all;
use proptest::prelude::*;
use sqlx::{Executor, PgConnection};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::fixture::{Fixture, GROUP, assert_in_order, event, event_of, eventually, record};

async fn append(fixture: &Fixture, events: &[Event]) {
    let mut transaction = fixture.pool.begin().await.unwrap();
    append_locked(&mut transaction, events).await.unwrap();
    transaction.commit().await.unwrap();
}

/// Locks aggregates as a service locks their rows, in the order of their ids.
async fn lock(conn: &mut PgConnection, ids: &[Uuid]) {
    for id in ids {
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))")
            .bind(id)
            .execute(&mut *conn)
            .await
            .unwrap();
    }
}

/// Writers that fight for the same aggregates under locks, some of which commit
/// late, under two relays, of which one dies: each aggregate is in order.
#[tokio::test(flavor = "multi_thread")]
async fn fighting_writers_are_published_in_order() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let doomed = fixture.relay();
    let mut ids: Vec<Uuid> = (0..12).map(|_| Uuid::now_v7()).collect();
    ids.sort();
    fixture
        .owner
        .execute(
            "CREATE TABLE versions (id uuid PRIMARY KEY, version bigint NOT NULL);
             GRANT SELECT, INSERT, UPDATE ON versions TO bursar_events_test",
        )
        .await
        .unwrap();
    for id in &ids {
        sqlx::query("INSERT INTO versions VALUES ($1, 0)")
            .bind(id)
            .execute(&fixture.pool)
            .await
            .unwrap();
    }
    let writers = (0..6).map(|writer: usize| {
        let (fixture, ids) = (&fixture, &ids);
        async move {
            for round in 0..25 {
                let chosen: Vec<Uuid> = ids
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| (at * 7 + round * 3 + writer).is_multiple_of(4))
                    .map(|(_, &id)| id)
                    .collect();
                let mut transaction = fixture.pool.begin().await.unwrap();
                lock(&mut transaction, &chosen).await;
                let mut events = Vec::new();
                for &id in &chosen {
                    let version: i64 = sqlx::query_scalar(
                        "UPDATE versions SET version = version + 2 WHERE id = $1 RETURNING version",
                    )
                    .bind(id)
                    .fetch_one(&mut *transaction)
                    .await
                    .unwrap();
                    events.extend([event(id, version - 1), event(id, version)]);
                }
                append_locked(&mut transaction, &events).await.unwrap();
                if (round + writer).is_multiple_of(5) {
                    transaction.execute("SELECT pg_sleep(0.02)").await.unwrap();
                }
                transaction.commit().await.unwrap();
            }
        }
    });
    let killed = async {
        eventually("something is published", || async {
            (!fixture.published().await.is_empty()).then_some(())
        })
        .await;
        doomed.kill().await;
    };
    tokio::join!(join_all(writers), killed);
    fixture.until_published().await;
    relay.stop().await;
    let last: HashMap<Uuid, i64> = sqlx::query_as("SELECT id, version FROM versions")
        .fetch_all(&fixture.pool)
        .await
        .unwrap()
        .into_iter()
        .filter(|&(_, version): &(Uuid, i64)| version > 0)
        .collect();
    assert_in_order(&fixture.published().await, &last);
}

/// A batch that draws its number first and commits last is not skipped.
#[tokio::test]
async fn a_late_batch_is_not_skipped() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let (late, early) = (Uuid::now_v7(), Uuid::now_v7());
    let mut transaction = fixture.pool.begin().await.unwrap();
    append_locked(&mut transaction, &[event(late, 1)])
        .await
        .unwrap();
    append(&fixture, &[event(early, 1)]).await;
    eventually("the other event is published", || async {
        (fixture.published().await == [(early, 1)]).then_some(())
    })
    .await;
    transaction.commit().await.unwrap();
    fixture.until_published().await;
    assert_eq!(fixture.published().await, [(early, 1), (late, 1)]);
    relay.stop().await;
}

/// An aggregate whose first events were rows goes on in batches: they wait for
/// the rows, also when those cannot be published yet.
#[tokio::test]
async fn batches_come_after_rows() {
    let fixture = Fixture::new().await;
    let id = Uuid::now_v7();
    let mut transaction = fixture.pool.begin().await.unwrap();
    bursar_events::append(&mut transaction, &[event(id, 1)])
        .await
        .unwrap();
    fixture.append(&[event(id, 2)]).await;
    append(&fixture, &[event(id, 3), event(id, 4)]).await;
    let other = Uuid::now_v7();
    fixture.append(&[event(other, 1)]).await;
    let relay = fixture.relay();
    eventually("the row of the other aggregate is published", || async {
        (fixture.published().await == [(other, 1)]).then_some(())
    })
    .await;
    transaction.commit().await.unwrap();
    fixture.until_published().await;
    assert_eq!(
        fixture.published().await,
        [(other, 1), (id, 1), (id, 2), (id, 3), (id, 4)]
    );
    relay.stop().await;
}

/// An aggregate's events are found in its rows and in the batches of the given names, in
/// order, each with whether it is published. A name is given once.
#[tokio::test]
async fn an_aggregate_is_found_by_the_names_of_its_batches() {
    let fixture = Fixture::new().await;
    let (id, other) = (Uuid::now_v7(), Uuid::now_v7());
    fixture.append(&[event(id, 1)]).await;
    let names = [Uuid::now_v7(), Uuid::now_v7()];
    let mut connection = fixture.pool.acquire().await.unwrap();
    for (name, version) in names.into_iter().zip([2, 3]) {
        let events = [event(other, version - 1), event(id, version)];
        append_named(&mut connection, name, &events).await.unwrap();
    }
    let found = of_aggregate(&mut connection, id, &names[..1])
        .await
        .unwrap();
    let versions: Vec<i64> = found.iter().map(|event| event.version).collect();
    assert_eq!(versions, [1, 2]);
    let found = of_aggregate(&mut connection, id, &names).await.unwrap();
    let read: Vec<_> = found
        .iter()
        .map(|event| (event.version, event.is_published))
        .collect();
    assert_eq!(read, [(1, false), (2, false), (3, false)]);
    let relay = fixture.relay();
    fixture.until_published().await;
    relay.stop().await;
    let published = of_aggregate(&mut connection, id, &names).await.unwrap();
    assert!(published.iter().all(|event| event.is_published));
    let ids: Vec<Uuid> = found.iter().map(|event| event.event_id).collect();
    let same: Vec<Uuid> = published.iter().map(|event| event.event_id).collect();
    assert_eq!(ids, same);
    let again = append_named(&mut connection, names[0], &[event(other, 3)]).await;
    let error = again.unwrap_err();
    assert!(error.as_database_error().unwrap().is_unique_violation());
}

/// A batch of more events than enter the stream at once is published whole, and
/// so are many small ones.
#[tokio::test]
async fn any_size_is_published() {
    let fixture = Fixture::new().await;
    let (large, small) = (Uuid::now_v7(), Uuid::now_v7());
    let events: Vec<_> = (1..=1_700).map(|version| event(large, version)).collect();
    append(&fixture, &events).await;
    for version in 1..=150 {
        append(&fixture, &[event(small, version)]).await;
    }
    append(&fixture, &[]).await;
    let relay = fixture.relay();
    fixture.until_published().await;
    relay.stop().await;
    let last = HashMap::from([(large, 1_700), (small, 150)]);
    assert_eq!(assert_in_order(&fixture.published().await, &last), 0);
}

/// What a relay published under a lease that is no longer its own stays: the
/// delete is fenced.
#[tokio::test]
async fn a_lost_lease_deletes_nothing() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay_with(
        fixture.redis.clone(),
        bursar_events::relay::Settings {
            lease: std::time::Duration::from_secs(3600),
            ..fixture.settings()
        },
    );
    let id = Uuid::now_v7();
    append(&fixture, &[event(id, 1)]).await;
    fixture.until_published().await;
    fixture
        .owner
        .execute(
            "UPDATE relay_leases SET holder = gen_random_uuid(), epoch = epoch + 1, \
             expires_at = clock_timestamp() + interval '1 hour'",
        )
        .await
        .unwrap();
    append(&fixture, &[event(id, 2), event(id, 3)]).await;
    eventually("the old holder published", || async {
        fixture.published().await.contains(&(id, 3)).then_some(())
    })
    .await;
    relay.stop().await;
    assert_eq!(fixture.stats().await.unpublished_events, 2);
}

/// What Redis lost is published again, and consumers do each event once.
#[tokio::test]
async fn redis_loses_batches() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let id = Uuid::now_v7();
    let consumer = fixture.consume(fixture.consumer(), record);
    append(&fixture, &[event(id, 1), event(id, 2)]).await;
    fixture.until_effects(2).await;
    fixture.until_acknowledged(GROUP).await;
    consumer.stop().await;
    append(&fixture, &[event(id, 3), event(id, 4)]).await;
    fixture.until_published().await;
    let mut redis = fixture.redis().await;
    let _: usize = redis::AsyncCommands::del(&mut redis, fixture.stream())
        .await
        .unwrap();
    let consumer = fixture.consume(fixture.consumer(), record);
    let effects = fixture.until_effects(4).await;
    assert_eq!(assert_in_order(&effects, &HashMap::from([(id, 4)])), 0);
    consumer.stop().await;
    relay.stop().await;
}

/// An operator can have batches published again, and their events are counted.
#[tokio::test]
async fn batches_are_published_again() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let id = Uuid::now_v7();
    append(&fixture, &[event(id, 1), event(id, 2), event(id, 3)]).await;
    fixture.until_published().await;
    let mut connection = fixture.pool.acquire().await.unwrap();
    let since = OffsetDateTime::now_utc() - Duration::minutes(1);
    assert_eq!(republish(&mut connection, since).await.unwrap(), 3);
    fixture.until_published().await;
    assert_eq!(fixture.published().await.len(), 6);
    relay.stop().await;
}

/// Nobody changes a batch, not even who may do everything, and a batch reaches
/// the outbox also where ordinary triggers sleep.
#[tokio::test]
async fn batches_stay_as_they_are() {
    let fixture = Fixture::new().await;
    append(&fixture, &[event(Uuid::now_v7(), 1)]).await;
    for mode in ["origin", "replica"] {
        for change in [
            "UPDATE event_batches SET actors = '{x}'",
            "DELETE FROM event_batches",
            "TRUNCATE event_batches",
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
    for change in [
        "UPDATE event_batches SET actors = '{x}'",
        "DELETE FROM event_batches",
        "UPDATE outbox_batches SET events = 0",
        "TRUNCATE outbox_batches",
    ] {
        let error = fixture.pool.execute(change).await.unwrap_err();
        let code = error
            .as_database_error()
            .and_then(|error| error.code().map(|code| code.into_owned()));
        assert_eq!(code.as_deref(), Some("42501"), "{change}");
    }
    let mut transaction = fixture.owner.begin().await.unwrap();
    transaction
        .execute("SET LOCAL session_replication_role = replica")
        .await
        .unwrap();
    append_locked(&mut transaction, &[event(Uuid::now_v7(), 1)])
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(fixture.stats().await.unpublished_events, 2);
}

/// The checks look into batches too.
#[tokio::test]
async fn a_gap_in_a_batch_shows() {
    let fixture = Fixture::new().await;
    let id = Uuid::now_v7();
    let gaps = async || {
        fixture
            .pool
            .fetch_all(VERSION_GAPS_SQL)
            .await
            .unwrap()
            .len()
    };
    fixture.append(&[event(id, 1)]).await;
    append(&fixture, &[event(id, 2), event(id, 3)]).await;
    assert_eq!(gaps().await, 0);
    append(&fixture, &[event(id, 5)]).await;
    assert_eq!(gaps().await, 1);
}

/// A subject that is not a prefix and its id cannot be put together again, so
/// it is refused.
#[tokio::test]
async fn a_foreign_subject_is_refused() {
    let fixture = Fixture::new().await;
    let mut foreign = event(Uuid::now_v7(), 1);
    foreign.aggregate.subject = "tst_something_else".to_owned();
    let mut connection = fixture.pool.acquire().await.unwrap();
    let error = append_locked(&mut connection, &[foreign])
        .await
        .unwrap_err();
    assert!(matches!(error, sqlx::Error::Encode(_)), "{error}");
}

/// What was written of an event, as the log shows it.
#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Written {
    event_id: Uuid,
    tenant_id: String,
    aggregate_kind: String,
    aggregate_id: Uuid,
    subject: String,
    version: i64,
    kind: String,
    schema: String,
    data: Vec<u8>,
    actor: String,
    correlation_id: String,
    traceparent: Option<String>,
    occurred_at: OffsetDateTime,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever events are written together, the log shows them as they were.
    #[test]
    fn the_log_shows_what_was_written(
        choices in proptest::collection::vec((0_usize..3, 0_usize..3, proptest::option::of("[a-z]{0,9}")), 1..30)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new().await;
            let events: Vec<Event> = choices
                .into_iter()
                .zip(1..)
                .map(|((kind, actor, traceparent), version)| {
                    let kind = ["test.a", "test.b", "test.c"][kind];
                    let mut event = event_of(kind, Uuid::now_v7(), version);
                    event.actor = format!("actor {actor}");
                    event.correlation_id = format!("request {actor}");
                    event.traceparent = traceparent;
                    event
                })
                .collect();
            append(&fixture, &events).await;
            let found: Vec<Written> = sqlx::query_as(
                "SELECT event_id, tenant_id, aggregate_kind, aggregate_id, subject, version, kind,
                    schema, data, actor, correlation_id, traceparent, occurred_at
                 FROM event_log ORDER BY version",
            )
            .fetch_all(&fixture.pool)
            .await
            .unwrap();
            let written: Vec<Written> = events.into_iter().map(written).collect();
            assert_eq!(found, written);
        });
    }
}

fn written(event: Event) -> Written {
    Written {
        event_id: event.id,
        tenant_id: event.tenant.as_str().to_owned(),
        aggregate_kind: event.aggregate.kind.to_owned(),
        aggregate_id: event.aggregate.id,
        subject: event.aggregate.subject,
        version: event.version,
        kind: event.kind.to_owned(),
        schema: event.schema.to_owned(),
        data: event.data,
        actor: event.actor,
        correlation_id: event.correlation_id,
        traceparent: event.traceparent,
        occurred_at: event.occurred_at,
    }
}

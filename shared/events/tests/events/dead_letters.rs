//! Dead letters: one aggregate is set aside, the others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bursar_events::HandlerError;
use bursar_events::consumer::{Consumer, Kinds};
use bursar_events::dead_letters::{Replayed, discard, replay};
use redis::AsyncCommands;
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

use crate::fixture::{Fixture, GROUP, Running, event, event_of, eventually, record};

/// A consumer that finds version 2 of an aggregate poisonous until it is cured.
fn consume(fixture: &Fixture, poisoned: Uuid, cured: &Arc<AtomicBool>) -> Running {
    let cured = Arc::clone(cured);
    fixture.consume(fixture.consumer(), move |connection, event| {
        let cured = cured.load(Ordering::SeqCst);
        Box::pin(async move {
            record(connection, event).await?;
            if event.aggregate_id == poisoned && event.version == 2 && !cured {
                return Err(HandlerError::poison("it makes no sense"));
            }
            Ok(())
        })
    })
}

async fn letters(fixture: &Fixture) -> Vec<(i64, String, i32)> {
    sqlx::query_as(
        "SELECT version, reason, attempts FROM dead_letters WHERE replayed_at IS NULL \
         ORDER BY aggregate_id, version",
    )
    .fetch_all(&fixture.pool)
    .await
    .unwrap()
}

fn letter(version: i64, reason: &str, attempts: i32) -> (i64, String, i32) {
    (version, reason.to_owned(), attempts)
}

/// A poisoned event parks its aggregate: what follows waits behind it in order,
/// the other aggregates go on, and a replay puts everything right.
#[tokio::test]
async fn a_poisoned_aggregate_is_parked_and_replayed() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let (poisoned, free) = (Uuid::now_v7(), Uuid::now_v7());
    let cured = Arc::new(AtomicBool::new(false));
    let consumer = consume(&fixture, poisoned, &cured);
    for version in 1..=4 {
        fixture
            .append(&[event(poisoned, version), event(free, version)])
            .await;
    }
    fixture.until_effects(5).await;
    fixture.until_published().await;
    fixture.until_acknowledged(GROUP).await;
    let parked = [
        letter(2, "failed", 1),
        letter(3, "behind", 0),
        letter(4, "behind", 0),
    ];
    assert_eq!(letters(&fixture).await, parked);
    assert_eq!(fixture.stats().await.dead_letters, 3);

    // Not cured yet: the replay leaves everything as it was.
    let replayed = replay(&fixture.pool, GROUP, |_, _| {
        Box::pin(async { Err(HandlerError::poison("still no sense")) })
    })
    .await
    .unwrap();
    assert_eq!(
        replayed,
        Replayed {
            handled: 0,
            still_parked: 1
        }
    );
    assert_eq!(letters(&fixture).await[0], letter(2, "failed", 2));

    cured.store(true, Ordering::SeqCst);
    let replayed = replay(&fixture.pool, GROUP, record).await.unwrap();
    assert_eq!(
        replayed,
        Replayed {
            handled: 3,
            still_parked: 0
        }
    );
    assert!(letters(&fixture).await.is_empty());
    fixture.append(&[event(poisoned, 5)]).await;
    fixture.until_effects(9).await;
    let of = async |id: Uuid| -> Vec<i64> {
        let effects = fixture.effects().await.into_iter();
        effects
            .filter(|effect| effect.0 == id)
            .map(|effect| effect.1)
            .collect()
    };
    assert_eq!(of(poisoned).await, [1, 2, 3, 4, 5]);
    assert_eq!(of(free).await, [1, 2, 3, 4]);
    let replayed = replay(&fixture.pool, GROUP, record).await.unwrap();
    assert_eq!(replayed, Replayed::default());
    consumer.stop().await;
    relay.stop().await;
}

/// A replay beside a consumer that keeps adding letters: none is left behind,
/// none is handled twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_races_the_consumer() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let poisoned = Uuid::now_v7();
    let cured = Arc::new(AtomicBool::new(false));
    let consumer = consume(&fixture, poisoned, &cured);
    fixture
        .append(&[event(poisoned, 1), event(poisoned, 2)])
        .await;
    eventually("it is parked", || async {
        (fixture.stats().await.dead_letters > 0).then_some(())
    })
    .await;
    cured.store(true, Ordering::SeqCst);
    let write = async {
        for version in 3..=60 {
            fixture.append(&[event(poisoned, version)]).await;
        }
    };
    let replays = async {
        for _ in 0..20 {
            replay(&fixture.pool, GROUP, record).await.unwrap();
        }
    };
    tokio::join!(write, replays);
    fixture.until_published().await;
    fixture.until_acknowledged(GROUP).await;
    replay(&fixture.pool, GROUP, record).await.unwrap();
    let effects = fixture.until_effects(60).await;
    let expected: Vec<(Uuid, i64)> = (1..=60).map(|version| (poisoned, version)).collect();
    assert_eq!(effects, expected);
    assert_eq!(fixture.stats().await.dead_letters, 0);
    consumer.stop().await;
    relay.stop().await;
}

/// An operator gives an event up; the aggregate goes on after it. Only the
/// first one of an aggregate can be given up.
#[tokio::test]
async fn a_discarded_event_is_passed_over() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let poisoned = Uuid::now_v7();
    let consumer = consume(&fixture, poisoned, &Arc::new(AtomicBool::new(false)));
    let events: Vec<_> = (1..=3).map(|version| event(poisoned, version)).collect();
    fixture.append(&events).await;
    eventually("it is parked", || async {
        (fixture.stats().await.dead_letters == 2).then_some(())
    })
    .await;
    assert!(!discard(&fixture.pool, GROUP, events[2].id).await.unwrap());
    assert!(!discard(&fixture.pool, GROUP, Uuid::now_v7()).await.unwrap());
    assert!(discard(&fixture.pool, GROUP, events[1].id).await.unwrap());
    assert!(!discard(&fixture.pool, GROUP, events[1].id).await.unwrap());
    let replayed = replay(&fixture.pool, GROUP, record).await.unwrap();
    assert_eq!(
        replayed,
        Replayed {
            handled: 1,
            still_parked: 0
        }
    );
    assert_eq!(fixture.effects().await, [(poisoned, 1), (poisoned, 3)]);
    consumer.stop().await;
    relay.stop().await;
}

/// An event of another kind keeps its place behind a parked one, and a replay
/// passes over it without calling the handler.
#[tokio::test]
async fn skipped_events_keep_their_place() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let poisoned = Uuid::now_v7();
    let settings = Consumer {
        kinds: Kinds::Only(vec!["test.happened"]),
        ..fixture.consumer()
    };
    let consumer = fixture.consume(settings, |_, _| {
        Box::pin(async { Err(HandlerError::poison("it makes no sense")) })
    });
    fixture.append(&[event(poisoned, 1)]).await;
    eventually("it is parked", || async {
        (fixture.stats().await.dead_letters == 1).then_some(())
    })
    .await;
    fixture
        .append(&[event_of("test.ignored", poisoned, 2)])
        .await;
    fixture.append(&[event(poisoned, 3)]).await;
    fixture.until_published().await;
    fixture.until_acknowledged(GROUP).await;
    let parked = [
        letter(1, "failed", 1),
        letter(2, "behind", 0),
        letter(3, "behind", 0),
    ];
    assert_eq!(letters(&fixture).await, parked);
    let replayed = replay(&fixture.pool, GROUP, record).await.unwrap();
    assert_eq!(
        replayed,
        Replayed {
            handled: 3,
            still_parked: 0
        }
    );
    assert_eq!(fixture.effects().await, [(poisoned, 1), (poisoned, 3)]);
    consumer.stop().await;
    relay.stop().await;
}

/// What is no event is set aside and stops nothing.
#[tokio::test]
async fn rubbish_is_set_aside() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let mut redis = fixture.redis().await;
    let fields = [("cloudevent", "rubbish")];
    let _: String = redis.xadd(fixture.stream(), "*", &fields).await.unwrap();
    let consumer = fixture.consume(fixture.consumer(), record);
    let id = Uuid::now_v7();
    fixture.append(&[event(id, 1)]).await;
    fixture.until_effects(1).await;
    fixture.until_acknowledged(GROUP).await;
    let (event_id, data, error): (Uuid, Vec<u8>, String) =
        sqlx::query_as("SELECT event_id, data, last_error FROM dead_letters")
            .fetch_one(&fixture.pool)
            .await
            .unwrap();
    assert_eq!(data, b"rubbish");
    assert_eq!(error, "the cloudevent is malformed");
    let replayed = replay(&fixture.pool, GROUP, record).await.unwrap();
    assert_eq!(
        replayed,
        Replayed {
            handled: 0,
            still_parked: 1
        }
    );
    assert!(discard(&fixture.pool, GROUP, event_id).await.unwrap());
    assert_eq!(fixture.effects().await, [(id, 1)]);
    consumer.stop().await;
    relay.stop().await;
}

/// A constraint that fails only at the commit counts as the handler's failure.
#[tokio::test]
async fn a_failing_commit_parks() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let sql = "
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'refused at the commit';
        END $$;
        CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON effects
            DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION refuse();";
    fixture.owner.execute(AssertSqlSafe(sql)).await.unwrap();
    let consumer = fixture.consume(fixture.consumer(), record);
    fixture.append(&[event(Uuid::now_v7(), 1)]).await;
    eventually("it is parked", || async {
        (fixture.stats().await.dead_letters == 1).then_some(())
    })
    .await;
    assert_eq!(letters(&fixture).await, [letter(1, "failed", 3)]);
    consumer.stop().await;
    relay.stop().await;
}

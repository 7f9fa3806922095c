//! Tails: reading without a group, and knowing what was removed.

use std::time::Duration;

use bursar_events::tail::{Bounds, Position, Tail};
use redis::AsyncCommands;
use redis::streams::StreamMaxlen;
use uuid::Uuid;

use crate::fixture::{Fixture, SOURCE, event};

/// How long a read may wait that is to find nothing.
const SHORTLY: Duration = Duration::from_millis(20);

/// Everything is read in order, from anywhere, and nobody else is disturbed.
#[tokio::test]
async fn a_tail_reads_from_anywhere() {
    let fixture = Fixture::new().await;
    let mut tail = Tail::connect(&fixture.redis, &fixture.prefix, SOURCE)
        .await
        .unwrap();
    assert_eq!(tail.bounds().await.unwrap(), Bounds::default());
    let nothing = tail.read(Position::default(), 10, Some(SHORTLY)).await;
    assert!(nothing.unwrap().is_empty());

    let relay = fixture.relay();
    let id = Uuid::now_v7();
    let events: Vec<_> = (1..=5).map(|version| event(id, version)).collect();
    fixture.append(&events).await;
    fixture.until_published().await;
    relay.stop().await;

    let all = tail.read(Position::default(), 10, None).await.unwrap();
    let versions: Vec<i64> = all
        .iter()
        .map(|entry| entry.event.as_ref().unwrap().version)
        .collect();
    assert_eq!(versions, [1, 2, 3, 4, 5]);
    let rest = tail.read(all[2].position, 1, None).await.unwrap();
    assert_eq!(rest.len(), 1, "no more than asked for");
    assert_eq!(rest[0].position, all[3].position);
    let bounds = tail.bounds().await.unwrap();
    assert_eq!(bounds.last, all[4].position);
    assert!(!bounds.has_lost(Position::default()), "it is whole");
}

/// What was trimmed, and a stream that Redis lost, are known.
#[tokio::test]
async fn a_tail_knows_what_was_removed() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let id = Uuid::now_v7();
    let events: Vec<_> = (1..=5).map(|version| event(id, version)).collect();
    fixture.append(&events).await;
    fixture.until_published().await;
    relay.stop().await;
    let mut tail = Tail::connect(&fixture.redis, &fixture.prefix, SOURCE)
        .await
        .unwrap();
    let all = tail.read(Position::default(), 10, None).await.unwrap();

    let mut redis = fixture.redis().await;
    let removed: usize = redis
        .xtrim(fixture.stream(), StreamMaxlen::Equals(2))
        .await
        .unwrap();
    assert_eq!(removed, 3);
    let bounds = tail.bounds().await.unwrap();
    assert!(bounds.has_lost(Position::default()));
    assert!(bounds.has_lost(all[1].position));
    assert!(!bounds.has_lost(all[3].position));
    assert!(!bounds.has_lost(all[4].position));

    let _: usize = redis.del(fixture.stream()).await.unwrap();
    let bounds = tail.bounds().await.unwrap();
    assert!(
        bounds.has_lost(all[4].position),
        "the stream is another one"
    );
    assert!(!bounds.has_lost(Position::default()));
}

//! Whatever an event holds, the consumer receives what the writer wrote.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bursar_aip::id::TenantId;
use bursar_contracts::identity::v1::UserRegistered;
use bursar_events::{Aggregate, Event, Received};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::fixture::{Fixture, GROUP, record};

fn events() -> impl Strategy<Value = Vec<Event>> {
    let texts = (
        "\\PC{1,100}",
        "\\PC{1,100}",
        proptest::collection::vec("\\PC{0,50}", 0..5),
    );
    let micros = 0..253_000_000_000_000_000_i64;
    let trace = proptest::option::of("00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]");
    let one = (any::<u128>(), texts, micros, trace, "[a-z0-9_-]{1,32}").prop_map(
        |(id, (subject, actor, roles), micros, traceparent, tenant)| {
            let data = UserRegistered {
                user_id: subject.clone(),
                roles,
                ..UserRegistered::default()
            };
            let aggregate = Aggregate {
                kind: "test",
                id: Uuid::from_u128(id),
                subject,
            };
            let tenant = TenantId::parse(&tenant).unwrap();
            let occurred_at = OffsetDateTime::UNIX_EPOCH + Duration::microseconds(micros);
            let mut event = Event::new(
                "test.happened",
                aggregate,
                1,
                &data,
                actor,
                tenant,
                occurred_at,
            );
            event.traceparent = traceparent;
            event
        },
    );
    proptest::collection::vec(one, 100)
}

/// The log, the stream and the envelope change nothing.
#[tokio::test]
async fn a_consumer_receives_what_was_written() {
    let fixture = Fixture::new().await;
    let relay = fixture.relay();
    let received: Arc<Mutex<HashMap<Uuid, Received>>> = Arc::default();
    let sink = Arc::clone(&received);
    let consumer = fixture.consume(fixture.consumer(), move |connection, event| {
        sink.lock().unwrap().insert(event.id, event.clone());
        record(connection, event)
    });
    let mut runner = TestRunner::default();
    let written = events().new_tree(&mut runner).unwrap().current();
    fixture.append(&written).await;
    fixture.until_effects(written.len()).await;
    fixture.until_acknowledged(GROUP).await;
    consumer.stop().await;
    relay.stop().await;

    let received = received.lock().unwrap();
    for event in written {
        let expected = Received {
            id: event.id,
            source: "bursar.test".to_owned(),
            kind: event.kind.to_owned(),
            tenant: event.tenant.to_string(),
            aggregate_kind: event.aggregate.kind.to_owned(),
            aggregate_id: event.aggregate.id,
            subject: event.aggregate.subject,
            version: event.version,
            schema: event.schema.to_owned(),
            data: event.data,
            actor: event.actor,
            correlation_id: event.correlation_id,
            traceparent: event.traceparent,
            occurred_at: event.occurred_at,
        };
        assert_eq!(received[&event.id], expected);
    }
}

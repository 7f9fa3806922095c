//! The way of an event into the audit trail: written in another service's
//! database, published by its relay, carried by a real Redis, recorded once.

use std::time::Duration;

use bursar_admin::invariants::{AUDIT_CHAIN, AUDIT_ORDER};
use bursar_aip::id::{TenantId, TransactionId, UserId, WalletId};
use bursar_contracts::admin::v1::{AuditEvent, ListAuditEventsRequest, Ticket};
use bursar_contracts::transaction::v1::{
    TransactionCompleted, TransactionInitiated, TransactionType,
};
use bursar_contracts::r#type::v1::Money;
use bursar_contracts::wallet::v1::{WalletCreated, WalletPosted};
use bursar_events::{Aggregate, Event, EventData};
use bursar_server::{Assembly, Definition, now};
use bursar_testkit::{TestDatabase, TestService, Tokens, redis_url};
use prost::Message;
use redis::streams::StreamRangeReply;
use sqlx::AssertSqlSafe;
use tonic::service::Routes;

use crate::house::{House, Person};

/// How long an event may take from one database to the other.
const PATIENCE: Duration = Duration::from_secs(60);

/// An admin service that consumes, and a service whose events it consumes.
struct Feed {
    house: House,
    operator: Person,
    source: TestDatabase,
    _publisher: TestService,
}

impl Feed {
    async fn start(source_name: &'static str) -> Self {
        let tokens = Tokens::start().await;
        let redis = redis_url();
        let settings = [("BURSAR_REDIS_EVENTS_URL", redis.as_str())];
        let definition = publisher(source_name);
        let source = TestDatabase::create(&definition.migrations).await;
        let publisher = TestService::start(definition, &source, &tokens, &settings).await;
        let database = TestDatabase::create(&bursar_admin::definition().migrations).await;
        let house = House::start_on(database, tokens, &settings).await;
        let operator = house.admin();
        Self {
            house,
            operator,
            source,
            _publisher: publisher,
        }
    }

    /// Writes events in the source's database, as its own code would.
    async fn publish(&self, events: &[Event]) {
        let mut transaction = self.source.pool.begin().await.expect("a transaction opens");
        bursar_events::append(&mut transaction, events)
            .await
            .expect("events are appended");
        transaction
            .commit()
            .await
            .expect("the events are committed");
    }

    /// Waits until the trail has this many lines, and returns them, newest first.
    async fn lines(&self, count: usize) -> Vec<AuditEvent> {
        let mut clock = tokio::time::interval(Duration::from_millis(50));
        let look = async {
            loop {
                clock.tick().await;
                let listed = self
                    .house
                    .audit(&self.operator, ListAuditEventsRequest::default())
                    .await
                    .expect("an operator may read");
                if listed.audit_events.len() >= count {
                    return listed.audit_events;
                }
            }
        };
        tokio::time::timeout(PATIENCE, look)
            .await
            .unwrap_or_else(|_| panic!("the trail does not get {count} lines"))
    }

    async fn assert_sound(&self) {
        for invariant in [AUDIT_CHAIN, AUDIT_ORDER] {
            let found = sqlx::query(AssertSqlSafe(invariant.sql))
                .fetch_all(&self.house.database.pool)
                .await
                .expect("an invariant can be asked");
            assert!(found.is_empty(), "{}", invariant.name);
        }
    }
}

/// A service that has nothing but an event log and its relay.
fn publisher(name: &'static str) -> Definition {
    let admins = bursar_admin::definition();
    Definition {
        name,
        migrations: admins
            .migrations
            .into_iter()
            .filter(|set| set.name != "admin")
            .collect(),
        invariants: Vec::new(),
        assemble: |_| {
            Box::pin(async {
                Ok(Assembly {
                    routes: Some(Routes::default()),
                    http: axum::Router::new(),
                    jobs: Vec::new(),
                })
            })
        },
        ..admins
    }
}

fn transaction_event<M: EventData>(
    kind: &'static str,
    id: TransactionId,
    version: i64,
    data: &M,
    actor: UserId,
) -> Event {
    let aggregate = Aggregate {
        kind: "transaction",
        id: id.uuid(),
        subject: id.to_string(),
    };
    let tenant = TenantId::default();
    Event::new(
        kind,
        aggregate,
        version,
        data,
        actor.to_string(),
        tenant,
        now(),
    )
}

fn wallet_event<M: EventData>(kind: &'static str, id: WalletId, version: i64, data: &M) -> Event {
    let aggregate = Aggregate {
        kind: "wallet",
        id: id.uuid(),
        subject: id.to_string(),
    };
    let actor = "service:transaction".to_owned();
    Event::new(
        kind,
        aggregate,
        version,
        data,
        actor,
        TenantId::default(),
        now(),
    )
}

fn json(line: &AuditEvent) -> serde_json::Value {
    serde_json::from_str(&line.data_json).expect("a line's data is JSON")
}

/// The events of another service become lines with all that the events say,
/// in their order.
#[tokio::test(flavor = "multi_thread")]
async fn another_services_events_are_recorded() {
    let feed = Feed::start("transaction").await;
    let (transaction, user) = (TransactionId::generate(), UserId::generate());
    let initiated = TransactionInitiated {
        r#type: TransactionType::Transfer.into(),
        amount: Some(Money {
            currency_code: "EUR".to_owned(),
            minor_units: 1_000,
        }),
        from_wallet_id: "wal_1".to_owned(),
        to_wallet_id: "wal_2".to_owned(),
        initiator_user_id: user.to_string(),
        ..TransactionInitiated::default()
    };
    let completed = TransactionCompleted {
        beneficiary_user_id: "usr_2".to_owned(),
        posted_at: None,
    };
    let events = [
        transaction_event("transaction.initiated", transaction, 1, &initiated, user),
        transaction_event("transaction.completed", transaction, 2, &completed, user),
    ];
    feed.publish(&events).await;

    let lines = feed.lines(2).await;
    assert_eq!(lines.len(), 2);
    for (line, event) in lines.iter().zip(events.iter().rev()) {
        assert_eq!(line.event_id, event.id.to_string());
        assert_eq!(line.source, "bursar.transaction");
        assert_eq!(line.r#type, event.kind);
        assert_eq!(line.subject, transaction.to_string());
        assert_eq!(line.subject_version, event.version);
        assert_eq!(line.actor, user.to_string());
        assert_eq!(line.correlation_id, event.correlation_id);
        let occurred_at = line.occurred_at.expect("a line has its time");
        assert_eq!(occurred_at.seconds, event.occurred_at.unix_timestamp());
        assert_eq!(
            u32::try_from(occurred_at.nanos),
            Ok(event.occurred_at.nanosecond())
        );
    }
    assert_eq!(
        json(&lines[1]),
        serde_json::json!({
            "type": "TRANSACTION_TYPE_TRANSFER",
            "amount": {"currency_code": "EUR", "minor_units": "1000"},
            "from_wallet_id": "wal_1",
            "to_wallet_id": "wal_2",
            "initiator_user_id": user.to_string(),
        })
    );
    feed.assert_sound().await;
}

/// Admin audits itself, by the same way.
#[tokio::test(flavor = "multi_thread")]
async fn tickets_are_recorded_too() {
    let feed = Feed::start("transaction").await;
    let author = feed.house.user();
    let ticket = feed
        .house
        .create(&author, "My card number is 4111 1111 1111 1111")
        .await;
    feed.house
        .resolve(&feed.operator, &ticket.ticket_id, "Please do not send it.")
        .await
        .expect("it is open");
    let lines = feed.lines(2).await;
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line.r#type.as_str(),
                line.actor.clone(),
                line.subject.as_str(),
            )
        })
        .collect();
    let operator = feed.operator.id.to_string();
    assert_eq!(
        told,
        [
            ("admin.ticket.resolved", operator, ticket.ticket_id.as_str()),
            (
                "admin.ticket.created",
                author.id.to_string(),
                ticket.ticket_id.as_str()
            ),
        ]
    );
    assert!(lines.iter().all(|line| !line.data_json.contains("4111")));
    feed.assert_sound().await;
}

/// An entry that Redis carries twice is recorded once.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_recorded_once() {
    let feed = Feed::start("transaction").await;
    let (transaction, user) = (TransactionId::generate(), UserId::generate());
    let completed = TransactionCompleted::default();
    let event = |version| {
        transaction_event(
            "transaction.completed",
            transaction,
            version,
            &completed,
            user,
        )
    };
    feed.publish(&[event(1)]).await;
    feed.lines(1).await;

    let client = redis::Client::open(redis_url()).expect("an address");
    let mut redis = client
        .get_multiplexed_async_connection()
        .await
        .expect("Redis answers");
    let stream = format!("test:{}:bursar.transaction", feed.house.tokens.name);
    let entries: StreamRangeReply = redis::cmd("XRANGE")
        .arg(&stream)
        .arg("-")
        .arg("+")
        .query_async(&mut redis)
        .await
        .expect("the stream can be read");
    assert_eq!(entries.ids.len(), 1);
    for _ in 0..3 {
        let mut add = redis::cmd("XADD");
        add.arg(&stream).arg("*");
        for (name, value) in &entries.ids[0].map {
            let value: Vec<u8> = redis::from_redis_value(value.clone()).expect("a field is bytes");
            add.arg(name).arg(value);
        }
        let _: String = add
            .query_async(&mut redis)
            .await
            .expect("Redis takes it again");
    }
    feed.publish(&[event(2)]).await;
    let versions: Vec<i64> = feed
        .lines(2)
        .await
        .iter()
        .map(|line| line.subject_version)
        .collect();
    assert_eq!(versions, [2, 1]);
    feed.assert_sound().await;
}

/// Movements of money are the ledger's to record; what else wallet tells is
/// recorded.
#[tokio::test(flavor = "multi_thread")]
async fn movements_of_money_are_left_to_the_ledger() {
    let feed = Feed::start("wallet").await;
    let (first, second) = (WalletId::generate(), WalletId::generate());
    let posted = WalletPosted::default();
    feed.publish(&[
        wallet_event("wallet.created", first, 1, &WalletCreated::default()),
        wallet_event("wallet.credited", first, 2, &posted),
        wallet_event("wallet.debited", first, 3, &posted),
        wallet_event("wallet.moved", first, 4, &posted),
        wallet_event("wallet.frozen", first, 5, &WalletCreated::default()),
        wallet_event("wallet.created", second, 1, &WalletCreated::default()),
    ])
    .await;
    let mut kinds: Vec<String> = feed
        .lines(3)
        .await
        .into_iter()
        .map(|line| line.r#type)
        .collect();
    kinds.sort();
    assert_eq!(kinds, ["wallet.created", "wallet.created", "wallet.frozen"]);
    feed.assert_sound().await;
}

/// Personal data in an event does not reach the trail.
#[tokio::test(flavor = "multi_thread")]
async fn personal_fields_are_left_out() {
    let feed = Feed::start("transaction").await;
    let (id, user) = (TransactionId::generate(), UserId::generate());
    let ticket = Ticket {
        ticket_id: "tkt_1".to_owned(),
        subject: "I live at".to_owned(),
        description: "1 Road".to_owned(),
        ..Ticket::default()
    };
    let mut event = transaction_event(
        "transaction.noted",
        id,
        1,
        &TransactionCompleted::default(),
        user,
    );
    event.schema = "bursar.admin.v1.Ticket";
    event.data = ticket.encode_to_vec();
    feed.publish(&[event]).await;
    let lines = feed.lines(1).await;
    assert_eq!(json(&lines[0]), serde_json::json!({"ticket_id": "tkt_1"}));
}

/// An event of a contract that admin does not know is set aside with what
/// follows of its subject, and holds nobody else up.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_event_is_set_aside() {
    let feed = Feed::start("transaction").await;
    let user = UserId::generate();
    let (unreadable, other) = (TransactionId::generate(), TransactionId::generate());
    let completed = TransactionCompleted::default();
    let mut first = transaction_event("transaction.completed", unreadable, 1, &completed, user);
    first.schema = "bursar.transaction.v9.TransactionCompleted";
    feed.publish(&[
        first,
        transaction_event("transaction.completed", unreadable, 2, &completed, user),
        transaction_event("transaction.completed", other, 1, &completed, user),
    ])
    .await;
    let lines = feed.lines(1).await;
    assert_eq!(lines[0].subject, other.to_string());
    let mut clock = tokio::time::interval(Duration::from_millis(50));
    let parked = async {
        loop {
            clock.tick().await;
            let parked: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM dead_letters WHERE consumer_group = 'admin-audit'",
            )
            .fetch_one(&feed.house.database.pool)
            .await
            .expect("the dead letters can be counted");
            if parked == 2 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, parked)
        .await
        .expect("both events are parked");
    assert_eq!(feed.lines(1).await.len(), 1);
    feed.assert_sound().await;
}

//! A user's first wallet, opened when identity tells of the user.

use bursar_aip::id::{TenantId, UserId};
use bursar_contracts::identity::v1::{SessionStarted, UserRegistered};
use bursar_events::relay::{Relay, Settings};
use bursar_events::{Aggregate, Event, EventData, HandlerError, Received, append};
use bursar_money::Currency;
use bursar_server::{Migrations, now};
use bursar_testkit::{TestDatabase, redis_url};
use bursar_wallet::jobs::first_wallet;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Fixture, eventually};

fn registered(user: UserId) -> UserRegistered {
    UserRegistered {
        user_id: user.to_string(),
        roles: vec!["user".to_owned()],
        registered_at: None,
    }
}

/// An event as the consumer would give it to the handler.
fn received<M: EventData>(user: UserId, data: &M) -> Received {
    Received {
        id: Uuid::now_v7(),
        source: "bursar.identity".to_owned(),
        kind: "identity.user.registered".to_owned(),
        tenant: "default".to_owned(),
        aggregate_kind: "user".to_owned(),
        aggregate_id: user.uuid(),
        subject: user.to_string(),
        version: 1,
        schema: M::SCHEMA.to_owned(),
        data: data.encode_to_vec(),
        actor: user.to_string(),
        correlation_id: "test".to_owned(),
        traceparent: None,
        occurred_at: now(),
    }
}

async fn handle(pool: &PgPool, event: &Received) -> Result<(), HandlerError> {
    let currency = Currency::parse("EUR").expect("a currency");
    let mut transaction = pool.begin().await.expect("a transaction");
    first_wallet::handle(&mut transaction, event, currency).await?;
    transaction.commit().await.expect("committed");
    Ok(())
}

/// The currencies of a user's wallets.
async fn wallets_of(pool: &PgPool, user: UserId) -> Vec<String> {
    sqlx::query_scalar("SELECT currency::text FROM wallets WHERE owner_user_id = $1 ORDER BY id")
        .bind(user.uuid())
        .fetch_all(pool)
        .await
        .expect("wallets")
}

/// However often the event comes, and with other ids too, there is one first
/// wallet; wallets that the user opened before do not matter.
#[tokio::test]
async fn the_event_opens_one_wallet() {
    let fixture = Fixture::start().await;
    let pool = &fixture.database.pool;
    let user = UserId::generate();
    let event = received(user, &registered(user));
    for event in [&event, &event, &received(user, &registered(user))] {
        handle(pool, event).await.expect("handled");
    }
    assert_eq!(wallets_of(pool, user).await, ["EUR"]);
    let early = UserId::generate();
    fixture.open(early, "USD").await;
    handle(pool, &received(early, &registered(early)))
        .await
        .expect("handled");
    let mut currencies = wallets_of(pool, early).await;
    currencies.sort();
    assert_eq!(currencies, ["EUR", "USD"]);
    fixture.verify().await;
}

/// Events that name no user, or are something else, are poison: trying again
/// would not help.
#[tokio::test]
async fn nonsense_is_poison() {
    let fixture = Fixture::start().await;
    let user = UserId::generate();
    let nameless = UserRegistered {
        user_id: "usr_7".to_owned(),
        ..registered(user)
    };
    let mut foreign = received(user, &registered(user));
    foreign.tenant = "NO TENANT".to_owned();
    let mut broken = received(user, &registered(user));
    broken.data = vec![0xff; 3];
    let other = received(user, &SessionStarted::default());
    for event in [received(user, &nameless), foreign, broken, other] {
        let refused = handle(&fixture.database.pool, &event)
            .await
            .expect_err("nonsense");
        assert!(matches!(refused, HandlerError::Poison(_)), "{refused:?}");
    }
}

/// The whole way: an event in identity's database, its relay, the stream, the
/// service's consumer, a wallet in the configured currency.
#[tokio::test]
async fn the_event_comes_through_the_stream() {
    let redis = redis_url();
    let fixture = Fixture::start_with(&[
        ("BURSAR_REDIS_EVENTS_URL", &redis),
        ("BURSAR_DEFAULT_CURRENCY", "USD"),
    ])
    .await;
    let migrations = [Migrations {
        name: "events",
        migrator: &bursar_events::MIGRATOR,
    }];
    let identity = TestDatabase::create(&migrations).await;
    let users: Vec<UserId> = (0..5).map(|_| UserId::generate()).collect();
    for user in &users {
        let aggregate = Aggregate {
            kind: "user",
            id: user.uuid(),
            subject: user.to_string(),
        };
        let event = Event::new(
            "identity.user.registered",
            aggregate,
            1,
            &registered(*user),
            user.to_string(),
            TenantId::default(),
            now(),
        );
        let mut connection = identity.pool.acquire().await.expect("a connection");
        append(&mut connection, &[event]).await.expect("appended");
    }
    let client = redis::Client::open(redis).expect("an address");
    let settings = Settings {
        stream_prefix: format!("test:{}:", fixture.tokens.name),
        ..Settings::default()
    };
    let relay =
        Relay::new(identity.pool.clone(), client, "bursar.identity").with_settings(settings);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { relay.run(shutdown).await }
    });
    for user in &users {
        let pool = &fixture.database.pool;
        eventually("the wallet is open", async || {
            wallets_of(pool, *user).await == ["USD"]
        })
        .await;
    }
    shutdown.cancel();
    running.await.expect("no panic");
    let told: i64 =
        sqlx::query_scalar("SELECT count(*) FROM event_log WHERE kind = 'wallet.created'")
            .fetch_one(&fixture.database.pool)
            .await
            .expect("events");
    assert_eq!(told, 5);
    fixture.verify().await;
}

//! Calls that are sent again with their idempotency key.

use std::collections::HashSet;
use std::time::Duration;

use bursar_testkit::{TestDatabase, Tokens, with_token};
use tonic::Code;

use crate::house::{
    ALREADY_RESOLVED, House, Person, answer, assert_refused, is_replayed, question, refusal,
    with_key,
};

/// The same key and body is the same ticket, marked as replayed; another body
/// is refused; another user's same key is another key.
#[tokio::test]
async fn writing_is_idempotent_by_key() {
    let house = House::start().await;
    let (author, other) = (house.user(), house.user());
    let send = |person: &Person, subject: &str, key: &str| {
        let request = with_key(with_token(question(subject), &person.token), key);
        let mut client = house.client.clone();
        async move { client.create_ticket(request).await }
    };
    let first = send(&author, "Once", "key-1").await.expect("it is new");
    assert!(!is_replayed(first.metadata()));
    let second = send(&author, "Once", "key-1")
        .await
        .expect("it is replayed");
    assert!(is_replayed(second.metadata()));
    let (first, second) = (first.into_inner(), second.into_inner());
    assert_eq!(first, second);
    assert_refused(
        send(&author, "Twice", "key-1").await,
        Code::AlreadyExists,
        "bursar.type.v1/IDEMPOTENCY_KEY_REUSED",
    );
    let third = send(&other, "Once", "key-1")
        .await
        .expect("the key is another user's");
    assert_ne!(third.into_inner(), first);
    assert_refused(
        send(&author, "Once", "a key").await,
        Code::InvalidArgument,
        "bursar.type.v1/IDEMPOTENCY_KEY_INVALID",
    );
    assert_eq!(house.events_of("admin.ticket.created").await, 2);
}

/// Twenty concurrent requests with one key write one ticket.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_duplicates_write_one_ticket() {
    let house = House::start().await;
    let author = house.user();
    let attempts = (0..20).map(|_| {
        let request = with_key(with_token(question("Once"), &author.token), "key-1");
        house.create_response(request)
    });
    let outcomes = futures::future::join_all(attempts).await;
    let ids: HashSet<String> = outcomes
        .into_iter()
        .map(|outcome| {
            let response = outcome.expect("all get the answer").into_inner();
            response
                .ticket
                .expect("the answer has the ticket")
                .ticket_id
        })
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(house.events_of("admin.ticket.created").await, 1);
}

/// A refusal is replayed as it was, even when the reason for it has gone.
#[tokio::test]
async fn a_final_refusal_is_replayed() {
    let house = House::start().await;
    let operator = house.admin();
    let ticket = house.create(&house.user(), "Help").await;
    let send = |key: &str| {
        let request = with_key(
            with_token(answer(&ticket.ticket_id, "Done."), &operator.token),
            key,
        );
        let mut client = house.client.clone();
        async move { client.resolve_ticket(request).await }
    };
    let first = send("key-1").await.expect("it is open");
    let again = send("key-1").await.expect("it is replayed");
    assert!(is_replayed(again.metadata()));
    assert_eq!(first.into_inner(), again.into_inner());

    for replayed in [false, true] {
        let status = send("key-2").await.expect_err("it is resolved");
        assert_eq!(
            refusal(&status),
            (Code::FailedPrecondition, ALREADY_RESOLVED.to_owned())
        );
        assert_eq!(is_replayed(status.metadata()), replayed);
    }
}

/// Keys whose day has passed are deleted when the service starts, others stay.
#[tokio::test]
async fn expired_keys_are_deleted() {
    let database = TestDatabase::create(&bursar_admin::definition().migrations).await;
    for (key, age) in [("old", "25 hours"), ("new", "23 hours")] {
        sqlx::query(
            "INSERT INTO idempotency_keys
                 (tenant_id, principal, method, key, fingerprint, created_at, expires_at)
             SELECT 'default', 'usr_1', '/m', $1, sha256(''), made, made + interval '24 hours'
             FROM (SELECT now() - $2::text::interval AS made) AS times",
        )
        .bind(key)
        .bind(age)
        .execute(&database.pool)
        .await
        .expect("the application writes keys");
    }
    let house = House::start_on(database, Tokens::start().await, &[]).await;
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    let gone = async {
        loop {
            clock.tick().await;
            let left: Vec<String> = sqlx::query_scalar("SELECT key FROM idempotency_keys")
                .fetch_all(&house.database.pool)
                .await
                .expect("keys can be read");
            if left == ["new"] {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .expect("the old key goes");
}

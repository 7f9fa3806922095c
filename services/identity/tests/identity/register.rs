//! `Register`.

use bursar_contracts::identity::v1::RegisterRequest;
use bursar_status::StatusExt;
use futures::future::join_all;
use tonic::{Code, Request};

use crate::harness::{Harness, PASSWORD, is_replay, keyed, login, refused, register, registration};

/// How many users registered; the administrator of every start did not.
const USERS: &str = "SELECT count(*) FROM users WHERE email LIKE '%@example.com'";

/// How many events there are of what those users did.
const EVENTS: &str = "SELECT count(*) FROM events WHERE actor <> 'service:identity'";

/// A registered user has a normal address, a trimmed name, the user role and
/// one event without personal data; the password is kept as a hash only.
#[tokio::test]
async fn registering_makes_a_user() {
    let harness = Harness::start().await;
    let message = RegisterRequest {
        email: "Ada.Lovelace@Example.com".to_owned(),
        display_name: " Ada ".to_owned(),
        ..registration("")
    };
    let response = register(&harness.client, message)
        .await
        .expect("the address is free");
    assert!(!is_replay(&response));
    let user = response.into_inner().user.expect("the answer has the user");
    assert!(user.user_id.starts_with("usr_"));
    assert_eq!(user.email, "ada.lovelace@example.com");
    assert_eq!(user.display_name, "Ada");
    assert_eq!(user.roles, ["user"]);
    assert!(user.created_at.is_some());

    let (data, version, actor): (Vec<u8>, i64, String) = sqlx::query_as(
        "SELECT data, version, actor FROM events WHERE kind = 'identity.user.registered' AND subject = $1",
    )
    .bind(&user.user_id)
    .fetch_one(&harness.house.database.pool)
    .await
    .expect("there is one event");
    assert_eq!((version, actor), (1, user.user_id.clone()));
    let text = String::from_utf8_lossy(&data).to_lowercase();
    assert!(
        text.contains(&user.user_id) && !text.contains("ada"),
        "{text}"
    );

    let hash: String = sqlx::query_scalar("SELECT password_hash FROM credentials")
        .fetch_one(&harness.house.database.pool)
        .await
        .expect("there is one user");
    assert!(
        hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{hash}"
    );
}

/// An address has one user, however it is spelled and however many try at once.
#[tokio::test]
async fn an_address_is_taken_once() {
    let harness = Harness::start().await;
    let tries = (0..12).map(|number| {
        let email = if number % 2 == 0 {
            "ada@example.com"
        } else {
            "ADA@example.com"
        };
        register(&harness.client, registration(email))
    });
    let outcomes = join_all(tries).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        refused(outcome, Code::AlreadyExists, "EMAIL_TAKEN");
    }
    assert_eq!(harness.house.count(USERS).await, 1);
    assert_eq!(harness.house.count(EVENTS).await, 1);
}

/// A replay gets the first answer, whether it was a user or a refusal; the same
/// key with another body is refused.
#[tokio::test]
async fn replays_get_the_first_answer() {
    let harness = Harness::start().await;
    let send = |email: &str, key: &str| {
        let request = keyed(Request::new(registration(email)), key);
        let mut client = harness.client.clone();
        async move { client.register(request).await }
    };
    let first = send("ada@example.com", "one")
        .await
        .expect("the address is free");
    let again = send("ada@example.com", "one").await.expect("a replay");
    assert!(!is_replay(&first) && is_replay(&again));
    assert_eq!(first.into_inner(), again.into_inner());
    assert_eq!(harness.house.count(EVENTS).await, 1);

    refused(
        send("eve@example.com", "one").await,
        Code::AlreadyExists,
        "IDEMPOTENCY_KEY_REUSED",
    );

    let taken = refused(
        send("ada@example.com", "two").await,
        Code::AlreadyExists,
        "EMAIL_TAKEN",
    );
    assert!(!taken.metadata().contains_key("idempotency-replayed"));
    let again = refused(
        send("ada@example.com", "two").await,
        Code::AlreadyExists,
        "EMAIL_TAKEN",
    );
    assert!(again.metadata().contains_key("idempotency-replayed"));
}

/// Twenty duplicates at once make one user and get one answer.
#[tokio::test]
async fn concurrent_duplicates_make_one_user() {
    let harness = Harness::start().await;
    let tries = (0..20).map(|_| {
        let request = keyed(Request::new(registration("ada@example.com")), "same");
        let mut client = harness.client.clone();
        async move { client.register(request).await }
    });
    let mut users = Vec::new();
    for outcome in join_all(tries).await {
        users.push(outcome.expect("every duplicate is answered").into_inner());
    }
    users.dedup();
    assert_eq!(users.len(), 1);
    assert_eq!(harness.house.count(USERS).await, 1);
}

/// Secrets are kept nowhere: what is stored for replays has no password in it,
/// nor has any fingerprint been taken of one.
#[tokio::test]
async fn nothing_stored_has_the_password() {
    let harness = Harness::start().await;
    let send = |password: &str| {
        let message = RegisterRequest {
            password: password.to_owned(),
            ..registration("ada@example.com")
        };
        let request = keyed(Request::new(message), "key");
        let mut client = harness.client.clone();
        async move { client.register(request).await }
    };
    send(PASSWORD).await.expect("the address is free");
    let stored = harness
        .house
        .count(
            "SELECT count(*) FROM idempotency_keys
             WHERE position(convert_to('battery', 'UTF8') IN answer_body) > 0",
        )
        .await;
    assert_eq!(stored, 0);
    assert!(is_replay(
        &send("another password").await.expect("a replay")
    ));
    let other = login(&harness.client, "ada@example.com", "another password").await;
    refused(other, Code::Unauthenticated, "CREDENTIALS_INVALID");
}

/// Bounds and rules are answered alike: INVALID_FIELD with the field's path.
#[tokio::test]
async fn bad_fields_are_named() {
    let harness = Harness::start().await;
    let good = || registration("ada@example.com");
    let cases = [
        (
            "email",
            RegisterRequest {
                email: "ada".to_owned(),
                ..good()
            },
        ),
        (
            "email",
            RegisterRequest {
                email: String::new(),
                ..good()
            },
        ),
        (
            "password",
            RegisterRequest {
                password: "short".to_owned(),
                ..good()
            },
        ),
        (
            "password",
            RegisterRequest {
                password: "x".repeat(129),
                ..good()
            },
        ),
        (
            "password",
            RegisterRequest {
                password: "Ada@Example.com".to_owned(),
                ..good()
            },
        ),
        (
            "password",
            RegisterRequest {
                password: " ".repeat(9),
                ..good()
            },
        ),
        (
            "display_name",
            RegisterRequest {
                display_name: "  ".to_owned(),
                ..good()
            },
        ),
        (
            "display_name",
            RegisterRequest {
                display_name: "a\u{0}b".to_owned(),
                ..good()
            },
        ),
        (
            "display_name",
            RegisterRequest {
                display_name: "x".repeat(101),
                ..good()
            },
        ),
    ];
    for (field, message) in cases {
        let outcome = register(&harness.client, message).await;
        let status = refused(outcome, Code::InvalidArgument, "INVALID_FIELD");
        let details = status.get_error_details();
        let violations = &details
            .bad_request()
            .expect("a field is named")
            .field_violations;
        assert_eq!(violations[0].field, field, "{status:?}");
    }
    assert_eq!(harness.house.count(USERS).await, 0);
}

//! Signing keys: the key set, restarts, rotation.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bursar_auth::{DEFAULT_AUDIENCE, DEFAULT_ISSUER, KeySource, Verifier};
use bursar_testkit::TestService;
use serde_json::Value;
use time::OffsetDateTime;

use crate::harness::{
    Harness, House, PASSWORD, client, get_me, header, key_set, login, register, registration,
};

async fn published(service: &TestService) -> Vec<Value> {
    let url = format!("http://{}/.well-known/jwks.json", service.http_address);
    let set = key_set(&url).await;
    set["keys"].as_array().expect("a set has keys").clone()
}

/// The key set has what a verifier needs, nothing private, and verifies the
/// tokens that the service issues.
#[tokio::test]
async fn the_key_set_verifies_tokens() {
    let harness = Harness::start().await;
    let (user, login) = harness.user("ada").await;
    let keys = published(&harness.service).await;
    let [key] = &keys[..] else {
        panic!("one key: {keys:?}")
    };
    assert_eq!(key["kty"], "OKP");
    assert_eq!(key["crv"], "Ed25519");
    assert_eq!(key["alg"], "EdDSA");
    assert_eq!(key["use"], "sig");
    assert_eq!(key["kid"], header(&login.access_token)["kid"]);
    assert!(key.get("d").is_none());

    let set = serde_json::from_value(serde_json::json!({ "keys": keys })).expect("a key set");
    let verifier = Verifier::new(KeySource::Fixed(set), DEFAULT_ISSUER, DEFAULT_AUDIENCE);
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let caller = verifier
        .verify(&login.access_token, now)
        .await
        .expect("the signature is good");
    assert_eq!(caller.principal(), user.user_id);
    let (head, _) = login.access_token.rsplit_once('.').expect("three parts");
    let forged = format!("{head}.{}", "A".repeat(86));
    assert!(verifier.verify(&forged, now).await.is_err());
}

/// Keys outlive the process: a token from before a restart is good after it.
#[tokio::test]
async fn a_restart_keeps_the_keys() {
    let house = House::new().await;
    let service = house.start(&[]).await;
    let before = published(&service).await;
    register(&client(&service), registration("ada@example.com"))
        .await
        .expect("free");
    let tokens = login(&client(&service), "ada@example.com", PASSWORD)
        .await
        .expect("right");
    service.stop().await;

    let service = house.start(&[]).await;
    assert_eq!(published(&service).await, before);
    get_me(&client(&service), &tokens.access_token)
        .await
        .expect("the token is good");
}

/// With another key-encryption key the service refuses to start, rather than
/// sign with a key that nobody knows.
#[tokio::test]
async fn another_key_encryption_key_is_refused() {
    let house = House::new().await;
    house.start(&[]).await.stop().await;
    let other = BASE64_STANDARD.encode(rand::random::<[u8; 32]>());
    let refused = house
        .try_start(&[("BURSAR_KEY_ENCRYPTION_KEY", &other)])
        .await;
    let error = format!("{:#}", refused.err().expect("refused"));
    assert!(error.contains("BURSAR_KEY_ENCRYPTION_KEY"), "{error}");
    assert!(!error.contains(&other), "{error}");
}

/// Several processes that start at once on an empty database make one key.
#[tokio::test]
async fn concurrent_starts_make_one_key() {
    let house = House::new().await;
    let admin = [
        ("BURSAR_BOOTSTRAP_ADMIN_EMAIL", "root@example.com"),
        ("BURSAR_BOOTSTRAP_ADMIN_PASSWORD", "the operator's own"),
    ];
    let (one, two, three) = tokio::join!(
        house.start(&admin),
        house.start(&admin),
        house.start(&admin)
    );
    assert_eq!(house.count("SELECT count(*) FROM signing_keys").await, 1);
    assert_eq!(house.count("SELECT count(*) FROM users").await, 1);
    assert_eq!(published(&one).await, published(&two).await);
    assert_eq!(published(&two).await, published(&three).await);
}

/// A key that has signed long enough gets a successor, which is published
/// before it signs; the old one signs until then, and is refused after the overlap.
#[tokio::test]
async fn old_keys_get_successors() {
    let house = House::new().await;
    let service = house.start(&[]).await;
    let old = published(&service).await[0]["kid"].clone();
    register(&client(&service), registration("ada@example.com"))
        .await
        .expect("free");
    service.stop().await;
    age_keys(&house, "100 days").await;

    let service = house.start(&[]).await;
    let kids: Vec<Value> = published(&service)
        .await
        .iter()
        .map(|key| key["kid"].clone())
        .collect();
    assert_eq!(kids.len(), 2);
    let during = login(&client(&service), "ada@example.com", PASSWORD)
        .await
        .expect("right");
    assert_eq!(
        header(&during.access_token)["kid"],
        old,
        "the new key is only announced"
    );
    get_me(&client(&service), &during.access_token)
        .await
        .expect("good");
    service.stop().await;

    age_keys(&house, "2 hours").await;
    let service = house.start(&[]).await;
    let kids: Vec<Value> = published(&service)
        .await
        .iter()
        .map(|key| key["kid"].clone())
        .collect();
    assert!(kids.len() == 1 && !kids.contains(&old), "{kids:?}");
    let after = login(&client(&service), "ada@example.com", PASSWORD)
        .await
        .expect("right");
    assert_eq!(header(&after.access_token)["kid"], kids[0]);
    get_me(&client(&service), &after.access_token)
        .await
        .expect("good");
    let stale = get_me(&client(&service), &during.access_token).await;
    crate::harness::refused(stale, tonic::Code::Unauthenticated, "UNAUTHENTICATED");
}

/// Sets every key back in time.
async fn age_keys(house: &House, interval: &str) {
    sqlx::query(
        "UPDATE signing_keys
         SET not_before = not_before - $1::text::interval,
             retired_at = retired_at - $1::text::interval",
    )
    .bind(interval)
    .execute(&house.database.owner)
    .await
    .expect("the owner may");
}

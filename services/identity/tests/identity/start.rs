//! What a start makes sure of, and what it refuses.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tonic::Code;

use crate::harness::{
    House, PASSWORD, claims, client, get_me, login, refresh, refused, register, registration,
};

const EMAIL: (&str, &str) = ("BURSAR_BOOTSTRAP_ADMIN_EMAIL", "root@example.com");
const STRONG: &str = "a long one of our own";

fn password(text: &str) -> (&str, &str) {
    ("BURSAR_BOOTSTRAP_ADMIN_PASSWORD", text)
}

/// Outside development nothing that anybody could guess is started with, and
/// the refusal names the variable, not the value.
#[tokio::test]
async fn guessable_secrets_are_refused_in_production() {
    let house = House::new().await;
    let production = ("BURSAR_ENVIRONMENT", "production");
    let client_secret = ("BURSAR_SERVICE_CLIENT_SECRET", "4c1e9d3b7a5f2806e1d4");
    let zeros = BASE64_STANDARD.encode([0_u8; 32]);
    let short = BASE64_STANDARD.encode([7_u8; 16]);
    let kek = "BURSAR_KEY_ENCRYPTION_KEY";
    let accounts = "BURSAR_SERVICE_ACCOUNTS";
    let cases = [
        (
            "BURSAR_BOOTSTRAP_ADMIN_PASSWORD",
            vec![EMAIL, password("hush-hush")],
        ),
        (
            "BURSAR_BOOTSTRAP_ADMIN_PASSWORD",
            vec![EMAIL, password("changeme-changeme")],
        ),
        ("BURSAR_BOOTSTRAP_ADMIN_PASSWORD", vec![EMAIL]),
        ("BURSAR_BOOTSTRAP_ADMIN_EMAIL", vec![password(STRONG)]),
        (accounts, vec![(accounts, "wallet=hush-hush")]),
        (accounts, vec![(accounts, "wallet=secret-secret-secret")]),
        (kek, vec![(kek, zeros.as_str())]),
        (kek, vec![(kek, short.as_str())]),
        (kek, vec![(kek, "")]),
    ];
    for (variable, settings) in cases {
        let overrides: Vec<_> = [production, client_secret]
            .into_iter()
            .chain(settings.clone())
            .collect();
        let refused = house.try_start(&overrides).await.err();
        let error = format!(
            "{:#}",
            refused.unwrap_or_else(|| panic!("{settings:?} was taken"))
        );
        assert!(error.contains(variable), "{error}");
        for (_, value) in settings.iter().filter(|(name, _)| *name != EMAIL.0) {
            assert!(value.is_empty() || !error.contains(value), "{error}");
        }
    }
    let good = [production, client_secret, EMAIL, password(STRONG)];
    let service = house.start(&good).await;
    login(&client(&service), EMAIL.1, STRONG)
        .await
        .expect("bootstrapped");
}

/// In production without an administrator configured there is none.
#[tokio::test]
async fn no_administrator_is_made_up_in_production() {
    let house = House::new().await;
    let production = [
        ("BURSAR_ENVIRONMENT", "production"),
        ("BURSAR_SERVICE_CLIENT_SECRET", "4c1e9d3b7a5f2806e1d4"),
    ];
    house.start(&production).await;
    assert_eq!(house.count("SELECT count(*) FROM users").await, 0);
}

/// In development an administrator with a drawn password is made, once.
#[tokio::test]
async fn development_draws_a_password() {
    let house = House::new().await;
    house.start(&[]).await.stop().await;
    house.start(&[]).await.stop().await;
    let admins = house
        .count("SELECT count(*) FROM user_roles JOIN users ON users.id = user_id WHERE role = 'admin' AND email = 'admin@bursar.local'")
        .await;
    assert_eq!(admins, 1);
    assert_eq!(house.count("SELECT count(*) FROM events").await, 1);
}

/// A second start with the same environment changes nothing, and tells of the
/// administrator once, as of any user.
#[tokio::test]
async fn starts_are_idempotent() {
    let house = House::new().await;
    let service = house.start(&[EMAIL, password(STRONG)]).await;
    let tokens = login(&client(&service), EMAIL.1, STRONG)
        .await
        .expect("bootstrapped");
    service.stop().await;
    let service = house.start(&[EMAIL, password(STRONG)]).await;
    get_me(&client(&service), &tokens.access_token)
        .await
        .expect("the session lives on");
    let user = claims(&tokens.access_token)["sub"]
        .as_str()
        .expect("text")
        .to_owned();
    assert_eq!(house.events("identity.user.registered", &user).await, 1);
}

/// When the environment's password changes, the old one and every session that
/// it opened end; a password that changed elsewhere is left alone.
#[tokio::test]
async fn a_changed_password_takes_over() {
    let house = House::new().await;
    let service = house.start(&[EMAIL, password(STRONG)]).await;
    let old = login(&client(&service), EMAIL.1, STRONG)
        .await
        .expect("bootstrapped");
    service.stop().await;

    let service = house
        .start(&[EMAIL, password("another one of our own")])
        .await;
    let client = client(&service);
    let wrong = login(&client, EMAIL.1, STRONG).await;
    refused(wrong, Code::Unauthenticated, "CREDENTIALS_INVALID");
    login(&client, EMAIL.1, "another one of our own")
        .await
        .expect("changed");
    let me = get_me(&client, &old.access_token).await;
    refused(me, Code::Unauthenticated, "SESSION_REVOKED");
    let dead = refresh(&client, &old.refresh_token).await;
    refused(dead, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    assert_eq!(
        house
            .events("identity.session.ended", &old.session_id)
            .await,
        1
    );
}

/// Whoever registered the administrator's address before the operator set it
/// is shut out before the role comes, and without a password nothing changes.
#[tokio::test]
async fn a_squatter_does_not_become_administrator() {
    let house = House::new().await;
    let service = house.start(&[]).await;
    register(&client(&service), registration(EMAIL.1))
        .await
        .expect("free");
    let squatter = login(&client(&service), EMAIL.1, PASSWORD)
        .await
        .expect("right");
    service.stop().await;

    let service = house.start(&[EMAIL]).await;
    let left = refresh(&client(&service), &squatter.refresh_token)
        .await
        .expect("left alone");
    assert_eq!(
        claims(&left.access_token)["roles"],
        serde_json::json!(["user"])
    );
    service.stop().await;

    let service = house.start(&[EMAIL, password(STRONG)]).await;
    let dead = refresh(&client(&service), &left.refresh_token).await;
    refused(dead, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    let admin = login(&client(&service), EMAIL.1, STRONG)
        .await
        .expect("taken over");
    assert_eq!(
        claims(&admin.access_token)["roles"],
        serde_json::json!(["admin", "user"])
    );
}

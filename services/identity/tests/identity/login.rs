//! `Login` and the access tokens it hands out.

use std::time::{Duration, Instant};

use bursar_auth::permission::{Grants, Permission, Target};
use bursar_contracts::identity::v1::LoginRequest;
use tonic::{Code, Request};

use crate::harness::{
    Harness, House, PASSWORD, claims, client, get_me, header, login, refused, register,
    registration,
};

/// A login answers tokens whose claims are those of the house, and starts a
/// session that an event tells of.
#[tokio::test]
async fn a_login_starts_a_session() {
    let harness = Harness::start().await;
    let (user, tokens) = harness.user("ada").await;
    assert_eq!(tokens.expires_in_seconds, 900);
    assert!(tokens.session_id.starts_with("ses_"));
    let header = header(&tokens.access_token);
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&"EdDSA".into(), &"at+jwt".into())
    );
    assert!(header["kid"].is_string());
    let claims = claims(&tokens.access_token);
    assert_eq!(claims["iss"], "https://identity.bursar.local");
    assert_eq!(claims["aud"], "bursar");
    assert_eq!(claims["sub"], user.user_id);
    assert_eq!(claims["sid"], tokens.session_id);
    assert_eq!(claims["kind"], "user");
    assert_eq!(claims["tenant"], "default");
    assert_eq!(claims["tier"], 0);
    assert_eq!(claims["roles"], serde_json::json!(["user"]));
    let lifetime = claims["exp"]
        .as_i64()
        .zip(claims["iat"].as_i64())
        .map(|(exp, iat)| exp - iat);
    assert_eq!(lifetime, Some(900));
    assert!(claims["jti"].is_string());
    assert_eq!(
        harness
            .house
            .events("identity.session.started", &tokens.session_id)
            .await,
        1
    );

    let me = get_me(&harness.client, &tokens.access_token)
        .await
        .expect("the token is good");
    assert_eq!(me.user, Some(user));
}

/// The address is compared without regard to case.
#[tokio::test]
async fn the_address_may_be_spelled_otherwise() {
    let harness = Harness::start().await;
    harness.user("ada").await;
    let tokens = login(&harness.client, "ADA@Example.COM", PASSWORD).await;
    tokens.expect("the same address");
}

/// A wrong password, an unknown address and what is no address get one answer,
/// and the unknown one takes as long as the wrong one.
#[tokio::test]
async fn nobody_learns_who_has_an_account() {
    let harness = Harness::start().await;
    harness.user("ada").await;
    let attempt = async |email: &str| {
        let started = Instant::now();
        let outcome = login(&harness.client, email, "wrong password").await;
        let status = refused(outcome, Code::Unauthenticated, "CREDENTIALS_INVALID");
        (
            started.elapsed(),
            status.message().to_owned(),
            status.details().to_vec(),
        )
    };
    let (_, message, details) = attempt("ada@example.com").await;
    for email in ["eve@example.com", "no address", "ada@@example.com"] {
        let (_, other_message, other_details) = attempt(email).await;
        assert_eq!(
            (&other_message, &other_details),
            (&message, &details),
            "{email}"
        );
    }
    // The fastest of several: the one that nothing else on the machine slowed down.
    let fastest = async |email: &str| {
        let mut fastest = Duration::MAX;
        for _ in 0..6 {
            fastest = fastest.min(attempt(email).await.0);
        }
        fastest
    };
    let known = fastest("ada@example.com").await;
    let unknown = fastest("eve@example.com").await;
    assert!(
        unknown * 3 > known && known * 3 > unknown,
        "known {known:?}, unknown {unknown:?}"
    );
}

/// Bytes that no password has do not disturb, and bounds hold.
#[tokio::test]
async fn odd_input_is_refused_in_order() {
    let harness = Harness::start().await;
    harness.user("ada").await;
    let odd = login(&harness.client, "ada@example.com", "a\u{0}b\u{fffd}").await;
    refused(odd, Code::Unauthenticated, "CREDENTIALS_INVALID");
    let long = login(&harness.client, "ada@example.com", &"x".repeat(129)).await;
    refused(long, Code::InvalidArgument, "INVALID_FIELD");
    let empty = login(&harness.client, "", "").await;
    refused(empty, Code::InvalidArgument, "INVALID_FIELD");
}

/// A session remembers what its client calls itself, within bounds.
#[tokio::test]
async fn the_client_names_itself() {
    let harness = Harness::start().await;
    harness.user("ada").await;
    let message = LoginRequest {
        email: "ada@example.com".to_owned(),
        password: PASSWORD.to_owned(),
    };
    harness
        .client
        .clone()
        .login(Request::new(message))
        .await
        .expect("the password is right");
    let odd = harness
        .house
        .count("SELECT count(*) FROM sessions WHERE user_agent NOT LIKE 'tonic/%'")
        .await;
    assert_eq!(odd, 0);
}

/// The bootstrap administrator may read everything and move nobody's money;
/// a user may do neither.
#[tokio::test]
async fn roles_grant_what_they_should() {
    let house = House::new().await;
    let service = house
        .start(&[
            ("BURSAR_BOOTSTRAP_ADMIN_EMAIL", "Root@example.com"),
            ("BURSAR_BOOTSTRAP_ADMIN_PASSWORD", "the operator's own"),
        ])
        .await;
    let client = client(&service);
    let admin = login(&client, "root@example.com", "the operator's own")
        .await
        .expect("bootstrapped");
    register(&client, registration("ada@example.com"))
        .await
        .expect("the address is free");
    let user = login(&client, "ada@example.com", PASSWORD)
        .await
        .expect("the password is right");

    let reach = |token: &str, permission: &str| {
        let claims = claims(token);
        let texts: Vec<&str> = claims["permissions"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(serde_json::Value::as_str)
            .collect();
        let permission: Permission = permission.parse().expect("well formed");
        Grants::from_texts(texts).reach(&permission)
    };
    assert_eq!(
        claims(&admin.access_token)["roles"],
        serde_json::json!(["admin", "user"])
    );
    for (permission, admin_reach, user_reach) in [
        ("user:read:own", Some(Target::Any), Some(Target::Own)),
        ("session:revoke:own", Some(Target::Own), Some(Target::Own)),
        ("wallet:read:own", Some(Target::Any), Some(Target::Own)),
        ("wallet:create:own", Some(Target::Own), Some(Target::Own)),
        ("transfer:create:own", Some(Target::Own), Some(Target::Own)),
        ("deposit:create:own", Some(Target::Own), Some(Target::Own)),
        (
            "withdrawal:create:own",
            Some(Target::Own),
            Some(Target::Own),
        ),
        ("transfer:create:any", None, None),
        ("hold:read:own", Some(Target::Any), Some(Target::Own)),
        ("hold:place:any", Some(Target::Any), None),
        ("hold:capture:any", Some(Target::Any), None),
        ("wallet:freeze:any", Some(Target::Any), None),
        ("bonus:grant:any", Some(Target::Any), None),
        ("bonus_campaign:create:any", Some(Target::Any), None),
        ("bonus:convert:own", Some(Target::Any), Some(Target::Own)),
        ("ledger:rebuild:any", Some(Target::Any), None),
        ("ledger:prove:own", Some(Target::Any), Some(Target::Own)),
        ("wallet:configure:any", Some(Target::Any), None),
        ("wallet:close:own", Some(Target::Own), Some(Target::Own)),
        ("transaction:read:own", Some(Target::Any), Some(Target::Own)),
        ("ticket:create:own", Some(Target::Any), Some(Target::Own)),
        ("ticket:resolve:any", Some(Target::Any), None),
        ("audit:read:any", Some(Target::Any), None),
        ("mesh:read:any", Some(Target::Any), None),
    ] {
        assert_eq!(
            reach(&admin.access_token, permission),
            admin_reach,
            "admin {permission}"
        );
        assert_eq!(
            reach(&user.access_token, permission),
            user_reach,
            "user {permission}"
        );
    }
}

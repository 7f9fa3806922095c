//! Only tokens that identity signed, for us, now, are accepted.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bursar_aip::id::UserId;
use bursar_auth::{
    Authorizer, Caller, Claims, DEFAULT_AUDIENCE, DEFAULT_ISSUER, KeySource, Reach, Subject,
    TOKEN_TYPE, TokenKind, USER_TOKEN_HEADER, Verifier, VerifyError,
};
use bursar_contracts::policy;
use ed25519_dalek::SigningKey;
use http::{HeaderMap, HeaderValue};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tonic::Code;

const GET_WALLET: &str = "/bursar.wallet.v1.WalletService/GetWallet";
const LIST_AUDIT: &str = "/bursar.admin.v1.AdminService/ListAuditEvents";
const POST_BATCH: &str = "/bursar.wallet.v1.LedgerService/PostBatch";
const LOGIN: &str = "/bursar.identity.v1.IdentityService/Login";

fn now() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970");
    i64::try_from(elapsed.as_secs()).expect("the clock is sane")
}

fn public_part(key: &SigningKey) -> String {
    URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes())
}

fn verifier(keys: &[(&str, &SigningKey)]) -> Verifier {
    let keys: Vec<Value> = keys
        .iter()
        .map(|(kid, key)| {
            json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": kid, "x": public_part(key)})
        })
        .collect();
    let set: JwkSet = serde_json::from_value(json!({ "keys": keys })).expect("a key set");
    Verifier::new(KeySource::Fixed(set), DEFAULT_ISSUER, DEFAULT_AUDIENCE)
}

fn encoding_key(key: &SigningKey) -> EncodingKey {
    const PREFIX: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    let der: Vec<u8> = PREFIX.iter().copied().chain(key.to_bytes()).collect();
    EncodingKey::from_ed_der(&der)
}

fn claims(user: UserId, grants: &[&str]) -> Claims {
    Claims {
        iss: DEFAULT_ISSUER.to_owned(),
        aud: DEFAULT_AUDIENCE.to_owned(),
        sub: user.to_string(),
        kind: TokenKind::User,
        sid: None,
        roles: vec!["user".to_owned()],
        permissions: grants.iter().map(|&grant| grant.to_owned()).collect(),
        tenant: "default".to_owned(),
        tier: 0,
        iat: now(),
        exp: now() + 900,
        jti: "1".to_owned(),
    }
}

fn header(kid: &str) -> Header {
    Header {
        typ: Some(TOKEN_TYPE.to_owned()),
        kid: Some(kid.to_owned()),
        ..Header::new(Algorithm::EdDSA)
    }
}

fn sign(header: &Header, claims: &Claims, key: &SigningKey) -> String {
    jsonwebtoken::encode(header, claims, &encoding_key(key)).expect("claims can be signed")
}

/// A token whose header and claims are whatever the forger wrote.
fn raw(header: &Value, claims: &Claims, signature: &str) -> String {
    let part = |value: &[u8]| URL_SAFE_NO_PAD.encode(value);
    let claims = serde_json::to_vec(claims).expect("claims are JSON");
    format!(
        "{}.{}.{signature}",
        part(header.to_string().as_bytes()),
        part(&claims)
    )
}

/// A token as identity makes it is accepted, twice (the second time from the cache).
#[tokio::test]
async fn a_true_token_names_its_caller() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let verifier = verifier(&[("k1", &key)]);
    let user = UserId::generate();
    let token = sign(&header("k1"), &claims(user, &["wallet:*:own"]), &key);
    for _ in 0..2 {
        let caller = verifier
            .verify(&token, now())
            .await
            .expect("the token is true");
        assert_eq!(caller.subject, Subject::User(user));
    }
}

/// A user's tier is the token's; a service account has none, whatever its token says.
#[tokio::test]
async fn only_users_have_a_tier() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let verifier = verifier(&[("k1", &key)]);
    let of_user = Claims {
        tier: 2,
        ..claims(UserId::generate(), &[])
    };
    let of_service = Claims {
        sub: "svc_transaction".to_owned(),
        kind: TokenKind::Service,
        ..of_user.clone()
    };
    for (claims, tier) in [(of_user, 2), (of_service, 0)] {
        let token = sign(&header("k1"), &claims, &key);
        let caller = verifier.verify(&token, now()).await;
        assert_eq!(caller.expect("the token is true").tier, tier);
    }
}

/// Every known way to forge or misuse a token is refused.
#[tokio::test]
async fn forged_and_misused_tokens_are_refused() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let other = SigningKey::from_bytes(&[2; 32]);
    let verifier = verifier(&[("k1", &key)]);
    let user = UserId::generate();
    let good = claims(user, &["*:*:any"]);
    let with = |change: fn(&mut Claims)| {
        let mut changed = good.clone();
        change(&mut changed);
        sign(&header("k1"), &changed, &key)
    };
    let hs256 = {
        let header = Header {
            typ: Some(TOKEN_TYPE.to_owned()),
            kid: Some("k1".to_owned()),
            ..Header::new(Algorithm::HS256)
        };
        let secret = EncodingKey::from_secret(public_part(&key).as_bytes());
        jsonwebtoken::encode(&header, &good, &secret).expect("claims can be signed")
    };
    let true_token = sign(&header("k1"), &good, &key);
    let tampered = {
        let mut parts: Vec<&str> = true_token.split('.').collect();
        let admin = URL_SAFE_NO_PAD
            .encode(serde_json::to_vec(&claims(UserId::generate(), &[])).expect("JSON"));
        parts[1] = &admin;
        parts.join(".")
    };
    let embedded = json!({"alg": "EdDSA", "typ": TOKEN_TYPE, "kid": "k2",
        "jwk": {"kty": "OKP", "crv": "Ed25519", "x": public_part(&other)},
        "jku": "http://127.0.0.1/keys"});
    let forgeries = [
        ("not a token", "abc".to_owned()),
        (
            "alg none",
            raw(
                &json!({"alg": "none", "typ": TOKEN_TYPE, "kid": "k1"}),
                &good,
                "",
            ),
        ),
        ("HS256 with the public key", hs256),
        (
            "another key under our kid",
            sign(&header("k1"), &good, &other),
        ),
        ("an unknown kid", sign(&header("k2"), &good, &other)),
        ("a key inside the header", raw(&embedded, &good, "AA")),
        (
            "no kid",
            sign(
                &Header {
                    kid: None,
                    ..header("k1")
                },
                &good,
                &key,
            ),
        ),
        (
            "another type",
            sign(
                &Header {
                    typ: Some("JWT".to_owned()),
                    ..header("k1")
                },
                &good,
                &key,
            ),
        ),
        ("changed claims", tampered),
        (
            "another issuer",
            with(|claims| claims.iss = "https://evil.example".to_owned()),
        ),
        (
            "another audience",
            with(|claims| claims.aud = "other".to_owned()),
        ),
        ("expired", with(|claims| claims.exp = claims.iat - 3600)),
        (
            "a subject that is no user",
            with(|claims| claims.sub = "svc_wallet".to_owned()),
        ),
    ];
    for (name, token) in forgeries {
        let verdict = verifier.verify(&token, now()).await;
        assert!(
            matches!(verdict, Err(VerifyError::Invalid)),
            "{name} was accepted"
        );
    }
}

/// A token from the cache is refused once it has ended.
#[tokio::test]
async fn a_cached_token_ends_in_time() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let verifier = verifier(&[("k1", &key)]);
    let token = sign(&header("k1"), &claims(UserId::generate(), &[]), &key);
    assert!(verifier.verify(&token, now()).await.is_ok());
    assert!(
        verifier.verify(&token, now() + 910).await.is_ok(),
        "leeway covers skewed clocks"
    );
    assert!(verifier.verify(&token, now() + 1000).await.is_err());
}

async fn decide(
    authorizer: &Authorizer,
    path: &str,
    token: Option<&str>,
) -> Result<(Caller, Option<Reach>), Code> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().expect("visible ASCII");
        headers.insert("authorization", value);
    }
    let policy = policy::of(path).expect("the RPC exists");
    authorizer
        .authorize(path, policy, &headers, now())
        .await
        .map(|authorized| (Caller::clone(&authorized.caller), authorized.reach))
        .map_err(|status| status.code())
}

/// Who may call what: nobody, a user, an operator and a service, on a public,
/// an owned, an operators' and an internal RPC.
#[tokio::test]
async fn the_policy_decides_who_may_call() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let authorizer = Authorizer::new(verifier(&[("k1", &key)]));
    let user = UserId::generate();
    let as_user = sign(&header("k1"), &claims(user, &["wallet:*:own"]), &key);
    let as_admin = sign(&header("k1"), &claims(user, &["*:read:any"]), &key);
    let service = Claims {
        sub: "svc_transaction".to_owned(),
        kind: TokenKind::Service,
        ..claims(user, &[])
    };
    let as_service = sign(&header("k1"), &service, &key);

    let reach = async |path, token| {
        decide(&authorizer, path, token)
            .await
            .map(|(_, reach)| reach)
    };
    assert_eq!(reach(LOGIN, None).await, Ok(None));
    assert_eq!(reach(GET_WALLET, None).await, Err(Code::Unauthenticated));
    assert_eq!(
        reach(GET_WALLET, Some(&as_user)).await,
        Ok(Some(Reach::Own(user)))
    );
    assert_eq!(
        reach(GET_WALLET, Some(&as_admin)).await,
        Ok(Some(Reach::Any))
    );
    assert_eq!(
        reach(GET_WALLET, Some(&as_service)).await,
        Err(Code::PermissionDenied)
    );
    assert_eq!(
        reach(LIST_AUDIT, Some(&as_user)).await,
        Err(Code::PermissionDenied)
    );
    assert_eq!(
        reach(LIST_AUDIT, Some(&as_admin)).await,
        Ok(Some(Reach::Any))
    );
    assert_eq!(
        reach(POST_BATCH, Some(&as_user)).await,
        Err(Code::PermissionDenied)
    );
    assert_eq!(
        reach(POST_BATCH, Some(&as_admin)).await,
        Err(Code::PermissionDenied)
    );
    assert_eq!(
        reach(POST_BATCH, Some(&as_service)).await,
        Ok(Some(Reach::Any))
    );
}

/// A service that passes its user's token on acts on behalf of that user, and a
/// forged one is refused.
#[tokio::test]
async fn a_service_may_pass_its_users_token_on() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let authorizer = Authorizer::new(verifier(&[("k1", &key)]));
    let user = UserId::generate();
    let user_token = sign(&header("k1"), &claims(user, &[]), &key);
    let service = Claims {
        sub: "svc_transaction".to_owned(),
        kind: TokenKind::Service,
        ..claims(user, &[])
    };
    let service_token = sign(&header("k1"), &service, &key);
    let mut headers = HeaderMap::new();
    let bearer: HeaderValue = format!("Bearer {service_token}")
        .parse()
        .expect("visible ASCII");
    headers.insert("authorization", bearer);
    headers.insert(
        USER_TOKEN_HEADER,
        user_token.parse().expect("visible ASCII"),
    );
    let policy = policy::of(POST_BATCH).expect("the RPC exists");
    let authorized = authorizer
        .authorize(POST_BATCH, policy, &headers, now())
        .await
        .expect("both tokens are true");
    assert_eq!(authorized.caller.on_behalf_of, Some(user));
    assert_eq!(authorized.caller.actor(), user.to_string());

    headers.insert(USER_TOKEN_HEADER, HeaderValue::from_static("forged"));
    let refused = authorizer
        .authorize(POST_BATCH, policy, &headers, now())
        .await;
    assert_eq!(refused.expect_err("forged").code(), Code::Unauthenticated);
}

//! Who gets in.

use bursar_contracts::wallet::v1::GetWalletRequest;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use serde_json::{Value, json};
use tonic::{Code, Request};

use crate::support::{Edge, KNOWN_WALLET, Mint, now};

const WALLETS: &str = "/api/v1/wallet/wallets";

/// Claims with one of them changed, or taken out.
fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = Mint::claims("usr_1");
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

/// Every token that is not identity's, not for us, or not of the present is
/// refused, by REST and by gRPC alike.
#[tokio::test]
async fn forged_tokens_are_refused() {
    let edge = Edge::start().await;
    let mint = &edge.mint;
    let good = mint.token("usr_1");
    let header_with = |name: &str, value: Value| {
        let mut header = Mint::header();
        header[name] = value;
        header
    };
    let own_key = Mint::forger();
    let own_jwk = header_with("jwk", own_key.jwks()["keys"][0].clone());
    let own_url = header_with("jku", json!("http://127.0.0.1:1/jwks.json"));
    let unsigned = mint.sign(
        &json!({ "alg": "none", "typ": "at+jwt" }),
        &Mint::claims("usr_1"),
    );
    let without_signature = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other_claims = mint.token("usr_2");
    let tampered = format!("{}.{signature}", other_claims.rsplit_once('.').unwrap().0);
    let forgeries = [
        ("garbage", "garbage".to_owned()),
        ("alg none", unsigned),
        ("alg none, no signature", without_signature),
        (
            "HS256 with the public key",
            mint.sign_with_public_key(&Mint::claims("usr_1")),
        ),
        ("another key", own_key.token("usr_1")),
        (
            "its own jwk",
            own_key.sign(&own_jwk, &Mint::claims("usr_1")),
        ),
        (
            "its own jku",
            own_key.sign(&own_url, &Mint::claims("usr_1")),
        ),
        (
            "unknown kid",
            mint.sign(&header_with("kid", json!("other")), &Mint::claims("usr_1")),
        ),
        ("tampered claims", tampered),
        ("no signature", format!("{signed}.")),
        (
            "another audience",
            mint.sign(&Mint::header(), &claims_with("aud", json!("other"))),
        ),
        (
            "no audience",
            mint.sign(&Mint::header(), &claims_with("aud", Value::Null)),
        ),
        (
            "another issuer",
            mint.sign(&Mint::header(), &claims_with("iss", json!("https://evil"))),
        ),
        (
            "no issuer",
            mint.sign(&Mint::header(), &claims_with("iss", Value::Null)),
        ),
        (
            "expired",
            mint.sign(&Mint::header(), &claims_with("exp", json!(now() - 31))),
        ),
        (
            "without an end",
            mint.sign(&Mint::header(), &claims_with("exp", Value::Null)),
        ),
        (
            "of the future",
            mint.sign(&Mint::header(), &claims_with("nbf", json!(now() + 300))),
        ),
    ];
    let mut client = WalletServiceClient::new(edge.channel().await);
    for (name, token) in forgeries {
        let answer = edge.rest.get(WALLETS).token(&token).send().await;
        assert_eq!(answer.error(401, 16), "UNAUTHENTICATED", "{name}");
        let mut request = Request::new(GetWalletRequest {
            wallet_id: KNOWN_WALLET.to_owned(),
            ..GetWalletRequest::default()
        });
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        let status = client.get_wallet(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{name}");
    }
    let answer = edge.rest.get(WALLETS).token(&good).send().await;
    assert_eq!(answer.status, 200);
}

/// Without a token, or with one in another place, there is no entrance; the
/// answer says which scheme is wanted.
#[tokio::test]
async fn a_token_travels_in_one_header_only() {
    let edge = Edge::start().await;
    let token = edge.token("usr_1");
    let answer = edge.rest.get(WALLETS).send().await;
    assert_eq!(answer.error(401, 16), "UNAUTHENTICATED");
    assert!(
        answer
            .header("www-authenticate")
            .unwrap()
            .starts_with("Bearer")
    );
    let basic = edge
        .rest
        .get(WALLETS)
        .header("authorization", &format!("Basic {token}"));
    assert_eq!(basic.send().await.status, 401);
    let in_url = edge
        .rest
        .get(&format!("{WALLETS}?access_token={token}"))
        .send()
        .await;
    assert!([400, 401].contains(&in_url.status), "{in_url:?}");
}

/// A clock that runs half a minute late or early does not matter.
#[tokio::test]
async fn clocks_may_differ_a_little() {
    let edge = Edge::start().await;
    let just_expired = claims_with("exp", json!(now() - 10));
    let token = edge.mint.sign(&Mint::header(), &just_expired);
    assert_eq!(
        edge.rest.get(WALLETS).token(&token).send().await.status,
        200
    );
}

/// What the services learn of the caller comes from the token alone.
#[tokio::test]
async fn identity_headers_cannot_be_spoofed() {
    let edge = Edge::start().await;
    let spoof = |call: crate::support::Call| {
        ["subject", "session", "roles", "refused-field", "anything"]
            .iter()
            .fold(call, |call, name| {
                call.header(&format!("x-bursar-{name}"), "spoofed")
            })
            .header("x-envoy-original-path", "/spoofed")
            .header("x-envoy-upstream-rq-timeout-ms", "1")
            .header("x-envoy-retry-on", "5xx")
    };
    let call = spoof(edge.rest.get(WALLETS)).token(&edge.token("usr_1"));
    let answer = call.send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.seen("x-bursar-subject"), Some("usr_1"));
    assert_eq!(answer.seen("x-bursar-session"), Some("ses_1"));
    assert_eq!(answer.seen("x-bursar-roles"), None);
    assert_eq!(answer.seen("x-bursar-anything"), None);
    assert_eq!(answer.seen("x-envoy-original-path"), Some(WALLETS));
    assert_eq!(answer.seen("x-envoy-retry-on"), None);
    // The token itself travels on: the service verifies it again.
    assert!(answer.seen("authorization").unwrap().starts_with("Bearer "));

    // Public calls have no verified caller, so they have no caller at all.
    let public = spoof(edge.rest.post("/api/v1/identity/login", "{}"));
    let answer = public.token(&edge.token("usr_1")).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = answer.headers.keys().map(|name| name.as_str().to_owned());
    let leaked: Vec<String> = seen
        .filter(|name| name.starts_with("seen-x-bursar-"))
        .collect();
    assert!(leaked.is_empty(), "{leaked:?}");

    let plain = spoof(
        edge.rest
            .post("/api/v1/transactions/callbacks/sandbox", "{}"),
    );
    let answer = plain.send().await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "sandbox 2"),
        "{answer:?}"
    );
    assert_eq!(answer.seen("x-bursar-subject"), None);
}

/// Public calls take any token, or none: whoever's has expired must be able to
/// ask for a new one.
#[tokio::test]
async fn public_calls_do_not_look_at_tokens() {
    let edge = Edge::start().await;
    for path in ["login", "register", "refresh", "service-tokens"] {
        let path = format!("/api/v1/identity/{path}");
        assert_eq!(
            edge.rest.post(&path, "{}").send().await.status,
            200,
            "{path}"
        );
        let call = edge.rest.post(&path, "{}").token("garbage");
        assert_eq!(call.send().await.status, 200, "{path}");
    }
    let keys = edge.rest.get("/.well-known/jwks.json").send().await;
    assert_eq!(keys.json(), edge.mint.jwks());
    assert_eq!(keys.header("cache-control"), Some("max-age=60"));
}

//! The provider's API, as a customer sees it.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bursar_testkit::{TestDatabase, TestService, Tokens};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const API_KEY: &str = "the-api-key-of-the-tests";
const SECRET: &str = "the-callback-secret-of-the-tests";
/// How long a test waits for what must not take long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The provider and a customer of it.
struct Provider {
    service: TestService,
    http: reqwest::Client,
    database: TestDatabase,
    _tokens: Tokens,
}

impl Provider {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let database = TestDatabase::create(&bursar_sandbox::definition().migrations).await;
        let tokens = Tokens::start().await;
        let mut all = vec![("BURSAR_SANDBOX_API_KEY", API_KEY)];
        all.extend_from_slice(settings);
        let service =
            TestService::start(bursar_sandbox::definition(), &database, &tokens, &all).await;
        Self {
            service,
            http: reqwest::Client::new(),
            database,
            _tokens: tokens,
        }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.service.http_address);
        self.http.request(method, url)
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self.request(method, path).bearer_auth(API_KEY);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let response = request.send().await.expect("the provider answers");
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None).await
    }

    async fn verify(&self) {
        let rules = bursar_sandbox::definition().invariants;
        let verdicts = bursar_server::verify(&self.database.pool, &rules).await;
        for verdict in verdicts.expect("the rules can be checked") {
            assert_eq!(verdict.offending_rows, 0, "{}", verdict.invariant.name);
        }
    }
}

fn charge(reference: &str, amount_minor: i64) -> Value {
    json!({"reference": reference, "amount_minor": amount_minor, "currency": "EUR"})
}

/// A reference means one movement for ever: the same request is answered with
/// it, another one is refused, and the two kinds do not meet.
#[tokio::test]
async fn a_reference_means_one_movement() {
    let provider = Provider::start(&[]).await;
    let (status, first) = provider.post("/v1/charges", charge("r1", 100)).await;
    assert_eq!(status, 201);
    assert_eq!(
        (&first["status"], &first["object"]),
        (&json!("succeeded"), &json!("charge"))
    );
    assert_eq!(
        provider.post("/v1/charges", charge("r1", 100)).await,
        (200, first.clone())
    );
    let (status, refused) = provider.post("/v1/charges", charge("r1", 101)).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("reference_reused"))
    );
    assert_eq!(provider.get("/v1/charges/r1").await, (200, first));
    let (status, refused) = provider.get("/v1/payouts/r1").await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (404, &json!("not_found"))
    );
    let (status, payout) = provider.post("/v1/payouts", charge("r1", 7)).await;
    assert_eq!((status, &payout["object"]), (201, &json!("payout")));
    provider.verify().await;
}

/// A request that comes after its time has no effect, unless it is in the books.
#[tokio::test]
async fn late_requests_have_no_effect() {
    let provider = Provider::start(&[]).await;
    let until = |reference, valid_until| {
        let mut body = charge(reference, 100);
        body["valid_until"] = json!(valid_until);
        body
    };
    let (status, late) = provider
        .post("/v1/charges", until("r1", "2020-01-01T00:00:00Z"))
        .await;
    assert_eq!((status, &late["error"]["code"]), (410, &json!("expired")));
    assert_eq!(provider.get("/v1/charges/r1").await.0, 404);
    let early = until("r1", "2999-01-01T00:00:00Z");
    assert_eq!(provider.post("/v1/charges", early).await.0, 201);
    let again = until("r1", "2020-01-01T00:00:00Z");
    assert_eq!(provider.post("/v1/charges", again).await.0, 200);
    assert_eq!(
        provider.post("/v1/charges", until("r2", "soon")).await.0,
        422
    );
}

/// Twenty of the same request at once are one movement.
#[tokio::test]
async fn concurrent_duplicates_are_one_movement() {
    let provider = Provider::start(&[]).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let request = provider.request(Method::POST, "/v1/payouts");
        calls.spawn(request.bearer_auth(API_KEY).json(&charge("r1", 100)).send());
    }
    let mut made = 0;
    while let Some(call) = calls.join_next().await {
        let response = call.expect("no call panics").expect("the provider answers");
        match response.status().as_u16() {
            201 => made += 1,
            200 => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(made, 1);
    let (_, list) = provider.get("/v1/payouts").await;
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
}

/// Lists go through everything, oldest first, page by page.
#[tokio::test]
async fn lists_are_paged() {
    let provider = Provider::start(&[]).await;
    for number in 0..5 {
        provider
            .post("/v1/charges", charge(&format!("r{number}"), 100))
            .await;
    }
    provider.post("/v1/payouts", charge("p", 100)).await;
    let mut references = Vec::new();
    let mut after = json!(0);
    while !after.is_null() {
        let (status, page) = provider
            .get(&format!("/v1/charges?limit=2&after={after}"))
            .await;
        assert_eq!(status, 200);
        for movement in page["data"].as_array().expect("a list") {
            references.push(movement["reference"].clone());
        }
        after = page["next_after"].clone();
    }
    assert_eq!(references, ["r0", "r1", "r2", "r3", "r4"]);
    let (status, _) = provider.get("/v1/charges?limit=many").await;
    assert_eq!(status, 400);
}

/// Without the key there is nothing, and nonsense is refused.
#[tokio::test]
async fn strangers_and_nonsense_are_refused() {
    let provider = Provider::start(&[]).await;
    for key in [None, Some("wrong"), Some("")] {
        let request = provider.request(Method::GET, "/v1/charges");
        let request = match key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let response = request.send().await.expect("the provider answers");
        assert_eq!(response.status(), 401, "{key:?}");
    }
    for body in [
        json!({}),
        json!([]),
        json!({"reference": "r", "amount_minor": "100", "currency": "EUR"}),
        json!({"reference": "r", "amount_minor": 1.5, "currency": "EUR"}),
        json!({"reference": "r", "amount_minor": 0, "currency": "EUR"}),
        json!({"reference": "", "amount_minor": 1, "currency": "EUR"}),
        json!({"reference": "r", "amount_minor": 1, "currency": "eur"}),
        json!({"reference": "r", "amount_minor": 1, "currency": "EUR", "colour": "red"}),
    ] {
        let (status, refused) = provider.post("/v1/charges", body.clone()).await;
        assert!((400..500).contains(&status), "{body}: {status}");
        assert!(refused["error"]["code"].is_string(), "{body}: {refused}");
    }
    for body in [
        json!({"operation": "refund", "kind": "timeout"}),
        json!({"operation": "charge", "kind": "flood"}),
        json!({"operation": "status", "kind": "decline"}),
        json!({"operation": "charge", "kind": "slow", "delay_ms": 60_001}),
        json!({"operation": "charge", "kind": "slow", "times": 0}),
    ] {
        assert_eq!(
            provider.post("/v1/faults", body.clone()).await.0,
            400,
            "{body}"
        );
    }
    assert_eq!(provider.get("/v1/nothing").await.0, 404);
    let livez = provider
        .request(Method::GET, "/livez")
        .send()
        .await
        .expect("it answers");
    assert_eq!(livez.status(), 200);
}

/// Faults hit what they are arranged for, as often as they are arranged for,
/// and leave the books as documented.
#[tokio::test]
async fn faults_are_as_documented() {
    let provider = Provider::start(&[]).await;
    let recorded = [
        ("timeout", None),
        ("connection_reset", None),
        ("error_500", None),
        ("lost_response", Some("succeeded")),
        ("slow", Some("succeeded")),
        ("decline", Some("declined")),
    ];
    for (kind, recorded) in recorded {
        let fault =
            json!({"operation": "payout", "kind": kind, "reference": kind, "delay_ms": 2000});
        assert_eq!(provider.post("/v1/faults", fault).await.0, 201);
        let sent = provider
            .request(Method::POST, "/v1/payouts")
            .bearer_auth(API_KEY)
            .timeout(Duration::from_millis(1500))
            .json(&charge(kind, 100))
            .send()
            .await;
        match kind {
            "timeout" | "slow" => assert!(sent.expect_err(kind).is_timeout(), "{kind}"),
            "connection_reset" | "lost_response" => {
                let error = sent.expect_err(kind);
                assert!(
                    !error.is_timeout() && !error.is_connect(),
                    "{kind}: {error:?}"
                );
            }
            "error_500" => assert_eq!(sent.expect(kind).status(), 500),
            _ => assert_eq!(sent.expect(kind).status(), 201),
        }
        let (status, found) = provider.get(&format!("/v1/payouts/{kind}")).await;
        match recorded {
            None => assert_eq!(status, 404, "{kind}"),
            Some(expected) => assert_eq!(found["status"], expected, "{kind}"),
        }
    }
    let (_, left) = provider.get("/v1/faults").await;
    assert_eq!(left["data"], json!([]), "each was used up");
    let (status, other) = provider.post("/v1/payouts", charge("other", 100)).await;
    assert_eq!((status, &other["status"]), (201, &json!("succeeded")));
    provider.verify().await;
}

/// Magic amounts bring their fault once for a reference; a repeated request
/// finds what was recorded.
#[tokio::test]
async fn magic_amounts_surprise_once() {
    let provider = Provider::start(&[]).await;
    let (_, declined) = provider.post("/v1/charges", charge("r1", 99_901)).await;
    assert_eq!(declined["decline_code"], "insufficient_funds");
    let lost = provider
        .request(Method::POST, "/v1/charges")
        .bearer_auth(API_KEY)
        .json(&charge("r2", 1_099_905))
        .send()
        .await;
    assert!(lost.is_err());
    let (status, found) = provider.post("/v1/charges", charge("r2", 1_099_905)).await;
    assert_eq!((status, &found["status"]), (200, &json!("succeeded")));
    provider.verify().await;
}

/// Callbacks are signed, come when a movement is finished, and are sent until
/// they are taken.
#[tokio::test]
async fn callbacks_are_sent_until_they_are_taken() {
    let (url, mut received) = customer().await;
    let provider = Provider::start(&[
        ("BURSAR_SANDBOX_CALLBACK_URL", &url),
        ("BURSAR_SANDBOX_CALLBACK_SECRET", SECRET),
        ("BURSAR_SANDBOX_CALLBACK_RETRY_MS", "50"),
    ])
    .await;
    let fault = json!({"operation": "charge", "kind": "pending_decline", "delay_ms": 200,
        "decline_code": "expired_card"});
    provider.post("/v1/faults", fault).await;
    let (_, pending) = provider.post("/v1/charges", charge("r1", 100)).await;
    assert_eq!(
        (&pending["status"], &pending["decline_code"]),
        (&json!("pending"), &Value::Null)
    );

    // The customer refuses the first try and takes the second.
    let mut tries = Vec::new();
    for _ in 0..2 {
        let received = tokio::time::timeout(PATIENCE, received.recv()).await;
        tries.push(received.expect("in time").expect("the customer is there"));
    }
    let [(first_signature, first), (signature, body)] = <[_; 2]>::try_from(tries).expect("two");
    assert_eq!(first, body, "the same notice");
    assert!(is_signed(&first_signature, &first) && is_signed(&signature, &body));
    let notice: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (&notice["type"], &notice["reference"]),
        (&json!("charge.declined"), &json!("r1"))
    );
    assert_eq!(notice["data"]["decline_code"], "expired_card");
    provider.verify().await;
}

/// A customer whose inbox refuses the first callback.
async fn customer() -> (String, mpsc::UnboundedReceiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let (sender, receiver) = mpsc::unbounded_channel();
    let router = Router::new().route("/", post(take)).with_state(sender);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, receiver)
}

async fn take(
    State(sender): State<mpsc::UnboundedSender<(String, String)>>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    static REFUSED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    let signature = headers
        .get("sandbox-signature")
        .and_then(|value| value.to_str().ok());
    let signature = signature.unwrap_or_default().to_owned();
    if sender.send((signature, body)).is_err() {
        return StatusCode::GONE;
    }
    if REFUSED.swap(true, std::sync::atomic::Ordering::Relaxed) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

fn is_signed(signature: &str, body: &str) -> bool {
    let Some((seconds, code)) = signature.split_once(",v1=") else {
        return false;
    };
    let seconds = seconds.trim_start_matches("t=");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    mac.update(format!("{seconds}.{body}").as_bytes());
    hex::decode(code).is_ok_and(|code| mac.verify_slice(&code).is_ok())
}

fn account(reference: &str, holder_name: &str) -> Value {
    json!({"reference": reference, "currency": "EUR", "holder_name": holder_name})
}

/// A reference means one account for ever, also for twenty requests at once;
/// another body is refused, and one that never came is not found.
#[tokio::test]
async fn a_reference_means_one_account() {
    let provider = Provider::start(&[]).await;
    let calls = (0..20).map(|_| provider.post("/v1/accounts", account("a1", "Ada Obi")));
    let answers = futures::future::join_all(calls).await;
    let made = answers.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(made, 1);
    assert!(answers.iter().all(|(_, body)| *body == answers[0].1));
    let opened = &answers[0].1;
    assert_eq!(
        (&opened["status"], &opened["account_name"]),
        (&json!("open"), &json!("Ada Obi"))
    );
    assert_eq!(opened["account_number"].as_str().map(str::len), Some(10));
    assert_eq!(provider.get("/v1/accounts/a1").await, (200, opened.clone()));
    let (status, refused) = provider.post("/v1/accounts", account("a1", "Eve")).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("reference_reused"))
    );
    let (status, refused) = provider.get("/v1/accounts/a2").await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (404, &json!("not_found"))
    );
    assert_eq!(
        provider.post("/v1/accounts", account("a3", "")).await.0,
        400
    );
}

/// Faults hit accounts as they hit movements: a lost answer leaves an account
/// behind, a 500 none, a decline is told again; pending there is none.
#[tokio::test]
async fn faults_hit_accounts() {
    let provider = Provider::start(&[]).await;
    let fault = |kind: &str| json!({"operation": "account", "kind": kind});
    assert_eq!(provider.post("/v1/faults", fault("pending")).await.0, 400);
    assert_eq!(
        provider.post("/v1/faults", fault("lost_response")).await.0,
        201
    );
    let lost = provider
        .request(Method::POST, "/v1/accounts")
        .bearer_auth(API_KEY)
        .json(&account("a1", "Ada Obi"))
        .send()
        .await;
    assert!(lost.is_err(), "the connection ends");
    assert_eq!(provider.get("/v1/accounts/a1").await.0, 200);
    assert_eq!(provider.post("/v1/faults", fault("error_500")).await.0, 201);
    let failed = provider
        .post("/v1/accounts", account("a2", "Ada Obi"))
        .await;
    assert_eq!(failed.0, 500);
    assert_eq!(provider.get("/v1/accounts/a2").await.0, 404);
    assert_eq!(provider.post("/v1/faults", fault("decline")).await.0, 201);
    let (status, declined) = provider
        .post("/v1/accounts", account("a3", "Ada Obi"))
        .await;
    assert_eq!((status, &declined["status"]), (201, &json!("declined")));
    assert_eq!(declined["account_number"], Value::Null);
    assert_eq!(provider.get("/v1/accounts/a3").await, (200, declined));
}

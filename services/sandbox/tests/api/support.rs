//! The provider and a customer of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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

pub(crate) const API_KEY: &str = "the-api-key-of-the-tests";
const SECRET: &str = "the-callback-secret-of-the-tests";
/// How long a test waits for what must not take long.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a request waits for an answer that does not come: shorter than a slow
/// one takes, long enough to be recorded on a busy machine.
const SILENCE: Duration = Duration::from_millis(1500);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The provider.
pub(crate) struct Provider {
    pub(crate) service: TestService,
    http: reqwest::Client,
    pub(crate) database: TestDatabase,
    _tokens: Tokens,
}

impl Provider {
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
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

    /// A provider that tells a customer what it does.
    pub(crate) async fn start_for(customer: &Customer) -> Self {
        Self::start(&[
            ("BURSAR_SANDBOX_CALLBACK_URL", &customer.url),
            ("BURSAR_SANDBOX_CALLBACK_SECRET", SECRET),
            ("BURSAR_SANDBOX_CALLBACK_RETRY_MS", "50"),
        ])
        .await
    }

    /// A provider that tells a customer what it does, and another one what it does with
    /// cards.
    pub(crate) async fn start_for_both(customer: &Customer, of_cards: &Customer) -> Self {
        Self::start(&[
            ("BURSAR_SANDBOX_CALLBACK_URL", &customer.url),
            ("BURSAR_SANDBOX_CARD_CALLBACK_URL", &of_cards.url),
            ("BURSAR_SANDBOX_CALLBACK_SECRET", SECRET),
            ("BURSAR_SANDBOX_CALLBACK_RETRY_MS", "50"),
        ])
        .await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
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

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        self.call(Method::DELETE, path, None).await
    }

    /// A request that a fault leaves without an answer.
    pub(crate) async fn unanswered(&self, path: &str, body: &Value) -> reqwest::Error {
        self.request(Method::POST, path)
            .bearer_auth(API_KEY)
            .timeout(SILENCE)
            .json(body)
            .send()
            .await
            .expect_err("the provider does not answer")
    }

    /// Arranges a fault.
    pub(crate) async fn fault(&self, fault: Value) -> Value {
        let (status, arranged) = self.post("/v1/faults", fault).await;
        assert_eq!(status, 201, "{arranged}");
        arranged
    }

    /// Sets the clock.
    pub(crate) async fn clock(&self, change: Value) -> Value {
        let (status, clock) = self.post("/v1/test/clock", change).await;
        assert_eq!(status, 200, "{clock}");
        clock
    }

    /// Creates something that is done at once.
    pub(crate) async fn done(&self, path: &str, body: Value) -> Value {
        let (status, made) = self.post(path, body).await;
        assert_eq!(status, 201, "{made}");
        made
    }

    /// Waits until an object has a status.
    pub(crate) async fn reaches(&self, path: &str, status: &str) -> Value {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let (_, found) = self.get(path).await;
            if found["status"] == status {
                return found;
            }
            assert!(Instant::now() < give_up, "{path} is {found}, not {status}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The file of a day.
    pub(crate) async fn file(&self, day: &str) -> String {
        self.file_at(&format!("/v1/settlements/{day}.csv")).await
    }

    /// A file, by its path.
    pub(crate) async fn file_at(&self, path: &str) -> String {
        let request = self.request(Method::GET, path);
        let response = request.bearer_auth(API_KEY).send().await;
        let response = response.expect("the provider answers");
        assert_eq!(response.status(), 200);
        response.text().await.expect("a whole file")
    }

    /// What the provider owes in a currency.
    pub(crate) async fn balance(&self, currency: &str) -> Value {
        let (status, balances) = self.get("/v1/balances").await;
        assert_eq!(status, 200);
        let mut data = balances["data"].as_array().expect("a list").iter();
        data.find(|balance| balance["currency"] == currency)
            .cloned()
            .unwrap_or(Value::Null)
    }

    pub(crate) async fn verify(&self) {
        let rules = bursar_sandbox::definition().invariants;
        let verdicts = bursar_server::verify(&self.database.pool, &rules).await;
        for verdict in verdicts.expect("the rules can be checked") {
            assert_eq!(verdict.offending_rows, 0, "{}", verdict.invariant.name);
        }
    }
}

/// A charge or payout of some euros.
pub(crate) fn charge(reference: &str, amount_minor: i64) -> Value {
    json!({"reference": reference, "amount_minor": amount_minor, "currency": "EUR"})
}

/// A refund of a charge.
pub(crate) fn refund(reference: &str, charge: &str, amount_minor: i64) -> Value {
    json!({"reference": reference, "charge_reference": charge, "amount_minor": amount_minor})
}

/// An authorisation of some euros on a card with a number or a token.
pub(crate) fn authorization(reference: &str, card: &str, amount_minor: i64) -> Value {
    let mut body = charge(reference, amount_minor);
    let field = if card.starts_with("tok_") {
        "card_token"
    } else {
        "card_number"
    };
    body[field] = json!(card);
    body
}

/// A capture.
pub(crate) fn capture(reference: &str, amount_minor: i64) -> Value {
    json!({"reference": reference, "amount_minor": amount_minor})
}

/// The status and the code of a refusal.
pub(crate) fn refusal(answer: &(u16, Value)) -> (u16, &str) {
    (
        answer.0,
        answer.1["error"]["code"].as_str().unwrap_or("none"),
    )
}

/// A customer with an inbox for notices.
pub(crate) struct Customer {
    pub(crate) url: String,
    received: mpsc::UnboundedReceiver<(String, String)>,
}

#[derive(Clone)]
struct Inbox {
    sender: mpsc::UnboundedSender<(String, String)>,
    /// How many notices are still refused.
    refuses: Arc<AtomicUsize>,
}

impl Customer {
    /// A customer who refuses some notices before taking any.
    pub(crate) async fn start(refuses: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let (sender, received) = mpsc::unbounded_channel();
        let refuses = Arc::new(AtomicUsize::new(refuses));
        let inbox = Inbox { sender, refuses };
        let router = Router::new().route("/", post(take)).with_state(inbox);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, received }
    }

    /// The next notice, whether it is taken or not, as it came.
    pub(crate) async fn next_body(&mut self) -> String {
        let received = tokio::time::timeout(PATIENCE, self.received.recv()).await;
        let (signature, body) = received.expect("in time").expect("the customer is there");
        assert!(is_signed(&signature, &body), "{signature}");
        body
    }

    /// The next notice.
    pub(crate) async fn next(&mut self) -> Value {
        serde_json::from_str(&self.next_body().await).expect("JSON")
    }

    /// The type and the reference of the next notice.
    pub(crate) async fn next_event(&mut self) -> (String, String) {
        let notice = self.next().await;
        let text = |field: &str| notice[field].as_str().expect("text").to_owned();
        (text("type"), text("reference"))
    }

    /// Whether there is a notice now.
    pub(crate) fn has_one(&mut self) -> bool {
        !self.received.is_empty()
    }
}

async fn take(State(inbox): State<Inbox>, headers: HeaderMap, body: String) -> StatusCode {
    let signature = headers
        .get("sandbox-signature")
        .and_then(|value| value.to_str().ok());
    let signature = signature.unwrap_or_default().to_owned();
    if inbox.sender.send((signature, body)).is_err() {
        return StatusCode::GONE;
    }
    let one_less = |left: usize| left.checked_sub(1);
    let refused = inbox
        .refuses
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    if refused.is_ok() {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
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

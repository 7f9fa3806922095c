//! A client of the mesh as users write one: REST by reqwest, gRPC by tonic.

use std::time::Duration;

use bursar_devmesh::Mesh;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

/// How long a test waits for what happens by itself, such as an event.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long a wait rests before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The way in.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) url: String,
    http: reqwest::Client,
}

/// What a REST call answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

/// A registered user who has logged in.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) user_id: String,
    pub(crate) email: String,
    pub(crate) token: String,
    pub(crate) refresh_token: String,
}

pub(crate) const PASSWORD: &str = "correct horse battery staple";

impl Answer {
    /// The answer's body, which must be a success.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{:#}", self.json);
        self.json
    }

    /// The reason in the error's `ErrorInfo`; empty when it has none.
    pub(crate) fn reason(&self) -> &str {
        self.detail("google.rpc.ErrorInfo")["reason"]
            .as_str()
            .unwrap_or_default()
    }

    /// The error's detail of a type; null when it has none.
    pub(crate) fn detail(&self, kind: &str) -> &Value {
        let details = self.json["details"].as_array();
        details
            .into_iter()
            .flatten()
            .find(|detail| {
                detail["@type"]
                    .as_str()
                    .is_some_and(|at| at.ends_with(kind))
            })
            .unwrap_or(&Value::Null)
    }

    /// The fields that the error names, joined by commas.
    pub(crate) fn fields(&self) -> String {
        let bad = self.detail("google.rpc.BadRequest");
        // Errors of services and of the gateway spell the list by its two JSON names.
        let violations = ["field_violations", "fieldViolations"]
            .into_iter()
            .find_map(|name| bad[name].as_array());
        let names = violations
            .into_iter()
            .flatten()
            .filter_map(|field| field["field"].as_str());
        names.collect::<Vec<_>>().join(",")
    }
}

impl Edge {
    /// The mesh that the test run shares.
    pub(crate) fn shared() -> Self {
        Self::of(&Mesh::from_environment().expect("a mesh"))
    }

    pub(crate) fn of(mesh: &Mesh) -> Self {
        Self {
            url: mesh.gateway_url().expect("the mesh has a gateway"),
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(30))
                .build()
                .expect("a client without TLS"),
        }
    }

    /// A request to be sent by [`send`].
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        send(self.request("GET", path).bearer_auth(token)).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        send(self.request("POST", path).bearer_auth(token).json(body)).await
    }

    /// A call that moves money, with its idempotency key.
    pub(crate) async fn pay(&self, path: &str, token: &str, key: &str, body: &Value) -> Answer {
        let request = self.request("POST", path).bearer_auth(token);
        send(request.header("idempotency-key", key).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, token: &str, body: &Value) -> Answer {
        send(self.request("PUT", path).bearer_auth(token).json(body)).await
    }

    /// A channel for generated gRPC clients.
    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url.clone())
            .expect("an address")
            .connect_lazy()
    }

    /// Registers somebody new and logs in.
    pub(crate) async fn person(&self) -> Person {
        let email = format!("{}@example.com", Uuid::now_v7().simple());
        let body = json!({"email": email, "password": PASSWORD, "display_name": "Ada"});
        let registered = send(
            self.request("POST", "/api/v1/identity/register")
                .json(&body),
        )
        .await
        .ok();
        let user_id = text(&registered["user"]["user_id"]);
        let session = self.login(&email, PASSWORD).await;
        Person {
            user_id,
            email,
            token: text(&session["access_token"]),
            refresh_token: text(&session["refresh_token"]),
        }
    }

    pub(crate) async fn login(&self, email: &str, password: &str) -> Value {
        let body = json!({"email": email, "password": password});
        send(self.request("POST", "/api/v1/identity/login").json(&body))
            .await
            .ok()
    }

    /// The bootstrap admin's token.
    pub(crate) async fn admin(&self) -> String {
        let mesh = Mesh::from_environment().expect("a mesh");
        let admin = mesh.admin().expect("the mesh has an admin");
        text(&self.login(&admin.email, &admin.password).await["access_token"])
    }

    /// Opens a wallet; returns its id.
    pub(crate) async fn wallet(&self, person: &Person, currency: &str) -> String {
        let body = json!({"currency_code": currency});
        let opened = self
            .post("/api/v1/wallet/wallets", &person.token, &body)
            .await
            .ok();
        text(&opened["wallet"]["wallet_id"])
    }

    /// A wallet with money in it.
    pub(crate) async fn funded(&self, person: &Person, minor: i64) -> String {
        let wallet = self.wallet(person, "EUR").await;
        let body = json!({"wallet_id": wallet, "amount": eur(minor), "provider": "sandbox"});
        let path = "/api/v1/transactions/deposits";
        let paid = self.pay_until_answered(path, &person.token, &body).await;
        let paid = paid.ok();
        assert_eq!(
            paid["transaction"]["state"], "TRANSACTION_STATE_COMPLETED",
            "{paid:#}"
        );
        wallet
    }

    pub(crate) async fn available(&self, person: &Person, wallet: &str) -> i64 {
        let found = self
            .get(&format!("/api/v1/wallet/wallets/{wallet}"), &person.token)
            .await
            .ok();
        minor(&found["wallet"]["balance"]["available_minor"])
    }
}

impl Edge {
    /// A wallet's money in its three buckets: available, held and bonus. The
    /// balance at an instant to come is exact, where a wallet's may be a moment old.
    pub(crate) async fn balance(&self, token: &str, wallet: &str) -> [i64; 3] {
        let path = format!("/api/v1/wallet/wallets/{wallet}/balance?at=2999-01-01T00:00:00Z");
        let found = self.get(&path, token).await.ok();
        buckets(&found["balance"])
    }

    /// Transfers euros by the transaction service, which other tests may keep busy.
    pub(crate) async fn transfer(
        &self,
        person: &Person,
        from: &str,
        to: &str,
        minor: i64,
    ) -> Answer {
        let path = "/api/v1/transactions/transfers";
        let body = transfer(from, to, minor);
        self.pay_until_answered(path, &person.token, &body).await
    }
}

/// How often a money call is tried again before a test gives up.
const MAX_TRIES: usize = 200;
/// How long a client rests before it tries again.
const REST: Duration = Duration::from_millis(100);

impl Edge {
    /// Pays as a well-behaved client does: busy, restarting, or the first try
    /// still running all mean to try again with the same key. Returns the first
    /// answer that is one.
    pub(crate) async fn pay_until_answered(&self, path: &str, token: &str, body: &Value) -> Answer {
        let key = new_key();
        for _ in 0..MAX_TRIES {
            let answer = self.pay(path, token, &key, body).await;
            let in_use = answer.reason() == "IDEMPOTENCY_KEY_IN_USE";
            if !in_use && !matches!(answer.status, 429 | 503 | 504) {
                return answer;
            }
            tokio::time::sleep(REST).await;
        }
        panic!("a payment was not answered in {MAX_TRIES} tries");
    }
}

/// A contract's balance: available, held and bonus money.
pub(crate) fn buckets(balance: &Value) -> [i64; 3] {
    ["available_minor", "held_minor", "bonus_minor"].map(|bucket| minor(&balance[bucket]))
}

/// Expects a refusal of wallet's with this status and reason.
pub(crate) fn refused(answer: &Answer, status: u16, reason: &str) {
    let told = (answer.status, answer.reason());
    assert_eq!(told, (status, reason), "{:#}", answer.json);
}

/// Sends a request and reads its answer, whatever it is.
pub(crate) async fn send(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("the gateway answers");
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = response.text().await.expect("a body");
    let json = serde_json::from_str(&body).unwrap_or(Value::String(body));
    Answer {
        status,
        headers,
        json,
    }
}

/// Waits, when midnight of UTC is near, until it is over: what a test counts by the day
/// or the month is counted on one day then.
pub(crate) async fn away_from_midnight() {
    let now = OffsetDateTime::now_utc();
    let midnight = now.replace_time(time::Time::MIDNIGHT) + time::Duration::DAY;
    let left = midnight - now;
    if left < time::Duration::MINUTE {
        tokio::time::sleep(left.unsigned_abs()).await;
    }
}

/// Looks until something is there.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, look).await
}

/// Looks until something is there that may take longer than most.
pub(crate) async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    look: impl AsyncFn() -> Option<T>,
) -> T {
    let found = tokio::time::timeout(patience, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    found
        .await
        .unwrap_or_else(|_| panic!("{what} did not come"))
}

pub(crate) fn eur(minor: i64) -> Value {
    json!({"currency_code": "EUR", "minor_units": minor.to_string()})
}

pub(crate) fn transfer(from: &str, to: &str, minor: i64) -> Value {
    json!({"from_wallet_id": from, "to_wallet_id": to, "amount": eur(minor), "description": "test"})
}

pub(crate) fn new_key() -> String {
    Uuid::now_v7().to_string()
}

pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not text"))
        .to_owned()
}

/// A 64-bit integer, which JSON carries as text.
pub(crate) fn minor(value: &Value) -> i64 {
    text(value)
        .parse()
        .unwrap_or_else(|_| panic!("{value} is not a number"))
}

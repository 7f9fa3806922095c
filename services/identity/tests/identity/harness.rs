//! A running identity service with a database of its own, and the words in
//! which the tests talk to it.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bursar_contracts::identity::v1::identity_service_client::IdentityServiceClient;
use bursar_contracts::identity::v1::{
    GetMeRequest, GetMeResponse, LoginRequest, LoginResponse, RefreshRequest, RefreshResponse,
    RegisterRequest, User,
};
use bursar_status::StatusExt;
use bursar_testkit::{TestDatabase, TestService, Tokens, with_token};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

/// The password of every user a test registers without one in mind.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// The client of the service under test.
pub(crate) type Client = IdentityServiceClient<Channel>;

/// A database and an issuer for as many starts of the service as a test needs.
pub(crate) struct House {
    pub(crate) database: TestDatabase,
    pub(crate) tokens: Tokens,
    pub(crate) key_encryption_key: String,
    keys: KeySets,
}

impl House {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create(&bursar_identity::migrations()).await;
        let tokens = Tokens::start().await;
        let keys = KeySets::start(tokens.jwks_url.clone()).await;
        Self {
            database,
            tokens,
            key_encryption_key: BASE64_STANDARD.encode(rand::random::<[u8; 32]>()),
            keys,
        }
    }

    /// Starts the service.
    pub(crate) async fn start(&self, overrides: &[(&str, &str)]) -> TestService {
        self.try_start(overrides).await.expect("the service starts")
    }

    /// Starts the service, which may refuse. An override with an empty value
    /// takes the variable away.
    pub(crate) async fn try_start(
        &self,
        overrides: &[(&str, &str)],
    ) -> anyhow::Result<TestService> {
        let mut settings = vec![
            ("BURSAR_JWKS_URL", self.keys.url.as_str()),
            ("BURSAR_KEY_ENCRYPTION_KEY", &self.key_encryption_key),
        ];
        settings.retain(|(name, _)| overrides.iter().all(|(other, _)| name != other));
        settings.extend(overrides.iter().filter(|(_, value)| !value.is_empty()));
        let service = TestService::try_start(
            bursar_identity::definition(),
            &self.database,
            &self.tokens,
            &settings,
        )
        .await?;
        self.keys.follow(&service);
        Ok(service)
    }

    /// How many events of a kind there are about a subject.
    pub(crate) async fn events(&self, kind: &str, subject: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM events WHERE kind = $1 AND subject = $2")
            .bind(kind)
            .bind(subject)
            .fetch_one(&self.database.pool)
            .await
            .expect("events can be counted")
    }

    /// One number out of the database, as its owner.
    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.database.owner)
            .await
            .expect("rows can be counted")
    }
}

/// A service that was started with nothing special, and its client.
pub(crate) struct Harness {
    pub(crate) house: House,
    pub(crate) client: Client,
    pub(crate) service: TestService,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        let house = House::new().await;
        let service = house.start(&[]).await;
        Self {
            client: client(&service),
            house,
            service,
        }
    }

    /// A user of this name, registered and logged in.
    pub(crate) async fn user(&self, name: &str) -> (User, LoginResponse) {
        let email = format!("{name}@example.com");
        let user = register(&self.client, registration(&email)).await;
        let user = user.expect("the address is free").into_inner().user;
        let tokens = login(&self.client, &email, PASSWORD)
            .await
            .expect("the password is right");
        (user.expect("the answer has the user"), tokens)
    }
}

/// The client of a service.
pub(crate) fn client(service: &TestService) -> Client {
    IdentityServiceClient::new(service.channel())
}

/// A request to register this address.
pub(crate) fn registration(email: &str) -> RegisterRequest {
    RegisterRequest {
        email: email.to_owned(),
        password: PASSWORD.to_owned(),
        display_name: "Ada Lovelace".to_owned(),
    }
}

pub(crate) async fn register(
    client: &Client,
    message: RegisterRequest,
) -> Result<Response<bursar_contracts::identity::v1::RegisterResponse>, Status> {
    client.clone().register(message).await
}

pub(crate) async fn login(
    client: &Client,
    email: &str,
    password: &str,
) -> Result<LoginResponse, Status> {
    let message = LoginRequest {
        email: email.to_owned(),
        password: password.to_owned(),
    };
    client
        .clone()
        .login(message)
        .await
        .map(Response::into_inner)
}

pub(crate) async fn refresh(client: &Client, token: &str) -> Result<RefreshResponse, Status> {
    let message = RefreshRequest {
        refresh_token: token.to_owned(),
    };
    client
        .clone()
        .refresh(message)
        .await
        .map(Response::into_inner)
}

pub(crate) async fn get_me(client: &Client, token: &str) -> Result<GetMeResponse, Status> {
    let request = with_token(GetMeRequest {}, token);
    client
        .clone()
        .get_me(request)
        .await
        .map(Response::into_inner)
}

/// A request with an idempotency key.
pub(crate) fn keyed<T>(mut request: Request<T>, key: &str) -> Request<T> {
    let value = key.parse().expect("a key is visible ASCII");
    request.metadata_mut().insert("idempotency-key", value);
    request
}

/// Whether an answer says that it repeats an earlier one.
pub(crate) fn is_replay<T>(response: &Response<T>) -> bool {
    response
        .metadata()
        .get("idempotency-replayed")
        .is_some_and(|value| value == "true")
}

/// The code and the reason of an error.
pub(crate) fn reason(status: &Status) -> (Code, String) {
    let details = status.get_error_details();
    let info = details.error_info().expect("every error has a reason");
    (status.code(), info.reason.clone())
}

/// Fails unless the outcome is an error of this code and reason.
#[track_caller]
pub(crate) fn refused<T>(outcome: Result<T, Status>, code: Code, expected: &str) -> Status {
    match outcome {
        Ok(_) => panic!("{expected} was expected and the call succeeded"),
        Err(status) => {
            assert_eq!(reason(&status), (code, expected.to_owned()), "{status:?}");
            status
        }
    }
}

/// The claims of an access token, unverified.
pub(crate) fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The header of an access token.
pub(crate) fn header(token: &str) -> Value {
    part(token, 0)
}

fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).expect("a JWT has three parts");
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(text)
        .expect("a JWT is base64url");
    serde_json::from_slice(&bytes).expect("a JWT is JSON")
}

/// The keys of the test's own issuer and of the service under test as one set:
/// the service trusts both. Whoever asks before the service runs waits for it.
struct KeySets {
    url: String,
    service: watch::Sender<Option<String>>,
    _running: DropGuard,
}

#[derive(Clone)]
struct Sources {
    tokens: Arc<str>,
    service: watch::Receiver<Option<String>>,
}

impl KeySets {
    async fn start(tokens: String) -> Self {
        let (sender, receiver) = watch::channel(None);
        let sources = Sources {
            tokens: tokens.into(),
            service: receiver,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let router = Router::new()
            .route("/jwks.json", get(both))
            .with_state(sources);
        let shutdown = CancellationToken::new();
        let serve = axum::serve(listener, router)
            .with_graceful_shutdown(shutdown.clone().cancelled_owned());
        tokio::spawn(async move { serve.await });
        Self {
            url: format!("http://{address}/jwks.json"),
            service: sender,
            _running: shutdown.drop_guard(),
        }
    }

    fn follow(&self, service: &TestService) {
        let path = bursar_identity::jwks::PATH;
        let url = format!("http://{}{path}", service.http_address);
        self.service.send_replace(Some(url));
    }
}

async fn both(State(mut sources): State<Sources>) -> Json<Value> {
    let service = sources.service.wait_for(Option::is_some).await;
    let service = service.expect("the test holds the sender").clone();
    let mut keys = Vec::new();
    for url in [service.as_deref(), Some(&*sources.tokens)]
        .into_iter()
        .flatten()
    {
        keys.extend(
            key_set(url).await["keys"]
                .as_array()
                .expect("a set has keys")
                .clone(),
        );
    }
    Json(json!({ "keys": keys }))
}

/// The key set at an address.
pub(crate) async fn key_set(url: &str) -> Value {
    let response = reqwest::get(url).await.expect("the key set is served");
    response.json().await.expect("a key set is JSON")
}

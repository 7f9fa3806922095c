//! What the server puts around every service, seen from outside: a service
//! without RPCs of its own still answers for itself.

use std::time::Duration;

use bursar_aip::id::UserId;
use bursar_contracts::operations::v1::GetServiceStatusRequest;
use bursar_contracts::operations::v1::operations_service_client::OperationsServiceClient;
use bursar_server::{Assembly, Definition, Migrations, database, detached};
use bursar_status::StatusExt;
use bursar_testkit::{TestDatabase, TestService, Tokens, redis_url, with_token};
use sqlx::postgres::PgPoolOptions;
use tokio::sync::mpsc;
use tonic::service::Routes;
use tonic::{Code, Request, Status};

fn definition() -> Definition {
    Definition {
        name: "empty",
        version: "0.0.0",
        migrations: vec![
            Migrations {
                name: "aip",
                migrator: &bursar_aip::MIGRATOR,
            },
            Migrations {
                name: "events",
                migrator: &bursar_events::MIGRATOR,
            },
        ],
        invariants: Vec::new(),
        assemble: |_start| {
            Box::pin(async {
                Ok(Assembly {
                    routes: Some(Routes::default()),
                    http: axum::Router::new(),
                    jobs: Vec::new(),
                })
            })
        },
    }
}

struct Fixture {
    tokens: Tokens,
    service: TestService,
    // Dropped last: the service still holds connections.
    _database: TestDatabase,
}

async fn fixture(overrides: &[(&str, &str)]) -> Fixture {
    let database = TestDatabase::create(&definition().migrations).await;
    let tokens = Tokens::start().await;
    let service = TestService::start(definition(), &database, &tokens, overrides).await;
    Fixture {
        tokens,
        service,
        _database: database,
    }
}

fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

/// An internal RPC answers services and refuses everybody else, in the one error form.
#[tokio::test]
async fn internal_rpcs_answer_services_only() {
    let fixture = fixture(&[("BURSAR_REDIS_EVENTS_URL", &redis_url())]).await;
    let mut client = OperationsServiceClient::new(fixture.service.channel());

    let status = client
        .get_service_status(with_token(
            GetServiceStatusRequest {},
            &fixture.tokens.service("admin"),
        ))
        .await
        .expect("a service may ask")
        .into_inner()
        .status
        .expect("the answer has a status");
    assert_eq!(status.name, "empty");
    assert!(status.ready, "{status:?}");
    let names: Vec<&str> = status
        .dependencies
        .iter()
        .map(|seen| seen.name.as_str())
        .collect();
    assert_eq!(names, ["postgresql", "redis", "key_set"]);
    assert!(status.dependencies.iter().all(|seen| seen.healthy));

    let user = fixture.tokens.admin(UserId::generate());
    let refused = client
        .get_service_status(with_token(GetServiceStatusRequest {}, &user))
        .await
        .expect_err("no user may ask");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(reason(&refused), "PERMISSION_DENIED");

    let refused = client
        .get_service_status(Request::new(GetServiceStatusRequest {}))
        .await
        .expect_err("nobody may ask");
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(reason(&refused), "UNAUTHENTICATED");
}

/// The correlation id a client sends comes back; one that could disturb a log
/// is replaced.
#[tokio::test]
async fn the_correlation_id_comes_back() {
    let fixture = fixture(&[]).await;
    let mut client = OperationsServiceClient::new(fixture.service.channel());
    let token = fixture.tokens.service("admin");
    for (sent, kept) in [("my-id.1", true), ("not an id", false)] {
        let mut request = with_token(GetServiceStatusRequest {}, &token);
        let value = sent.parse().expect("visible ASCII");
        request.metadata_mut().insert("x-request-id", value);
        let response = client.get_service_status(request).await.expect("answered");
        let seen = response
            .metadata()
            .get("x-request-id")
            .expect("always there");
        assert_eq!(seen.to_str().expect("text") == sent, kept);
    }
}

/// A caller's own deadline that has passed is answered as such.
#[tokio::test]
async fn a_short_deadline_is_kept() {
    let fixture = fixture(&[]).await;
    let mut client = OperationsServiceClient::new(fixture.service.channel());
    let mut request = with_token(GetServiceStatusRequest {}, &fixture.tokens.service("admin"));
    request
        .metadata_mut()
        .insert("grpc-timeout", "1n".parse().expect("visible ASCII"));
    let refused = client
        .get_service_status(request)
        .await
        .expect_err("too short");
    assert!(
        matches!(refused.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{refused:?}"
    );
}

/// A process that takes no calls refuses with a time to try again.
#[tokio::test]
async fn calls_beyond_the_bound_are_shed() {
    let fixture = fixture(&[("BURSAR_MAX_CONCURRENT_REQUESTS", "0")]).await;
    let mut client = OperationsServiceClient::new(fixture.service.channel());
    let refused = client
        .get_service_status(with_token(
            GetServiceStatusRequest {},
            &fixture.tokens.service("admin"),
        ))
        .await
        .expect_err("there is no room");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "OVERLOADED");
    let details = refused.get_error_details();
    assert!(
        details
            .retry_info()
            .is_some_and(|retry| retry.retry_delay.is_some())
    );
}

/// The probes and the metrics answer over plain HTTP.
#[tokio::test]
async fn probes_and_metrics_answer() {
    let fixture = fixture(&[("BURSAR_REDIS_EVENTS_URL", "redis://127.0.0.1:1")]).await;
    let base = format!("http://{}", fixture.service.http_address);
    let live = reqwest::get(format!("{base}/livez"))
        .await
        .expect("answered");
    assert!(live.status().is_success());
    // Without Redis calls are served and events wait, so the service is ready.
    let ready = reqwest::get(format!("{base}/readyz"))
        .await
        .expect("answered");
    assert!(ready.status().is_success());
    let body: serde_json::Value =
        serde_json::from_str(&ready.text().await.expect("text")).expect("JSON");
    assert_eq!(body["dependencies"][0]["name"], "postgresql");
    assert!(body["dependencies"][0]["latency_us"].is_u64());
    assert_eq!(body["dependencies"][1]["healthy"], false);

    let mut client = OperationsServiceClient::new(fixture.service.channel());
    let token = fixture.tokens.service("admin");
    client
        .get_service_status(with_token(GetServiceStatusRequest {}, &token))
        .await
        .expect("answered");
    let metrics = reqwest::get(format!("{base}/metrics"))
        .await
        .expect("answered")
        .text()
        .await
        .expect("text");
    assert!(
        metrics.contains("bursar_rpc_duration_seconds"),
        "the call was not measured: {metrics}"
    );
}

/// Outside development a guessable client secret keeps the process from starting.
#[tokio::test]
async fn default_secrets_do_not_start_in_production() {
    let database = TestDatabase::create(&definition().migrations).await;
    let tokens = Tokens::start().await;
    let start = |secret: &'static str| {
        let overrides = [
            ("BURSAR_ENVIRONMENT", "production"),
            ("BURSAR_SERVICE_CLIENT_SECRET", secret),
        ];
        let (database, tokens) = (&database, &tokens);
        async move { TestService::try_start(definition(), database, tokens, &overrides).await }
    };
    for weak in [
        "changeme-changeme-changeme",
        "short",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        let refusal = start(weak).await.err().expect("refused");
        assert!(
            refusal.to_string().contains("BURSAR_SERVICE_CLIENT_SECRET"),
            "{refusal}"
        );
    }
    assert!(start("k7Jr2vQx9LmN4pTz8WcY").await.is_ok());
}

/// The names of the services that reflection lists; the refusal where there is none.
async fn reflected(service: &TestService) -> Result<Vec<String>, Code> {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(service.channel())
        .server_reflection_info(tokio_stream::iter([ask]))
        .await
        .map_err(|status| status.code())?
        .into_inner();
    let answer = answers.message().await.map_err(|status| status.code())?;
    match answer.and_then(|answer| answer.message_response) {
        Some(MessageResponse::ListServicesResponse(list)) => Ok(list
            .service
            .into_iter()
            .map(|service| service.name)
            .collect()),
        other => panic!("not a list of services: {other:?}"),
    }
}

/// In development any service reflects the whole public contract, and nothing
/// internal; in production there is no reflection.
#[tokio::test]
async fn reflection_is_for_development_only() {
    let development = fixture(&[]).await;
    let names = reflected(&development.service).await.expect("listed");
    for name in [
        "bursar.identity.v1.IdentityService",
        "bursar.wallet.v1.WalletService",
        "bursar.transaction.v1.TransactionService",
        "bursar.admin.v1.AdminService",
        "grpc.health.v1.Health",
    ] {
        assert!(
            names.iter().any(|listed| listed == name),
            "{name}: {names:?}"
        );
    }
    assert!(
        !names
            .iter()
            .any(|name| name.contains("Ledger") || name.contains("Operations"))
    );

    let production = fixture(&[
        ("BURSAR_ENVIRONMENT", "production"),
        ("BURSAR_SERVICE_CLIENT_SECRET", "k7Jr2vQx9LmN4pTz8WcY"),
    ])
    .await;
    assert_eq!(
        reflected(&production.service).await,
        Err(Code::Unimplemented)
    );
}

/// Stopping ends the service in bounded time and frees its port.
#[tokio::test]
async fn a_stopped_service_is_gone() {
    let fixture = fixture(&[]).await;
    let address = fixture.service.http_address;
    tokio::time::timeout(Duration::from_secs(10), fixture.service.stop())
        .await
        .expect("a service without calls in flight stops at once");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

/// Callers that leave at any moment cut nothing off: what each has asked for is done,
/// and every connection comes back outside of any transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_leave_cut_nothing_off() {
    const CALLS: i32 = 400;
    let kit = TestDatabase::create(&definition().migrations).await;
    let options = kit.owner.connect_options();
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .connect_lazy_with(options.as_ref().clone());
    sqlx::raw_sql("CREATE TABLE done (call integer PRIMARY KEY)")
        .execute(&pool)
        .await
        .expect("the owner may");
    let (ends, mut ended) = mpsc::unbounded_channel();
    for call in 0..CALLS {
        let (pool, ends) = (pool.clone(), ends.clone());
        let mutation = async move {
            let work = async {
                let mut transaction = database::begin(&pool).await?;
                sqlx::query("INSERT INTO done (call) VALUES ($1)")
                    .bind(call)
                    .execute(&mut *transaction)
                    .await?;
                transaction.commit().await
            };
            work.await.map_err(|error| database::status(&error))?;
            ends.send(call).expect("the test still listens");
            Ok(())
        };
        // Every caller stays for its first poll, which begins the mutation; a prime
        // step visits all moments of it in no order.
        let patience = Duration::from_micros(u64::from(call.unsigned_abs()) * 1_009 % 5_000);
        let _ = tokio::time::timeout(patience, detached(mutation)).await;
    }
    drop(ends);
    let mut done = 0;
    // A mutation that is cut off drops its end of the channel and sends nothing.
    while ended.recv().await.is_some() {
        done += 1;
    }
    assert_eq!(done, CALLS, "mutations were cut off");
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM done")
        .fetch_one(&pool)
        .await
        .expect("the pool works");
    assert_eq!(rows, i64::from(CALLS));
    let forgotten: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND state LIKE 'idle in transaction%'",
    )
    .fetch_one(&kit.owner)
    .await
    .expect("sessions are counted");
    assert_eq!(forgotten, 0, "transactions were forgotten");
    pool.close().await;
}

//! `GetMeshStatus`, asked of a mesh of real servers, some of them dead.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bursar_contracts::admin::v1::{GetMeshStatusRequest, GetMeshStatusResponse, MeshService};
use bursar_contracts::identity::v1::identity_service_server;
use bursar_server::{Assembly, Definition, Start};
use bursar_testkit::{ClaimedPort, TestDatabase, TestService, Tokens, with_token};
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

use crate::house::{House, NOBODY, Person, assert_refused};

/// The other services: whole servers that know no RPC but the operations'.
struct Neighbours {
    tokens: Tokens,
    identity: TestService,
    wallet: TestService,
    transaction: TestService,
    _databases: Vec<TestDatabase>,
}

impl Neighbours {
    async fn start() -> Self {
        let tokens = Tokens::start().await;
        let mut databases = Vec::new();
        let mut services = Vec::new();
        for name in ["identity", "wallet", "transaction"] {
            let definition = neighbour(name);
            let database = TestDatabase::create(&definition.migrations).await;
            let issuer = [("BURSAR_ISSUER_ADDRESS", tokens.identity_address.as_str())];
            services.push(TestService::start(definition, &database, &tokens, &issuer).await);
            databases.push(database);
        }
        let [identity, wallet, transaction] = services
            .try_into()
            .unwrap_or_else(|_| panic!("three services were started"));
        Self {
            tokens,
            identity,
            wallet,
            transaction,
            _databases: databases,
        }
    }
}

fn neighbour(name: &'static str) -> Definition {
    let admins = bursar_admin::definition();
    Definition {
        name,
        migrations: admins
            .migrations
            .into_iter()
            .filter(|set| set.name != "admin")
            .collect(),
        invariants: Vec::new(),
        assemble: |start| Box::pin(assemble(start)),
        ..admins
    }
}

/// Where the test's issuer of tokens is.
#[derive(serde::Deserialize)]
struct IssuerSettings {
    issuer_address: String,
}

async fn assemble(start: Start) -> anyhow::Result<Assembly> {
    let issuer = start.settings::<IssuerSettings>()?.issuer_address;
    let channel = Endpoint::from_shared(issuer)?.connect_lazy();
    let routes = match start.name {
        "identity" => Routes::new(Issuer(channel)),
        _ => Routes::default(),
    };
    Ok(Assembly {
        routes: Some(routes),
        http: axum::Router::new(),
        jobs: Vec::new(),
    })
}

/// Identity's RPCs, answered by the test's issuer of tokens.
#[derive(Clone)]
struct Issuer(Channel);

impl NamedService for Issuer {
    const NAME: &'static str = identity_service_server::SERVICE_NAME;
}

impl Service<http::Request<Body>> for Issuer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let issuer = self.0.clone();
        Box::pin(async move {
            let answer = issuer.oneshot(request).await;
            Ok(answer.unwrap_or_else(|error| Status::unavailable(error.to_string()).into_http()))
        })
    }
}

/// An admin service whose neighbours are at these addresses.
async fn admin(tokens: Tokens, identity: &str, wallet: &str, transaction: &str) -> House {
    let own_port = ClaimedPort::claim();
    let own = own_port.address();
    let own_url = format!("http://{own}");
    let database = TestDatabase::create(&bursar_admin::definition().migrations).await;
    let settings = [
        ("BURSAR_GRPC_ADDRESS", own.to_string()),
        ("BURSAR_ADMIN_ADDRESS", own_url),
        ("BURSAR_IDENTITY_ADDRESS", identity.to_owned()),
        ("BURSAR_WALLET_ADDRESS", wallet.to_owned()),
        ("BURSAR_TRANSACTION_ADDRESS", transaction.to_owned()),
    ];
    let settings: Vec<(&str, &str)> = settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    House::start_on(database, tokens, &settings).await
}

async fn status(house: &House, caller: &Person) -> Result<GetMeshStatusResponse, Status> {
    let request = with_token(GetMeshStatusRequest {}, &caller.token);
    Ok(house
        .client
        .clone()
        .get_mesh_status(request)
        .await?
        .into_inner())
}

fn names(services: &[MeshService], healthy: bool) -> Vec<&str> {
    services
        .iter()
        .filter(|service| service.healthy == healthy)
        .map(|service| service.name.as_str())
        .collect()
}

/// A mesh that is well says so, service by service, admin included.
#[tokio::test]
async fn a_healthy_mesh_tells_all_its_services() {
    let mesh = Neighbours::start().await;
    let addresses = [
        mesh.identity.address(),
        mesh.wallet.address(),
        mesh.transaction.address(),
    ];
    let house = admin(mesh.tokens, &addresses[0], &addresses[1], &addresses[2]).await;
    let seen = status(&house, &house.admin())
        .await
        .expect("an operator may ask");
    assert!(seen.healthy, "{seen:?}");
    assert_eq!(
        names(&seen.services, true),
        ["admin", "identity", "transaction", "wallet"]
    );
    for service in &seen.services {
        assert_eq!(service.error, "");
        assert!(service.latency_us > 0);
        let status = service.status.as_ref().expect("it answered");
        assert_eq!(status.name, service.name);
        assert!(status.pool.is_some_and(|pool| pool.max_connections > 0));
        assert_eq!(
            status.outbox.expect("it has an outbox").unpublished_events,
            0
        );
        assert_eq!(status.inbox.expect("it has an inbox").dead_letters, 0);
        assert!(
            status
                .dependencies
                .iter()
                .any(|need| need.name == "postgresql" && need.healthy)
        );
    }
}

/// A service that is dead is told as such, and the others as they are.
#[tokio::test]
async fn a_dead_service_is_an_answer() {
    let mesh = Neighbours::start().await;
    let addresses = [
        mesh.identity.address(),
        mesh.wallet.address(),
        mesh.transaction.address(),
    ];
    let house = admin(mesh.tokens, &addresses[0], &addresses[1], &addresses[2]).await;
    let operator = house.admin();
    assert!(
        status(&house, &operator)
            .await
            .expect("an operator may ask")
            .healthy
    );
    mesh.wallet.stop().await;
    let seen = status(&house, &operator)
        .await
        .expect("a dead service is no error");
    assert!(!seen.healthy);
    assert_eq!(names(&seen.services, false), ["wallet"]);
    let wallet = &seen.services[3];
    assert_eq!(wallet.status, None);
    assert_ne!(wallet.error, "");
}

/// A service that takes connections and says nothing costs a second, not the call.
#[tokio::test]
async fn a_silent_service_does_not_hold_the_others_up() {
    let mesh = Neighbours::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", silent.local_addr().expect("it is bound"));
    let house = admin(mesh.tokens, &mesh.identity.address(), &address, NOBODY).await;
    let asked_at = Instant::now();
    let seen = status(&house, &house.admin())
        .await
        .expect("a silent service is no error");
    assert!(asked_at.elapsed() < Duration::from_secs(3));
    assert_eq!(names(&seen.services, true), ["admin", "identity"]);
    assert_eq!(names(&seen.services, false), ["transaction", "wallet"]);
    let wallet = &seen.services[3];
    assert_eq!(wallet.error, "no answer within 1000 ms");
    assert!(wallet.latency_us >= 1_000_000);
}

/// The state of the mesh is the operators' business.
#[tokio::test]
async fn users_may_not_ask() {
    let house = House::start().await;
    assert_refused(
        status(&house, &house.user()).await,
        Code::PermissionDenied,
        "bursar.type.v1/PERMISSION_DENIED",
    );
}

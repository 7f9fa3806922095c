//! The services behind the gateway, played: some with their generated traits,
//! so that requests are validated as they will be, the others by an answer
//! without fields. All of them tell in `seen-…` headers what reached them.

mod history;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bursar_contracts::transaction::v1 as transaction;
use bursar_contracts::transaction::v1::transaction_service_server::{
    TransactionService, TransactionServiceServer,
};
use bursar_contracts::r#type::v1::ErrorReason;
use bursar_contracts::wallet::v1 as wallet;
use bursar_contracts::wallet::v1::history_service_server::HistoryServiceServer;
use bursar_contracts::wallet::v1::wallet_service_server::{WalletService, WalletServiceServer};
use bursar_status::StatusBuilder;
use bursar_testkit::ClaimedPort;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use super::edge::until;

pub(crate) use history::{FILE_PARTS, FILE_TYPE, PART_BYTES, part};

/// The prefix under which an answer repeats the headers that reached a service.
pub(crate) const SEEN: &str = "seen-";

/// The one wallet that is found.
pub(crate) const KNOWN_WALLET: &str = "wal_0198c0de-0000-7000-8000-000000000001";

/// Servers that run as long as this value.
pub(crate) struct Upstream {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    grpc_port: Arc<ClaimedPort>,
    arrivals: Counter,
    keys: Arc<Keys>,
    /// Holds every task of the servers, so that they can end all at once;
    /// absent once they have.
    runtime: Option<Runtime>,
}

/// How often something happened.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<AtomicU32>);

impl Counter {
    fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// The key set, if it is to be had, and how often it was fetched.
struct Keys {
    jwks: Mutex<Option<Value>>,
    fetches: Counter,
}

impl Upstream {
    /// Starts a gRPC server for all services and an HTTP server with this key set.
    pub(crate) fn start(jwks: Value) -> Self {
        Self::start_at(Arc::new(ClaimedPort::claim()), jwks)
    }

    /// The same, with the gRPC server where another was.
    pub(crate) fn start_at(grpc_port: Arc<ClaimedPort>, jwks: Value) -> Self {
        let listen = |address: SocketAddr| {
            let listener = std::net::TcpListener::bind(address).unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let grpc = listen(grpc_port.address());
        let http = listen("127.0.0.1:0".parse().unwrap());
        let addresses = (grpc.local_addr().unwrap(), http.local_addr().unwrap());
        let arrivals = Counter::default();
        let played = Played(arrivals.clone());
        let keys = Arc::new(Keys {
            jwks: Mutex::new(Some(jwks)),
            fetches: Counter::default(),
        });
        let routes = Routes::new(TransactionServiceServer::new(played.clone()))
            .add_service(WalletServiceServer::new(played.clone()))
            .add_service(HistoryServiceServer::new(played))
            .into_axum_router()
            .fallback(empty_answer);
        let server = tonic::transport::Server::builder().add_routes(Routes::from(routes));
        let plain = Router::new()
            .route("/.well-known/jwks.json", get(key_set))
            .route("/api/v1/transactions/callbacks/{provider}", post(callback))
            .route("/api/v1/transactions/settlement-files", post(file))
            .layer(DefaultBodyLimit::disable())
            .with_state(keys.clone());
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(grpc).unwrap());
            server.serve_with_incoming(incoming).await.unwrap();
        });
        runtime.spawn(async move {
            let listener = TcpListener::from_std(http).unwrap();
            axum::serve(listener, plain).await.unwrap();
        });
        Self {
            grpc: addresses.0,
            http: addresses.1,
            grpc_port,
            arrivals,
            keys,
            runtime: Some(runtime),
        }
    }

    /// The calls that have reached a service.
    pub(crate) fn arrivals(&self) -> Counter {
        self.arrivals.clone()
    }

    /// The fetches of the key set, refused ones included.
    pub(crate) fn key_fetches(&self) -> Counter {
        self.keys.fetches.clone()
    }

    /// From now on this is the key set; without one, it is not to be had.
    pub(crate) fn publish_keys(&self, jwks: Option<Value>) {
        *self.keys.jwks.lock().unwrap() = jwks;
    }

    /// Ends both servers as a crash would: connections break, ports are free. Returns
    /// where the gRPC server was.
    pub(crate) async fn crash(mut self) -> Arc<ClaimedPort> {
        self.end();
        let refused = until(Duration::from_secs(10), || async {
            TcpStream::connect(self.grpc).await.is_err().then_some(())
        });
        refused.await.expect("the port is closed");
        Arc::clone(&self.grpc_port)
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.end();
    }
}

async fn key_set(State(keys): State<Arc<Keys>>) -> Result<impl IntoResponse, StatusCode> {
    keys.fetches.add();
    let jwks = keys.jwks.lock().unwrap().clone();
    let jwks = jwks.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(([("cache-control", "max-age=60")], axum::Json(jwks)))
}

async fn callback(
    Path(provider): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let mut seen = HeaderMap::new();
    repeat(&headers, &mut seen);
    (seen, format!("{provider} {}", body.len()))
}

/// A file of any length: how long it was.
async fn file(headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let mut seen = HeaderMap::new();
    repeat(&headers, &mut seen);
    (seen, body.len().to_string())
}

/// The answer of an RPC that this test does not play.
async fn empty_answer(headers: HeaderMap) -> impl IntoResponse {
    let mut answer = HeaderMap::new();
    repeat(&headers, &mut answer);
    answer.insert("content-type", HeaderValue::from_static("application/grpc"));
    let ok = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    // As tonic does it: without a length, which would be another one by REST.
    let frames = [
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 5]))),
        Ok(Frame::trailers(ok)),
    ];
    (
        answer,
        Body::new(StreamBody::new(tokio_stream::iter(frames))),
    )
}

fn repeat(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, value) in from {
        let name = format!("{SEEN}{name}");
        to.append(http::HeaderName::try_from(name).unwrap(), value.clone());
    }
}

/// An error with details, as a service answers it.
fn refusal() -> Status {
    StatusBuilder::new(
        Code::FailedPrecondition,
        ErrorReason::Overloaded,
        "no \"money\"",
    )
    .metadata("transaction_id", "txn_1")
    .field("amount.minor_units", "is too much")
    .into()
}

#[derive(Clone)]
struct Played(Counter);

impl Played {
    /// An answer with the headers that came, or the fault that `x-fault` asks for.
    async fn answer<T>(&self, metadata: &MetadataMap, message: T) -> Result<Response<T>, Status> {
        self.0.add();
        let fault = metadata.get("x-fault").map(|fault| fault.to_str().unwrap());
        match fault {
            None => {}
            Some("never") => std::future::pending::<()>().await,
            Some("refused") => return Err(refusal()),
            Some(other) => panic!("no fault is called {other}"),
        }
        let mut response = Response::new(message);
        let mut headers = HeaderMap::new();
        repeat(&metadata.clone().into_headers(), &mut headers);
        if metadata
            .get("idempotency-key")
            .is_some_and(|key| key == "again")
        {
            headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        *response.metadata_mut() = MetadataMap::from_headers(headers);
        Ok(response)
    }
}

#[tonic::async_trait]
impl WalletService for Played {
    async fn create_wallet(
        &self,
        request: Request<wallet::CreateWalletRequest>,
    ) -> Result<Response<wallet::CreateWalletResponse>, Status> {
        self.answer(request.metadata(), wallet::CreateWalletResponse::default())
            .await
    }

    async fn get_wallet(
        &self,
        request: Request<wallet::GetWalletRequest>,
    ) -> Result<Response<wallet::GetWalletResponse>, Status> {
        if request.get_ref().wallet_id != KNOWN_WALLET {
            let builder =
                StatusBuilder::new(Code::NotFound, wallet::ErrorReason::WalletNotFound, "none");
            return Err(builder.into());
        }
        let found = wallet::Wallet {
            wallet_id: KNOWN_WALLET.to_owned(),
            status: wallet::WalletStatus::Active.into(),
            balance: Some(wallet::Balance {
                available_minor: i64::MAX,
                ..wallet::Balance::default()
            }),
            ..wallet::Wallet::default()
        };
        let answer = wallet::GetWalletResponse {
            wallet: Some(found),
        };
        self.answer(request.metadata(), answer).await
    }

    async fn list_wallets(
        &self,
        request: Request<wallet::ListWalletsRequest>,
    ) -> Result<Response<wallet::ListWalletsResponse>, Status> {
        let answer = wallet::ListWalletsResponse {
            next_page_token: format!("after {}", request.get_ref().page_size),
            ..wallet::ListWalletsResponse::default()
        };
        self.answer(request.metadata(), answer).await
    }

    async fn list_entries(
        &self,
        request: Request<wallet::ListEntriesRequest>,
    ) -> Result<Response<wallet::ListEntriesResponse>, Status> {
        self.answer(request.metadata(), wallet::ListEntriesResponse::default())
            .await
    }

    async fn freeze_wallet(
        &self,
        request: Request<wallet::FreezeWalletRequest>,
    ) -> Result<Response<wallet::FreezeWalletResponse>, Status> {
        self.answer(request.metadata(), wallet::FreezeWalletResponse::default())
            .await
    }

    async fn unfreeze_wallet(
        &self,
        request: Request<wallet::UnfreezeWalletRequest>,
    ) -> Result<Response<wallet::UnfreezeWalletResponse>, Status> {
        self.answer(
            request.metadata(),
            wallet::UnfreezeWalletResponse::default(),
        )
        .await
    }

    async fn close_wallet(
        &self,
        request: Request<wallet::CloseWalletRequest>,
    ) -> Result<Response<wallet::CloseWalletResponse>, Status> {
        self.answer(request.metadata(), wallet::CloseWalletResponse::default())
            .await
    }

    async fn set_credit_limit(
        &self,
        request: Request<wallet::SetCreditLimitRequest>,
    ) -> Result<Response<wallet::SetCreditLimitResponse>, Status> {
        self.answer(
            request.metadata(),
            wallet::SetCreditLimitResponse::default(),
        )
        .await
    }

    async fn set_spending_limits(
        &self,
        request: Request<wallet::SetSpendingLimitsRequest>,
    ) -> Result<Response<wallet::SetSpendingLimitsResponse>, Status> {
        self.answer(
            request.metadata(),
            wallet::SetSpendingLimitsResponse::default(),
        )
        .await
    }

    async fn get_spending_limits(
        &self,
        request: Request<wallet::GetSpendingLimitsRequest>,
    ) -> Result<Response<wallet::GetSpendingLimitsResponse>, Status> {
        self.answer(
            request.metadata(),
            wallet::GetSpendingLimitsResponse::default(),
        )
        .await
    }
}

#[tonic::async_trait]
impl TransactionService for Played {
    async fn create_deposit(
        &self,
        request: Request<transaction::CreateDepositRequest>,
    ) -> Result<Response<transaction::CreateDepositResponse>, Status> {
        self.answer(
            request.metadata(),
            transaction::CreateDepositResponse::default(),
        )
        .await
    }

    async fn create_refund(
        &self,
        request: Request<transaction::CreateRefundRequest>,
    ) -> Result<Response<transaction::CreateRefundResponse>, Status> {
        self.answer(
            request.metadata(),
            transaction::CreateRefundResponse::default(),
        )
        .await
    }

    async fn create_transfer(
        &self,
        request: Request<transaction::CreateTransferRequest>,
    ) -> Result<Response<transaction::CreateTransferResponse>, Status> {
        let metadata = request.metadata().clone();
        let asked = request.into_inner();
        let made = transaction::Transaction {
            state: transaction::TransactionState::Completed.into(),
            amount: asked.amount,
            description: asked.description,
            ..transaction::Transaction::default()
        };
        let transaction = Some(made);
        self.answer(
            &metadata,
            transaction::CreateTransferResponse { transaction },
        )
        .await
    }

    async fn create_withdrawal(
        &self,
        request: Request<transaction::CreateWithdrawalRequest>,
    ) -> Result<Response<transaction::CreateWithdrawalResponse>, Status> {
        self.answer(
            request.metadata(),
            transaction::CreateWithdrawalResponse::default(),
        )
        .await
    }

    async fn get_transaction(
        &self,
        request: Request<transaction::GetTransactionRequest>,
    ) -> Result<Response<transaction::GetTransactionResponse>, Status> {
        self.answer(
            request.metadata(),
            transaction::GetTransactionResponse::default(),
        )
        .await
    }

    async fn list_transactions(
        &self,
        request: Request<transaction::ListTransactionsRequest>,
    ) -> Result<Response<transaction::ListTransactionsResponse>, Status> {
        self.answer(
            request.metadata(),
            transaction::ListTransactionsResponse::default(),
        )
        .await
    }
}

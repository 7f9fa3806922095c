//! An issuer of tokens that the services of a test trust.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bursar_aip::id::{SessionId, UserId};
use bursar_auth::{Claims, DEFAULT_AUDIENCE, DEFAULT_ISSUER, TOKEN_TYPE, TokenKind};
use bursar_contracts::identity::v1::identity_service_server::{
    IdentityService, IdentityServiceServer,
};
use bursar_contracts::identity::v1::{
    GetMeRequest, GetMeResponse, IssueServiceTokenRequest, IssueServiceTokenResponse,
    ListSessionsRequest, ListSessionsResponse, LoginRequest, LoginResponse, LogoutRequest,
    LogoutResponse, RefreshRequest, RefreshResponse, RegisterRequest, RegisterResponse,
    RevokeSessionRequest, RevokeSessionResponse,
};
use ed25519_dalek::SigningKey;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// What every user may do.
const USER_GRANTS: [&str; 19] = [
    "user:read:own",
    "session:*:own",
    "wallet:*:own",
    "hold:read:own",
    "bonus:read:own",
    "bonus:convert:own",
    "ledger:prove:own",
    "transfer:*:own",
    "deposit:*:own",
    "withdrawal:*:own",
    "payout_account:*:own",
    "transaction:*:own",
    "refund:*:own",
    "quote:*:own",
    "schedule:*:own",
    "limit:read:own",
    "bulk_transfer:*:own",
    "ticket:create:own",
    "ticket:read:own",
];
/// What an admin may do besides.
const ADMIN_GRANTS: [&str; 20] = [
    "*:read:any",
    "ticket:*:any",
    "audit:*:any",
    "mesh:*:any",
    "hold:*:any",
    "wallet:freeze:any",
    "wallet:configure:any",
    "bonus:*:any",
    "bonus_campaign:*:any",
    "ledger:*:any",
    "refund:*:any",
    "adjustment:create:any",
    "fee:*:any",
    "fx:*:any",
    "limit:*:any",
    "fraud:*:any",
    "schedule:*:any",
    "transaction:explain:any",
    "review:*:any",
    "reconciliation:*:any",
];
/// How long tokens are good for, in seconds.
const LIFETIME_SECONDS: i64 = 900;

/// Mints tokens, publishes its key set over HTTP, and answers
/// `IssueServiceToken` over gRPC, for as long as it exists.
pub struct Tokens {
    minter: Minter,
    /// Where the key set is.
    pub jwks_url: String,
    /// Where `IssueServiceToken` is answered.
    pub identity_address: String,
    /// A name that no other test has, for what tests would else share.
    pub name: String,
    _running: DropGuard,
}

#[derive(Clone)]
struct Minter {
    key: EncodingKey,
    kid: String,
}

impl Tokens {
    /// Starts an issuer with a key of its own.
    pub async fn start() -> Self {
        let signing = SigningKey::from_bytes(&rand::random());
        let kid = Uuid::now_v7().to_string();
        let set = key_set(&signing, &kid);
        let minter = Minter {
            key: EncodingKey::from_ed_der(&pkcs8(&signing)),
            kid,
        };
        let shutdown = CancellationToken::new();
        let http = serve_keys(set, shutdown.clone()).await;
        let grpc = serve_issuer(minter.clone(), shutdown.clone()).await;
        Self {
            minter,
            jwks_url: format!("http://{http}/.well-known/jwks.json"),
            identity_address: format!("http://{grpc}"),
            name: Uuid::now_v7().simple().to_string(),
            _running: shutdown.drop_guard(),
        }
    }

    /// A user's token, with a session of its own.
    pub fn user(&self, id: UserId) -> String {
        self.minter.mint(user_claims(id, &["user"], &USER_GRANTS))
    }

    /// A token of a user who is an admin too.
    pub fn admin(&self, id: UserId) -> String {
        let grants: Vec<&str> = USER_GRANTS.into_iter().chain(ADMIN_GRANTS).collect();
        self.minter
            .mint(user_claims(id, &["user", "admin"], &grants))
    }

    /// A service account's token.
    pub fn service(&self, name: &str) -> String {
        self.minter.mint(service_claims(name))
    }

    /// A token with any claims, for tests of refusals.
    pub fn mint(&self, claims: Claims) -> String {
        self.minter.mint(claims)
    }

    /// The claims of a user's token, to be changed and minted.
    pub fn user_claims(id: UserId) -> Claims {
        user_claims(id, &["user"], &USER_GRANTS)
    }
}

/// Puts a token into a request.
pub fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}")
        .parse()
        .expect("a token is visible ASCII");
    request.metadata_mut().insert("authorization", value);
    request
}

impl Minter {
    fn mint(&self, claims: Claims) -> String {
        let header = Header {
            typ: Some(TOKEN_TYPE.to_owned()),
            kid: Some(self.kid.clone()),
            ..Header::new(Algorithm::EdDSA)
        };
        jsonwebtoken::encode(&header, &claims, &self.key).expect("claims can be signed")
    }
}

fn user_claims(id: UserId, roles: &[&str], grants: &[&str]) -> Claims {
    Claims {
        sid: Some(SessionId::generate().to_string()),
        ..claims(id.to_string(), TokenKind::User, roles, grants)
    }
}

fn service_claims(name: &str) -> Claims {
    claims(format!("svc_{name}"), TokenKind::Service, &["service"], &[])
}

fn claims(sub: String, kind: TokenKind, roles: &[&str], grants: &[&str]) -> Claims {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970")
        .as_secs();
    let iat = i64::try_from(now).expect("the clock is before the year 292 billion");
    Claims {
        iss: DEFAULT_ISSUER.to_owned(),
        aud: DEFAULT_AUDIENCE.to_owned(),
        sub,
        kind,
        sid: None,
        roles: texts(roles),
        permissions: texts(grants),
        tenant: "default".to_owned(),
        tier: 0,
        iat,
        exp: iat + LIFETIME_SECONDS,
        jti: Uuid::now_v7().to_string(),
    }
}

fn key_set(signing: &SigningKey, kid: &str) -> Value {
    json!({"keys": [{
        "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid,
        "x": URL_SAFE_NO_PAD.encode(signing.verifying_key().as_bytes()),
    }]})
}

/// The key in PKCS#8 version 1, by RFC 8410.
fn pkcs8(signing: &SigningKey) -> Vec<u8> {
    const PREFIX: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    PREFIX.iter().copied().chain(signing.to_bytes()).collect()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener
        .local_addr()
        .expect("a bound listener has an address");
    (listener, address)
}

async fn serve_keys(set: Value, shutdown: CancellationToken) -> SocketAddr {
    let (listener, address) = listen().await;
    let router = Router::new().route("/.well-known/jwks.json", get(async move || Json(set)));
    tokio::spawn(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
    });
    address
}

async fn serve_issuer(minter: Minter, shutdown: CancellationToken) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        tonic::transport::Server::builder()
            .add_service(IdentityServiceServer::new(Issuer(minter)))
            .serve_with_incoming_shutdown(
                TcpListenerStream::new(listener),
                shutdown.cancelled_owned(),
            )
            .await
    });
    address
}

/// Issues service tokens to whoever asks; everything else is the real
/// identity service's.
struct Issuer(Minter);

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented(
        "the test's issuer only issues service tokens",
    ))
}

#[tonic::async_trait]
impl IdentityService for Issuer {
    async fn issue_service_token(
        &self,
        request: Request<IssueServiceTokenRequest>,
    ) -> Result<Response<IssueServiceTokenResponse>, Status> {
        Ok(Response::new(IssueServiceTokenResponse {
            access_token: self.0.mint(service_claims(&request.get_ref().client_id)),
            expires_in_seconds: u32::try_from(LIFETIME_SECONDS).unwrap_or(u32::MAX),
        }))
    }

    async fn register(
        &self,
        _: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        not_here()
    }

    async fn login(&self, _: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        not_here()
    }

    async fn refresh(
        &self,
        _: Request<RefreshRequest>,
    ) -> Result<Response<RefreshResponse>, Status> {
        not_here()
    }

    async fn logout(&self, _: Request<LogoutRequest>) -> Result<Response<LogoutResponse>, Status> {
        not_here()
    }

    async fn get_me(&self, _: Request<GetMeRequest>) -> Result<Response<GetMeResponse>, Status> {
        not_here()
    }

    async fn list_sessions(
        &self,
        _: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        not_here()
    }

    async fn revoke_session(
        &self,
        _: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        not_here()
    }
}

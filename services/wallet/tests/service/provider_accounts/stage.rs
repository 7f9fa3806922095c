//! What the tests of provider accounts share: a wallet service with the real
//! sandbox provider beside it, holders, and short words for the calls.

use std::sync::Arc;

use bursar_aip::id::{ProviderAccountId, UserId, WalletId};
use bursar_contracts::wallet::v1::provider_account_service_client::ProviderAccountServiceClient;
use bursar_contracts::wallet::v1::{
    AccountHolder, CreateProviderAccountRequest, GetProviderAccountRequest, ProviderAccount,
    ProviderAccountStatus, Wallet,
};
use bursar_seal::KeyEncryptionKey;
use bursar_testkit::{TestDatabase, TestService, Tokens, with_token};
use bursar_wallet::domain::provider_account::ProviderName;
use bursar_wallet::jobs::provider_accounts::Desk;
use bursar_wallet::providers::{self, AccountProvider, Vault};
use bursar_wallet::store::provider_accounts::{self as store, NewAccount};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::support::{Fixture, eventually, uuid_of};

pub(super) const API_KEY: &str = "the-api-key-of-the-tests";
pub(super) const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The sandbox provider, with books of its own.
pub(super) struct SandboxHouse {
    pub(super) url: String,
    pub(super) books: TestDatabase,
    http: reqwest::Client,
    _service: TestService,
    _tokens: Tokens,
}

impl SandboxHouse {
    pub(super) async fn start() -> Self {
        let books = TestDatabase::create(&bursar_sandbox::definition().migrations).await;
        let tokens = Tokens::start().await;
        let settings = [("BURSAR_SANDBOX_API_KEY", API_KEY)];
        let service =
            TestService::start(bursar_sandbox::definition(), &books, &tokens, &settings).await;
        Self {
            url: format!("http://{}", service.http_address),
            books,
            http: reqwest::Client::new(),
            _service: service,
            _tokens: tokens,
        }
    }

    /// Arranges a fault for the next request of an operation.
    pub(super) async fn fault(&self, operation: &str, kind: &str, delay_ms: u64) {
        let fault = json!({"operation": operation, "kind": kind, "delay_ms": delay_ms,
            "decline_code": (kind == "decline").then_some("holder_unknown")});
        let arranged = self
            .http
            .post(format!("{}/v1/faults", self.url))
            .bearer_auth(API_KEY)
            .json(&fault)
            .send()
            .await
            .expect("the provider answers");
        assert_eq!(arranged.status(), 201);
    }

    /// How many accounts it has.
    pub(super) async fn accounts(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM accounts")
            .fetch_one(&self.books.pool)
            .await
            .expect("accounts are counted")
    }

    /// The client that the service has of it.
    pub(super) fn client(&self) -> Arc<dyn AccountProvider> {
        let settings = providers::sandbox::SandboxSettings {
            url: self.url.parse().expect("an address"),
            api_key: SecretString::from(API_KEY),
            deadline: std::time::Duration::from_secs(5),
            give_up_after: std::time::Duration::from_secs(3600),
        };
        Arc::new(providers::sandbox::Sandbox::new(settings).expect("a client"))
    }

    /// The settings by which a wallet service uses it.
    pub(super) fn settings(&self) -> [(&str, &str); 4] {
        [
            ("BURSAR_PROVIDER_ACCOUNTS", "sandbox"),
            ("BURSAR_KEY_ENCRYPTION_KEY", KEY),
            ("BURSAR_SANDBOX_URL", &self.url),
            ("BURSAR_SANDBOX_API_KEY", API_KEY),
        ]
    }
}

pub(super) fn holder() -> AccountHolder {
    AccountHolder {
        first_name: "Adaeze".to_owned(),
        last_name: "Obiorah".to_owned(),
        phone_number: "08031234567".to_owned(),
        email: "adaeze@example.com".to_owned(),
        date_of_birth: "1990-02-28".to_owned(),
        address: "1 Marina, Lagos".to_owned(),
        bvn: "22212345678".to_owned(),
    }
}

pub(super) fn asked(wallet: &Wallet) -> CreateProviderAccountRequest {
    CreateProviderAccountRequest {
        wallet_id: wallet.wallet_id.clone(),
        account_holder: Some(holder()),
    }
}

pub(super) fn keyed<T>(message: T, token: &str, key: &str) -> Request<T> {
    let mut request = with_token(message, token);
    let value = key.parse().expect("a key is visible ASCII");
    request.metadata_mut().insert("idempotency-key", value);
    request
}

pub(super) fn client(fixture: &Fixture) -> ProviderAccountServiceClient<Channel> {
    ProviderAccountServiceClient::new(fixture.service.channel())
}

/// Asks for an account by the RPC.
pub(super) async fn create(
    fixture: &Fixture,
    user: UserId,
    request: CreateProviderAccountRequest,
) -> Result<ProviderAccount, Status> {
    let request = with_token(request, &fixture.tokens.user(user));
    let response = client(fixture).create_provider_account(request).await?;
    Ok(response
        .into_inner()
        .provider_account
        .expect("an account is answered"))
}

pub(super) async fn get(
    fixture: &Fixture,
    user: UserId,
    id: &str,
) -> Result<ProviderAccount, Status> {
    let request = GetProviderAccountRequest {
        provider_account_id: id.to_owned(),
    };
    let request = with_token(request, &fixture.tokens.user(user));
    let response = client(fixture).get_provider_account(request).await?;
    Ok(response
        .into_inner()
        .provider_account
        .expect("an account is answered"))
}

/// The account, once it is pending no more.
pub(super) async fn settled(fixture: &Fixture, user: UserId, id: &str) -> ProviderAccount {
    eventually("the account is settled", async || {
        let account = get(fixture, user, id).await.expect("it is there");
        account.status() != ProviderAccountStatus::Pending
    })
    .await;
    get(fixture, user, id).await.expect("it is there")
}

/// Records a pending account as the RPC does, with nobody to wake.
pub(super) async fn recorded(
    fixture: &Fixture,
    wallet: &Wallet,
    provider: ProviderName,
    phone: &str,
) -> ProviderAccountId {
    let id = ProviderAccountId::generate();
    let holder = providers::AccountHolder {
        first_name: "Adaeze".to_owned(),
        last_name: "Obiorah".to_owned(),
        phone_number: phone.to_owned(),
        email: format!("{phone}@example.com"),
        date_of_birth: "1990-02-28".to_owned(),
        address: "1 Marina, Lagos".to_owned(),
        bvn: "22212345678".to_owned(),
    };
    let wallet_id: WalletId = wallet.wallet_id.parse().expect("an id");
    let tenant = "default".parse().expect("a tenant");
    let new = NewAccount {
        id,
        tenant: &tenant,
        wallet: wallet_id,
        owner: wallet.owner_user_id.parse().expect("an id"),
        provider,
        currency: bursar_money::Currency::parse(&wallet.currency_code).expect("a currency"),
        holder_sealed: &vault().seal_holder(id, &holder),
        correlation_id: "test",
    };
    let mut conn = fixture.database.pool.acquire().await.expect("a connection");
    let account = store::insert(&mut conn, &new).await.expect("it is written");
    account.expect("the wallet had none").id
}

pub(super) fn vault() -> Vault {
    let key = KeyEncryptionKey::parse(&SecretString::from(KEY));
    Vault::new(key.expect("a key"))
}

/// A job's desk on the fixture's database.
pub(super) fn desk(fixture: &Fixture, provider: Arc<dyn AccountProvider>) -> Desk {
    Desk {
        pool: fixture.database.pool.clone(),
        provider,
        vault: Arc::new(vault()),
        wake: Arc::new(Notify::new()),
    }
}

/// Lets time pass for a pending account: its lease lapses, it is due, and the
/// provider's window for what was sent is over.
pub(super) async fn let_time_pass(fixture: &Fixture, id: &str) {
    sqlx::query(
        "UPDATE provider_accounts
         SET lease_until = '-infinity', next_check_at = clock_timestamp(),
             requested_at = requested_at - interval '10 minutes'
         WHERE id = $1 AND status = 'pending'",
    )
    .bind(uuid_of(id))
    .execute(&fixture.database.owner)
    .await
    .expect("the owner may change it");
}

/// How often the provider was sent a request for an account, as the row has it.
pub(super) async fn requests(fixture: &Fixture, id: &str) -> i32 {
    sqlx::query_scalar("SELECT requests FROM provider_accounts WHERE id = $1")
        .bind(uuid_of(id))
        .fetch_one(&fixture.database.pool)
        .await
        .expect("the row is there")
}

/// A whole row as text.
pub(super) async fn row(fixture: &Fixture, id: &str) -> Value {
    sqlx::query_scalar::<_, String>(
        "SELECT to_jsonb(a)::text FROM provider_accounts a WHERE id = $1",
    )
    .bind(uuid_of(id))
    .fetch_one(&fixture.database.pool)
    .await
    .expect("the row is there")
    .parse()
    .expect("JSON")
}

/// The events of a wallet: their kinds, in order.
pub(super) async fn events(fixture: &Fixture, wallet: &Wallet) -> Vec<String> {
    sqlx::query_scalar("SELECT kind FROM event_log WHERE aggregate_id = $1 ORDER BY version")
        .bind(uuid_of(&wallet.wallet_id))
        .fetch_all(&fixture.database.pool)
        .await
        .expect("events are read")
}

/// Fails when any of the texts is anywhere in the wallet's database.
pub(super) async fn nowhere(fixture: &Fixture, texts: &[&str]) {
    for table in ["provider_accounts", "idempotency_keys", "event_log"] {
        let query = format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} t");
        let dump: String = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .fetch_one(&fixture.database.owner)
            .await
            .expect("the table is read");
        for text in texts {
            let as_bytes = hex(text.as_bytes());
            assert!(!dump.contains(text), "{text} is in {table}");
            assert!(!dump.contains(&as_bytes), "{text} is in {table} as bytes");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

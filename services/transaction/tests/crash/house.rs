//! The mesh around the process that is killed: it is made once and stays, over
//! many kills.

use std::sync::atomic::AtomicI64;

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::bonus_service_client::BonusServiceClient;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_contracts::wallet::v1::{CreateCampaignRequest, CreateWalletRequest};
use bursar_server::Migrations;
use bursar_testkit::{
    ClaimedPort, TestDatabase, TestPostgres, TestProcess, TestService, Tokens, redis_url,
    with_token,
};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use crate::flow::Flow;
use crate::traffic::{Order, keyed};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_bursar-transaction");
/// What each wallet gets; far more than is moved.
const FUNDS: i64 = 1_000_000_000;

/// Ledger, provider, databases and two users. Fields are dropped in order.
pub(crate) struct House {
    pub(crate) wallet: TestService,
    _sandbox: TestService,
    /// Where the provider finds the service again after a restart.
    _http_port: ClaimedPort,
    settings: Vec<(&'static str, String)>,
    pub(crate) tokens: Tokens,
    pub(crate) database: TestDatabase,
    pub(crate) wallet_database: TestDatabase,
    pub(crate) sandbox_database: TestDatabase,
    pub(crate) people: [Person; 2],
    /// Of an operator.
    pub(crate) operator: String,
    /// How often somebody has put into the stream what is no event.
    pub(crate) rubbish: AtomicI64,
}

/// A user with a wallet.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) id: UserId,
    pub(crate) token: String,
    pub(crate) wallet: String,
}

impl House {
    /// Opens the house, with money in both wallets.
    pub(crate) async fn open() -> Self {
        Self::open_on(None).await
    }

    /// Opens the house with our own databases on this server. The provider keeps its
    /// books elsewhere.
    pub(crate) async fn open_on(server: Option<&TestPostgres>) -> Self {
        let tokens = Tokens::start().await;
        let wallet_database = database(server, &bursar_wallet::definition().migrations).await;
        let wallet =
            TestService::start(bursar_wallet::definition(), &wallet_database, &tokens, &[]).await;
        let http_port = ClaimedPort::claim();
        let http_address = http_port.address().to_string();
        let callbacks = format!("http://{http_address}/api/v1/transactions/callbacks/sandbox");
        let (api_key, secret) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let sandbox_database = TestDatabase::create(&bursar_sandbox::definition().migrations).await;
        let of_sandbox = [
            ("BURSAR_SANDBOX_API_KEY", &*api_key),
            ("BURSAR_SANDBOX_CALLBACK_URL", &*callbacks),
            ("BURSAR_SANDBOX_CALLBACK_SECRET", &*secret),
            ("BURSAR_SANDBOX_CALLBACK_RETRY_MS", "200"),
        ];
        let sandbox = TestService::start(
            bursar_sandbox::definition(),
            &sandbox_database,
            &tokens,
            &of_sandbox,
        )
        .await;
        let settings = vec![
            ("BURSAR_HTTP_ADDRESS", http_address),
            ("BURSAR_REDIS_EVENTS_URL", redis_url()),
            ("BURSAR_WALLET_ADDRESS", wallet.address()),
            (
                "BURSAR_SANDBOX_URL",
                format!("http://{}", sandbox.http_address),
            ),
            ("BURSAR_SANDBOX_API_KEY", api_key),
            ("BURSAR_SANDBOX_CALLBACK_SECRET", secret),
            ("BURSAR_SANDBOX_LOOKUP_WINDOW_MS", "4000".to_owned()),
            ("BURSAR_RECOVERY_INTERVAL_MS", "50".to_owned()),
            ("BURSAR_RECONCILIATION_HOUR_UTC", "0".to_owned()),
            ("BURSAR_RECONCILIATION_LOOKBACK_DAYS", "0".to_owned()),
        ];
        let people = [
            person(&tokens, &wallet).await,
            person(&tokens, &wallet).await,
        ];
        let house = Self {
            database: database(server, &bursar_transaction::definition().migrations).await,
            operator: tokens.admin(UserId::generate()),
            people,
            rubbish: AtomicI64::new(0),
            wallet,
            _sandbox: sandbox,
            _http_port: http_port,
            settings,
            tokens,
            wallet_database,
            sandbox_database,
        };
        let process = house.start(&[]).await;
        for person in &house.people {
            let mut order = Order::deposit(person, FUNDS);
            order.insist(&process).await;
        }
        process.stop().await;
        house
    }

    /// A campaign with a budget for more than is granted.
    pub(crate) async fn campaign(&self) -> String {
        let request = CreateCampaignRequest {
            name: "spring".to_owned(),
            currency_code: "EUR".to_owned(),
            budget_minor: FUNDS,
            ..CreateCampaignRequest::default()
        };
        let request = keyed(
            with_token(request, &self.operator),
            &Uuid::now_v7().to_string(),
        );
        let response = BonusServiceClient::new(self.wallet.channel())
            .create_campaign(request)
            .await;
        let campaign = response.expect("it is created").into_inner().campaign;
        campaign.expect("a response has its campaign").campaign_id
    }

    /// Another user with a wallet.
    pub(crate) async fn person(&self) -> Person {
        person(&self.tokens, &self.wallet).await
    }

    /// Gives everybody a new token: an old one lapses before the last of many kills.
    pub(crate) fn renew_tokens(&mut self) {
        for person in &mut self.people {
            person.token = self.tokens.user(person.id);
        }
        self.operator = self.tokens.admin(UserId::generate());
    }

    /// Starts the service with these variables besides the usual ones.
    pub(crate) async fn start(&self, variables: &[(&str, &str)]) -> TestProcess {
        let process = self.launch(variables);
        let serves = process.serves().await;
        assert!(serves, "it does not serve:\n{}", process.log());
        process
    }

    /// The same without waiting for it: it may end before it serves.
    pub(crate) fn launch(&self, variables: &[(&str, &str)]) -> TestProcess {
        let usual = self.settings.iter().map(|(name, value)| (*name, &**value));
        let all: Vec<_> = usual.chain(variables.iter().copied()).collect();
        TestProcess::launch(PROGRAM, "transaction", &self.database, &self.tokens, &all)
    }

    /// Some orders of a flow. What they refer to is done first, in a calm process.
    pub(crate) async fn orders(&self, flow: Flow) -> Vec<Order> {
        let mut scene = Vec::new();
        if flow.has_scene() {
            let process = self.start(&[]).await;
            scene = flow.scene(self, &process).await;
            process.stop().await;
        }
        self.upset_stream(flow).await;
        if flow.is_nightly() {
            self.let_a_day_pass().await;
        }
        flow.orders(self, &scene)
    }

    /// Lets the time of every key pass.
    pub(crate) async fn let_keys_expire(&self) {
        sqlx::query(
            "UPDATE idempotency_keys
             SET created_at = now() - interval '1 day', expires_at = now() - interval '1 second'",
        )
        .execute(&self.database.owner)
        .await
        .expect("the owner may change keys");
    }

    /// The keys whose time has passed are gone.
    pub(crate) async fn has_no_expired_keys(&self) {
        let left: i64 =
            sqlx::query_scalar("SELECT count(*) FROM idempotency_keys WHERE expires_at < now()")
                .fetch_one(&self.database.pool)
                .await
                .expect("keys are read");
        assert_eq!(left, 0, "expired keys are left");
    }

    /// Holds up the ledger: nothing is posted while this is open.
    pub(crate) async fn hold_up_ledger(&self) -> Transaction<'static, Postgres> {
        let mut holding = self
            .wallet_database
            .owner
            .begin()
            .await
            .expect("a transaction");
        sqlx::query("SELECT 1 FROM wallets FOR UPDATE")
            .execute(&mut *holding)
            .await
            .expect("the owner may lock wallets");
        holding
    }
}

/// A new user with a wallet.
async fn person(tokens: &Tokens, wallet: &TestService) -> Person {
    let id = UserId::generate();
    let token = tokens.user(id);
    let request = CreateWalletRequest {
        currency_code: "EUR".to_owned(),
    };
    let request = keyed(with_token(request, &token), &Uuid::now_v7().to_string());
    let response = WalletServiceClient::new(wallet.channel())
        .create_wallet(request)
        .await
        .expect("a user may open a wallet");
    let wallet = response.into_inner().wallet;
    let wallet = wallet.expect("a response has its wallet").wallet_id;
    Person { id, token, wallet }
}

/// A database on this server, or on the one that all tests share.
async fn database(server: Option<&TestPostgres>, migrations: &[Migrations]) -> TestDatabase {
    match server {
        Some(server) => TestDatabase::create_on(server.options(), migrations).await,
        None => TestDatabase::create(migrations).await,
    }
}

//! The mesh around the process that is killed: it is made once and stays, over
//! many kills.

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::CreateWalletRequest;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_server::Migrations;
use bursar_testkit::{
    ClaimedPort, TestDatabase, TestPostgres, TestProcess, TestService, Tokens, redis_url,
    with_token,
};
use uuid::Uuid;

use crate::traffic::{Flow, Order, keyed};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_bursar-transaction");
/// What each wallet gets; far more than is moved.
const FUNDS: i64 = 1_000_000_000;

/// Ledger, provider, databases and two users. Fields are dropped in order.
pub(crate) struct House {
    wallet: TestService,
    _sandbox: TestService,
    /// Where the provider finds the service again after a restart.
    _http_port: ClaimedPort,
    settings: Vec<(&'static str, String)>,
    tokens: Tokens,
    pub(crate) database: TestDatabase,
    pub(crate) wallet_database: TestDatabase,
    pub(crate) sandbox_database: TestDatabase,
    pub(crate) people: [Person; 2],
    /// Of an operator.
    pub(crate) operator: String,
}

/// A user with a wallet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Person {
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
        ];
        let mut house = Self {
            database: database(server, &bursar_transaction::definition().migrations).await,
            operator: tokens.admin(UserId::generate()),
            people: [Person::default(), Person::default()],
            wallet,
            _sandbox: sandbox,
            _http_port: http_port,
            settings,
            tokens,
            wallet_database,
            sandbox_database,
        };
        for index in 0..2 {
            house.people[index] = house.person().await;
        }
        let process = house.start(&[]).await;
        for person in &house.people {
            let mut order = Order::deposit(person, FUNDS);
            order.insist(&process).await;
        }
        process.stop().await;
        house
    }

    async fn person(&self) -> Person {
        let token = self.tokens.user(UserId::generate());
        let request = CreateWalletRequest {
            currency_code: "EUR".to_owned(),
        };
        let request = keyed(with_token(request, &token), &Uuid::now_v7().to_string());
        let response = WalletServiceClient::new(self.wallet.channel())
            .create_wallet(request)
            .await
            .expect("a user may open a wallet");
        let wallet = response.into_inner().wallet;
        let wallet = wallet.expect("a response has its wallet").wallet_id;
        Person { token, wallet }
    }

    /// Starts the service with these variables besides the usual ones.
    pub(crate) async fn start(&self, variables: &[(&str, &str)]) -> TestProcess {
        let usual = self.settings.iter().map(|(name, value)| (*name, &**value));
        let all: Vec<_> = usual.chain(variables.iter().copied()).collect();
        TestProcess::start(PROGRAM, "transaction", &self.database, &self.tokens, &all).await
    }

    /// Some orders of a flow. What they refer to is done first, in a calm process.
    pub(crate) async fn orders(&self, flow: Flow) -> Vec<Order> {
        let originals = flow.originals(self);
        if originals.is_empty() {
            return flow.orders(self, &[]);
        }
        let process = self.start(&[]).await;
        let mut done = Vec::new();
        for mut original in originals {
            original.insist(&process).await;
            done.extend(original.transactions());
        }
        process.stop().await;
        flow.orders(self, &done)
    }
}

/// A database on this server, or on the one that all tests share.
async fn database(server: Option<&TestPostgres>, migrations: &[Migrations]) -> TestDatabase {
    match server {
        Some(server) => TestDatabase::create_on(server.options(), migrations).await,
        None => TestDatabase::create(migrations).await,
    }
}

//! A small mesh for one test: the real wallet, the real sandbox provider and
//! the transaction service, each with a database of its own, and a wire between
//! transaction and each of the others that a test can cut.

pub(crate) mod calls;
pub(crate) mod fraud;
pub(crate) mod inbox;
pub(crate) mod metrics;
pub(crate) mod person;
pub(crate) mod prices;
pub(crate) mod settlement;
pub(crate) mod wire;

use std::time::{Duration, Instant};

use bursar_contracts::transaction::v1::transaction_service_client::TransactionServiceClient;
use bursar_contracts::transaction::v1::{GetTransactionRequest, Transaction, TransactionState};
use bursar_testkit::{TestDatabase, TestService, Tokens, with_token};
use serde_json::Value;
use tonic::transport::Channel;

use inbox::Inbox;
use person::Person;
use wire::Wire;

/// The key that the sandbox asks for.
pub(crate) const API_KEY: &str = "the-api-key-of-the-tests";
/// The secret of the sandbox's callbacks.
pub(crate) const CALLBACK_SECRET: &str = "the-callback-secret-of-the-tests";
/// How long a test waits for what recovery brings.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Waits, when midnight of UTC is near, until it is over: what a test counts by the day
/// or the month is counted on one day then.
pub(crate) async fn away_from_midnight() {
    let now = bursar_server::now();
    let midnight = now.replace_time(time::Time::MIDNIGHT) + time::Duration::DAY;
    let left = midnight - now;
    if left < time::Duration::MINUTE {
        tokio::time::sleep(left.unsigned_abs()).await;
    }
}

/// The mesh. Fields are dropped in order: services before their databases.
pub(crate) struct Mesh {
    pub(crate) service: TestService,
    pub(crate) sandbox: TestService,
    pub(crate) wallet: TestService,
    /// Between transaction and wallet.
    pub(crate) to_wallet: Wire,
    /// Between transaction and the sandbox.
    pub(crate) to_sandbox: Wire,
    /// Where the sandbox's callbacks go; nothing is passed on by itself.
    pub(crate) inbox: Inbox,
    pub(crate) http: reqwest::Client,
    settings: Vec<(&'static str, String)>,
    pub(crate) tokens: Tokens,
    pub(crate) database: TestDatabase,
    pub(crate) wallet_database: TestDatabase,
    pub(crate) sandbox_database: TestDatabase,
}

impl Mesh {
    /// A mesh whose provider knows a request within two seconds, or never will.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further settings of the transaction service.
    pub(crate) async fn start_with(overrides: &[(&'static str, &str)]) -> Self {
        let tokens = Tokens::start().await;
        let inbox = Inbox::start().await;

        let wallet_database = TestDatabase::create(&bursar_wallet::definition().migrations).await;
        let wallet =
            TestService::start(bursar_wallet::definition(), &wallet_database, &tokens, &[]).await;
        let to_wallet = Wire::start(wallet.grpc_address.expect("wallet answers gRPC")).await;

        let sandbox_database = TestDatabase::create(&bursar_sandbox::definition().migrations).await;
        let settings = [
            ("BURSAR_SANDBOX_API_KEY", API_KEY),
            ("BURSAR_SANDBOX_CALLBACK_URL", inbox.url.as_str()),
            ("BURSAR_SANDBOX_CALLBACK_SECRET", CALLBACK_SECRET),
        ];
        let sandbox = TestService::start(
            bursar_sandbox::definition(),
            &sandbox_database,
            &tokens,
            &settings,
        )
        .await;
        let to_sandbox = Wire::start(sandbox.http_address).await;

        let database = TestDatabase::create(&bursar_transaction::definition().migrations).await;
        let mut settings = vec![
            ("BURSAR_WALLET_ADDRESS", to_wallet.url.as_str()),
            ("BURSAR_SANDBOX_URL", to_sandbox.url.as_str()),
            ("BURSAR_SANDBOX_API_KEY", API_KEY),
            ("BURSAR_SANDBOX_CALLBACK_SECRET", CALLBACK_SECRET),
            ("BURSAR_SANDBOX_DEADLINE_MS", "1000"),
            ("BURSAR_SANDBOX_LOOKUP_WINDOW_MS", "2000"),
            ("BURSAR_RECOVERY_INTERVAL_MS", "50"),
            ("BURSAR_RECONCILIATION_LOOKBACK_DAYS", "0"),
        ];
        settings.extend_from_slice(overrides);
        let service = TestService::start(
            bursar_transaction::definition(),
            &database,
            &tokens,
            &settings,
        )
        .await;
        let settings = settings
            .into_iter()
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        Self {
            service,
            sandbox,
            wallet,
            to_wallet,
            to_sandbox,
            inbox,
            settings,
            http: reqwest::Client::new(),
            tokens,
            database,
            wallet_database,
            sandbox_database,
        }
    }

    pub(crate) fn client(&self) -> TransactionServiceClient<Channel> {
        TransactionServiceClient::new(self.service.channel())
    }

    /// A new user.
    pub(crate) fn person(&self) -> Person<'_> {
        Person::new(self)
    }

    /// Arranges a fault of the provider.
    pub(crate) async fn fault(&self, fault: Value) {
        let response = self
            .http
            .post(format!("http://{}/v1/faults", self.sandbox.http_address))
            .bearer_auth(API_KEY)
            .json(&fault)
            .send()
            .await
            .expect("the sandbox answers");
        assert_eq!(response.status(), 201, "{:?}", response.text().await);
    }

    /// What the provider knows of a reference; `None` when it never had it.
    pub(crate) async fn at_provider(&self, kind: &str, reference: &str) -> Option<Value> {
        let address = self.sandbox.http_address;
        let response = self
            .http
            .get(format!("http://{address}/v1/{kind}/{reference}"))
            .bearer_auth(API_KEY)
            .send()
            .await
            .expect("the sandbox answers");
        match response.status().as_u16() {
            404 => None,
            200 => Some(response.json().await.expect("the sandbox answers JSON")),
            other => panic!("the sandbox answers {other}"),
        }
    }

    /// The transaction as an admin sees it.
    pub(crate) async fn transaction(&self, id: &str) -> Transaction {
        let token = self.tokens.admin(bursar_aip::id::UserId::generate());
        let request = GetTransactionRequest {
            transaction_id: id.to_owned(),
        };
        let response = self
            .client()
            .get_transaction(with_token(request, &token))
            .await
            .expect("an admin sees every transaction");
        response
            .into_inner()
            .transaction
            .expect("a response has its transaction")
    }

    /// Waits until recovery has brought a transaction to a state.
    pub(crate) async fn reaches(&self, id: &str, state: TransactionState) -> Transaction {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let transaction = self.transaction(id).await;
            if transaction.state() == state {
                return transaction;
            }
            // What has ended stays so.
            let has_ended = matches!(
                transaction.state(),
                TransactionState::Completed | TransactionState::Failed
            );
            assert!(
                Instant::now() < give_up && !has_ended,
                "{id} is {:?}, not {state:?}",
                transaction.state()
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Every rule of the three databases holds. Events are not published here,
    /// so the rule about their age is left out.
    pub(crate) async fn verify(&self) {
        for (definition, database) in [
            (bursar_transaction::definition(), &self.database),
            (bursar_wallet::definition(), &self.wallet_database),
            (bursar_sandbox::definition(), &self.sandbox_database),
        ] {
            let rules: Vec<_> = definition
                .invariants
                .into_iter()
                .filter(|rule| rule.number != 10)
                .collect();
            let verdicts = bursar_server::verify(&database.pool, &rules)
                .await
                .expect("the rules can be checked");
            for verdict in verdicts {
                assert_eq!(
                    verdict.offending_rows, 0,
                    "{}: {}",
                    definition.name, verdict.invariant.name
                );
            }
        }
    }

    /// Waits until a query of the transaction database counts as much.
    pub(crate) async fn until(&self, sql: &'static str, count: i64) {
        let give_up = Instant::now() + PATIENCE;
        while self.count(sql).await != count {
            assert!(Instant::now() < give_up, "{sql} never counts {count}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Puts all checks off, so that recovery does nothing by itself.
    pub(crate) async fn put_checks_off(&self) {
        sqlx::query("UPDATE transaction_checks SET next_check_at = now() + interval '1 hour'")
            .execute(&self.database.owner)
            .await
            .expect("the owner may change checks");
    }

    /// Lets all leases lapse, so that recovery takes everything over at once.
    pub(crate) async fn let_leases_lapse(&self) {
        sqlx::query("UPDATE transaction_checks SET lease_until = now(), next_check_at = now()")
            .execute(&self.database.owner)
            .await
            .expect("the owner may change checks");
    }

    /// Stops the transaction service and starts another one in its place.
    pub(crate) async fn restart_service(&mut self) {
        let next = self.another_service().await;
        std::mem::replace(&mut self.service, next).stop().await;
    }

    /// Another instance of the transaction service beside the first.
    pub(crate) async fn another_service(&self) -> TestService {
        let settings: Vec<_> = self
            .settings
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        TestService::start(
            bursar_transaction::definition(),
            &self.database,
            &self.tokens,
            &settings,
        )
        .await
    }

    /// Turns a wallet's status, for which wallet has no RPC yet.
    pub(crate) async fn set_status(&self, wallet: &str, status: &'static str) {
        self.tamper(
            "UPDATE wallets SET status = $2::wallet_status WHERE id = $1::uuid",
            wallet,
            status,
        )
        .await;
    }

    /// Sets a wallet's balance past its entries, to bring it near an end of its range.
    pub(crate) async fn set_available(&self, wallet: &str, available_minor: i64) {
        let sql = "UPDATE wallets SET available = $2::bigint WHERE id = $1::uuid";
        self.tamper(sql, wallet, &available_minor.to_string()).await;
    }

    async fn tamper(&self, sql: &'static str, wallet: &str, value: &str) {
        let id = wallet.trim_start_matches("wal_").to_owned();
        let done = sqlx::query(sql)
            .bind(id)
            .bind(value.to_owned())
            .execute(&self.wallet_database.owner)
            .await
            .expect("the owner may change wallets");
        assert_eq!(done.rows_affected(), 1);
    }

    /// How many rows a query of the transaction database counts.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&self.database.pool)
            .await
            .expect("the query counts")
    }
}

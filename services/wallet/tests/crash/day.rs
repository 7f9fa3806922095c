//! A day of a wallet service: its process, which may be killed once and is then
//! started again, its database, and a provider that is never killed.

use std::time::{Duration, Instant};

use bursar_aip::id::UserId;
use bursar_status::StatusExt;
use bursar_testkit::{TestDatabase, TestProcess, TestService, Tokens};
use serde_json::json;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_bursar-wallet");
const API_KEY: &str = "the-api-key-of-the-tests";
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Jobs that come round as soon as they can.
const EAGER: [(&str, &str); 4] = [
    ("BURSAR_HOLD_EXPIRY_INTERVAL_MS", "10"),
    ("BURSAR_BONUS_INTERVAL_MS", "20"),
    ("BURSAR_PROJECTION_CPU_PERCENT", "100"),
    ("BURSAR_LEDGER_CHECKPOINT_SECONDS", "1"),
];
/// How long anything may take, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(40);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The leases of a process that is no more lapse at once, instead of after the
/// seconds for which they were given.
const LAPSES: [&str; 3] = [
    "UPDATE ledger_sealer SET holder = NULL, expires_at = '-infinity'",
    "UPDATE projection_rebuilds SET leased_until = now() - interval '1 second'
     WHERE status <> 'completed'",
    "UPDATE provider_accounts
     SET lease_until = '-infinity', next_check_at = clock_timestamp(),
         requested_at = requested_at - interval '10 minutes'
     WHERE status = 'pending'",
];

/// The provider, with books of its own.
struct Provider {
    url: String,
    _books: TestDatabase,
    _service: TestService,
    _tokens: Tokens,
}

pub(crate) struct Day {
    pub(crate) database: TestDatabase,
    tokens: Tokens,
    /// May do everything.
    pub(crate) operator: String,
    /// The token under which postings come.
    pub(crate) poster: String,
    provider: Provider,
    process: Option<TestProcess>,
    kills: usize,
}

impl Day {
    /// Begins with a process that has these variables besides the usual ones.
    pub(crate) async fn begin(variables: &[(&str, &str)]) -> Self {
        let tokens = Tokens::start().await;
        let mut claims = Tokens::user_claims(UserId::generate());
        claims.permissions = [
            "*:read:any",
            "hold:*:any",
            "wallet:*:any",
            "bonus:*:any",
            "bonus_campaign:*:any",
            "ledger:*:any",
        ]
        .map(str::to_owned)
        .to_vec();
        let mut day = Self {
            database: TestDatabase::create(&bursar_wallet::migrations()).await,
            operator: tokens.mint(claims),
            poster: tokens.service("transaction"),
            provider: Provider::start().await,
            tokens,
            process: None,
            kills: 0,
        };
        day.launch(variables);
        day
    }

    /// How often the process was killed.
    pub(crate) fn kills(&self) -> usize {
        self.kills
    }

    pub(crate) fn user(&self, user: UserId) -> String {
        self.tokens.user(user)
    }

    fn launch(&mut self, variables: &[(&str, &str)]) {
        let provider = [
            ("BURSAR_PROVIDER_ACCOUNTS", "sandbox"),
            ("BURSAR_KEY_ENCRYPTION_KEY", KEY),
            ("BURSAR_SANDBOX_URL", &self.provider.url),
            ("BURSAR_SANDBOX_API_KEY", API_KEY),
        ];
        let all = EAGER.iter().chain(&provider).chain(variables);
        let all: Vec<(&str, &str)> = all.copied().collect();
        let process = TestProcess::launch(PROGRAM, "wallet", &self.database, &self.tokens, &all);
        self.process = Some(process);
    }

    /// The way to a process that serves; another one's when the first was killed.
    async fn channel(&mut self) -> Channel {
        loop {
            let process = self.process.as_ref().expect("there is always one");
            if process.serves().await {
                return process.channel();
            }
            self.start_again().await;
        }
    }

    /// Starts another process in the place of one that was killed.
    async fn start_again(&mut self) {
        let process = self.process.take().expect("there is always one");
        process.killed().await;
        self.kills += 1;
        for sql in LAPSES {
            self.edit(sql).await;
        }
        self.launch(&[]);
    }

    /// Asks until there is an answer, as somebody who repeats a call does.
    pub(crate) async fn ask<T>(&mut self, call: impl AsyncFn(Channel) -> Result<T, Status>) -> T {
        loop {
            if let Some(answer) = self.ask_once(&call).await {
                return answer;
            }
        }
    }

    /// Asks once; `None` when the process was killed meanwhile.
    pub(crate) async fn ask_once<T>(
        &mut self,
        call: impl AsyncFn(Channel) -> Result<T, Status>,
    ) -> Option<T> {
        let channel = self.channel().await;
        let status = match call(channel).await {
            Ok(answer) => return Some(answer),
            Err(status) => status,
        };
        // The service explains everything; this is the lost connection.
        let is_lost = status.get_error_details().error_info().is_none()
            && matches!(
                status.code(),
                Code::Unavailable | Code::Unknown | Code::Cancelled
            );
        assert!(is_lost, "refused: {status:?}");
        self.start_again().await;
        None
    }

    /// Waits until a query says that something has come about.
    pub(crate) async fn comes_about(&mut self, what: &str, sql: &str) {
        let give_up = Instant::now() + PATIENCE;
        let mut ticks = tokio::time::interval(LOOK_AGAIN);
        loop {
            self.channel().await;
            let process = self.process.as_mut().expect("there is always one");
            if !process.is_running() {
                self.start_again().await;
            }
            if self.read::<bool>(sql).await {
                return;
            }
            let log = self.process.as_ref().map(TestProcess::log);
            assert!(
                Instant::now() < give_up,
                "it never came about: {what}\n{}",
                log.unwrap_or_default()
            );
            ticks.tick().await;
        }
    }

    /// One value of a query.
    pub(crate) async fn read<T>(&self, sql: &str) -> T
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&self.database.owner)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Changes rows as the role that owns the tables.
    pub(crate) async fn edit(&self, sql: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&self.database.owner)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Arranges what the provider does with the next request for an account.
    pub(crate) async fn provider_will(&self, kind: &str, http_status: Option<u16>) {
        let fault = json!({"operation": "account", "kind": kind, "delay_ms": 0,
            "http_status": http_status,
            "decline_code": (kind == "decline").then_some("holder_unknown")});
        let arranged = reqwest::Client::new()
            .post(format!("{}/v1/faults", self.provider.url))
            .bearer_auth(API_KEY)
            .json(&fault)
            .send()
            .await
            .expect("the provider answers");
        assert_eq!(arranged.status(), 201);
    }

    /// Ends the process, with nothing in flight.
    pub(crate) async fn end_process(&mut self) {
        self.channel().await;
        let process = self.process.take().expect("there is always one");
        process.stop().await;
    }
}

impl Provider {
    async fn start() -> Self {
        let definition = bursar_sandbox::definition();
        let books = TestDatabase::create(&definition.migrations).await;
        let tokens = Tokens::start().await;
        let settings = [("BURSAR_SANDBOX_API_KEY", API_KEY)];
        let service = TestService::start(definition, &books, &tokens, &settings).await;
        Self {
            url: format!("http://{}", service.http_address),
            _books: books,
            _service: service,
            _tokens: tokens,
        }
    }
}

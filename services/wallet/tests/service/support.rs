//! What the tests share: a running service, its clients, and short words for
//! postings.

use std::time::Duration;

use bursar_aip::id::{HoldId, TransactionId, UserId};
use bursar_contracts::wallet::v1::ledger_service_client::LedgerServiceClient;
use bursar_contracts::wallet::v1::posting_result::Outcome;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_contracts::wallet::v1::{
    Balance, BatchGetWalletsRequest, BatchMode, Bucket, CreateWalletRequest, HoldAction,
    HoldReference, Leg, PostBatchRequest, Posting, PostingApplied, PostingKind, PostingResult,
    RejectionReason, SystemAccount, SystemPurpose, Wallet,
};
use bursar_server::verify;
use bursar_status::StatusExt;
use bursar_testkit::{TestDatabase, TestService, Tokens, with_token};
use bursar_wallet::invariants::INVARIANTS;
use sqlx::PgPool;
use tonic::Status;
use tonic::transport::Channel;
use uuid::Uuid;

/// How long a condition may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);

/// A wallet service with a database of its own.
pub(crate) struct Fixture {
    pub(crate) service: TestService,
    channel: Channel,
    pub(crate) tokens: Tokens,
    pub(crate) database: TestDatabase,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(overrides: &[(&str, &str)]) -> Self {
        let database = TestDatabase::create(&bursar_wallet::migrations()).await;
        let tokens = Tokens::start().await;
        let service =
            TestService::start(bursar_wallet::definition(), &database, &tokens, overrides).await;
        Self {
            channel: service.channel(),
            service,
            tokens,
            database,
        }
    }

    pub(crate) fn wallets(&self) -> WalletServiceClient<Channel> {
        WalletServiceClient::new(self.channel.clone())
    }

    pub(crate) fn ledger(&self) -> Poster {
        Poster {
            client: LedgerServiceClient::new(self.channel.clone()),
            token: self.tokens.service("transaction"),
        }
    }

    /// Opens a wallet for a user through the RPC.
    pub(crate) async fn open(&self, user: UserId, currency: &str) -> Wallet {
        let request = CreateWalletRequest {
            currency_code: currency.to_owned(),
        };
        let response = self
            .wallets()
            .create_wallet(with_token(request, &self.tokens.user(user)))
            .await
            .expect("a wallet is opened");
        response.into_inner().wallet.expect("a wallet is answered")
    }

    /// Opens a wallet of a new user with this much available.
    pub(crate) async fn funded(&self, currency: &str, available_minor: i64) -> Wallet {
        let wallet = self.open(UserId::generate(), currency).await;
        if available_minor > 0 {
            let deposit = deposit(&wallet, available_minor);
            applied(&self.ledger().post_one(deposit).await);
        }
        wallet
    }

    /// The balance of a wallet now.
    pub(crate) async fn balance(&self, wallet: &Wallet) -> Balance {
        self.current(wallet)
            .await
            .balance
            .expect("a wallet has a balance")
    }

    /// A wallet as it is now.
    pub(crate) async fn current(&self, wallet: &Wallet) -> Wallet {
        let mut wallets = self.current_all(std::slice::from_ref(wallet)).await;
        wallets.pop().expect("the wallet exists")
    }

    /// Wallets as they are now.
    pub(crate) async fn current_all(&self, wallets: &[Wallet]) -> Vec<Wallet> {
        let mut ledger = self.ledger();
        let request = BatchGetWalletsRequest {
            wallet_ids: wallets
                .iter()
                .map(|wallet| wallet.wallet_id.clone())
                .collect(),
        };
        let response = ledger
            .client
            .batch_get_wallets(with_token(request, &ledger.token))
            .await
            .expect("wallets are read");
        response.into_inner().wallets
    }

    /// Sets a wallet's status, as an operator with the database would.
    pub(crate) async fn set_status(&self, wallet: &Wallet, status: &str) {
        sqlx::query("UPDATE wallets SET status = $2::wallet_status WHERE id = $1")
            .bind(uuid_of(&wallet.wallet_id))
            .bind(status)
            .execute(&self.database.owner)
            .await
            .expect("the owner may change a status");
    }

    /// Checks every invariant but that events are published in time: most
    /// fixtures have no Redis to publish them to.
    pub(crate) async fn verify(&self) {
        let invariants = INVARIANTS
            .into_iter()
            .filter(|invariant| invariant.number != 10);
        let invariants: Vec<_> = invariants.collect();
        let verdicts = verify(&self.database.pool, &invariants)
            .await
            .expect("the invariants are queries");
        for verdict in verdicts {
            let name = verdict.invariant.name;
            assert_eq!(verdict.offending_rows, 0, "broken: {name}");
        }
    }
}

/// A client of the ledger with a service's token.
#[derive(Clone)]
pub(crate) struct Poster {
    pub(crate) client: LedgerServiceClient<Channel>,
    pub(crate) token: String,
}

impl Poster {
    pub(crate) async fn try_post(
        &mut self,
        postings: Vec<Posting>,
        mode: BatchMode,
    ) -> Result<Vec<PostingResult>, Status> {
        let request = PostBatchRequest {
            postings,
            mode: mode.into(),
            origins: Vec::new(),
        };
        let request = with_token(request, &self.token);
        let response = self.client.post_batch(request).await?;
        Ok(response.into_inner().results)
    }

    pub(crate) async fn post(
        &mut self,
        postings: Vec<Posting>,
        mode: BatchMode,
    ) -> Vec<PostingResult> {
        self.try_post(postings, mode)
            .await
            .expect("the batch is answered")
    }

    pub(crate) async fn post_one(&mut self, posting: Posting) -> PostingResult {
        let mut results = self.post(vec![posting], BatchMode::Independent).await;
        assert_eq!(results.len(), 1);
        results.remove(0)
    }
}

/// A posting with new ids.
pub(crate) fn posting(kind: PostingKind, legs: Vec<Leg>) -> Posting {
    Posting {
        posting_id: Uuid::now_v7().to_string(),
        kind: kind.into(),
        transaction_id: TransactionId::generate().to_string(),
        legs,
        effective_at: None,
        hold: None,
    }
}

/// A leg on a wallet's available money, in the wallet's own currency.
pub(crate) fn leg(wallet: &Wallet, amount_minor: i64) -> Leg {
    Leg {
        wallet_id: wallet.wallet_id.clone(),
        system: None,
        bucket: Bucket::Available.into(),
        amount_minor,
        currency_code: wallet.currency_code.clone(),
        required_owner_user_id: String::new(),
    }
}

/// A leg on another bucket.
pub(crate) fn leg_in(bucket: Bucket, wallet: &Wallet, amount_minor: i64) -> Leg {
    Leg {
        bucket: bucket.into(),
        ..leg(wallet, amount_minor)
    }
}

/// A leg on the platform's settlement wallet with the sandbox provider.
pub(crate) fn settlement(currency: &str, amount_minor: i64) -> Leg {
    platform(SystemPurpose::Settlement, "sandbox", currency, amount_minor)
}

/// A leg on the platform's liquidity in a currency.
pub(crate) fn liquidity(currency: &str, amount_minor: i64) -> Leg {
    platform(SystemPurpose::Liquidity, "", currency, amount_minor)
}

fn platform(purpose: SystemPurpose, name: &str, currency: &str, amount_minor: i64) -> Leg {
    Leg {
        wallet_id: String::new(),
        system: Some(SystemAccount {
            purpose: purpose.into(),
            name: name.to_owned(),
            currency_code: currency.to_owned(),
        }),
        bucket: Bucket::Available.into(),
        amount_minor,
        currency_code: currency.to_owned(),
        required_owner_user_id: String::new(),
    }
}

pub(crate) fn deposit(to: &Wallet, amount_minor: i64) -> Posting {
    let legs = vec![
        settlement(&to.currency_code, -amount_minor),
        leg(to, amount_minor),
    ];
    posting(PostingKind::Deposit, legs)
}

pub(crate) fn transfer(from: &Wallet, to: &Wallet, amount_minor: i64) -> Posting {
    let legs = vec![leg(from, -amount_minor), leg(to, amount_minor)];
    posting(PostingKind::Transfer, legs)
}

pub(crate) fn place(hold: HoldId, wallet: &Wallet, amount_minor: i64) -> Posting {
    let legs = vec![
        leg(wallet, -amount_minor),
        leg_in(Bucket::Held, wallet, amount_minor),
    ];
    with_hold(hold, HoldAction::Place, posting(PostingKind::Hold, legs))
}

pub(crate) fn capture(hold: HoldId, wallet: &Wallet, amount_minor: i64) -> Posting {
    let legs = vec![
        leg_in(Bucket::Held, wallet, -amount_minor),
        settlement(&wallet.currency_code, amount_minor),
    ];
    with_hold(
        hold,
        HoldAction::Capture,
        posting(PostingKind::HoldCapture, legs),
    )
}

pub(crate) fn void(hold: HoldId, wallet: &Wallet, amount_minor: i64) -> Posting {
    let legs = vec![
        leg_in(Bucket::Held, wallet, -amount_minor),
        leg(wallet, amount_minor),
    ];
    with_hold(hold, HoldAction::Void, posting(PostingKind::HoldVoid, legs))
}

/// A step of a hold. All steps of one hold are of one transaction.
pub(crate) fn with_hold(hold: HoldId, action: HoldAction, posting: Posting) -> Posting {
    Posting {
        transaction_id: TransactionId::from_uuid(hold.uuid()).to_string(),
        hold: Some(HoldReference {
            hold_id: hold.to_string(),
            action: action.into(),
            ..HoldReference::default()
        }),
        ..posting
    }
}

/// What was applied; fails the test for a refused posting.
pub(crate) fn applied(result: &PostingResult) -> &PostingApplied {
    match &result.outcome {
        Some(Outcome::Applied(applied)) => applied,
        other => panic!("not applied: {other:?}"),
    }
}

/// Why a posting was refused, and at which leg; fails the test for an applied one.
pub(crate) fn rejected(result: &PostingResult) -> (RejectionReason, i32) {
    match &result.outcome {
        Some(Outcome::Rejected(rejected)) => (rejected.reason(), rejected.leg_index),
        other => panic!("not refused: {other:?}"),
    }
}

/// The reason in an error's details.
pub(crate) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info();
    info.unwrap_or_else(|| panic!("no reason: {status:?}"))
        .reason
        .clone()
}

/// The UUID in an id's text.
pub(crate) fn uuid_of(text: &str) -> Uuid {
    let (_, uuid) = text.split_once('_').expect("an id has a prefix");
    uuid.parse().expect("an id has a UUID")
}

/// How many postings have this id: 0 or 1.
pub(crate) async fn times_posted(pool: &PgPool, posting: &Posting) -> i64 {
    let id: Uuid = posting.posting_id.parse().expect("a UUID");
    sqlx::query_scalar("SELECT count(*) FROM postings WHERE id = $1")
        .bind(id)
        .fetch_one(pool)
        .await
        .expect("postings are counted")
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while !condition().await {
            ticks.tick().await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(ended.is_ok(), "it never came about: {what}");
}

/// How many sessions of the service wait for a row lock.
pub(crate) async fn waiting_writers(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'bursar-wallet'
           AND wait_event_type = 'Lock'",
    )
    .fetch_one(pool)
    .await
    .expect("sessions are counted")
}

//! Brings a row of the table about, and compares what it comes to.

use std::time::Duration;

use bursar_contracts::transaction::v1::{Transaction, TransactionState};
use bursar_testkit::with_token;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;
use tonic::{Code, Request, Status};

use super::{Asks, Ends, Fault, Row, Told};
use crate::support::calls::{deposit, keyed, refusal, told, transfer, withdrawal};
use crate::support::inbox::{Notice, sign};
use crate::support::person::Person;
use crate::support::wire::Mode;
use crate::support::{API_KEY, Mesh};

const FUNDS: i64 = 1_000;
const AMOUNT: i64 = 400;
const KEY: &str = "the-one-key";
/// A deadline that a test can wait for.
const SHORT: Duration = Duration::from_secs(4);
/// Longer than any row needs.
const LONG: Duration = Duration::from_secs(10);
/// Settings of a row.
type Settings = &'static [(&'static str, &'static str)];
/// A provider's window that leaves time for a look before it closes.
const LATE: Settings = &[("BURSAR_SANDBOX_LOOKUP_WINDOW_MS", "20000")];
/// One that leaves time to read a balance before it closes, and that a test can wait for.
const MEANWHILE: Settings = &[("BURSAR_SANDBOX_LOOKUP_WINDOW_MS", "6000")];
/// A call to a slow provider is answered all the same.
const SLOW: Settings = &[
    ("BURSAR_SANDBOX_DEADLINE_MS", "5000"),
    ("BURSAR_SANDBOX_LOOKUP_WINDOW_MS", "20000"),
];
/// How much later a pending charge is done: after what a test does before that.
const LATER_MS: u64 = 3_000;
const CALLBACKS: &str = "/api/v1/transactions/callbacks/sandbox";

/// What the table says of a row is so.
pub(super) async fn hold_true(row: Row) {
    let settings: Settings = match row.fault {
        Fault::LateArrival => LATE,
        Fault::EarlyCallback | Fault::Overtaken => SLOW,
        _ if row.meanwhile.is_some() => MEANWHILE,
        _ => &[],
    };
    let mesh = Mesh::start_with(settings).await;
    let alice = mesh.person();
    let scene = Scene {
        wallet: alice.funded(FUNDS).await,
        payee: mesh.person().wallet().await,
        mesh: &mesh,
        alice,
        asks: row.asks,
    };
    let answer = scene.bring_about(row.fault, &row).await;
    let id = scene.is_told(&answer, row.told).await;
    let ended = mesh.reaches(&id, row.ends.state()).await;
    let reason = ended.failure.map(|failure| failure.reason);
    assert_eq!(reason.as_deref(), row.ends.reason());
    scene.is_recorded(&id, &row).await;
    if let Ok(first) = answer {
        let again = scene.ask(AMOUNT, LONG).await.expect("the first answer");
        assert_eq!(again, first);
    }
    mesh.verify().await;
}

impl Ends {
    fn state(self) -> TransactionState {
        match self {
            Self::Completed => TransactionState::Completed,
            Self::Failed(_) => TransactionState::Failed,
            Self::InReview => TransactionState::ManualReview,
        }
    }

    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Completed | Self::InReview => None,
            Self::Failed(reason) => Some(reason),
        }
    }
}

/// Who and what a row is about.
struct Scene<'a> {
    mesh: &'a Mesh,
    alice: Person<'a>,
    wallet: String,
    payee: String,
    asks: Asks,
}

type Answer = Result<Transaction, Status>;

impl Scene<'_> {
    /// Asks, and lets go wrong what is to go wrong.
    async fn bring_about(&self, fault: Fault, row: &Row) -> Answer {
        let answer = match fault {
            Fault::AtProvider(faults) => {
                for fault in faults {
                    let fault: Value = serde_json::from_str(fault).expect("faults are JSON");
                    self.mesh.fault(fault).await;
                }
                self.ask(AMOUNT, LONG).await
            }
            Fault::EarlyCallback => self.early_callback().await,
            Fault::CallbackTwice => self.callbacks(|notice| vec![notice.clone(), notice]).await,
            Fault::CallbacksReversed => {
                let earlier = |last: &Notice| {
                    let mut body: Value = serde_json::from_str(&last.body).expect("JSON");
                    body["callback_id"] = json!("cb_that_was_sent_before");
                    body["type"] = json!("charge.declined");
                    sign(&body.to_string())
                };
                self.callbacks(|last| vec![last.clone(), earlier(&last)])
                    .await
            }
            Fault::StrangersCallbacks => self.strangers_callbacks().await,
            Fault::LateArrival => return self.late_arrival(row).await,
            Fault::Duplicates => self.duplicates().await,
            Fault::OtherBody => self.other_body().await,
            Fault::Overtaken => self.overtaken().await,
            Fault::WalletCloses => {
                self.pending().await;
                let answer = self.ask(AMOUNT, LONG).await;
                self.mesh.set_status(&self.wallet, "closed").await;
                answer
            }
            Fault::Ledger(mode) => {
                self.mesh.to_wallet.set(mode);
                let answer = self.ask(AMOUNT, SHORT).await;
                self.meanwhile(row).await;
                self.mesh.to_wallet.set(Mode::Whole);
                return answer;
            }
        };
        self.meanwhile(row).await;
        answer
    }

    /// What the wallet has when the caller has been told.
    async fn meanwhile(&self, row: &Row) {
        if let Some(expected) = row.meanwhile {
            assert_eq!(self.alice.balance(&self.wallet).await, expected);
        }
    }

    /// The provider takes the next charge at once and is done with it later.
    async fn pending(&self) {
        let fault = json!({"operation": "charge", "kind": "pending", "delay_ms": LATER_MS});
        self.mesh.fault(fault).await;
    }

    async fn slow_payout(&self) {
        let fault = json!({"operation": "payout", "kind": "slow", "delay_ms": 700});
        self.mesh.fault(fault).await;
    }

    async fn call_back(&self, notice: &Notice) {
        let taken = self.mesh.call_back(CALLBACKS, notice).await;
        assert_eq!(taken.status(), 204);
    }

    async fn early_callback(&self) -> Answer {
        self.slow_payout().await;
        let calling = self.ask(AMOUNT, LONG);
        let telling = async {
            let notice = self.mesh.inbox.about("payout.succeeded").await;
            self.call_back(&notice).await;
        };
        both(calling, telling).await
    }

    /// Nothing but callbacks brings this charge forward.
    async fn callbacks(&self, told: impl FnOnce(Notice) -> Vec<Notice>) -> Answer {
        self.pending().await;
        let answer = self.ask(AMOUNT, LONG).await;
        let id = &answer.as_ref().expect("accepted").transaction_id;
        self.mesh.put_checks_off().await;
        let notice = self.mesh.inbox.about(id).await;
        let before = self.mesh.transaction(id).await;
        assert_eq!(before.state(), TransactionState::Processing);
        for notice in told(notice) {
            self.call_back(&notice).await;
        }
        answer
    }

    async fn strangers_callbacks(&self) -> Answer {
        let unknown = "txn_0190b6a0-0000-7000-8000-000000000000";
        for reference in [unknown, "something else", ""] {
            let body = json!({
                "callback_id": format!("cb_{reference}"), "type": "charge.succeeded",
                "reference": reference, "data": {},
            });
            self.call_back(&sign(&body.to_string())).await;
        }
        let answer = self.ask(AMOUNT, LONG).await;
        let unmatched = "SELECT count(*) FROM provider_callbacks WHERE transaction_id IS NULL";
        assert_eq!(self.mesh.count(unmatched).await, 3);
        answer
    }

    /// The provider is asked about the payout, and then the request arrives.
    async fn late_arrival(&self, row: &Row) -> Answer {
        let fault = json!({"operation": "payout", "kind": "timeout"});
        self.mesh.fault(fault).await;
        let answer = self.ask(AMOUNT, LONG).await;
        let looked = "SELECT count(*) FROM transaction_checks
                      WHERE attempts >= 1 AND lease_until <= clock_timestamp()";
        let gone = "SELECT 1 - count(*) FROM transaction_checks";
        tokio::select! {
            () = self.mesh.until(looked, 1) => {}
            // Given up already: there will be no second look.
            () = self.mesh.until(gone, 1) => {}
        }
        self.meanwhile(row).await;
        let id = &answer
            .as_ref()
            .expect("an answer all the same")
            .transaction_id;
        let valid_until = OffsetDateTime::now_utc() + time::Duration::MINUTE;
        let arrived = self
            .mesh
            .http
            .post(format!(
                "http://{}/v1/payouts",
                self.mesh.sandbox.http_address
            ))
            .bearer_auth(API_KEY)
            .json(&json!({
                "reference": id, "amount_minor": AMOUNT, "currency": "EUR",
                "valid_until": valid_until.format(&Rfc3339).expect("a time has a form"),
            }))
            .send()
            .await
            .expect("the sandbox answers");
        assert_eq!(arrived.status(), 201);
        answer
    }

    async fn duplicates(&self) -> Answer {
        let mut calls = JoinSet::new();
        for _ in 0..50 {
            let request = self.request(transfer(&self.wallet, &self.payee, AMOUNT), LONG);
            let mut client = self.mesh.client();
            calls.spawn(async move { client.create_transfer(request).await });
        }
        let mut answers = Vec::new();
        while let Some(call) = calls.join_next().await {
            match call.expect("no call panics") {
                Ok(response) => answers.push(response.into_inner().transaction.expect("set")),
                Err(status) => {
                    let told = told(&status);
                    assert_eq!(told.code, Code::Aborted, "{status:?}");
                    assert_eq!(told.reason, "IDEMPOTENCY_KEY_IN_USE");
                    assert!(told.retries);
                }
            }
        }
        let first = answers.first().expect("one of them is first").clone();
        assert!(answers.iter().all(|answer| *answer == first));
        Ok(first)
    }

    async fn other_body(&self) -> Answer {
        let answer = self.ask(AMOUNT, LONG).await;
        let other = self.ask(AMOUNT + 1, LONG).await;
        let other = refusal(&other.expect_err("another body"));
        assert_eq!(
            other,
            (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED".to_owned())
        );
        answer
    }

    async fn overtaken(&self) -> Answer {
        self.slow_payout().await;
        let taking_over = async {
            let at_work = "SELECT count(*) FROM transactions WHERE state = 'PROCESSING'";
            self.mesh.until(at_work, 1).await;
            // The provider has the payout and has not said so.
            self.mesh.inbox.about("payout.succeeded").await;
            self.mesh.let_leases_lapse().await;
        };
        both(self.ask(AMOUNT, LONG), taking_over).await
    }

    fn request<T>(&self, message: T, patience: Duration) -> Request<T> {
        let mut request = keyed(with_token(message, &self.alice.token), KEY);
        request.set_timeout(patience);
        request
    }

    async fn ask(&self, amount: i64, patience: Duration) -> Answer {
        let mut client = self.mesh.client();
        let transaction = match self.asks {
            Asks::Transfer => {
                let request = transfer(&self.wallet, &self.payee, amount);
                let request = self.request(request, patience);
                client
                    .create_transfer(request)
                    .await?
                    .into_inner()
                    .transaction
            }
            Asks::Deposit => {
                let request = self.request(deposit(&self.wallet, amount), patience);
                client
                    .create_deposit(request)
                    .await?
                    .into_inner()
                    .transaction
            }
            Asks::Withdrawal => {
                let request = self.request(withdrawal(&self.wallet, amount), patience);
                client
                    .create_withdrawal(request)
                    .await?
                    .into_inner()
                    .transaction
            }
        };
        Ok(transaction.expect("a response has its transaction"))
    }

    /// What the caller was told is what the table says. Returns the transaction.
    async fn is_told(&self, answer: &Answer, expected: Told) -> String {
        match (answer, expected) {
            (Ok(transaction), Told::State(state)) => assert_eq!(transaction.state(), state),
            (Err(status), Told::Refused(reason)) => assert_eq!(refusal(status).1, reason),
            (Ok(_) | Err(_), Told::EitherWay) => {}
            (answer, expected) => panic!("{answer:?} is not {expected:?}"),
        }
        sqlx::query_scalar(
            "SELECT 'txn_' || transaction_id::text FROM transactions
             ORDER BY transaction_id DESC LIMIT 1",
        )
        .fetch_one(&self.mesh.database.pool)
        .await
        .expect("transactions are read")
    }

    /// The books say what the table says, and of nothing else.
    async fn is_recorded(&self, id: &str, row: &Row) {
        // The money that the wallet starts with is the other one.
        let transactions = "SELECT count(*) FROM transactions";
        assert_eq!(self.mesh.count(transactions).await, 2);
        let postings: Vec<String> = sqlx::query_scalar(
            "SELECT kind::text FROM postings
             WHERE 'txn_' || transaction_id::text = $1
             ORDER BY recorded_at",
        )
        .bind(id)
        .fetch_all(&self.mesh.wallet_database.pool)
        .await
        .expect("postings are read");
        assert_eq!(postings, row.postings);
        let done: Vec<String> = sqlx::query_scalar(
            "SELECT concat_ws(' ', kind, status, amount_minor) FROM movements
             WHERE reference = $1
             ORDER BY position",
        )
        .bind(id)
        .fetch_all(&self.mesh.sandbox_database.pool)
        .await
        .expect("the provider's books are read");
        assert_eq!(done, row.provider);
        assert_eq!(self.alice.balance(&self.wallet).await, row.balance);
    }
}

/// What is answered while something else goes on, which must come about in time.
async fn both(asking: impl Future<Output = Answer>, beside: impl Future<Output = ()>) -> Answer {
    let (answer, came_about) = tokio::join!(asking, tokio::time::timeout(LONG, beside));
    assert!(came_about.is_ok(), "{answer:?}");
    answer
}

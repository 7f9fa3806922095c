//! Payouts to bank accounts under kills. Their provider cannot be asked what it did, so
//! what is certain after a kill is less than elsewhere: a payout is never sent twice, and
//! one that may have been sent is never taken for one that was not.

use std::time::Instant;

use bursar_aip::id::TransactionId;
use bursar_contracts::transaction::v1::payout_account_service_client::PayoutAccountServiceClient;
use bursar_contracts::transaction::v1::transaction_service_client::TransactionServiceClient;
use bursar_contracts::transaction::v1::{
    CreateDepositRequest, CreatePayoutAccountRequest, CreateWithdrawalRequest,
    ListPayoutAccountsRequest, PayoutAccount,
};
use bursar_contracts::r#type::v1::Money;
use bursar_contracts::wallet::v1::CreateWalletRequest;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_testkit::xpress::{BANK, EMAIL, PASSWORD, Xpress};
use bursar_testkit::{TestProcess, with_token};
use serde_json::json;
use tonic::{Request, Status};

use crate::house::House;
use crate::killed::{A_MINUTE_AND_MORE, LOOK_AGAIN};
use crate::traffic::keyed;

/// The key that accounts are sealed with: one byte repeated, in base64.
const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// The number of the account that is registered.
const NUMBER: &str = "0167421242";

/// A house with a provider that pays to bank accounts.
struct Bank {
    house: House,
    xpress: Xpress,
    providers: String,
}

impl Bank {
    async fn open() -> Self {
        Self::open_with(60_000).await
    }

    /// The same where a transfer may be made for so long after it was sent.
    async fn open_with(lookup_window_ms: u64) -> Self {
        let (xpress, url) = Xpress::start().await;
        let providers = json!([{
            "name": "providus", "kind": "providus", "url": url, "email": EMAIL,
            "deadline_ms": 2000, "lookup_window_ms": lookup_window_ms,
        }]);
        Self {
            house: House::open().await,
            xpress,
            providers: providers.to_string(),
        }
    }

    /// Starts the service, which dies at a point if one is named.
    async fn start(&self, point: Option<&str>) -> TestProcess {
        let plan = point.map(|point| ("BURSAR_CRASH_POINT", point));
        self.start_with(plan.as_slice()).await
    }

    /// Starts another process beside the first.
    async fn start_another(&self) -> TestProcess {
        self.start_with(&[("BURSAR_HTTP_ADDRESS", "127.0.0.1:0")])
            .await
    }

    async fn start_with(&self, more: &[(&str, &str)]) -> TestProcess {
        let mut variables = vec![
            ("BURSAR_PROVIDERS", self.providers.as_str()),
            ("BURSAR_PROVIDER_PROVIDUS_PASSWORD", PASSWORD),
            ("BURSAR_KEY_ENCRYPTION_KEY", KEY),
        ];
        variables.extend_from_slice(more);
        self.house.start(&variables).await
    }

    fn request<T>(&self, message: T, key: &str) -> Request<T> {
        keyed(with_token(message, &self.house.people[0].token), key)
    }

    async fn register(&self, process: &TestProcess, key: &str) -> Result<PayoutAccount, Status> {
        let message = CreatePayoutAccountRequest {
            provider: "providus".to_owned(),
            currency_code: "NGN".to_owned(),
            sort_code: BANK.to_owned(),
            account_number: NUMBER.to_owned(),
        };
        let response = PayoutAccountServiceClient::new(process.channel())
            .create_payout_account(self.request(message, key))
            .await?;
        let account = response.into_inner().payout_account;
        Ok(account.expect("a response has its account"))
    }

    async fn listed(&self, process: &TestProcess) -> Vec<PayoutAccount> {
        let message = ListPayoutAccountsRequest::default();
        let response = PayoutAccountServiceClient::new(process.channel())
            .list_payout_accounts(self.request(message, "unused"))
            .await;
        response.expect("a list").into_inner().payout_accounts
    }

    /// A wallet with money, in naira.
    async fn funded(&self, process: &TestProcess) -> String {
        let message = CreateWalletRequest {
            currency_code: "NGN".to_owned(),
        };
        let response = WalletServiceClient::new(self.house.wallet.channel())
            .create_wallet(self.request(message, "wallet"))
            .await;
        let wallet = response.expect("a wallet").into_inner().wallet;
        let wallet_id = wallet.expect("a response has its wallet").wallet_id;
        let message = CreateDepositRequest {
            wallet_id: wallet_id.clone(),
            amount: Some(naira(1_000_000)),
            provider: "sandbox".to_owned(),
            ..CreateDepositRequest::default()
        };
        TransactionServiceClient::new(process.channel())
            .create_deposit(self.request(message, "deposit"))
            .await
            .expect("the sandbox takes the money");
        wallet_id
    }

    /// A payout to an account, with money for it; none of it is asked for.
    async fn wanted(&self) -> CreateWithdrawalRequest {
        let calm = self.start(None).await;
        let wallet_id = self.funded(&calm).await;
        let account = self.register(&calm, "account").await.expect("known");
        calm.stop().await;
        CreateWithdrawalRequest {
            wallet_id,
            amount: Some(naira(40_050)),
            payout_account_id: account.payout_account_id,
            ..CreateWithdrawalRequest::default()
        }
    }

    /// Waits until the one payout is UNKNOWN.
    async fn is_unknown(&self) -> TransactionId {
        let give_up = Instant::now() + A_MINUTE_AND_MORE;
        loop {
            let (id, state) = self.payout().await;
            if state == "UNKNOWN" {
                return id;
            }
            assert!(Instant::now() < give_up, "{id} is {state}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Lets the leases lapse, and waits until recovery has looked at the one payout once
    /// more and has given it back.
    async fn is_looked_at_again(&self) {
        let pool = &self.house.database.pool;
        let before: i32 = sqlx::query_scalar("SELECT attempts FROM transaction_checks")
            .fetch_one(pool)
            .await
            .expect("it is checked");
        self.house.let_leases_lapse().await;
        let sql = "SELECT attempts > $1 AND lease_until <= now() FROM transaction_checks";
        let give_up = Instant::now() + A_MINUTE_AND_MORE;
        loop {
            let looked: bool = sqlx::query_scalar(sql)
                .bind(before)
                .fetch_one(pool)
                .await
                .expect("it is checked still");
            if looked {
                return;
            }
            assert!(Instant::now() < give_up, "recovery does not look");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The one payout that is recorded, and its state.
    async fn payout(&self) -> (TransactionId, String) {
        let (id, state): (uuid::Uuid, String) = sqlx::query_as(
            "SELECT transaction_id, state FROM transactions WHERE payout_account_id IS NOT NULL",
        )
        .fetch_one(&self.house.database.pool)
        .await
        .expect("one payout is recorded");
        (TransactionId::from_uuid(id), state)
    }
}

/// The log of a process shows neither the number nor the name of an account.
fn hides_accounts(process: &TestProcess) {
    let log = process.log();
    assert!(!log.contains(NUMBER) && !log.contains("OBIORAH"), "{log}");
}

fn naira(minor_units: i64) -> Money {
    Money {
        currency_code: "NGN".to_owned(),
        minor_units,
    }
}

/// Killed between registering an account and answering, the same key has the same account
/// for an answer, and there is one.
#[tokio::test]
async fn an_account_is_registered_once() {
    for point in ["once.before_commit", "once.after_commit"] {
        let bank = Bank::open().await;
        let process = bank.start(Some(point)).await;
        let unanswered = bank.register(&process, "k").await;
        assert!(unanswered.is_err(), "{point}");
        hides_accounts(&process);
        process.killed().await;
        let process = bank.start(None).await;
        let account = bank.register(&process, "k").await.expect("the same key");
        assert_eq!(bank.listed(&process).await, [account], "{point}");
        hides_accounts(&process);
        process.stop().await;
    }
}

/// Killed before or after the provider is asked, a payout is UNKNOWN, sent at most once,
/// and not sent by whoever takes it up, by the same key, or by a further process.
#[tokio::test]
async fn a_payout_is_sent_at_most_once() {
    for (point, sent) in [("advance.before_ask", 0), ("advance.after_ask", 1)] {
        let bank = Bank::open().await;
        let message = bank.wanted().await;
        let process = bank.start(Some(point)).await;
        let unanswered = TransactionServiceClient::new(process.channel())
            .create_withdrawal(bank.request(message.clone(), "k"))
            .await;
        assert!(unanswered.is_err(), "{point}");
        hides_accounts(&process);
        process.killed().await;
        bank.house.let_leases_lapse().await;
        let process = bank.start(None).await;
        let id = bank.is_unknown().await;
        // Whether or not it is being worked on: nothing is sent.
        let _ = TransactionServiceClient::new(process.channel())
            .create_withdrawal(bank.request(message, "k"))
            .await;
        assert_eq!(bank.payout().await, (id, "UNKNOWN".to_owned()));
        hides_accounts(&process);
        process.stop().await;
        let further = bank.start(None).await;
        bank.is_looked_at_again().await;
        assert_eq!(bank.payout().await, (id, "UNKNOWN".to_owned()));
        assert_eq!(bank.xpress.paid(&id.to_string()), sent, "{point}");
        assert_eq!(bank.xpress.books().asked.len(), sent, "{point}");
        further.stop().await;
    }
}

/// A process stands still before it sends a payout. Another takes that for UNKNOWN
/// meanwhile; the first goes on when the time for it is over, and sends nothing.
#[tokio::test]
async fn nothing_is_sent_after_its_time() {
    let bank = Bank::open_with(2_000).await;
    let message = bank.wanted().await;
    let frozen = bank.start(Some("advance.before_ask:1:stop")).await;
    let mut client = TransactionServiceClient::new(frozen.channel());
    let request = bank.request(message, "k");
    let call = tokio::spawn(async move { client.create_withdrawal(request).await });
    frozen.stopped().await;
    let other = bank.start_another().await;
    bank.house.let_leases_lapse().await;
    let id = bank.is_unknown().await;
    let is_over = "SELECT provider_requested_at + interval '1 second' < now() FROM transactions
                   WHERE transaction_id = $1";
    let give_up = Instant::now() + A_MINUTE_AND_MORE;
    while !sqlx::query_scalar::<_, bool>(is_over)
        .bind(id.uuid())
        .fetch_one(&bank.house.database.pool)
        .await
        .expect("it was to be sent")
    {
        assert!(Instant::now() < give_up, "time stands still");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    frozen.go_on();
    // It has lost its lease, and says so, or is told where the other has come to.
    let _ = call.await.expect("the call does not panic");
    assert_eq!(bank.xpress.books().asked.len(), 0);
    assert_eq!(bank.payout().await, (id, "UNKNOWN".to_owned()));
    frozen.stop().await;
    other.stop().await;
}

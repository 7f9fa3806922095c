//! Payouts to bank accounts under kills. Their provider cannot be asked what it did, so
//! what is certain after a kill is less than elsewhere: a payout is never sent twice, and
//! one that may have been sent is never taken for one that was not.

#[expect(dead_code, reason = "the tests that kill nothing arrange more")]
#[path = "../mesh/payouts/xpress.rs"]
mod xpress;

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
use bursar_testkit::{TestProcess, with_token};
use serde_json::json;
use tonic::{Request, Status};

use crate::house::House;
use crate::killed::LOOK_AGAIN;
use crate::traffic::keyed;
use xpress::{BANK, EMAIL, PASSWORD, Xpress};

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
        let (xpress, url) = Xpress::start().await;
        let providers = json!([{
            "name": "providus", "kind": "providus", "url": url, "email": EMAIL,
            "deadline_ms": 2000, "lookup_window_ms": 60_000,
        }]);
        Self {
            house: House::open().await,
            xpress,
            providers: providers.to_string(),
        }
    }

    /// Starts the service, which dies at a point if one is named.
    async fn start(&self, point: Option<&str>) -> TestProcess {
        let mut variables = vec![
            ("BURSAR_PROVIDERS", self.providers.as_str()),
            ("BURSAR_PROVIDER_PROVIDUS_PASSWORD", PASSWORD),
            ("BURSAR_KEY_ENCRYPTION_KEY", KEY),
        ];
        variables.extend(point.map(|point| ("BURSAR_CRASH_POINT", point)));
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
/// and not sent by whoever takes it up, nor by the same key.
#[tokio::test]
async fn a_payout_is_sent_at_most_once() {
    for (point, sent) in [("advance.before_ask", 0), ("advance.after_ask", 1)] {
        let bank = Bank::open().await;
        let calm = bank.start(None).await;
        let wallet_id = bank.funded(&calm).await;
        let account = bank.register(&calm, "account").await.expect("known");
        calm.stop().await;
        let message = CreateWithdrawalRequest {
            wallet_id,
            amount: Some(naira(40_050)),
            payout_account_id: account.payout_account_id,
            ..CreateWithdrawalRequest::default()
        };
        let process = bank.start(Some(point)).await;
        let unanswered = TransactionServiceClient::new(process.channel())
            .create_withdrawal(bank.request(message.clone(), "k"))
            .await;
        assert!(unanswered.is_err(), "{point}");
        hides_accounts(&process);
        process.killed().await;
        bank.house.let_leases_lapse().await;
        let process = bank.start(None).await;
        let give_up = std::time::Instant::now() + crate::killed::A_MINUTE_AND_MORE;
        while bank.payout().await.1 != "UNKNOWN" {
            assert!(
                std::time::Instant::now() < give_up,
                "{:?}",
                bank.payout().await
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let (id, _) = bank.payout().await;
        // Whether or not it is being worked on: nothing is sent.
        let _ = TransactionServiceClient::new(process.channel())
            .create_withdrawal(bank.request(message, "k"))
            .await;
        assert_eq!(bank.payout().await, (id, "UNKNOWN".to_owned()));
        assert_eq!(bank.xpress.paid(&id.to_string()), sent, "{point}");
        assert_eq!(bank.xpress.books().asked.len(), sent, "{point}");
        hides_accounts(&process);
        process.stop().await;
    }
}

//! What the tests of payouts share: a mesh with a provider that pays to bank accounts,
//! and short words for the calls.

use std::ops::Deref;

use bursar_contracts::transaction::v1::payout_account_service_client::PayoutAccountServiceClient;
use bursar_contracts::transaction::v1::{
    CreatePayoutAccountRequest, CreateWithdrawalRequest, GetPayoutAccountRequest, PayoutAccount,
};
use bursar_contracts::r#type::v1::Money;
use bursar_testkit::xpress::{BANK, EMAIL, PASSWORD, Xpress};
use serde_json::json;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::support::Mesh;
use crate::support::calls::deposit;
use crate::support::person::Person;

/// The number of the account that is registered.
pub(crate) const NUMBER: &str = "0167421242";
/// The key that it is sealed with: one byte repeated, in base64.
const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// A mesh whose payer waits a second for an answer.
pub(crate) struct House {
    pub(crate) mesh: Mesh,
    pub(crate) xpress: Xpress,
}

impl Deref for House {
    type Target = Mesh;

    fn deref(&self) -> &Mesh {
        &self.mesh
    }
}

impl House {
    pub(crate) async fn start() -> Self {
        let (xpress, url) = Xpress::start().await;
        let providers = json!([{
            "name": "providus", "kind": "providus", "url": url, "email": EMAIL,
            "deadline_ms": 1000, "lookup_window_ms": 2000, "give_up_ms": 600_000,
        }])
        .to_string();
        let mesh = Mesh::start_with(&[
            ("BURSAR_PROVIDERS", &providers),
            ("BURSAR_PROVIDER_PROVIDUS_PASSWORD", PASSWORD),
            ("BURSAR_KEY_ENCRYPTION_KEY", KEY),
        ])
        .await;
        Self { mesh, xpress }
    }

    pub(crate) fn accounts(&self) -> PayoutAccountServiceClient<Channel> {
        PayoutAccountServiceClient::new(self.service.channel())
    }

    /// A user with a wallet of naira, as many kobo in it, and a payout account.
    pub(crate) async fn payee(&self, minor_units: i64) -> (Person<'_>, String, PayoutAccount) {
        let person = self.person();
        let wallet = person.wallet_in("NGN").await;
        let mut request = deposit(&wallet, minor_units);
        request.provider = "sandbox".to_owned();
        request.amount = Some(naira(minor_units));
        person
            .deposit(request)
            .await
            .expect("the sandbox takes the money");
        let account = self.registered(&person).await;
        (person, wallet, account)
    }

    pub(crate) async fn registered(&self, person: &Person<'_>) -> PayoutAccount {
        let key = uuid::Uuid::now_v7().to_string();
        let response = self.register(person, request(NUMBER), &key).await;
        let account = response.expect("the bank knows it").into_inner();
        account.payout_account.expect("a response has its account")
    }

    pub(crate) async fn register(
        &self,
        person: &Person<'_>,
        message: CreatePayoutAccountRequest,
        key: &str,
    ) -> Result<Response<bursar_contracts::transaction::v1::CreatePayoutAccountResponse>, Status>
    {
        let request = person.request_with(message, key);
        self.accounts().create_payout_account(request).await
    }

    pub(crate) async fn seen(
        &self,
        person: &Person<'_>,
        id: &str,
    ) -> Result<PayoutAccount, Status> {
        let request = person.request(GetPayoutAccountRequest {
            payout_account_id: id.to_owned(),
        });
        let response = self.accounts().get_payout_account(request).await?;
        let account = response.into_inner().payout_account;
        Ok(account.expect("a response has its account"))
    }
}

/// An account at the bank that the provider knows.
pub(crate) fn request(number: &str) -> CreatePayoutAccountRequest {
    CreatePayoutAccountRequest {
        provider: "providus".to_owned(),
        currency_code: "NGN".to_owned(),
        sort_code: BANK.to_owned(),
        account_number: number.to_owned(),
    }
}

pub(crate) fn naira(minor_units: i64) -> Money {
    Money {
        currency_code: "NGN".to_owned(),
        minor_units,
    }
}

/// A payout to an account.
pub(crate) fn payout(wallet: &str, account: &str, minor_units: i64) -> CreateWithdrawalRequest {
    CreateWithdrawalRequest {
        wallet_id: wallet.to_owned(),
        amount: Some(naira(minor_units)),
        payout_account_id: account.to_owned(),
        ..CreateWithdrawalRequest::default()
    }
}

//! Accounts at the provider: numbers by which money reaches a wallet.

use bursar_contracts::wallet::v1::provider_account_service_client::ProviderAccountServiceClient;
use bursar_contracts::wallet::v1::{
    AccountHolder, CreateProviderAccountRequest, GetProviderAccountRequest,
    ListProviderAccountsRequest, ProviderAccountStatus,
};
use serde_json::{Value, json};

use crate::grpc;
use crate::support::{Answer, Edge, Person, eventually, refused, text};

fn holder() -> Value {
    json!({"account_holder": {
        "first_name": "Ada", "last_name": "Lovelace", "phone_number": "+2348012345678",
    }})
}

async fn ask(edge: &Edge, person: &Person, wallet: &str, body: &Value) -> Answer {
    let path = format!("/api/v1/wallet/wallets/{wallet}/provider-accounts");
    edge.post(&path, &person.token, body).await
}

/// Waits until the provider has opened an account.
async fn opened(edge: &Edge, person: &Person, account: &str) -> Value {
    let path = format!("/api/v1/wallet/provider-accounts/{account}");
    eventually("the account", async || {
        let found = edge.get(&path, &person.token).await.ok();
        let account = found["provider_account"].clone();
        (account["status"] != "PROVIDER_ACCOUNT_STATUS_PENDING").then_some(account)
    })
    .await
}

/// An account is asked for, opened by the provider, and there once.
#[tokio::test]
async fn an_account_is_opened() {
    let edge = Edge::shared();
    let (ada, bob) = (edge.person().await, edge.person().await);
    let wallet = edge.wallet(&ada, "EUR").await;
    let asked = ask(&edge, &ada, &wallet, &holder()).await.ok();
    let pending = &asked["provider_account"];
    assert_eq!(pending["status"], "PROVIDER_ACCOUNT_STATUS_PENDING");
    assert_eq!(pending["account_number"], "");
    let id = text(&pending["provider_account_id"]);
    let account = opened(&edge, &ada, &id).await;
    assert_eq!(
        account["status"], "PROVIDER_ACCOUNT_STATUS_ACTIVE",
        "{account:#}"
    );
    assert_eq!(account["provider"], "sandbox");
    assert_eq!(account["currency_code"], "EUR");
    for told in ["account_number", "account_name", "bank_name"] {
        assert_ne!(account[told], "", "{account:#}");
    }
    let again = ask(&edge, &ada, &wallet, &holder()).await;
    refused(&again, 409, "PROVIDER_ACCOUNT_EXISTS");
    let metadata = &again.detail("google.rpc.ErrorInfo")["metadata"];
    assert_eq!(metadata["provider_account_id"], id.as_str());
    let list = format!("/api/v1/wallet/wallets/{wallet}/provider-accounts");
    let listed = edge.get(&list, &ada.token).await.ok();
    assert_eq!(listed["provider_accounts"], json!([account]));

    refused(&edge.get(&list, &bob.token).await, 404, "WALLET_NOT_FOUND");
    let path = format!("/api/v1/wallet/provider-accounts/{id}");
    let others = edge.get(&path, &bob.token).await;
    refused(&others, 404, "PROVIDER_ACCOUNT_NOT_FOUND");
    let others = ask(&edge, &bob, &wallet, &holder()).await;
    refused(&others, 404, "WALLET_NOT_FOUND");
}

/// What is wrong with a holder is named, and nobody's data is in the answer.
#[tokio::test]
async fn bad_holders_name_their_field() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let wallet = edge.wallet(&ada, "EUR").await;
    let changed = |field: &str, value: Value| {
        let mut body = holder();
        body["account_holder"][field] = value;
        body
    };
    for (body, field) in [
        (json!({}), "account_holder"),
        (
            changed("first_name", json!("")),
            "account_holder.first_name",
        ),
        (
            changed("phone_number", json!("call me")),
            "account_holder.phone_number",
        ),
        (
            changed("bvn", json!(22_222_222_222_i64)),
            "account_holder.bvn",
        ),
        (changed("nickname", json!("x")), "account_holder.nickname"),
    ] {
        let answer = ask(&edge, &ada, &wallet, &body).await;
        refused(&answer, 400, "INVALID_FIELD");
        assert_eq!(answer.fields(), field, "{:#}", answer.json);
        assert!(!answer.json.to_string().contains("Lovelace"));
    }
}

/// An account by gRPC.
#[tokio::test]
async fn an_account_is_opened_over_grpc() {
    let edge = Edge::shared();
    let ada = edge.person().await;
    let wallet_id = edge.wallet(&ada, "EUR").await;
    let accounts = ProviderAccountServiceClient::new(edge.channel());
    let create = CreateProviderAccountRequest {
        wallet_id: wallet_id.clone(),
        account_holder: Some(AccountHolder {
            first_name: "Ada".to_owned(),
            last_name: "Lovelace".to_owned(),
            phone_number: "08012345678".to_owned(),
            ..AccountHolder::default()
        }),
    };
    let asked = accounts
        .clone()
        .create_provider_account(grpc::with(create, &ada.token))
        .await
        .expect("asked")
        .into_inner()
        .provider_account
        .expect("an account");
    assert_eq!(asked.status(), ProviderAccountStatus::Pending);
    let found = eventually("the account", async || {
        let get = GetProviderAccountRequest {
            provider_account_id: asked.provider_account_id.clone(),
        };
        let found = accounts
            .clone()
            .get_provider_account(grpc::with(get, &ada.token))
            .await;
        let found = found.expect("read").into_inner().provider_account?;
        (found.status() == ProviderAccountStatus::Active).then_some(found)
    });
    let found = found.await;
    let list = ListProviderAccountsRequest {
        wallet_id,
        ..ListProviderAccountsRequest::default()
    };
    let listed = accounts
        .clone()
        .list_provider_accounts(grpc::with(list, &ada.token))
        .await;
    let listed = listed.expect("listed").into_inner();
    assert_eq!(listed.provider_accounts, [found]);
}

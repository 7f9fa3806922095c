//! `IssueServiceToken` and the accounts behind it.

use bursar_contracts::identity::v1::{IssueServiceTokenRequest, IssueServiceTokenResponse};
use bursar_contracts::operations::v1::GetServiceStatusRequest;
use bursar_contracts::operations::v1::operations_service_client::OperationsServiceClient;
use bursar_testkit::with_token;
use tonic::{Code, Response, Status};

use crate::harness::{Client, Harness, House, claims, client, refused};

const ACCOUNTS: (&str, &str) = (
    "BURSAR_SERVICE_ACCOUNTS",
    "wallet=first-wallet-secret,admin=first-admin-secret",
);

async fn issue(
    client: &Client,
    client_id: &str,
    client_secret: &str,
) -> Result<IssueServiceTokenResponse, Status> {
    let message = IssueServiceTokenRequest {
        client_id: client_id.to_owned(),
        client_secret: client_secret.to_owned(),
    };
    client
        .clone()
        .issue_service_token(message)
        .await
        .map(Response::into_inner)
}

/// The right secret gets a short-lived service token, which internal RPCs take.
#[tokio::test]
async fn services_get_tokens() {
    let house = House::new().await;
    let service = house.start(&[ACCOUNTS]).await;
    let issued = issue(&client(&service), "wallet", "first-wallet-secret")
        .await
        .expect("right");
    assert_eq!(issued.expires_in_seconds, 300);
    let claims = claims(&issued.access_token);
    assert_eq!(claims["sub"], "svc_wallet");
    assert_eq!(claims["kind"], "service");
    assert_eq!(claims["roles"], serde_json::json!(["service"]));
    assert_eq!(claims["permissions"], serde_json::json!([]));
    assert!(claims.get("sid").is_none());

    let mut operations = OperationsServiceClient::new(service.channel());
    let request = with_token(GetServiceStatusRequest {}, &issued.access_token);
    operations
        .get_service_status(request)
        .await
        .expect("a service may ask");
}

/// A user's token does not open what is for services.
#[tokio::test]
async fn users_are_no_services() {
    let harness = Harness::start().await;
    let (_, login) = harness.user("ada").await;
    let mut operations = OperationsServiceClient::new(harness.service.channel());
    let request = with_token(GetServiceStatusRequest {}, &login.access_token);
    let outcome = operations.get_service_status(request).await;
    refused(outcome, Code::PermissionDenied, "PERMISSION_DENIED");
}

/// A wrong secret, another account's secret and an unknown account get one answer.
#[tokio::test]
async fn wrong_credentials_are_told_alike() {
    let house = House::new().await;
    let service = house.start(&[ACCOUNTS]).await;
    let client = client(&service);
    let mut answers = Vec::new();
    for (client_id, secret) in [
        ("wallet", "wrong"),
        ("wallet", "first-admin-secret"),
        ("nobody", "first-wallet-secret"),
        ("'; --", "first-wallet-secret"),
    ] {
        let outcome = issue(&client, client_id, secret).await;
        let status = refused(outcome, Code::Unauthenticated, "CLIENT_CREDENTIALS_INVALID");
        answers.push((status.message().to_owned(), status.details().to_vec()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
}

/// The environment's secret counts from the next start on; accounts that it no
/// longer names stay, and so does what an account is permitted.
#[tokio::test]
async fn a_start_brings_secrets_up_to_date() {
    let house = House::new().await;
    house.start(&[ACCOUNTS]).await.stop().await;
    sqlx::query(
        "UPDATE service_accounts SET permissions = '{wallet:read:any}' WHERE client_id = 'wallet'",
    )
    .execute(&house.database.owner)
    .await
    .expect("the owner may");
    let service = house
        .start(&[("BURSAR_SERVICE_ACCOUNTS", "wallet=second-wallet-secret")])
        .await;
    let client = client(&service);
    let old = issue(&client, "wallet", "first-wallet-secret").await;
    refused(old, Code::Unauthenticated, "CLIENT_CREDENTIALS_INVALID");
    let new = issue(&client, "wallet", "second-wallet-secret")
        .await
        .expect("right");
    assert_eq!(
        claims(&new.access_token)["permissions"],
        serde_json::json!(["wallet:read:any"])
    );
    issue(&client, "admin", "first-admin-secret")
        .await
        .expect("it stays");
    let plain = house
        .count("SELECT count(*) FROM service_accounts WHERE position('secret' IN encode(secret_hash, 'escape')) > 0")
        .await;
    assert_eq!(plain, 0);
}

//! Account numbers.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{API_KEY, Provider};

fn account(reference: &str, holder_name: &str) -> Value {
    json!({"reference": reference, "currency": "EUR", "holder_name": holder_name})
}

/// A reference means one account for ever, also for twenty requests at once;
/// another body is refused, and one that never came is not found.
#[tokio::test]
async fn a_reference_means_one_account() {
    let provider = Provider::start(&[]).await;
    let calls = (0..20).map(|_| provider.post("/v1/accounts", account("a1", "Ada Obi")));
    let answers = futures::future::join_all(calls).await;
    let made = answers.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(made, 1);
    assert!(answers.iter().all(|(_, body)| *body == answers[0].1));
    let opened = &answers[0].1;
    assert_eq!(
        (&opened["status"], &opened["account_name"]),
        (&json!("open"), &json!("Ada Obi"))
    );
    assert_eq!(opened["account_number"].as_str().map(str::len), Some(10));
    assert_eq!(provider.get("/v1/accounts/a1").await, (200, opened.clone()));
    let (status, refused) = provider.post("/v1/accounts", account("a1", "Eve")).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("reference_reused"))
    );
    let (status, refused) = provider.get("/v1/accounts/a2").await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (404, &json!("not_found"))
    );
    assert_eq!(
        provider.post("/v1/accounts", account("a3", "")).await.0,
        400
    );
}

/// Faults hit accounts as they hit movements: a lost answer leaves an account
/// behind, a 500 none, a decline is told again; pending there is none.
#[tokio::test]
async fn faults_hit_accounts() {
    let provider = Provider::start(&[]).await;
    let fault = |kind: &str| json!({"operation": "account", "kind": kind});
    assert_eq!(provider.post("/v1/faults", fault("pending")).await.0, 400);
    assert_eq!(
        provider.post("/v1/faults", fault("lost_response")).await.0,
        201
    );
    let lost = provider
        .request(Method::POST, "/v1/accounts")
        .bearer_auth(API_KEY)
        .json(&account("a1", "Ada Obi"))
        .send()
        .await;
    assert!(lost.is_err(), "the connection ends");
    assert_eq!(provider.get("/v1/accounts/a1").await.0, 200);
    assert_eq!(provider.post("/v1/faults", fault("error_500")).await.0, 201);
    let failed = provider
        .post("/v1/accounts", account("a2", "Ada Obi"))
        .await;
    assert_eq!(failed.0, 500);
    assert_eq!(provider.get("/v1/accounts/a2").await.0, 404);
    assert_eq!(provider.post("/v1/faults", fault("decline")).await.0, 201);
    let (status, declined) = provider
        .post("/v1/accounts", account("a3", "Ada Obi"))
        .await;
    assert_eq!((status, &declined["status"]), (201, &json!("declined")));
    assert_eq!(declined["account_number"], Value::Null);
    assert_eq!(provider.get("/v1/accounts/a3").await, (200, declined));
}

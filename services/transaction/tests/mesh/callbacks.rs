//! The providers' callbacks.

use bursar_contracts::transaction::v1::TransactionState;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::Mesh;
use crate::support::calls::{deposit, withdrawal};
use crate::support::inbox::{Notice, sign};

const PATH: &str = "/api/v1/transactions/callbacks/sandbox";

impl Mesh {
    async fn call_back(&self, path: &str, notice: &Notice) -> Response {
        self.http
            .post(format!("http://{}{path}", self.service.http_address))
            .header("sandbox-signature", &notice.signature)
            .body(notice.body.clone())
            .send()
            .await
            .expect("the service answers")
    }

    async fn callbacks(&self) -> i64 {
        self.count("SELECT count(*) FROM provider_callbacks").await
    }
}

/// The error form of the whole API, with this reason.
async fn assert_refused(response: Response, status: StatusCode, code: i32, reason: &str) {
    assert_eq!(response.status(), status);
    let body: Value = response.json().await.expect("errors are JSON");
    assert_eq!(body["code"], code);
    assert_eq!(body["details"][0]["reason"], reason);
    assert_eq!(
        body["details"][0]["@type"],
        "type.googleapis.com/google.rpc.ErrorInfo"
    );
}

/// A callback brings the check forward, and the provider's word ends the
/// transaction; the same callback again changes nothing.
#[tokio::test]
async fn a_callback_brings_the_check_forward() {
    // Without the callback the next look would be a minute away.
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    mesh.fault(json!({"operation": "charge", "kind": "pending", "delay_ms": 800}))
        .await;
    let accepted = alice
        .deposit(deposit(&wallet, 500))
        .await
        .expect("accepted");
    let id = &accepted.transaction_id;
    mesh.put_checks_off().await;
    let notice = mesh.inbox.about(id).await;
    assert_eq!(
        mesh.transaction(id).await.state(),
        TransactionState::Processing
    );
    let taken = mesh.call_back(PATH, &notice).await;
    assert_eq!(taken.status(), StatusCode::NO_CONTENT);
    mesh.reaches(id, TransactionState::Completed).await;
    let again = mesh.call_back(PATH, &notice).await;
    assert_eq!(again.status(), StatusCode::NO_CONTENT);
    assert_eq!(mesh.callbacks().await, 1);
    assert_eq!(alice.balance(&wallet).await, (500, 0));
    mesh.verify().await;
}

/// The callback comes while the request that caused it is still at work: it is
/// kept, the request ends the transaction, and nothing happens twice.
#[tokio::test]
async fn a_callback_may_come_before_our_commit() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.funded(1_000).await;
    mesh.fault(json!({"operation": "payout", "kind": "slow", "delay_ms": 700}))
        .await;
    let call = alice.request(withdrawal(&wallet, 400));
    let mut client = mesh.client();
    let calling = tokio::spawn(async move { client.create_withdrawal(call).await });
    let notice = mesh.inbox.about("payout.succeeded").await;
    let taken = mesh.call_back(PATH, &notice).await;
    assert_eq!(taken.status(), StatusCode::NO_CONTENT);
    let answer = calling.await.expect("the call ends").expect("paid out");
    let paid = answer.into_inner().transaction.expect("set");
    assert_eq!(paid.state(), TransactionState::Completed);
    assert_eq!(alice.balance(&wallet).await, (600, 0));
    mesh.verify().await;
}

/// A callback about nothing we know is kept, and matched once we know it.
#[tokio::test]
async fn an_unknown_reference_is_kept() {
    let mesh = Mesh::start().await;
    let reference = "txn_0190b6a0-0000-7000-8000-000000000000";
    for reference in [reference, "something else", ""] {
        let body = json!({"callback_id": format!("cb_{reference}"), "type": "charge.succeeded",
            "reference": reference, "data": {}});
        let taken = mesh.call_back(PATH, &sign(&body.to_string())).await;
        assert_eq!(taken.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(mesh.callbacks().await, 3);
    let unmatched = "SELECT count(*) FROM provider_callbacks WHERE transaction_id IS NULL";
    assert_eq!(mesh.count(unmatched).await, 3);
}

/// A forged, altered or old signature is refused, and leaves nothing behind.
#[tokio::test]
async fn forged_callbacks_are_refused() {
    let mesh = Mesh::start().await;
    let body = json!({"callback_id": "cb_1", "type": "charge.succeeded", "reference": "txn_1"});
    let right = sign(&body.to_string());
    let altered = Notice {
        body: right.body.replace("txn_1", "txn_2"),
        ..right.clone()
    };
    let unsigned = Notice {
        signature: String::new(),
        ..right.clone()
    };
    let old = Notice {
        signature: right.signature.replacen("t=1", "t=0", 1),
        ..right
    };
    for forged in [altered, unsigned, old] {
        let refused = mesh.call_back(PATH, &forged).await;
        assert_refused(refused, StatusCode::UNAUTHORIZED, 16, "UNAUTHENTICATED").await;
    }
    assert_eq!(mesh.callbacks().await, 0);
}

/// What no provider would send is refused in the form of the whole API.
#[tokio::test]
async fn bad_callbacks_are_refused() {
    let mesh = Mesh::start().await;
    for body in [
        "",
        "{",
        "[]",
        r#"{"callback_id":""}"#,
        r#"{"callback_id":"","type":"x","reference":"y"}"#,
    ] {
        let refused = mesh.call_back(PATH, &sign(body)).await;
        assert_refused(refused, StatusCode::BAD_REQUEST, 3, "INVALID_FIELD").await;
    }
    let huge = mesh.call_back(PATH, &sign(&"x".repeat(70_000))).await;
    assert_refused(huge, StatusCode::PAYLOAD_TOO_LARGE, 3, "INVALID_FIELD").await;
    for provider in ["acme", "ACME", "%00"] {
        let path = format!("/api/v1/transactions/callbacks/{provider}");
        let refused = mesh.call_back(&path, &sign("{}")).await;
        assert_refused(refused, StatusCode::NOT_FOUND, 5, "METHOD_NOT_FOUND").await;
    }
    assert_eq!(mesh.callbacks().await, 0);
}

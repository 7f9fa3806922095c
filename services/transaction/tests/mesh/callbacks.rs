//! The providers' callbacks.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::Mesh;
use crate::support::inbox::{Notice, sign};

const PATH: &str = "/api/v1/transactions/callbacks/sandbox";

impl Mesh {
    /// Passes a callback on.
    pub(crate) async fn call_back(&self, path: &str, notice: &Notice) -> Response {
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

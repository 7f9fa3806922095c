//! Holds: money set aside, captured and given back, by REST and by gRPC.

use std::sync::atomic::{AtomicI64, Ordering};

use bursar_contracts::wallet::v1::hold_service_client::HoldServiceClient;
use bursar_contracts::wallet::v1::{
    CaptureHoldRequest, GetHoldRequest, HoldStatus, ListHoldsRequest, PlaceHoldRequest,
    SystemAccount, SystemPurpose, VoidHoldRequest,
};
use bursar_status::StatusExt;
use prost_types::Timestamp;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::grpc;
use crate::support::{Answer, Edge, Person, eur, eventually, minor, new_key, refused, text};

/// Somebody with money, an operator who sets it aside, and where it may go.
pub(crate) struct Counter {
    pub(crate) edge: Edge,
    pub(crate) operator: String,
    pub(crate) ada: Person,
    pub(crate) wallet: String,
    pub(crate) shop: String,
    pub(crate) till: String,
}

impl Counter {
    pub(crate) async fn open(funds: i64) -> Self {
        let edge = Edge::shared();
        let (ada, owner) = (edge.person().await, edge.person().await);
        Self {
            operator: edge.admin().await,
            wallet: edge.funded(&ada, funds).await,
            shop: owner.token.clone(),
            till: edge.wallet(&owner, "EUR").await,
            ada,
            edge,
        }
    }

    pub(crate) async fn try_place(&self, body: &Value) -> Answer {
        let path = format!("/api/v1/wallet/wallets/{}/holds", self.wallet);
        self.edge.pay(&path, &self.operator, &new_key(), body).await
    }

    /// Places a hold; returns it.
    pub(crate) async fn place(&self, body: &Value) -> Value {
        self.try_place(body).await.ok()["hold"].clone()
    }

    pub(crate) async fn act(&self, hold: &str, verb: &str, body: &Value) -> Answer {
        let path = format!("/api/v1/wallet/holds/{hold}:{verb}");
        self.edge.pay(&path, &self.operator, &new_key(), body).await
    }

    async fn capture(&self, hold: &str, minor: i64, is_final: bool) -> Answer {
        let body = json!({"amount": eur(minor), "final": is_final, "to_wallet_id": self.till});
        self.act(hold, "capture", &body).await
    }

    /// The wallet's money and the shop's.
    pub(crate) async fn balances(&self) -> ([i64; 3], [i64; 3]) {
        let edge = &self.edge;
        (
            edge.balance(&self.ada.token, &self.wallet).await,
            edge.balance(&self.shop, &self.till).await,
        )
    }

    async fn hold(&self, hold: &str) -> Value {
        let path = format!("/api/v1/wallet/holds/{hold}");
        self.edge.get(&path, &self.ada.token).await.ok()["hold"].clone()
    }
}

/// What a hold is: its status, and what was captured and remains of it.
fn state(hold: &Value) -> (&str, i64, i64) {
    let status = hold["status"].as_str().unwrap_or_default();
    let status = status.trim_start_matches("HOLD_STATUS_");
    let (captured, remaining) = (&hold["captured_minor"], &hold["remaining_minor"]);
    (status, minor(captured), minor(remaining))
}

/// A hold is captured in part, then finally: the shop gets both parts, the rest
/// goes back, and the replay of a capture moves nothing again.
#[tokio::test]
async fn a_hold_is_captured_in_parts() {
    let counter = Counter::open(1_000).await;
    let body = json!({"amount": eur(600), "description": "room 12"});
    let placed = counter.place(&body).await;
    assert_eq!(state(&placed), ("ACTIVE", 0, 600));
    assert_eq!(placed["description"], "room 12");
    assert_eq!(placed["expires_at"], Value::Null);
    assert_eq!(placed["transaction_id"], "");
    assert_eq!(counter.balances().await, ([400, 600, 0], [0, 0, 0]));
    let id = text(&placed["hold_id"]);

    let body = json!({"amount": eur(250), "to_wallet_id": counter.till});
    let (path, key) = (format!("/api/v1/wallet/holds/{id}:capture"), new_key());
    let pay = || counter.edge.pay(&path, &counter.operator, &key, &body);
    let first = pay().await;
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let again = pay().await;
    assert!(again.headers.contains_key("idempotency-replayed"));
    let first = first.ok();
    assert_eq!(first, again.ok());
    assert_eq!(state(&first["hold"]), ("ACTIVE", 250, 350));
    assert_eq!(counter.balances().await, ([400, 350, 0], [250, 0, 0]));

    let last = counter.capture(&id, 200, true).await.ok();
    assert_eq!(state(&last["hold"]), ("CAPTURED", 450, 0));
    assert!(last["hold"]["ended_at"].is_string(), "{last:#}");
    assert_eq!(counter.balances().await, ([550, 0, 0], [450, 0, 0]));
    assert_eq!(counter.hold(&id).await, last["hold"]);

    refused(
        &counter.capture(&id, 1, false).await,
        400,
        "HOLD_NOT_ACTIVE",
    );
    refused(
        &counter.act(&id, "void", &json!({})).await,
        400,
        "HOLD_NOT_ACTIVE",
    );
    let path = format!("/api/v1/wallet/wallets/{}/holds", counter.wallet);
    let path = format!("{path}?status=HOLD_STATUS_CAPTURED");
    let listed = counter.edge.get(&path, &counter.ada.token).await.ok();
    assert_eq!(listed["holds"], json!([last["hold"]]));
}

/// More than remains is not captured; the error says how much does, and the
/// hold stays as it was.
#[tokio::test]
async fn more_than_remains_is_not_captured() {
    let counter = Counter::open(1_000).await;
    let placed = counter.place(&json!({"amount": eur(300)})).await;
    let id = text(&placed["hold_id"]);
    counter.capture(&id, 100, false).await.ok();
    for is_final in [false, true] {
        let answer = counter.capture(&id, 201, is_final).await;
        refused(&answer, 400, "CAPTURE_EXCEEDS_HOLD");
        let info = answer.detail("google.rpc.ErrorInfo");
        assert_eq!(info["domain"], "bursar.wallet.v1");
        assert_eq!(info["metadata"]["remaining_minor"], "200");
    }
    assert_eq!(state(&counter.hold(&id).await), ("ACTIVE", 100, 200));
    assert_eq!(counter.balances().await, ([700, 200, 0], [100, 0, 0]));
    let answer = counter.try_place(&json!({"amount": eur(701)})).await;
    refused(&answer, 400, "INSUFFICIENT_FUNDS");
}

/// A voided hold gives back all that remains, once.
#[tokio::test]
async fn a_voided_hold_gives_the_money_back() {
    let counter = Counter::open(1_000).await;
    let placed = counter.place(&json!({"amount": eur(600)})).await;
    let id = text(&placed["hold_id"]);
    counter.capture(&id, 150, false).await.ok();
    let voided = counter.act(&id, "void", &json!({})).await.ok();
    assert_eq!(state(&voided["hold"]), ("VOIDED", 150, 0));
    assert_eq!(counter.balances().await, ([850, 0, 0], [150, 0, 0]));
    let answer = counter.act(&id, "void", &json!({})).await;
    refused(&answer, 400, "HOLD_NOT_ACTIVE");
}

/// A hold is captured until its time is over and not after it; what remains then
/// goes back by itself.
#[tokio::test]
async fn an_expired_hold_gives_the_money_back() {
    let counter = Counter::open(1_000).await;
    let now = Timestamp::from(std::time::SystemTime::now());
    let soon = Timestamp {
        seconds: now.seconds + 1,
        ..now
    };
    let body = json!({"amount": eur(600), "expires_at": soon.to_string()});
    let placed = counter.place(&body).await;
    assert_eq!(state(&placed), ("ACTIVE", 0, 600));
    assert!(placed["expires_at"].is_string(), "{placed:#}");
    let id = text(&placed["hold_id"]);
    let captured = AtomicI64::new(0);
    let late = eventually("the hold's time", async || {
        let answer = counter.capture(&id, 1, false).await;
        if answer.status != 200 {
            return Some(answer);
        }
        captured.fetch_add(1, Ordering::Relaxed);
        None
    });
    let late = late.await;
    refused(&late, 400, "HOLD_EXPIRED");
    let captured = captured.into_inner();
    let expired = eventually("the hold's end", async || {
        let hold = counter.hold(&id).await;
        (hold["status"] != "HOLD_STATUS_ACTIVE").then_some(hold)
    });
    assert_eq!(state(&expired.await), ("EXPIRED", captured, 0));
    let left = 1_000 - captured;
    assert_eq!(counter.balances().await, ([left, 0, 0], [captured, 0, 0]));
    let answer = counter.capture(&id, 1, false).await;
    refused(&answer, 400, "HOLD_EXPIRED");
    let path = format!("/api/v1/wallet/wallets/{}/entries", counter.wallet);
    let path = format!("{path}?kinds=POSTING_KIND_HOLD_EXPIRY");
    let listed = counter.edge.get(&path, &counter.ada.token).await.ok();
    assert_eq!(listed["entries"].as_array().map(Vec::len), Some(2));
}

/// What a hold may not say is refused with the field's name.
#[tokio::test]
async fn bad_holds_name_their_field() {
    let counter = Counter::open(1_000).await;
    let cases = [
        (json!({}), "amount"),
        (json!({"amount": eur(0)}), "amount.minor_units"),
        (json!({"amount": eur(-1)}), "amount.minor_units"),
        (json!({"amount": eur(1), "ttl_seconds": -1}), "ttl_seconds"),
        (
            json!({"amount": eur(1), "expires_at": "2001-01-01T00:00:00Z"}),
            "expires_at",
        ),
        (
            json!({"amount": eur(1), "expires_at": "tomorrow"}),
            "expires_at",
        ),
        (json!({"amount": eur(1), "expires_at": 5}), "expires_at"),
        (json!({"amount": eur(1), "ttl": 5}), "ttl"),
    ];
    for (body, field) in cases {
        let answer = counter.try_place(&body).await;
        refused(&answer, 400, "INVALID_FIELD");
        assert_eq!(answer.fields(), field, "{:#}", answer.json);
    }
    let placed = counter
        .place(&json!({"amount": eur(10), "ttl_seconds": 600}))
        .await;
    assert!(placed["expires_at"].is_string(), "{placed:#}");
    let id = text(&placed["hold_id"]);
    let itself = json!({"to_wallet_id": counter.wallet});
    let answer = counter.act(&id, "capture", &itself).await;
    refused(&answer, 400, "INVALID_FIELD");
    assert_eq!(answer.fields(), "to_wallet_id");
    let nowhere = counter
        .act(&id, "capture", &json!({"amount": eur(1)}))
        .await;
    refused(&nowhere, 400, "INVALID_FIELD");
    // Without a key nothing is set aside.
    let path = format!("/api/v1/wallet/wallets/{}/holds", counter.wallet);
    let keyless = counter
        .edge
        .post(&path, &counter.operator, &json!({"amount": eur(1)}))
        .await;
    refused(&keyless, 400, "IDEMPOTENCY_KEY_REQUIRED");
}

/// The reason that a gRPC error names.
pub(crate) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info();
    info.unwrap_or_else(|| panic!("no reason in {status:?}"))
        .reason
        .clone()
}

/// Holds by gRPC: captured for the platform's own fees, voided, and refused
/// with the same reasons as by REST.
#[tokio::test]
async fn holds_answer_over_grpc() {
    let counter = Counter::open(1_000).await;
    let mut holds = HoldServiceClient::new(counter.edge.channel());
    let place = PlaceHoldRequest {
        wallet_id: counter.wallet.clone(),
        amount: grpc::eur(400),
        ttl_seconds: 600,
        ..PlaceHoldRequest::default()
    };
    let key = new_key();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let placed = holds
            .place_hold(grpc::paying(place.clone(), &counter.operator, &key))
            .await
            .expect("placed");
        ids.push(placed.into_inner().hold.expect("a hold").hold_id);
    }
    assert_eq!(ids[0], ids[1], "one key, one hold");
    let capture = CaptureHoldRequest {
        hold_id: ids[0].clone(),
        amount: grpc::eur(150),
        to_system: Some(SystemAccount {
            purpose: SystemPurpose::Fees.into(),
            name: String::new(),
            currency_code: "EUR".to_owned(),
        }),
        ..CaptureHoldRequest::default()
    };
    let captured = holds
        .capture_hold(grpc::paying(capture.clone(), &counter.operator, &new_key()))
        .await
        .expect("captured")
        .into_inner()
        .hold
        .expect("a hold");
    assert_eq!(
        (captured.captured_minor, captured.remaining_minor),
        (150, 250)
    );
    let over = CaptureHoldRequest {
        amount: grpc::eur(251),
        ..capture
    };
    let status = holds
        .capture_hold(grpc::paying(over, &counter.operator, &new_key()))
        .await
        .expect_err("too much");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(reason(&status), "CAPTURE_EXCEEDS_HOLD");
    let void = VoidHoldRequest {
        hold_id: ids[0].clone(),
    };
    holds
        .void_hold(grpc::paying(void, &counter.operator, &new_key()))
        .await
        .expect("voided");
    let get = GetHoldRequest {
        hold_id: ids[0].clone(),
    };
    let found = holds.get_hold(grpc::with(get, &counter.ada.token)).await;
    let found = found.expect("read").into_inner().hold.expect("a hold");
    assert_eq!(found.status(), HoldStatus::Voided);
    let list = ListHoldsRequest {
        wallet_id: counter.wallet.clone(),
        ..ListHoldsRequest::default()
    };
    let listed = holds.list_holds(grpc::with(list, &counter.ada.token)).await;
    assert_eq!(listed.expect("listed").into_inner().holds, [found]);
    assert_eq!(counter.balances().await.0, [850, 0, 0]);
}

/// Users read their own holds, and neither place nor end any; nobody else
/// learns that there are some.
#[tokio::test]
async fn holds_are_their_owners_to_read() {
    let counter = Counter::open(1_000).await;
    let id = text(&counter.place(&json!({"amount": eur(100)})).await["hold_id"]);
    let edge = &counter.edge;
    let holds = format!("/api/v1/wallet/wallets/{}/holds", counter.wallet);
    let hold = format!("/api/v1/wallet/holds/{id}");
    let bob = edge.person().await;
    refused(&edge.get(&hold, &bob.token).await, 404, "HOLD_NOT_FOUND");
    refused(&edge.get(&holds, &bob.token).await, 404, "WALLET_NOT_FOUND");
    for token in [&counter.ada.token, &bob.token] {
        let place = edge
            .pay(&holds, token, &new_key(), &json!({"amount": eur(1)}))
            .await;
        refused(&place, 403, "PERMISSION_DENIED");
        for verb in ["capture", "void"] {
            let path = format!("{hold}:{verb}");
            let body = match verb {
                "capture" => json!({"to_wallet_id": counter.till}),
                _ => json!({}),
            };
            let answer = edge.pay(&path, token, &new_key(), &body).await;
            refused(&answer, 403, "PERMISSION_DENIED");
        }
    }
    assert_eq!(counter.balances().await, ([900, 100, 0], [0, 0, 0]));
}

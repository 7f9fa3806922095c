//! Deposits from cards, over the real ledger and the real sandbox provider, which is
//! spoken to as a card acquirer here.

mod in_doubt;

use bursar_contracts::transaction::v1::{
    CreateDepositRequest, FraudDecision, FraudOutcome, ListBreaksRequest, TransactionState,
    TransactionType,
};
use bursar_status::StatusExt;
use serde_json::{Value, json};
use tonic::Code;

use crate::reconciliation_sandbox::file;
use crate::refunds::{operator, refund};
use crate::support::Mesh;
use crate::support::calls::{deposit, euros, is_replayed, refusal, told, withdrawal};
use crate::support::fraud::{Desk, draft};
use crate::support::wire::Mode;

/// What is kept of what was to be charged.
const KEPT: &str = "SELECT count(*) FROM transactions WHERE payment_method IS NOT NULL";
/// All other places where a token could be found.
const ELSEWHERE: &str = "
    SELECT (SELECT count(*) FROM events WHERE position('tok_'::bytea IN data) > 0)
         + (SELECT count(*) FROM event_batches
            WHERE EXISTS (SELECT FROM unnest(data) AS one WHERE position('tok_'::bytea IN one) > 0))
         + (SELECT count(*) FROM idempotency_keys
            WHERE position('tok_'::bytea IN answer_body) > 0)
         + (SELECT count(*) FROM transactions AS one
            WHERE position('tok_' IN (to_jsonb(one) - 'payment_method')::text) > 0)";

/// A mesh whose provider is a card acquirer.
async fn mesh() -> Mesh {
    mesh_with(json!({})).await
}

async fn mesh_with(more: Value) -> Mesh {
    let mut entry = json!({"name": "sandbox", "kind": "cards"});
    if let (Some(entry), Value::Object(more)) = (entry.as_object_mut(), more) {
        entry.extend(more);
    }
    let providers = json!([entry]).to_string();
    Mesh::start_with(&[("BURSAR_PROVIDERS", &providers)]).await
}

fn card_deposit(wallet: &str, minor_units: i64, token: &str) -> CreateDepositRequest {
    CreateDepositRequest {
        payment_method: token.to_owned(),
        ..deposit(wallet, minor_units)
    }
}

/// How the authorisation of a deposit stands, and how its capture does.
async fn at_acquirer(mesh: &Mesh, id: &str) -> (String, String) {
    let status = |found: Option<Value>| match found {
        Some(found) => found["status"].as_str().unwrap_or_default().to_owned(),
        None => "unknown".to_owned(),
    };
    let authorization = mesh.at_provider("authorizations", id).await;
    let capture = mesh.at_provider("captures", id).await;
    (status(authorization), status(capture))
}

async fn assert_at_acquirer(mesh: &Mesh, id: &str, authorization: &str, capture: &str) {
    let found = at_acquirer(mesh, id).await;
    assert_eq!((&*found.0, &*found.1), (authorization, capture), "{id}");
}

/// A card is authorised and captured once under the transaction's id, the same key is
/// answered the same, and of the token nothing is left anywhere.
#[tokio::test]
async fn a_card_is_charged_once() {
    let mesh = mesh().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    let request = card_deposit(&wallet, 700, "tok_visa");
    let first = alice.deposit_with(request.clone(), "k").await;
    let taken = first.expect("the card is good").into_inner();
    let taken = taken.transaction.expect("a response has it");
    assert_eq!(taken.state(), TransactionState::Completed);
    assert_eq!(taken.r#type(), TransactionType::Deposit);
    assert!(taken.provider_reference.starts_with("cp_"), "{taken:?}");
    let again = alice.deposit_with(request, "k").await.expect("as before");
    assert!(is_replayed(again.metadata()));
    assert_eq!(again.into_inner().transaction, Some(taken.clone()));
    assert_eq!(alice.balance(&wallet).await, (700, 0));
    let id = &taken.transaction_id;
    assert_at_acquirer(&mesh, id, "captured", "succeeded").await;
    assert_eq!(mesh.at_provider("charges", id).await, None);
    assert_eq!(mesh.count(KEPT).await, 0);
    assert_eq!(mesh.count(ELSEWHERE).await, 0);
    mesh.verify().await;
}

/// Each way in which a card is refused is a failure with the acquirer's word for it,
/// and nothing is captured.
#[tokio::test]
async fn a_refused_card_fails_with_its_code() {
    let mesh = mesh().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    for (token, code) in [
        ("tok_card_declined", "card_declined"),
        ("tok_insufficient_funds", "insufficient_funds"),
        ("tok_lost_card", "lost_card"),
        ("tok_stolen_card", "stolen_card"),
        ("tok_expired_card", "expired_card"),
        ("tok_incorrect_cvc", "incorrect_cvc"),
        ("tok_processing_error", "processing_error"),
        // No card of that token is known.
        ("tok_nobodys", "request_rejected"),
    ] {
        let refused = alice.deposit(card_deposit(&wallet, 700, token)).await;
        let refused = told(&refused.expect_err(token));
        assert_eq!(refused.reason, "PROVIDER_DECLINED", "{token}");
        assert_eq!(refused.decline_code.as_deref(), Some(code), "{token}");
        let id = refused.transaction_id.expect("it is recorded");
        let (_, capture) = at_acquirer(&mesh, &id).await;
        assert_eq!(capture, "unknown", "{token}");
    }
    // The card's bank says what it thinks of the amount.
    let refused = alice
        .deposit(card_deposit(&wallet, 99_902, "tok_visa"))
        .await;
    let refused = told(&refused.expect_err("a magic amount"));
    assert_eq!(refused.decline_code.as_deref(), Some("do_not_honor"));
    assert_eq!(alice.balance(&wallet).await, (0, 0));
    assert_eq!(mesh.count(KEPT).await, 0);
    assert_eq!(mesh.count(ELSEWHERE).await, 0);
    mesh.verify().await;
}

/// What was captured from a card is given back to it, in parts, and no more than it was.
#[tokio::test]
async fn a_card_gets_its_money_back() {
    let mesh = mesh().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    let taken = alice.deposit(card_deposit(&wallet, 700, "tok_visa")).await;
    let taken = taken.expect("the card is good").transaction_id;
    let token = operator(&mesh);
    let part = refund(&mesh, &token, &taken, Some(300)).await;
    let part = part.expect("so much is left");
    assert_eq!(part.state(), TransactionState::Completed);
    let at_acquirer = mesh.at_provider("refunds", &part.transaction_id).await;
    let at_acquirer = at_acquirer.expect("the acquirer has it");
    assert_eq!(at_acquirer["capture_reference"], *taken);
    assert_eq!(at_acquirer["amount_minor"], 300);
    mesh.fault(json!({"operation": "refund", "kind": "lost_response"}))
        .await;
    let rest = refund(&mesh, &token, &taken, None)
        .await
        .expect("400 are left");
    assert_eq!(rest.amount, euros(400));
    mesh.reaches(&rest.transaction_id, TransactionState::Completed)
        .await;
    let more = refund(&mesh, &token, &taken, Some(1)).await;
    let more = told(&more.expect_err("nothing is left"));
    assert_eq!(more.reason, "REFUND_EXCEEDS_ORIGINAL");
    assert_eq!(alice.balance(&wallet).await, (0, 0));
    mesh.verify().await;
}

/// The token outlives a stop by fraud screening, because the provider is asked after it,
/// and is gone once the case is decided, either way.
#[tokio::test]
async fn what_screening_stops_keeps_its_token_until_it_is_decided() {
    let mesh = mesh().await;
    let desk = Desk::new(&mesh);
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    let rule = draft("transaction.amount_minor > 5", FraudOutcome::Review);
    desk.put("all", rule).await;
    let request = || card_deposit(&wallet, 700, "tok_visa");
    let stopped = alice.deposit(request()).await.expect("it is recorded");
    assert_eq!(stopped.state(), TransactionState::ManualReview);
    assert_eq!(mesh.count(KEPT).await, 1);
    assert_at_acquirer(&mesh, &stopped.transaction_id, "unknown", "unknown").await;
    desk.approve().await;
    mesh.reaches(&stopped.transaction_id, TransactionState::Completed)
        .await;
    assert_eq!(alice.balance(&wallet).await, (700, 0));
    assert_eq!(mesh.count(KEPT).await, 0);
    let stopped = alice.deposit(request()).await.expect("it is recorded");
    assert_eq!(mesh.count(KEPT).await, 1);
    let case = desk.open_case().await;
    let decided = desk.decide(&case, FraudDecision::Reject).await;
    decided.expect("it is open");
    mesh.reaches(&stopped.transaction_id, TransactionState::Failed)
        .await;
    assert_eq!(mesh.count(KEPT).await, 0);
    mesh.verify().await;
}

/// A provider that was not reached is asked later with the token that was kept, and a
/// deposit that is given up forgets it.
#[tokio::test]
async fn a_token_is_kept_while_the_acquirer_is_to_be_asked() {
    let mesh = mesh().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    mesh.to_sandbox.set(Mode::Refused);
    let waiting = alice.deposit(card_deposit(&wallet, 700, "tok_visa")).await;
    let waiting = waiting.expect("it is recorded");
    assert_eq!(waiting.state(), TransactionState::Processing);
    assert_eq!(mesh.count(KEPT).await, 1);
    assert_eq!(mesh.count(ELSEWHERE).await, 0);
    mesh.to_sandbox.set(Mode::Whole);
    mesh.reaches(&waiting.transaction_id, TransactionState::Completed)
        .await;
    assert_eq!(alice.balance(&wallet).await, (700, 0));
    assert_eq!(mesh.count(KEPT).await, 0);
    mesh.verify().await;
}

/// A payment method is asked for where a card is charged, refused where none is, and
/// decides between the providers when the caller names none. No card's number is taken,
/// and nothing is paid out.
#[tokio::test]
async fn a_payment_method_is_for_card_acquirers() {
    let plain = json!({"name": "alpha", "url": "http://127.0.0.1:1"});
    let cards = json!({"name": "sandbox", "kind": "cards"});
    let providers = json!([plain, cards]).to_string();
    let mesh = Mesh::start_with(&[
        ("BURSAR_PROVIDERS", &providers),
        ("BURSAR_PROVIDER_ALPHA_API_KEY", "the-api-key-of-alpha"),
        (
            "BURSAR_PROVIDER_ALPHA_CALLBACK_SECRET",
            "the-secret-of-alpha",
        ),
    ])
    .await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    let invalid = |reason: &str| (Code::InvalidArgument, reason.to_owned());
    let at = |provider: &str, token: &str| CreateDepositRequest {
        provider: provider.to_owned(),
        ..card_deposit(&wallet, 100, token)
    };
    let missing = alice.deposit(at("sandbox", "")).await.expect_err("no card");
    assert_eq!(refusal(&missing), invalid("PAYMENT_METHOD_REQUIRED"));
    assert_eq!(told(&missing).fields, ["payment_method"]);
    let useless = alice.deposit(at("alpha", "tok_visa")).await;
    let useless = useless.expect_err("it charges no cards");
    assert_eq!(refusal(&useless), invalid("PAYMENT_METHOD_NOT_TAKEN"));
    for number in [
        "4242424242424242",
        "4242_4242_4242_4242",
        "tok visa",
        "visa",
    ] {
        let number = alice.deposit(at("sandbox", number)).await;
        let number = number.expect_err("no token");
        assert_eq!(told(&number).fields, ["payment_method"]);
    }
    let out = alice.withdraw(withdrawal(&wallet, 100)).await;
    let out = out.expect_err("an acquirer pays nothing out");
    let named = (Code::FailedPrecondition, "PROVIDER_UNAVAILABLE".to_owned());
    assert_eq!(refusal(&out), named);
    let details = out.get_error_details();
    let info = details.error_info().expect("an error has its reason");
    assert_eq!(info.metadata["cause"], "direction");
    let by_card = alice.deposit(at("", "tok_visa")).await.expect("taken");
    assert_eq!(by_card.provider, "sandbox");
    let without = alice.deposit(at("", "")).await.expect("it is recorded");
    assert_eq!(without.provider, "alpha");
    assert_eq!(alice.balance(&wallet).await, (100, 0));
}

/// What was captured and given back is in the acquirer's settlement file as we have it.
#[tokio::test(flavor = "multi_thread")]
async fn captures_are_reconciled() {
    let mesh = mesh().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    let mut ids = Vec::new();
    for amount in [1_000, 2_000] {
        let taken = alice
            .deposit(card_deposit(&wallet, amount, "tok_visa"))
            .await;
        ids.push(taken.expect("the card is good").transaction_id);
    }
    let back = refund(&mesh, &operator(&mesh), &ids[1], Some(500)).await;
    back.expect("so much is left");
    mesh.fault(json!({"operation": "capture", "kind": "decline"}))
        .await;
    let declined = alice
        .deposit(card_deposit(&wallet, 3_000, "tok_visa"))
        .await;
    declined.expect_err("it is declined");
    let capture = mesh.at_provider("captures", &ids[0]).await;
    let finished = capture.expect("the acquirer has it")["finished_at"].clone();
    let day = &finished.as_str().expect("a time is text")[..10];
    let honest = mesh.reconcile(&file(&mesh, day).await, day).await;
    assert_eq!(honest.lines, 3);
    assert_eq!(mesh.breaks(ListBreaksRequest::default()).await, []);
}

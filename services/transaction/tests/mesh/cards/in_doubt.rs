//! What becomes of a deposit from a card whose answers are lost, late or refused halfway.

use bursar_contracts::transaction::v1::TransactionState;
use serde_json::json;

use super::{KEPT, assert_at_acquirer, card_deposit, mesh, mesh_with};
use crate::support::Mesh;
use crate::support::calls::told;
use crate::support::person::Person;
use crate::support::wire::Mode;

const CALLBACKS: &str = "/api/v1/transactions/callbacks/sandbox";

/// Makes a deposit whose answer is not known at first.
async fn in_doubt(person: &Person<'_>, wallet: &str, minor_units: i64) -> String {
    let request = card_deposit(wallet, minor_units, "tok_visa");
    let unknown = person.deposit(request).await.expect("it is recorded");
    assert_eq!(unknown.state(), TransactionState::Unknown);
    unknown.transaction_id
}

/// Waits for the failure of a deposit, and returns its reason and the acquirer's word
/// for it.
async fn fails(mesh: &Mesh, id: &str) -> (String, String) {
    let failed = mesh.reaches(id, TransactionState::Failed).await;
    let failure = failed.failure.expect("a failure has its reason");
    let sql = "SELECT decline_code FROM transactions WHERE transaction_id = $1::uuid";
    let code: Option<String> = sqlx::query_scalar(sql)
        .bind(id.trim_start_matches("txn_").to_owned())
        .fetch_one(&mesh.database.pool)
        .await
        .expect("it is recorded");
    (failure.reason, code.unwrap_or_default())
}

/// Whichever answer is lost, and whether or not what it was about was done: the deposit
/// is in doubt, and then it is completed with one authorisation and one capture.
#[tokio::test]
async fn what_was_cut_short_after_the_authorization_is_captured_once() {
    let mesh = mesh().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    let mut amount = 0;
    for (operation, kind) in [
        ("authorization", "lost_response"),
        ("authorization", "no_answer"),
        ("capture", "lost_response"),
        ("capture", "no_answer"),
        // The capture never arrives.
        ("capture", "timeout"),
        ("capture", "connection_reset"),
        ("capture", "error_500"),
    ] {
        mesh.fault(json!({"operation": operation, "kind": kind}))
            .await;
        let id = in_doubt(&alice, &wallet, 100).await;
        let done = mesh.reaches(&id, TransactionState::Completed).await;
        assert!(done.provider_reference.starts_with("cp_"), "{done:?}");
        assert_at_acquirer(&mesh, &id, "captured", "succeeded").await;
        amount += 100;
        assert_eq!(
            alice.balance(&wallet).await,
            (amount, 0),
            "{operation} {kind}"
        );
    }
    assert_eq!(mesh.count(KEPT).await, 0);
    mesh.verify().await;
}

/// An authorisation that never arrived has failed once the provider's window has
/// closed, and not before it was asked.
#[tokio::test]
async fn an_authorization_that_never_arrived_fails() {
    let mesh = mesh().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    for kind in ["timeout", "error_500"] {
        mesh.fault(json!({"operation": "authorization", "kind": kind}))
            .await;
        let id = in_doubt(&alice, &wallet, 100).await;
        let (reason, _) = fails(&mesh, &id).await;
        assert_eq!(reason, "PROVIDER_NEVER_RECEIVED", "{kind}");
        assert_at_acquirer(&mesh, &id, "unknown", "unknown").await;
    }
    assert_eq!(alice.balance(&wallet).await, (0, 0));
    mesh.verify().await;
}

/// A process that dies, or stands still, between authorisation and capture leaves
/// nothing behind: another one captures, and what the first one does when it goes on
/// changes nothing.
#[tokio::test]
async fn another_process_captures_what_one_has_authorized() {
    let mesh = mesh().await;
    let another = mesh.another_service().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    // The answer comes so late that the caller's process waits for it.
    let slow = json!({"operation": "authorization", "kind": "slow", "delay_ms": 900});
    mesh.fault(slow).await;
    let asking = alice.deposit_with(card_deposit(&wallet, 700, "tok_visa"), "k");
    let taking_over = async {
        mesh.until(
            "SELECT count(*) FROM transactions WHERE provider_requests = 1",
            1,
        )
        .await;
        mesh.let_leases_lapse().await;
    };
    let (asked, ()) = tokio::join!(asking, taking_over);
    // Whoever has finished it: the answer is the same.
    let id = match asked {
        Ok(response) => response
            .into_inner()
            .transaction
            .map(|it| it.transaction_id),
        Err(status) => told(&status).transaction_id,
    };
    let id = id.expect("it is recorded");
    mesh.reaches(&id, TransactionState::Completed).await;
    assert_at_acquirer(&mesh, &id, "captured", "succeeded").await;
    assert_eq!(alice.balance(&wallet).await, (700, 0));
    another.stop().await;
    mesh.verify().await;
}

/// A capture that is declined fails the deposit, after what was authorised is given up:
/// also when the answer of that is lost, or it never arrives at first.
#[tokio::test]
async fn a_declined_capture_gives_the_authorization_up() {
    let mesh = mesh().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    let decline = json!({
        "operation": "capture", "kind": "decline", "decline_code": "do_not_honor"
    });
    mesh.fault(decline.clone()).await;
    let refused = alice.deposit(card_deposit(&wallet, 700, "tok_visa")).await;
    let refused = told(&refused.expect_err("declined"));
    assert_eq!(refused.decline_code.as_deref(), Some("do_not_honor"));
    let id = refused.transaction_id.expect("it is recorded");
    assert_at_acquirer(&mesh, &id, "voided", "declined").await;
    for kind in ["lost_response", "timeout", "error_500"] {
        mesh.fault(decline.clone()).await;
        mesh.fault(json!({"operation": "void", "kind": kind})).await;
        let id = in_doubt(&alice, &wallet, 700).await;
        let (reason, code) = fails(&mesh, &id).await;
        assert_eq!(
            (&*reason, &*code),
            ("PROVIDER_DECLINED", "do_not_honor"),
            "{kind}"
        );
        assert_at_acquirer(&mesh, &id, "voided", "declined").await;
    }
    assert_eq!(alice.balance(&wallet).await, (0, 0));
    mesh.verify().await;
}

/// What the acquirer only accepts at first, the authorisation or the capture, is
/// completed or failed by what becomes of it later, which a callback brings forward.
#[tokio::test]
async fn a_late_answer_of_the_acquirer_counts() {
    let mesh = mesh().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    let later = |operation: &str, kind: &str| json!({"operation": operation, "kind": kind, "delay_ms": 1000, "decline_code": "lost_card"});
    let request = || card_deposit(&wallet, 100, "tok_visa");
    for operation in ["authorization", "capture"] {
        mesh.fault(later(operation, "pending")).await;
        let waiting = alice.deposit(request()).await.expect("it is recorded");
        assert_eq!(waiting.state(), TransactionState::Processing, "{operation}");
        mesh.put_checks_off().await;
        let notice = mesh.inbox.about(&waiting.transaction_id).await;
        // Of a capture that is awaited the authorisation is told first.
        let notice = if operation == "capture" && notice.body.contains("authorization.") {
            mesh.inbox.about(&waiting.transaction_id).await
        } else {
            notice
        };
        let taken = mesh.call_back(CALLBACKS, &notice).await;
        assert_eq!(taken.status(), 204);
        mesh.reaches(&waiting.transaction_id, TransactionState::Completed)
            .await;
    }
    assert_eq!(alice.balance(&wallet).await, (200, 0));
    for (operation, authorization, capture) in [
        ("authorization", "declined", "unknown"),
        ("capture", "voided", "declined"),
    ] {
        mesh.fault(later(operation, "pending_decline")).await;
        let waiting = alice.deposit(request()).await.expect("it is recorded");
        assert_eq!(waiting.state(), TransactionState::Processing, "{operation}");
        let (_, code) = fails(&mesh, &waiting.transaction_id).await;
        assert_eq!(code, "lost_card", "{operation}");
        assert_at_acquirer(&mesh, &waiting.transaction_id, authorization, capture).await;
    }
    assert_eq!(alice.balance(&wallet).await, (200, 0));
    mesh.verify().await;
}

/// What is found authorised when nobody expects it any more is given up, not captured.
#[tokio::test]
async fn what_is_expected_no_more_is_given_up() {
    let mesh = mesh_with(json!({"give_up_ms": 1000})).await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    // By the time that the missing answer is noticed, that time is over.
    mesh.fault(json!({"operation": "capture", "kind": "timeout"}))
        .await;
    let id = in_doubt(&alice, &wallet, 700).await;
    let (reason, code) = fails(&mesh, &id).await;
    assert_eq!(
        (&*reason, &*code),
        ("PROVIDER_DECLINED", "not_captured_in_time")
    );
    assert_at_acquirer(&mesh, &id, "voided", "unknown").await;
    assert_eq!(alice.balance(&wallet).await, (0, 0));
    mesh.verify().await;
}

/// While the acquirer is away nothing is decided, however long; when it is back, what
/// was captured counts.
#[tokio::test]
async fn an_outage_decides_nothing() {
    let mesh = mesh().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    mesh.to_sandbox.set(Mode::LosesAnswers);
    let id = in_doubt(&alice, &wallet, 700).await;
    mesh.to_sandbox.set(Mode::Cut);
    // Looked at several times in vain, the provider's window long closed.
    mesh.until(
        "SELECT count(*) FROM transaction_checks WHERE attempts >= 4",
        1,
    )
    .await;
    assert_eq!(
        mesh.transaction(&id).await.state(),
        TransactionState::Unknown
    );
    mesh.to_sandbox.set(Mode::Whole);
    mesh.reaches(&id, TransactionState::Completed).await;
    assert_at_acquirer(&mesh, &id, "captured", "succeeded").await;
    assert_eq!(alice.balance(&wallet).await, (700, 0));
    mesh.verify().await;
}

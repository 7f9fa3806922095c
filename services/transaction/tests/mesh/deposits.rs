//! Deposits, over the real ledger and the real sandbox provider.

use bursar_contracts::transaction::v1::{TransactionState, TransactionType};
use serde_json::json;
use tonic::Code;

use crate::support::Mesh;
use crate::support::calls::{deposit, is_replayed, refusal, told};
use crate::support::wire::Mode;

/// The provider takes the money, the ledger has it, and the answer is done.
#[tokio::test]
async fn a_deposit_takes_money_in() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    let taken = alice
        .deposit(deposit(&wallet, 1_000))
        .await
        .expect("the provider takes it");
    assert_eq!(taken.state(), TransactionState::Completed);
    assert_eq!(taken.r#type(), TransactionType::Deposit);
    assert_eq!(
        (&*taken.from_wallet_id, &*taken.to_wallet_id),
        ("", &*wallet)
    );
    assert_eq!(taken.provider, "sandbox");
    assert!(taken.provider_reference.starts_with("ch_"));
    assert_eq!(alice.balance(&wallet).await, (1_000, 0));
    let charge = mesh.at_provider("charges", &taken.transaction_id).await;
    assert_eq!(
        charge.expect("the provider knows it")["amount_minor"],
        1_000
    );
    mesh.verify().await;
}

/// A decline is a failure with the provider's word for it, the same for ever.
#[tokio::test]
async fn a_declined_deposit_fails_for_good() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    // The magic amount for `insufficient_funds`.
    let request = deposit(&wallet, 99_901);
    let first = alice
        .deposit_with(request.clone(), "k")
        .await
        .expect_err("declined");
    let first_told = told(&first);
    assert_eq!(first_told.code, Code::FailedPrecondition);
    assert_eq!(first_told.reason, "PROVIDER_DECLINED");
    assert_eq!(
        first_told.decline_code.as_deref(),
        Some("insufficient_funds")
    );
    assert_eq!(first_told.preconditions, ["PROVIDER_DECLINED"]);
    let again = alice
        .deposit_with(request, "k")
        .await
        .expect_err("as before");
    assert!(is_replayed(again.metadata()));
    assert_eq!(told(&again), first_told);
    assert_eq!(alice.balance(&wallet).await, (0, 0));
    mesh.verify().await;
}

/// What cannot be deposited is refused before the provider hears of it, and a
/// refusal about the wallet is kept for its key.
#[tokio::test]
async fn impossible_deposits_are_refused_before_the_provider() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (own, foreign) = (alice.wallet().await, bob.wallet().await);
    let dollars = alice.wallet_in("USD").await;

    let not_hers = alice
        .deposit_with(deposit(&foreign, 10), "k")
        .await
        .expect_err("bob's");
    assert_eq!(
        refusal(&not_hers),
        (Code::NotFound, "WALLET_NOT_FOUND".to_owned())
    );
    let again = alice
        .deposit_with(deposit(&foreign, 10), "k")
        .await
        .expect_err("as before");
    assert!(is_replayed(again.metadata()));

    let mixed = alice
        .deposit(deposit(&dollars, 10))
        .await
        .expect_err("mixed");
    let mixed = told(&mixed);
    assert_eq!(
        (mixed.code, &*mixed.reason),
        (Code::InvalidArgument, "CURRENCY_MISMATCH")
    );
    assert_eq!(mixed.fields, ["amount.currency_code"]);

    mesh.set_status(&own, "closed").await;
    let closed = alice.deposit(deposit(&own, 10)).await.expect_err("closed");
    assert_eq!(
        refusal(&closed),
        (Code::FailedPrecondition, "WALLET_CLOSED".to_owned())
    );

    let mut elsewhere = deposit(&own, 10);
    elsewhere.provider = "acme".to_owned();
    let elsewhere = told(
        &alice
            .deposit(elsewhere)
            .await
            .expect_err("no such provider"),
    );
    assert_eq!(
        (elsewhere.code, &*elsewhere.reason),
        (Code::InvalidArgument, "PROVIDER_UNKNOWN")
    );
    assert_eq!(elsewhere.fields, ["provider"]);

    assert_eq!(mesh.count("SELECT count(*) FROM transactions").await, 0);
    mesh.verify().await;
}

/// The charge happened and its answer was lost: UNKNOWN, then COMPLETED once.
#[tokio::test]
async fn a_charge_whose_answer_was_lost_completes_once() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    mesh.fault(json!({"operation": "charge", "kind": "lost_response"}))
        .await;
    let unknown = alice
        .deposit(deposit(&wallet, 500))
        .await
        .expect("an answer all the same");
    assert_eq!(unknown.state(), TransactionState::Unknown);
    let done = mesh
        .reaches(&unknown.transaction_id, TransactionState::Completed)
        .await;
    assert!(done.provider_reference.starts_with("ch_"));
    assert_eq!(alice.balance(&wallet).await, (500, 0));
    mesh.verify().await;
}

/// The charge never arrived: UNKNOWN for as long as it might, then FAILED.
#[tokio::test]
async fn a_charge_that_never_arrived_fails_after_the_window() {
    for kind in ["timeout", "connection_reset", "error_500"] {
        let mesh = Mesh::start().await;
        let alice = mesh.person();
        let wallet = alice.wallet().await;
        mesh.fault(json!({"operation": "charge", "kind": kind}))
            .await;
        let unknown = alice
            .deposit(deposit(&wallet, 500))
            .await
            .expect("an answer all the same");
        assert_eq!(unknown.state(), TransactionState::Unknown, "{kind}");
        let failed = mesh
            .reaches(&unknown.transaction_id, TransactionState::Failed)
            .await;
        assert_eq!(
            failed.failure.expect("it says why").reason,
            "PROVIDER_NEVER_RECEIVED"
        );
        assert_eq!(
            mesh.at_provider("charges", &unknown.transaction_id).await,
            None
        );
        assert_eq!(alice.balance(&wallet).await, (0, 0));
        mesh.verify().await;
    }
}

/// A provider that cannot be reached at all has certainly got nothing: the
/// deposit waits for it and is sent again.
#[tokio::test]
async fn a_charge_that_was_never_sent_is_sent_again() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    mesh.to_sandbox.set(Mode::Refused);
    let waiting = alice
        .deposit(deposit(&wallet, 500))
        .await
        .expect("an answer all the same");
    assert_eq!(waiting.state(), TransactionState::Processing);
    assert_eq!(
        mesh.at_provider("charges", &waiting.transaction_id).await,
        None
    );
    mesh.to_sandbox.set(Mode::Whole);
    mesh.reaches(&waiting.transaction_id, TransactionState::Completed)
        .await;
    assert_eq!(alice.balance(&wallet).await, (500, 0));
    mesh.verify().await;
}

/// What could not be sent for too long is given up, not sprung on the user later.
#[tokio::test]
async fn a_charge_that_cannot_be_sent_is_given_up() {
    let mesh = Mesh::start_with(&[("BURSAR_SANDBOX_GIVE_UP_MS", "1000")]).await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    mesh.to_sandbox.set(Mode::Refused);
    let waiting = alice
        .deposit(deposit(&wallet, 500))
        .await
        .expect("an answer all the same");
    let failed = mesh
        .reaches(&waiting.transaction_id, TransactionState::Failed)
        .await;
    assert_eq!(
        failed.failure.expect("it says why").reason,
        "PROVIDER_NEVER_RECEIVED"
    );
    mesh.to_sandbox.set(Mode::Whole);
    assert_eq!(
        mesh.at_provider("charges", &waiting.transaction_id).await,
        None
    );
    mesh.verify().await;
}

/// Operators see what happened, how long the provider took, and what is unknown.
#[tokio::test]
async fn operators_see_what_happened() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    alice.deposit(deposit(&wallet, 500)).await.expect("taken");
    let url = format!("http://{}/metrics", mesh.service.http_address);
    let shown = mesh.http.get(url).send().await.expect("it answers");
    let shown = shown.text().await.expect("text");
    for line in [
        r#"bursar_transactions_total{type="deposit",state="COMPLETED"}"#,
        r#"bursar_transactions_under_way{state="UNKNOWN"}"#,
        "bursar_transactions_unknown_oldest_age_seconds",
        "bursar_provider_call_seconds_count",
    ] {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
}

//! Transfers while the ledger is away, slow, or answers into the void.

use std::time::Duration;

use bursar_contracts::transaction::v1::TransactionState;
use tonic::Code;

use crate::support::Mesh;
use crate::support::calls::{deposit, refusal, told, transfer};
use crate::support::wire::Mode;

/// A deadline that a test can wait for.
const SHORT: Duration = Duration::from_millis(1_500);

/// The ledger is away: UNAVAILABLE with a hint to try again, then the same key
/// ends COMPLETED, once.
#[tokio::test]
async fn a_transfer_outlives_a_ledger_that_is_away() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let request = transfer(&from, &to, 400);
    mesh.to_wallet.set(Mode::Cut);
    let away = alice
        .transfer_within(request.clone(), "k", SHORT)
        .await
        .expect_err("away");
    let away = told(&away);
    assert_eq!(
        (away.code, &*away.reason),
        (Code::Unavailable, "UNAVAILABLE")
    );
    assert!(away.retries);
    let id = away
        .transaction_id
        .expect("the waiting transaction is named");
    mesh.to_wallet.set(Mode::Whole);
    let done = alice
        .until_answered(request, "k")
        .await
        .expect("the same key goes on");
    assert_eq!((done.transaction_id, done.version), (id, 2));
    assert_eq!(bob.balance(&to).await, (400, 0));
    assert_eq!(alice.balance(&from).await, (600, 0));
    mesh.verify().await;
}

/// The ledger posted and its answer was lost: the same key ends COMPLETED, and
/// the money moved once.
#[tokio::test]
async fn a_posting_whose_answer_was_lost_counts_once() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let request = transfer(&from, &to, 400);
    mesh.to_wallet.set(Mode::LosesAnswers);
    let lost = alice
        .transfer_within(request.clone(), "k", SHORT)
        .await
        .expect_err("no answer");
    assert_eq!(lost.code(), Code::Unavailable);
    assert_eq!(bob.balance(&to).await, (400, 0));
    mesh.to_wallet.set(Mode::Whole);
    let done = alice
        .until_answered(request, "k")
        .await
        .expect("the same key goes on");
    assert_eq!(done.state(), TransactionState::Completed);
    assert_eq!(bob.balance(&to).await, (400, 0));
    mesh.verify().await;
}

/// A refusal beside an attempt that was never answered is made certain before
/// it counts: the posting id is taken, so that nothing can arrive late.
#[tokio::test]
async fn an_uncertain_refusal_is_barred() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(100).await, bob.wallet().await);
    let request = transfer(&from, &to, 400);
    mesh.to_wallet.set(Mode::LosesAnswers);
    let lost = alice
        .transfer_within(request.clone(), "k", SHORT)
        .await
        .expect_err("no answer");
    let id = told(&lost)
        .transaction_id
        .expect("the waiting transaction is named");
    mesh.to_wallet.set(Mode::Whole);
    let refused = alice
        .until_answered(request, "k")
        .await
        .expect_err("not enough");
    assert_eq!(
        refusal(&refused),
        (Code::FailedPrecondition, "INSUFFICIENT_FUNDS".to_owned())
    );
    assert_eq!(told(&refused).transaction_id.as_deref(), Some(&*id));

    let id = id.trim_start_matches("txn_").to_owned();
    let kind: String = sqlx::query_scalar("SELECT kind::text FROM postings WHERE id = $1::uuid")
        .bind(id)
        .fetch_one(&mesh.wallet_database.owner)
        .await
        .expect("the id is taken");
    assert_eq!(kind, "adjustment");
    alice
        .deposit(deposit(&from, 1_000))
        .await
        .expect("money comes in later");
    assert_eq!(bob.balance(&to).await, (0, 0));
    mesh.verify().await;
}

/// While one call with the key is at work, another one is told to try again.
#[tokio::test]
async fn a_key_at_work_is_told_to_try_again() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let request = transfer(&from, &to, 400);
    mesh.to_wallet.set(Mode::Cut);
    let mut client = mesh.client();
    let first = alice.request_with(request.clone(), "k");
    let first = tokio::spawn(async move { client.create_transfer(first).await });
    mesh.until(
        "SELECT count(*) FROM transactions WHERE kind = 'transfer'",
        1,
    )
    .await;
    let second = alice
        .transfer_with(request, "k")
        .await
        .expect_err("at work");
    let told = told(&second);
    assert_eq!(
        (told.code, &*told.reason),
        (Code::Aborted, "IDEMPOTENCY_KEY_IN_USE")
    );
    assert!(told.retries);
    mesh.to_wallet.set(Mode::Whole);
    let first = first
        .await
        .expect("the call ends")
        .expect("the ledger is back in time");
    let done = first.into_inner().transaction.expect("set");
    assert_eq!(done.state(), TransactionState::Completed);
    mesh.verify().await;
}

/// Recovery takes a transfer over while its request is still at work: whoever
/// is first decides, the other one cannot write, and the money moves once.
#[tokio::test]
async fn a_race_of_request_and_recovery_has_one_outcome() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    mesh.to_wallet.set(Mode::Cut);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..20 {
        let call = alice.request_with(transfer(&from, &to, 10), &format!("k{number}"));
        let mut client = mesh.client();
        calls.spawn(async move { client.create_transfer(call).await });
    }
    mesh.until(
        "SELECT count(*) FROM transactions WHERE kind = 'transfer'",
        20,
    )
    .await;
    mesh.let_leases_lapse().await;
    mesh.to_wallet.set(Mode::Whole);
    while let Some(call) = calls.join_next().await {
        match call.expect("no call panics") {
            Ok(response) => {
                let answered = response.into_inner().transaction.expect("set");
                assert_eq!(answered.state(), TransactionState::Completed);
            }
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
    }
    let completed =
        "SELECT count(*) FROM transactions WHERE kind = 'transfer' AND state = 'COMPLETED'";
    mesh.until(completed, 20).await;
    assert_eq!(bob.balance(&to).await, (200, 0));
    assert_eq!(
        mesh.count("SELECT count(*) FROM event_log WHERE version = 3")
            .await,
        1,
        "the deposit's"
    );
    mesh.verify().await;
}

/// The service stops while a transfer waits for the ledger; the one that starts
/// in its place ends it.
#[tokio::test]
async fn a_restarted_service_goes_on() {
    let mut mesh = Mesh::start().await;
    let alice = mesh.person();
    let (from, to) = (alice.funded(1_000).await, alice.wallet().await);
    mesh.to_wallet.set(Mode::Cut);
    let request = transfer(&from, &to, 400);
    let away = alice
        .transfer_within(request, "k", SHORT)
        .await
        .expect_err("away");
    let id = told(&away)
        .transaction_id
        .expect("the waiting transaction is named");
    mesh.restart_service().await;
    mesh.to_wallet.set(Mode::Whole);
    mesh.reaches(&id, TransactionState::Completed).await;
    mesh.verify().await;
}

/// A ledger that is away before a deposit or a withdrawal starts leaves nothing
/// behind.
#[tokio::test]
async fn nothing_starts_without_the_ledger() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.wallet().await;
    mesh.to_wallet.set(Mode::Cut);
    let mut call = alice.request_with(deposit(&wallet, 10), "k");
    call.set_timeout(SHORT);
    let away = mesh.client().create_deposit(call).await.expect_err("away");
    let away = told(&away);
    assert_eq!(
        (away.code, &*away.reason),
        (Code::Unavailable, "UNAVAILABLE")
    );
    assert_eq!((away.transaction_id, away.retries), (None, true));
    assert_eq!(mesh.count("SELECT count(*) FROM transactions").await, 0);
    mesh.to_wallet.set(Mode::Whole);
    let done = alice
        .deposit_with(deposit(&wallet, 10), "k")
        .await
        .expect("the key is new");
    let done = done.into_inner().transaction.expect("set");
    assert_eq!(done.state(), TransactionState::Completed);
}

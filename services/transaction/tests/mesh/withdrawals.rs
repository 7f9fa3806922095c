//! Withdrawals, over the real ledger and the real sandbox provider.

use bursar_contracts::transaction::v1::TransactionState;
use serde_json::json;
use tonic::Code;

use crate::support::Mesh;
use crate::support::calls::{is_replayed, refusal, told, withdrawal};
use crate::support::wire::Mode;

/// The money is set aside, paid out and gone.
#[tokio::test]
async fn a_withdrawal_pays_out() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.funded(1_000).await;
    let paid = alice
        .withdraw(withdrawal(&wallet, 400))
        .await
        .expect("enough");
    assert_eq!(paid.state(), TransactionState::Completed);
    assert!(paid.provider_reference.starts_with("po_"));
    assert_eq!((&*paid.from_wallet_id, &*paid.to_wallet_id), (&*wallet, ""));
    assert_eq!(alice.balance(&wallet).await, (600, 0));
    let payout = mesh.at_provider("payouts", &paid.transaction_id).await;
    assert_eq!(payout.expect("the provider knows it")["amount_minor"], 400);
    mesh.verify().await;
}

/// Not enough money: the provider never hears of it, and a replay is the same.
#[tokio::test]
async fn insufficient_funds_fail_before_the_provider() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.funded(100).await;
    let request = withdrawal(&wallet, 101);
    let first = alice
        .withdraw_with(request.clone(), "k")
        .await
        .expect_err("too much");
    let first_told = told(&first);
    assert_eq!(first_told.code, Code::FailedPrecondition);
    assert_eq!(first_told.reason, "INSUFFICIENT_FUNDS");
    let id = first_told
        .transaction_id
        .clone()
        .expect("the failed transaction is named");
    assert_eq!(mesh.at_provider("payouts", &id).await, None);
    let again = alice
        .withdraw_with(request, "k")
        .await
        .expect_err("as before");
    assert!(is_replayed(again.metadata()));
    assert_eq!(told(&again), first_told);
    assert_eq!(alice.balance(&wallet).await, (100, 0));
    mesh.verify().await;
}

/// What cannot be withdrawn is refused: another's wallet, another currency, a
/// frozen or closed wallet, another provider.
#[tokio::test]
async fn impossible_withdrawals_are_refused() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (own, foreign) = (alice.funded(100).await, bob.funded(100).await);
    let dollars = alice.wallet_in("USD").await;
    let not_hers = alice
        .withdraw(withdrawal(&foreign, 10))
        .await
        .expect_err("bob's");
    assert_eq!(
        refusal(&not_hers),
        (Code::NotFound, "WALLET_NOT_FOUND".to_owned())
    );
    let mixed = alice
        .withdraw(withdrawal(&dollars, 10))
        .await
        .expect_err("mixed");
    assert_eq!(
        refusal(&mixed),
        (Code::InvalidArgument, "CURRENCY_MISMATCH".to_owned())
    );
    let mut elsewhere = withdrawal(&own, 10);
    elsewhere.provider = "acme".to_owned();
    let elsewhere = alice
        .withdraw(elsewhere)
        .await
        .expect_err("no such provider");
    assert_eq!(
        refusal(&elsewhere),
        (Code::InvalidArgument, "PROVIDER_UNKNOWN".to_owned())
    );
    mesh.set_status(&own, "frozen").await;
    let frozen = alice
        .withdraw(withdrawal(&own, 10))
        .await
        .expect_err("frozen");
    assert_eq!(
        refusal(&frozen),
        (Code::FailedPrecondition, "WALLET_FROZEN".to_owned())
    );
    mesh.set_status(&own, "closed").await;
    let closed = alice
        .withdraw(withdrawal(&own, 10))
        .await
        .expect_err("closed");
    assert_eq!(
        refusal(&closed),
        (Code::FailedPrecondition, "WALLET_CLOSED".to_owned())
    );
    assert_eq!(bob.balance(&foreign).await, (100, 0));
    mesh.verify().await;
}

/// A declined payout gives the money back.
#[tokio::test]
async fn a_declined_payout_gives_the_money_back() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.funded(1_000).await;
    let code = "account_closed";
    mesh.fault(json!({"operation": "payout", "kind": "decline", "decline_code": code}))
        .await;
    let declined = alice
        .withdraw(withdrawal(&wallet, 400))
        .await
        .expect_err("declined");
    let told = told(&declined);
    assert_eq!(
        (told.code, &*told.reason),
        (Code::FailedPrecondition, "PROVIDER_DECLINED")
    );
    assert_eq!(told.decline_code.as_deref(), Some(code));
    assert_eq!(alice.balance(&wallet).await, (1_000, 0));
    mesh.verify().await;
}

/// The payout took longer than the deadline and happened all the same.
#[tokio::test]
async fn a_payout_slower_than_the_deadline_completes_once() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.funded(1_000).await;
    mesh.fault(json!({"operation": "payout", "kind": "slow", "delay_ms": 3_000}))
        .await;
    let unknown = alice
        .withdraw(withdrawal(&wallet, 400))
        .await
        .expect("an answer all the same");
    assert_eq!(unknown.state(), TransactionState::Unknown);
    mesh.reaches(&unknown.transaction_id, TransactionState::Completed)
        .await;
    assert_eq!(alice.balance(&wallet).await, (600, 0));
    mesh.verify().await;
}

/// The ledger went away after the payout: the answer says so, the capture is
/// made when the ledger is back, once.
#[tokio::test]
async fn a_capture_is_made_up_for() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let wallet = alice.funded(1_000).await;
    mesh.fault(json!({"operation": "payout", "kind": "slow", "delay_ms": 500}))
        .await;
    let mut call = alice.request_with(withdrawal(&wallet, 400), "k");
    call.set_timeout(std::time::Duration::from_secs(4));
    let mut client = mesh.client();
    let calling = tokio::spawn(async move { client.create_withdrawal(call).await });
    mesh.until(
        "SELECT count(*) FROM transactions WHERE state = 'PROCESSING'",
        1,
    )
    .await;
    mesh.to_wallet.set(Mode::Cut);
    let answer = calling
        .await
        .expect("the call ends")
        .expect("an answer all the same");
    let settling = answer.into_inner().transaction.expect("set");
    assert_eq!(settling.state(), TransactionState::Settling);
    assert_eq!(alice.balance(&wallet).await, (600, 400));
    mesh.to_wallet.set(Mode::Whole);
    mesh.reaches(&settling.transaction_id, TransactionState::Completed)
        .await;
    assert_eq!(alice.balance(&wallet).await, (600, 0));
    mesh.verify().await;
}

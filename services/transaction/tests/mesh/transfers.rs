//! Transfers, end to end over the real ledger.

use bursar_contracts::transaction::v1::{TransactionState, TransactionType};
use bursar_testkit::with_token;
use tonic::Code;

use crate::support::Mesh;
use crate::support::calls::{deposit, is_replayed, keyed, refusal, told, transfer};

/// A transfer moves the money once, is final in the answer, and says who, what
/// and when.
#[tokio::test]
async fn a_transfer_moves_money() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.wallet().await);
    let sent = alice
        .transfer(transfer(&from, &to, 400))
        .await
        .expect("alice has enough");
    assert_eq!(sent.state(), TransactionState::Completed);
    assert_eq!(sent.r#type(), TransactionType::Transfer);
    assert_eq!(
        (sent.from_wallet_id.as_str(), sent.to_wallet_id.as_str()),
        (&*from, &*to)
    );
    assert_eq!(sent.initiator_user_id, alice.id.to_string());
    assert_eq!(sent.description, "lunch");
    assert_eq!((sent.version, sent.failure), (2, None));
    assert_eq!(alice.balance(&from).await, (600, 0));
    assert_eq!(bob.balance(&to).await, (400, 0));
    mesh.verify().await;
}

/// The same key and body gets the first answer again, with the mark; another
/// body is refused, and another user's key is another key.
#[tokio::test]
async fn a_key_means_one_transfer() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(1_000).await, bob.funded(1_000).await);
    let request = transfer(&from, &to, 400);
    let first = alice
        .transfer_with(request.clone(), "k")
        .await
        .expect("enough");
    assert!(!is_replayed(first.metadata()));
    let again = alice
        .transfer_with(request, "k")
        .await
        .expect("the same answer");
    assert!(is_replayed(again.metadata()));
    assert_eq!(first.into_inner(), again.into_inner());

    let other = alice.transfer_with(transfer(&from, &to, 401), "k").await;
    let other = other.expect_err("another body");
    assert_eq!(
        refusal(&other),
        (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED".to_owned())
    );
    let back = bob.transfer_with(transfer(&to, &from, 100), "k").await;
    assert!(!is_replayed(back.expect("bob's own key").metadata()));
    assert_eq!(alice.balance(&from).await, (700, 0));
    mesh.verify().await;
}

/// Not enough money: FAILED is recorded, and a replay is the same error about
/// the same transaction even when the money is there by then.
#[tokio::test]
async fn insufficient_funds_fail_for_good() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(100).await, bob.wallet().await);
    let request = transfer(&from, &to, 101);
    let first = alice
        .transfer_with(request.clone(), "k")
        .await
        .expect_err("too much");
    let first_told = told(&first);
    assert_eq!(first_told.code, Code::FailedPrecondition);
    assert_eq!(first_told.reason, "INSUFFICIENT_FUNDS");
    assert_eq!(first_told.preconditions, ["INSUFFICIENT_FUNDS"]);
    let id = first_told
        .transaction_id
        .clone()
        .expect("the failed transaction is named");

    let failed = alice.get(&id).await.expect("alice sees it");
    assert_eq!(failed.state(), TransactionState::Failed);
    assert_eq!(
        failed.failure.expect("it says why").reason,
        "INSUFFICIENT_FUNDS"
    );

    alice
        .deposit(deposit(&from, 1_000))
        .await
        .expect("now there is enough");
    let again = alice
        .transfer_with(request, "k")
        .await
        .expect_err("as before");
    assert!(is_replayed(again.metadata()));
    assert_eq!(told(&again), first_told);
    assert_eq!(again.message(), first.message());
    assert_eq!(bob.balance(&to).await, (0, 0));
    mesh.verify().await;
}

/// Another user's wallet, and none at all, are the same: not found.
#[tokio::test]
async fn foreign_and_missing_wallets_are_not_found() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (own, foreign) = (alice.funded(100).await, bob.funded(100).await);
    let missing = "wal_0190b6a0-0000-7000-8000-000000000000";
    for (from, to) in [(&*foreign, &*own), (missing, &*own), (&*own, missing)] {
        let refused = alice
            .transfer(transfer(from, to, 10))
            .await
            .expect_err("not found");
        let told = told(&refused);
        assert_eq!(told.code, Code::NotFound);
        assert_eq!(told.reason, "WALLET_NOT_FOUND");
        assert!(told.transaction_id.is_some());
    }
    assert_eq!(bob.balance(&foreign).await, (100, 0));
    mesh.verify().await;
}

/// What is wrong with the request itself is told by field, before anything is
/// recorded, and does not use the key up.
#[tokio::test]
async fn malformed_transfers_are_refused_by_field() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(100).await, bob.wallet().await);

    let same = alice
        .transfer_with(transfer(&from, &from, 10), "k")
        .await
        .expect_err("same");
    let same = told(&same);
    assert_eq!(
        (same.code, &*same.reason),
        (Code::InvalidArgument, "SAME_WALLET")
    );
    assert_eq!(same.fields, ["to_wallet_id"]);

    let mut unknown = transfer(&from, &to, 10);
    unknown.amount.as_mut().expect("set").currency_code = "XQQ".to_owned();
    let unknown = alice
        .transfer_with(unknown, "k")
        .await
        .expect_err("no currency");
    let unknown = told(&unknown);
    assert_eq!(
        (unknown.code, &*unknown.reason),
        (Code::InvalidArgument, "CURRENCY_UNSUPPORTED")
    );
    assert_eq!(unknown.fields, ["amount.currency_code"]);

    let nothing = alice
        .transfer_with(transfer(&from, &to, 0), "k")
        .await
        .expect_err("nothing");
    let nothing = told(&nothing);
    assert_eq!(
        (nothing.code, &*nothing.reason),
        (Code::InvalidArgument, "INVALID_FIELD")
    );
    assert_eq!(nothing.fields, ["amount.minor_units"]);

    assert_eq!(
        mesh.count("SELECT count(*) FROM transactions WHERE kind = 'transfer'")
            .await,
        0
    );
    let right = alice.transfer_with(transfer(&from, &to, 10), "k").await;
    assert!(!is_replayed(
        right.expect("the key is still new").metadata()
    ));
}

/// The amount's currency is that of both wallets.
#[tokio::test]
async fn currencies_must_match() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (euros, dollars) = (alice.funded(100).await, bob.wallet_in("USD").await);
    let refused = alice
        .transfer(transfer(&euros, &dollars, 10))
        .await
        .expect_err("mixed");
    let told = told(&refused);
    assert_eq!(
        (told.code, &*told.reason),
        (Code::InvalidArgument, "CURRENCY_MISMATCH")
    );
    assert_eq!(told.fields, ["amount.currency_code"]);
    assert!(told.transaction_id.is_some());
    mesh.verify().await;
}

/// Frozen wallets pay nothing and may receive; closed ones do neither.
#[tokio::test]
async fn frozen_and_closed_wallets_refuse() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(100).await, bob.wallet().await);
    mesh.set_status(&from, "frozen").await;
    let frozen = alice
        .transfer(transfer(&from, &to, 10))
        .await
        .expect_err("frozen");
    assert_eq!(
        refusal(&frozen),
        (Code::FailedPrecondition, "WALLET_FROZEN".to_owned())
    );
    mesh.set_status(&from, "active").await;
    mesh.set_status(&to, "frozen").await;
    alice
        .transfer(transfer(&from, &to, 10))
        .await
        .expect("a frozen wallet receives");
    mesh.set_status(&to, "closed").await;
    let closed = alice
        .transfer(transfer(&from, &to, 10))
        .await
        .expect_err("closed");
    let told = told(&closed);
    assert_eq!(
        (told.code, &*told.reason),
        (Code::FailedPrecondition, "WALLET_CLOSED")
    );
    assert_eq!(told.preconditions, ["WALLET_CLOSED"]);
}

/// A balance that would not fit 64 bits is refused.
#[tokio::test]
async fn overflowing_balances_are_refused() {
    let mesh = Mesh::start().await;
    let (alice, bob) = (mesh.person(), mesh.person());
    let (from, to) = (alice.funded(100).await, bob.wallet().await);
    mesh.set_available(&to, i64::MAX - 5).await;
    let refused = alice
        .transfer(transfer(&from, &to, 10))
        .await
        .expect_err("too much");
    assert_eq!(
        refusal(&refused),
        (Code::FailedPrecondition, "BALANCE_OVERFLOW".to_owned())
    );
    assert_eq!(alice.balance(&from).await, (100, 0));
}

/// Without a key, a token or a user there is no transfer.
#[tokio::test]
async fn a_key_and_a_user_are_needed() {
    let mesh = Mesh::start().await;
    let alice = mesh.person();
    let (from, to) = (alice.funded(100).await, alice.wallet().await);
    let message = transfer(&from, &to, 10);
    let mut client = mesh.client();
    let no_key = client
        .create_transfer(with_token(message.clone(), &alice.token))
        .await;
    let no_key = no_key.expect_err("no key");
    assert_eq!(
        refusal(&no_key),
        (Code::InvalidArgument, "IDEMPOTENCY_KEY_REQUIRED".to_owned())
    );
    let no_token = client
        .create_transfer(keyed(tonic::Request::new(message.clone()), "k"))
        .await;
    assert_eq!(
        no_token.expect_err("no token").code(),
        Code::Unauthenticated
    );
    let service = mesh.tokens.service("wallet");
    let service = client
        .create_transfer(keyed(with_token(message, &service), "k"))
        .await;
    let code = service.expect_err("a service is no user").code();
    assert!(
        matches!(code, Code::Unauthenticated | Code::PermissionDenied),
        "{code:?}"
    );
    assert_eq!(
        mesh.count("SELECT count(*) FROM transactions WHERE kind = 'transfer'")
            .await,
        0
    );
}

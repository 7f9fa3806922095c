//! What may be done with a wallet: freezing, closing, credit and spending limits.

use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_contracts::wallet::v1::{
    CloseWalletRequest, FreezeWalletRequest, GetSpendingLimitsRequest, SetCreditLimitRequest,
    SetSpendingLimitsRequest, UnfreezeWalletRequest, WalletStatus,
};
use serde_json::{Value, json};

use crate::grpc;
use crate::holds::{Counter, reason};
use crate::support::{Answer, Edge, eur, refused, text};

const DEPOSITS: &str = "/api/v1/transactions/deposits";

/// Freezes or unfreezes.
async fn set_frozen(edge: &Edge, token: &str, wallet: &str, verb: &str) -> Answer {
    let path = format!("/api/v1/wallet/wallets/{wallet}:{verb}");
    edge.post(&path, token, &json!({"reason": "a court order"}))
        .await
}

/// No money goes out of a frozen wallet, by transfer, withdrawal or hold; money
/// still comes, and unfrozen all is as before.
#[tokio::test]
async fn a_frozen_wallet_pays_nothing() {
    let counter = Counter::open(1_000).await;
    let (edge, wallet, ada) = (&counter.edge, &counter.wallet, &counter.ada);
    let placed = counter.place(&json!({"amount": eur(100)})).await;
    let frozen = set_frozen(edge, &counter.operator, wallet, "freeze")
        .await
        .ok();
    assert_eq!(frozen["wallet"]["status"], "WALLET_STATUS_FROZEN");

    let transfer = edge.transfer(ada, wallet, &counter.till, 10).await;
    refused(&transfer, 400, "WALLET_FROZEN");
    let body = json!({"wallet_id": wallet, "amount": eur(10), "provider": "sandbox"});
    let path = "/api/v1/transactions/withdrawals";
    let withdrawal = edge.pay_until_answered(path, &ada.token, &body).await;
    refused(&withdrawal, 400, "WALLET_FROZEN");
    let hold = counter.try_place(&json!({"amount": eur(10)})).await;
    refused(&hold, 400, "WALLET_FROZEN");
    let close = format!("/api/v1/wallet/wallets/{wallet}:close");
    let close = edge.post(&close, &ada.token, &json!({})).await;
    assert_eq!(close.status, 400, "{:#}", close.json);

    edge.pay_until_answered(DEPOSITS, &ada.token, &body)
        .await
        .ok();
    // What was set aside before is still the shop's to take.
    let body = json!({"to_wallet_id": counter.till});
    let id = text(&placed["hold_id"]);
    counter.act(&id, "capture", &body).await.ok();
    assert_eq!(counter.balances().await, ([910, 0, 0], [100, 0, 0]));

    let thawed = set_frozen(edge, &counter.operator, wallet, "unfreeze")
        .await
        .ok();
    assert_eq!(thawed["wallet"]["status"], "WALLET_STATUS_ACTIVE");
    edge.transfer(ada, wallet, &counter.till, 10).await.ok();
    assert_eq!(counter.balances().await, ([900, 0, 0], [110, 0, 0]));
}

/// A wallet closes when nothing is left in it, and then takes no money.
#[tokio::test]
async fn only_an_empty_wallet_closes() {
    let counter = Counter::open(100).await;
    let (edge, wallet, ada) = (&counter.edge, &counter.wallet, &counter.ada);
    let path = format!("/api/v1/wallet/wallets/{wallet}:close");
    let close = async || edge.post(&path, &ada.token, &json!({})).await;
    refused(&close().await, 400, "WALLET_NOT_EMPTY");
    // Money that is set aside is still in it.
    let placed = counter.place(&json!({"amount": eur(100)})).await;
    refused(&close().await, 400, "WALLET_NOT_EMPTY");
    let body = json!({"to_wallet_id": counter.till});
    let id = text(&placed["hold_id"]);
    counter.act(&id, "capture", &body).await.ok();
    let bob = edge.person().await;
    let others = edge.post(&path, &bob.token, &json!({})).await;
    refused(&others, 404, "WALLET_NOT_FOUND");

    let closed = close().await.ok();
    assert_eq!(closed["wallet"]["status"], "WALLET_STATUS_CLOSED");
    assert_eq!(close().await.ok(), closed, "closing again changes nothing");
    let body = json!({"wallet_id": wallet, "amount": eur(1), "provider": "sandbox"});
    let deposit = edge.pay_until_answered(DEPOSITS, &ada.token, &body).await;
    refused(&deposit, 400, "WALLET_CLOSED");
    let frozen = set_frozen(edge, &counter.operator, wallet, "freeze").await;
    refused(&frozen, 400, "WALLET_CLOSED");
}

/// A credit limit lets a wallet go below zero, exactly so far, and is not
/// lowered below what is owed.
#[tokio::test]
async fn a_credit_limit_is_kept() {
    let counter = Counter::open(100).await;
    let (edge, wallet, ada) = (&counter.edge, &counter.wallet, &counter.ada);
    let path = format!("/api/v1/wallet/wallets/{wallet}/credit-limit");
    let set = async |minor: &str| {
        let body = json!({"credit_limit_minor": minor});
        edge.put(&path, &counter.operator, &body).await
    };
    let limited = set("50").await.ok();
    assert_eq!(limited["wallet"]["credit_limit_minor"], "50");
    let transfer = edge.transfer(ada, wallet, &counter.till, 151).await;
    refused(&transfer, 400, "INSUFFICIENT_FUNDS");
    edge.transfer(ada, wallet, &counter.till, 150).await.ok();
    assert_eq!(counter.balances().await, ([-50, 0, 0], [150, 0, 0]));
    let lowered = set("49").await;
    refused(&lowered, 400, "CREDIT_LIMIT_IN_USE");
    let metadata = &lowered.detail("google.rpc.ErrorInfo")["metadata"];
    assert_eq!(metadata["available_minor"], "-50");
    let close = format!("/api/v1/wallet/wallets/{wallet}:close");
    let close = edge.post(&close, &ada.token, &json!({})).await;
    refused(&close, 400, "WALLET_NOT_EMPTY");
    let negative = set("-1").await;
    refused(&negative, 400, "INVALID_FIELD");
    assert_eq!(negative.fields(), "credit_limit_minor");
    let body = json!({"credit_limit_minor": "5"});
    let own = edge.put(&path, &ada.token, &body).await;
    refused(&own, 403, "PERMISSION_DENIED");
}

/// A transfer keeps to each of the three limits, and its error says to which it
/// did not.
#[tokio::test]
async fn spending_limits_hold_for_transfers() {
    let counter = Counter::open(10_000).await;
    let (edge, wallet, ada) = (&counter.edge, &counter.wallet, &counter.ada);
    let path = format!("/api/v1/wallet/wallets/{wallet}/spending-limits");
    let set = async |limits: Value| edge.put(&path, &counter.operator, &limits).await.ok();
    let transfer = async |minor| edge.transfer(ada, wallet, &counter.till, minor).await;

    let set_to =
        set(json!({"single_minor": "100", "daily_minor": 250, "monthly_minor": "400"})).await;
    assert_eq!(set_to["limits"]["daily_minor"], "250");
    refused(&transfer(101).await, 400, "SINGLE_LIMIT_EXCEEDED");
    transfer(100).await.ok();
    transfer(100).await.ok();
    let over = transfer(51).await;
    refused(&over, 400, "DAILY_LIMIT_EXCEEDED");
    assert_eq!(
        over.detail("google.rpc.ErrorInfo")["domain"],
        "bursar.transaction.v1"
    );

    // Holds count as transfers do, and no more once they are given back.
    let placed = counter.place(&json!({"amount": eur(50)})).await;
    refused(&transfer(1).await, 400, "DAILY_LIMIT_EXCEEDED");
    let hold = counter.try_place(&json!({"amount": eur(1)})).await;
    refused(&hold, 400, "DAILY_LIMIT_EXCEEDED");
    let id = text(&placed["hold_id"]);
    counter.act(&id, "void", &json!({})).await.ok();
    transfer(50).await.ok();
    let found = edge.get(&path, &ada.token).await.ok();
    assert_eq!(found["limits"]["daily_spent_minor"], "250");
    assert_eq!(found["limits"]["monthly_spent_minor"], "250");
    assert!(found["limits"]["daily_resets_at"].is_string(), "{found:#}");

    // What is not given is taken away.
    let set_to = set(json!({"monthly_minor": "300"})).await;
    assert_eq!(set_to["limits"]["single_minor"], Value::Null, "{set_to:#}");
    refused(&transfer(51).await, 400, "MONTHLY_LIMIT_EXCEEDED");
    set(json!({})).await;
    transfer(5_000).await.ok();

    let own = edge.put(&path, &ada.token, &json!({})).await;
    refused(&own, 403, "PERMISSION_DENIED");
    let bob = edge.person().await;
    refused(&edge.get(&path, &bob.token).await, 404, "WALLET_NOT_FOUND");
}

/// A wallet's life by gRPC.
#[tokio::test]
async fn wallet_life_answers_over_grpc() {
    let counter = Counter::open(100).await;
    let mut wallets = WalletServiceClient::new(counter.edge.channel());
    let (wallet_id, operator) = (counter.wallet.clone(), &counter.operator);
    let freeze = FreezeWalletRequest {
        wallet_id: wallet_id.clone(),
        reason: "lost phone".to_owned(),
    };
    let frozen = wallets.freeze_wallet(grpc::with(freeze, operator)).await;
    let frozen = frozen.expect("frozen").into_inner().wallet;
    assert_eq!(frozen.expect("a wallet").status(), WalletStatus::Frozen);
    let unfreeze = UnfreezeWalletRequest {
        wallet_id: wallet_id.clone(),
        reason: "found".to_owned(),
    };
    let unfreeze = grpc::with(unfreeze, operator);
    wallets.unfreeze_wallet(unfreeze).await.expect("unfrozen");
    let credit = SetCreditLimitRequest {
        wallet_id: wallet_id.clone(),
        credit_limit_minor: 7,
    };
    let credit = wallets.set_credit_limit(grpc::with(credit, operator)).await;
    let credit = credit.expect("set").into_inner().wallet;
    assert_eq!(credit.expect("a wallet").credit_limit_minor, 7);
    let limits = SetSpendingLimitsRequest {
        wallet_id: wallet_id.clone(),
        daily_minor: Some(0),
        ..SetSpendingLimitsRequest::default()
    };
    let limits = grpc::with(limits, operator);
    wallets.set_spending_limits(limits).await.expect("set");
    let get = GetSpendingLimitsRequest {
        wallet_id: wallet_id.clone(),
    };
    let found = wallets
        .get_spending_limits(grpc::with(get, &counter.ada.token))
        .await
        .expect("read")
        .into_inner()
        .limits
        .expect("limits");
    assert_eq!((found.single_minor, found.daily_minor), (None, Some(0)));
    let close = CloseWalletRequest { wallet_id };
    let status = wallets
        .close_wallet(grpc::with(close, &counter.ada.token))
        .await
        .expect_err("not empty");
    assert_eq!(reason(&status), "WALLET_NOT_EMPTY");
}

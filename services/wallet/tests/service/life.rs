//! The life of a wallet: frozen, unfrozen, closed, and its credit.

use bursar_aip::id::{UserId, WalletId};
use bursar_contracts::wallet::v1::{
    CloseWalletRequest, FreezeWalletRequest, GetWalletRequest, RejectionReason,
    SetCreditLimitRequest, SetSpendingLimitsRequest, UnfreezeWalletRequest, Wallet, WalletClosed,
    WalletFrozen, WalletStatus, WalletUnfrozen,
};
use bursar_status::StatusExt;
use bursar_testkit::{Tokens, with_token};
use prost::Message;
use tonic::{Code, Status};

use crate::desk::{Desk, close, is_replay, keyed, place, user_with};
use crate::support::{Fixture, applied, deposit, reason, rejected, transfer, uuid_of};

fn refusal(result: Result<Wallet, Status>) -> (Code, String) {
    let status = result.expect_err("refused");
    (status.code(), reason(&status))
}

fn unmet(reason: &str) -> (Code, String) {
    (Code::FailedPrecondition, reason.to_owned())
}

/// The kinds of a wallet's events in order, and the data of the last.
async fn events(fixture: &Fixture, wallet: &Wallet) -> (Vec<String>, Vec<u8>) {
    let rows: Vec<(String, Vec<u8>)> =
        sqlx::query_as("SELECT kind, data FROM event_log WHERE aggregate_id = $1 ORDER BY version")
            .bind(uuid_of(&wallet.wallet_id))
            .fetch_all(&fixture.database.pool)
            .await
            .expect("events");
    let (kinds, mut data): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    (kinds, data.pop().expect("one at least"))
}

/// Frozen money stays: no transfer and no hold; money may come. Unfrozen, it
/// goes again. Each change tells an event with its reason; doing it twice tells
/// one.
#[tokio::test]
async fn frozen_money_stays() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let alice = fixture.funded("EUR", 100).await;
    let bob = fixture.funded("EUR", 100).await;
    let mut ledger = fixture.ledger();
    for _ in 0..2 {
        let frozen = desk.freeze(&alice).await.expect("frozen");
        assert_eq!(frozen.status(), WalletStatus::Frozen);
    }
    let out = ledger.post_one(transfer(&alice, &bob, 1)).await;
    assert_eq!(rejected(&out).0, RejectionReason::WalletFrozen);
    let held = desk.place(place(&alice, 1)).await;
    assert_eq!(reason(&held.expect_err("frozen")), "WALLET_FROZEN");
    applied(&ledger.post_one(transfer(&bob, &alice, 1)).await);
    applied(&ledger.post_one(deposit(&alice, 1)).await);
    let (kinds, _) = events(&fixture, &alice).await;
    assert_eq!(
        kinds,
        [
            "wallet.created",
            "wallet.credited",
            "wallet.frozen",
            "wallet.credited",
            "wallet.credited"
        ]
    );
    let data: Vec<u8> =
        sqlx::query_scalar("SELECT data FROM event_log WHERE kind = 'wallet.frozen'")
            .fetch_one(&fixture.database.pool)
            .await
            .expect("one");
    let told = WalletFrozen::decode(data.as_slice()).expect("its data");
    assert_eq!(told.reason, "a court order");
    assert_eq!(told.wallet_id, alice.wallet_id);
    for _ in 0..2 {
        let active = desk.unfreeze(&alice).await.expect("unfrozen");
        assert_eq!(active.status(), WalletStatus::Active);
    }
    applied(&ledger.post_one(transfer(&alice, &bob, 102)).await);
    let (kinds, _) = events(&fixture, &alice).await;
    let unfrozen = kinds.iter().filter(|kind| *kind == "wallet.unfrozen");
    assert_eq!(unfrozen.count(), 1);
    let data: Vec<u8> =
        sqlx::query_scalar("SELECT data FROM event_log WHERE kind = 'wallet.unfrozen'")
            .fetch_one(&fixture.database.pool)
            .await
            .expect("one");
    let told = WalletUnfrozen::decode(data.as_slice()).expect("its data");
    assert_eq!(told.reason, "the order was lifted");
    fixture.verify().await;
}

/// A wallet is closed when it is empty, for good: nothing comes and nothing is
/// changed any more.
#[tokio::test]
async fn empty_wallets_close() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let alice = fixture.funded("EUR", 100).await;
    let bob = fixture.funded("EUR", 0).await;
    let mut ledger = fixture.ledger();
    assert_eq!(
        refusal(close(&fixture, &alice).await),
        unmet("WALLET_NOT_EMPTY")
    );
    let hold = desk.place(place(&alice, 100)).await.expect("placed");
    assert_eq!(
        refusal(close(&fixture, &alice).await),
        unmet("WALLET_NOT_EMPTY")
    );
    desk.void(&hold).await.expect("voided");
    applied(&ledger.post_one(transfer(&alice, &bob, 100)).await);
    desk.freeze(&alice).await.expect("frozen");
    assert_eq!(
        refusal(close(&fixture, &alice).await),
        unmet("WALLET_FROZEN")
    );
    desk.unfreeze(&alice).await.expect("unfrozen");
    for _ in 0..2 {
        let closed = close(&fixture, &alice).await.expect("closed");
        assert_eq!(closed.status(), WalletStatus::Closed);
    }
    let (kinds, data) = events(&fixture, &alice).await;
    assert_eq!(kinds.last().map(String::as_str), Some("wallet.closed"));
    let told = WalletClosed::decode(data.as_slice()).expect("its data");
    assert_eq!(told.owner_user_id, alice.owner_user_id);
    let closed = || unmet("WALLET_CLOSED");
    assert_eq!(refusal(desk.freeze(&alice).await), closed());
    assert_eq!(refusal(desk.unfreeze(&alice).await), closed());
    assert_eq!(refusal(desk.set_credit(&alice, 5).await), closed());
    let limits = desk.set_limits(&alice, [Some(1), None, None]).await;
    assert_eq!(reason(&limits.expect_err("closed")), "WALLET_CLOSED");
    let credit = ledger.post_one(deposit(&alice, 1)).await;
    assert_eq!(rejected(&credit).0, RejectionReason::WalletClosed);
    fixture.verify().await;
}

/// A credit and a closing at once: either the credit is in and the wallet open,
/// or the wallet is closed and empty.
#[tokio::test]
async fn a_closing_and_a_credit_exclude_each_other() {
    let fixture = Fixture::start().await;
    let mut outcomes = [0, 0];
    for _ in 0..30 {
        let wallet = fixture.funded("EUR", 0).await;
        let mut ledger = fixture.ledger();
        let (closed, credited) = tokio::join!(
            close(&fixture, &wallet),
            ledger.post_one(deposit(&wallet, 5))
        );
        let after = fixture.current(&wallet).await;
        let available = after.balance.expect("a balance").available_minor;
        match closed {
            Ok(_) => {
                outcomes[0] += 1;
                assert_eq!(rejected(&credited).0, RejectionReason::WalletClosed);
                assert_eq!((after.status(), available), (WalletStatus::Closed, 0));
            }
            Err(status) => {
                outcomes[1] += 1;
                assert_eq!(reason(&status), "WALLET_NOT_EMPTY");
                applied(&credited);
                assert_eq!((after.status(), available), (WalletStatus::Active, 5));
            }
        }
    }
    assert_eq!(outcomes.iter().sum::<i32>(), 30);
    fixture.verify().await;
}

/// A wallet with credit goes below zero as far as its limit, and the limit not
/// above what is owed.
#[tokio::test]
async fn credit_has_a_limit() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let alice = fixture.funded("EUR", 10).await;
    let bob = fixture.funded("EUR", 0).await;
    let mut ledger = fixture.ledger();
    let set = desk.set_credit(&alice, 50).await.expect("set");
    assert_eq!(set.credit_limit_minor, 50);
    let over = ledger.post_one(transfer(&alice, &bob, 61)).await;
    assert_eq!(rejected(&over).0, RejectionReason::InsufficientFunds);
    applied(&ledger.post_one(transfer(&alice, &bob, 60)).await);
    assert_eq!(fixture.balance(&alice).await.available_minor, -50);
    let lower = desk.set_credit(&alice, 49).await.expect_err("owed");
    assert_eq!(lower.code(), Code::FailedPrecondition);
    assert_eq!(reason(&lower), "CREDIT_LIMIT_IN_USE");
    let details = lower.get_error_details();
    let metadata = &details.error_info().expect("set").metadata;
    assert_eq!(metadata["available_minor"], "-50");
    assert_eq!(
        refusal(close(&fixture, &alice).await),
        unmet("WALLET_NOT_EMPTY")
    );
    applied(&ledger.post_one(deposit(&alice, 1)).await);
    let lower = desk.set_credit(&alice, 49).await.expect("owed exactly");
    assert_eq!(lower.credit_limit_minor, 49);
    assert_eq!(fixture.current(&alice).await, lower);
    fixture.verify().await;
}

/// A user has several wallets, of one and of several currencies, each with a
/// life of its own.
#[tokio::test]
async fn wallets_of_a_user_live_alone() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let user = UserId::generate();
    let mut wallets = Vec::new();
    for currency in ["EUR", "EUR", "USD", "JPY"] {
        wallets.push(fixture.open(user, currency).await);
    }
    let mut ledger = fixture.ledger();
    for wallet in &wallets[1..] {
        applied(&ledger.post_one(deposit(wallet, 9)).await);
    }
    close(&fixture, &wallets[0]).await.expect("closed");
    desk.freeze(&wallets[2]).await.expect("frozen");
    desk.set_credit(&wallets[3], 7).await.expect("set");
    let other = fixture.funded("EUR", 0).await;
    applied(&ledger.post_one(transfer(&wallets[1], &other, 9)).await);
    let after = fixture.current_all(&wallets).await;
    let statuses: Vec<_> = after.iter().map(Wallet::status).collect();
    assert_eq!(
        statuses,
        [
            WalletStatus::Closed,
            WalletStatus::Active,
            WalletStatus::Frozen,
            WalletStatus::Active
        ]
    );
    let credits: Vec<_> = after
        .iter()
        .map(|wallet| wallet.credit_limit_minor)
        .collect();
    assert_eq!(credits, [0, 0, 0, 7]);
    fixture.verify().await;
}

/// The platform's own wallets have no life, and no wallet at all is not found.
#[tokio::test]
async fn the_platforms_wallets_have_no_life() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    fixture.funded("EUR", 1).await;
    let id: uuid::Uuid =
        sqlx::query_scalar("SELECT id FROM wallets WHERE system_purpose = 'settlement'")
            .fetch_one(&fixture.database.pool)
            .await
            .expect("the settlement wallet");
    let platform = Wallet {
        wallet_id: WalletId::from_uuid(id).to_string(),
        ..Wallet::default()
    };
    let system = || unmet("SYSTEM_WALLET");
    assert_eq!(refusal(desk.freeze(&platform).await), system());
    assert_eq!(refusal(desk.unfreeze(&platform).await), system());
    assert_eq!(refusal(desk.set_credit(&platform, 1).await), system());
    let limits = desk.set_limits(&platform, [None; 3]).await;
    assert_eq!(reason(&limits.expect_err("refused")), "SYSTEM_WALLET");
    let request = CloseWalletRequest {
        wallet_id: platform.wallet_id.clone(),
    };
    let closed = desk.wallets.clone().close_wallet(desk.call(request)).await;
    assert_eq!(reason(&closed.expect_err("refused")), "SYSTEM_WALLET");
    let request = GetWalletRequest {
        wallet_id: platform.wallet_id.clone(),
        ..GetWalletRequest::default()
    };
    let seen = desk
        .wallets
        .clone()
        .get_wallet(with_token(request, &desk.token))
        .await
        .expect("an operator sees it");
    assert_eq!(
        seen.into_inner()
            .wallet
            .expect("a wallet")
            .credit_limit_minor,
        0
    );
    let absent = Wallet {
        wallet_id: WalletId::generate().to_string(),
        ..Wallet::default()
    };
    let not_found = (Code::NotFound, "WALLET_NOT_FOUND".to_owned());
    assert_eq!(refusal(desk.freeze(&absent).await), not_found);
    assert_eq!(refusal(desk.set_credit(&absent, 1).await), not_found);
    fixture.verify().await;
}

/// Users close their own wallets only, and decide about nothing else; another
/// tenant's operator finds none.
#[tokio::test]
async fn lives_need_their_permissions() {
    let fixture = Fixture::start().await;
    let wallet = fixture.funded("EUR", 0).await;
    let owner: UserId = wallet.owner_user_id.parse().expect("a user");
    let wallet_id = || wallet.wallet_id.clone();
    let mut client = fixture.wallets();
    for token in [
        fixture.tokens.user(owner),
        fixture.tokens.service("transaction"),
    ] {
        let request = FreezeWalletRequest {
            wallet_id: wallet_id(),
            reason: "me".to_owned(),
        };
        let frozen = client.freeze_wallet(with_token(request, &token)).await;
        assert_eq!(frozen.expect_err("denied").code(), Code::PermissionDenied);
        let request = UnfreezeWalletRequest {
            wallet_id: wallet_id(),
            reason: "me".to_owned(),
        };
        let unfrozen = client.unfreeze_wallet(with_token(request, &token)).await;
        assert_eq!(unfrozen.expect_err("denied").code(), Code::PermissionDenied);
        let request = SetCreditLimitRequest {
            wallet_id: wallet_id(),
            credit_limit_minor: 1,
        };
        let credit = client.set_credit_limit(with_token(request, &token)).await;
        assert_eq!(credit.expect_err("denied").code(), Code::PermissionDenied);
        let request = SetSpendingLimitsRequest {
            wallet_id: wallet_id(),
            ..SetSpendingLimitsRequest::default()
        };
        let limits = client
            .set_spending_limits(with_token(request, &token))
            .await;
        assert_eq!(limits.expect_err("denied").code(), Code::PermissionDenied);
    }
    let request = || CloseWalletRequest {
        wallet_id: wallet_id(),
    };
    let stranger = fixture.tokens.user(UserId::generate());
    let mut claims = Tokens::user_claims(owner);
    claims.tenant = "acme".to_owned();
    claims.permissions = vec!["wallet:*:any".to_owned()];
    let foreign = fixture.tokens.mint(claims);
    for token in [stranger, foreign] {
        let hidden = client.close_wallet(with_token(request(), &token)).await;
        assert_eq!(reason(&hidden.expect_err("hidden")), "WALLET_NOT_FOUND");
    }
    let unnamed = FreezeWalletRequest {
        wallet_id: wallet_id(),
        reason: String::new(),
    };
    let operator = user_with(&fixture.tokens, UserId::generate(), "wallet:freeze:any");
    let unnamed = client.freeze_wallet(with_token(unnamed, &operator)).await;
    assert_eq!(reason(&unnamed.expect_err("why?")), "INVALID_FIELD");
}

/// With a key the first answer comes again, whatever happened since, refusals
/// included.
#[tokio::test]
async fn keyed_lives_are_replayed() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let wallet = fixture.funded("EUR", 5).await;
    let mut client = desk.wallets.clone();
    let request = || FreezeWalletRequest {
        wallet_id: wallet.wallet_id.clone(),
        reason: "a court order".to_owned(),
    };
    let first = client.freeze_wallet(desk.keyed(request(), "f")).await;
    desk.unfreeze(&wallet).await.expect("unfrozen");
    let again = client.freeze_wallet(desk.keyed(request(), "f")).await;
    assert!(!is_replay(&first) && is_replay(&again));
    let (first, again) = (first.expect("frozen"), again.expect("the same"));
    assert_eq!(first.into_inner(), again.into_inner());
    let now = fixture.current(&wallet).await;
    assert_eq!(now.status(), WalletStatus::Active);
    let owner: UserId = wallet.owner_user_id.parse().expect("a user");
    let token = fixture.tokens.user(owner);
    let request = || CloseWalletRequest {
        wallet_id: wallet.wallet_id.clone(),
    };
    let first = client.close_wallet(keyed(request(), &token, "c")).await;
    let other = fixture.funded("EUR", 0).await;
    applied(
        &fixture
            .ledger()
            .post_one(transfer(&wallet, &other, 5))
            .await,
    );
    let again = client.close_wallet(keyed(request(), &token, "c")).await;
    assert!(!is_replay(&first) && is_replay(&again));
    let (first, again) = (first.expect_err("full"), again.expect_err("the same"));
    assert_eq!(first.details(), again.details());
    close(&fixture, &wallet).await.expect("without the key");
    fixture.verify().await;
}

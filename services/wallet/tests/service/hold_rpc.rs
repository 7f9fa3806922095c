//! HoldService: what a hold does, and every way in which it is refused.

use bursar_aip::id::{HoldId, UserId, WalletId};
use bursar_contracts::wallet::v1::{
    GetHoldRequest, Hold, HoldStatus, ListHoldsRequest, PlaceHoldRequest, VoidHoldRequest, Wallet,
};
use bursar_status::StatusExt;
use bursar_testkit::with_token;
use tonic::{Code, Status};

use crate::desk::{
    Desk, capture, capture_fee, close, final_capture, is_replay, keyed, money, place, user_with,
    void,
};
use crate::support::{self, Fixture, applied, reason};

/// The code and the reason of a refusal.
fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.expect_err("refused");
    (status.code(), reason(&status))
}

fn unmet(reason: &str) -> (Code, String) {
    (Code::FailedPrecondition, reason.to_owned())
}

async fn balance(fixture: &Fixture, wallet: &Wallet) -> (i64, i64) {
    let balance = fixture.balance(wallet).await;
    (balance.available_minor, balance.held_minor)
}

/// Money is set aside, captured in parts, and what is left of the final capture
/// goes back.
#[tokio::test]
async fn a_hold_is_captured_in_parts() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 100).await;
    let hotel = fixture.funded("EUR", 0).await;
    let hold = desk.place(place(&guest, 70)).await.expect("placed");
    assert_eq!(hold.status(), HoldStatus::Active);
    assert_eq!(hold.wallet_id, guest.wallet_id);
    assert_eq!((hold.amount_minor, hold.captured_minor), (70, 0));
    assert_eq!(hold.remaining_minor, 70);
    assert_eq!(
        (hold.currency_code.as_str(), hold.description.as_str()),
        ("EUR", "room 12")
    );
    assert_eq!((&*hold.transaction_id, &hold.expires_at), ("", &None));
    assert!(hold.placed_at.is_some() && hold.ended_at.is_none());
    assert_eq!(balance(&fixture, &guest).await, (30, 70));

    let first = desk.capture(capture(&hold, Some(20), &hotel)).await;
    let first = first.expect("captured");
    assert_eq!(first.status(), HoldStatus::Active);
    assert_eq!((first.captured_minor, first.remaining_minor), (20, 50));
    let fee = desk.capture(capture_fee(&hold, Some(5))).await;
    assert_eq!(fee.expect("captured").remaining_minor, 45);
    let last = desk.capture(final_capture(&hold, Some(15), &hotel)).await;
    let last = last.expect("captured");
    assert_eq!(last.status(), HoldStatus::Captured);
    assert_eq!((last.captured_minor, last.remaining_minor), (40, 0));
    assert!(last.ended_at.is_some());
    assert_eq!(desk.hold(&hold).await, last);
    assert_eq!(balance(&fixture, &guest).await, (60, 0));
    assert_eq!(balance(&fixture, &hotel).await, (35, 0));
    fixture.verify().await;
}

/// Without an amount all that remains is captured, final or not; taking the
/// last of it ends a hold.
#[tokio::test]
async fn all_that_remains_is_captured() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 100).await;
    let hotel = fixture.funded("EUR", 0).await;
    for is_final in [false, true] {
        let hold = desk.place(place(&guest, 50)).await.expect("placed");
        desk.capture(capture(&hold, Some(10), &hotel))
            .await
            .expect("a part");
        let request = if is_final {
            final_capture(&hold, None, &hotel)
        } else {
            capture(&hold, None, &hotel)
        };
        let ended = desk.capture(request).await.expect("the rest");
        assert_eq!(ended.status(), HoldStatus::Captured);
        assert_eq!(ended.captured_minor, 50);
    }
    assert_eq!(balance(&fixture, &guest).await, (0, 0));
    assert_eq!(balance(&fixture, &hotel).await, (100, 0));
    fixture.verify().await;
}

/// A void gives back what remains; a hold that has ended stays ended.
#[tokio::test]
async fn a_hold_ends_once() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 100).await;
    let hotel = fixture.funded("EUR", 0).await;
    let voided = desk.place(place(&guest, 60)).await.expect("placed");
    desk.capture(capture(&voided, Some(25), &hotel))
        .await
        .expect("a part");
    let ended = desk.void(&voided).await.expect("voided");
    assert_eq!(ended.status(), HoldStatus::Voided);
    assert_eq!((ended.captured_minor, ended.remaining_minor), (25, 0));
    assert_eq!(balance(&fixture, &guest).await, (75, 0));
    let captured = desk.place(place(&guest, 10)).await.expect("placed");
    desk.capture(capture(&captured, None, &hotel))
        .await
        .expect("all");
    for hold in [&voided, &captured] {
        for amount in [Some(1), None] {
            let again = desk.capture(capture(hold, amount, &hotel)).await;
            assert_eq!(refusal(again), unmet("HOLD_NOT_ACTIVE"));
        }
        let again = desk.capture(final_capture(hold, Some(1), &hotel)).await;
        assert_eq!(refusal(again), unmet("HOLD_NOT_ACTIVE"));
        assert_eq!(refusal(desk.void(hold).await), unmet("HOLD_NOT_ACTIVE"));
    }
    fixture.verify().await;
}

/// Every reason for which no hold is placed.
#[tokio::test]
async fn placing_is_refused() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 100).await;
    let over = desk.place(place(&guest, 101)).await;
    let status = over.expect_err("too much");
    assert_eq!(reason(&status), "INSUFFICIENT_FUNDS");
    let details = status.get_error_details();
    let metadata = &details.error_info().expect("set").metadata;
    assert_eq!(metadata["wallet_id"], guest.wallet_id);
    let violations = &details.precondition_failure().expect("set").violations;
    assert_eq!(violations[0].subject, guest.wallet_id);
    let dollars = PlaceHoldRequest {
        amount: Some(money("USD", 1)),
        ..place(&guest, 1)
    };
    assert_eq!(
        refusal(desk.place(dollars).await),
        (Code::InvalidArgument, "CURRENCY_MISMATCH".to_owned())
    );
    let fantasy = PlaceHoldRequest {
        amount: Some(money("ZZZ", 1)),
        ..place(&guest, 1)
    };
    assert_eq!(
        refusal(desk.place(fantasy).await),
        (Code::InvalidArgument, "CURRENCY_UNSUPPORTED".to_owned())
    );
    let absent = PlaceHoldRequest {
        wallet_id: WalletId::generate().to_string(),
        ..place(&guest, 1)
    };
    assert_eq!(
        refusal(desk.place(absent).await),
        (Code::NotFound, "WALLET_NOT_FOUND".to_owned())
    );
    desk.freeze(&guest).await.expect("frozen");
    let frozen = desk.place(place(&guest, 1)).await;
    assert_eq!(refusal(frozen), unmet("WALLET_FROZEN"));
    let empty = fixture.funded("EUR", 0).await;
    close(&fixture, &empty).await.expect("closed");
    let closed = desk.place(place(&empty, 1)).await;
    assert_eq!(refusal(closed), unmet("WALLET_CLOSED"));
    assert_eq!(balance(&fixture, &guest).await, (100, 0));
    fixture.verify().await;
}

/// An expiry is in the future, not too far, and given in one way only.
#[tokio::test]
async fn expiries_are_bounded() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 100).await;
    let now = bursar_server::now().unix_timestamp();
    let at = |seconds| {
        Some(prost_types::Timestamp {
            seconds: now + seconds,
            nanos: 0,
        })
    };
    let year = 366 * 24 * 3_600;
    for (expires_at, ttl_seconds) in [
        (at(-1), 0),
        (at(year + 60), 0),
        (None, -1),
        (None, year as i32 + 1),
        (at(60), 60),
    ] {
        let request = PlaceHoldRequest {
            expires_at,
            ttl_seconds,
            ..place(&guest, 1)
        };
        assert_eq!(
            refusal(desk.place(request).await),
            (Code::InvalidArgument, "INVALID_FIELD".to_owned())
        );
    }
    let request = PlaceHoldRequest {
        expires_at: at(year - 60),
        ..place(&guest, 1)
    };
    let placed = desk.place(request).await.expect("placed");
    assert_eq!(placed.expires_at, at(year - 60));
    let request = PlaceHoldRequest {
        ttl_seconds: 90,
        ..place(&guest, 1)
    };
    let placed = desk.place(request).await.expect("placed");
    let (from, to) = (placed.placed_at, placed.expires_at);
    let life = to.expect("set").seconds - from.expect("set").seconds;
    assert!((89..=91).contains(&life), "{life}");
}

/// Every reason for which nothing is captured.
#[tokio::test]
async fn capturing_is_refused() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 100).await;
    let hotel = fixture.funded("EUR", 0).await;
    let hold = desk.place(place(&guest, 40)).await.expect("placed");
    desk.capture(capture(&hold, Some(10), &hotel))
        .await
        .expect("a part");
    for is_final in [false, true] {
        let request = if is_final {
            final_capture(&hold, Some(31), &hotel)
        } else {
            capture(&hold, Some(31), &hotel)
        };
        let over = desk.capture(request).await.expect_err("too much");
        assert_eq!(over.code(), Code::FailedPrecondition);
        assert_eq!(reason(&over), "CAPTURE_EXCEEDS_HOLD");
        let details = over.get_error_details();
        let metadata = &details.error_info().expect("set").metadata;
        assert_eq!(metadata["remaining_minor"], "30");
    }
    let absent = Hold {
        hold_id: HoldId::generate().to_string(),
        ..hold.clone()
    };
    let not_found = (Code::NotFound, "HOLD_NOT_FOUND".to_owned());
    let missing = desk.capture(capture(&absent, None, &hotel)).await;
    assert_eq!(refusal(missing), not_found);
    assert_eq!(refusal(desk.void(&absent).await), not_found);
    let nowhere = Wallet {
        wallet_id: WalletId::generate().to_string(),
        ..hotel.clone()
    };
    assert_eq!(
        refusal(desk.capture(capture(&hold, None, &nowhere)).await),
        (Code::NotFound, "WALLET_NOT_FOUND".to_owned())
    );
    let bank = fixture.funded("USD", 0).await;
    let mismatch = (Code::InvalidArgument, "CURRENCY_MISMATCH".to_owned());
    let into_dollars = desk.capture(capture(&hold, Some(1), &bank)).await;
    assert_eq!(refusal(into_dollars), mismatch);
    let mut of_dollars = capture(&hold, Some(1), &hotel);
    of_dollars.amount = Some(money("USD", 1));
    assert_eq!(refusal(desk.capture(of_dollars).await), mismatch);
    let invalid = (Code::InvalidArgument, "INVALID_FIELD".to_owned());
    let to_itself = desk.capture(capture(&hold, None, &guest)).await;
    assert_eq!(refusal(to_itself), invalid);
    let mut to_nobody = capture(&hold, None, &hotel);
    to_nobody.to_wallet_id.clear();
    assert_eq!(refusal(desk.capture(to_nobody).await), invalid);
    let mut to_both = capture_fee(&hold, None);
    to_both.to_wallet_id = hotel.wallet_id.clone();
    assert_eq!(refusal(desk.capture(to_both).await), invalid);
    let shut = fixture.funded("EUR", 0).await;
    close(&fixture, &shut).await.expect("closed");
    let into_closed = desk.capture(capture(&hold, None, &shut)).await;
    let status = into_closed.expect_err("refused");
    assert_eq!(reason(&status), "WALLET_CLOSED");
    let details = status.get_error_details();
    let metadata = &details.error_info().expect("set").metadata;
    assert_eq!(metadata["wallet_id"], shut.wallet_id);
    assert_eq!(desk.hold(&hold).await.remaining_minor, 30);
    fixture.verify().await;
}

/// A capture into a wallet that has no room for it is refused.
#[tokio::test]
async fn captures_do_not_overflow() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 100).await;
    let hotel = fixture.funded("EUR", 0).await;
    let hold = desk.place(place(&guest, 40)).await.expect("placed");
    sqlx::query("UPDATE wallets SET available = $2 WHERE id = $1")
        .bind(support::uuid_of(&hotel.wallet_id))
        .bind(i64::MAX - 39)
        .execute(&fixture.database.owner)
        .await
        .expect("the owner may");
    let full = desk.capture(capture(&hold, None, &hotel)).await;
    assert_eq!(refusal(full), unmet("BALANCE_OVERFLOW"));
    let fits = desk.capture(capture(&hold, Some(39), &hotel)).await;
    assert_eq!(fits.expect("captured").remaining_minor, 1);
}

/// What a frozen wallet has held may be captured and given back.
#[tokio::test]
async fn frozen_money_that_is_held_goes_on() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 100).await;
    let hotel = fixture.funded("EUR", 0).await;
    let first = desk.place(place(&guest, 40)).await.expect("placed");
    let second = desk.place(place(&guest, 30)).await.expect("placed");
    desk.freeze(&guest).await.expect("frozen");
    desk.freeze(&hotel).await.expect("frozen");
    let captured = desk.capture(final_capture(&first, Some(15), &hotel)).await;
    assert_eq!(captured.expect("captured").captured_minor, 15);
    desk.void(&second).await.expect("voided");
    assert_eq!(balance(&fixture, &guest).await, (85, 0));
    fixture.verify().await;
}

/// A transaction's hold is seen, and can neither be captured nor voided here.
#[tokio::test]
async fn holds_of_transactions_are_their_own() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 100).await;
    let hotel = fixture.funded("EUR", 0).await;
    let mut ledger = fixture.ledger();
    let id = HoldId::generate();
    let placed = support::place(id, &guest, 60);
    let transaction_id = placed.transaction_id.clone();
    applied(&ledger.post_one(placed).await);
    let hold = Hold {
        hold_id: id.to_string(),
        currency_code: "EUR".to_owned(),
        ..Hold::default()
    };
    let hold = desk.hold(&hold).await;
    assert_eq!(hold.transaction_id, transaction_id);
    let managed = unmet("HOLD_MANAGED");
    let captured = desk.capture(capture(&hold, None, &hotel)).await;
    assert_eq!(refusal(captured), managed);
    assert_eq!(refusal(desk.void(&hold).await), managed);
    assert_eq!(desk.hold(&hold).await.status(), HoldStatus::Active);
    // Nor can a transaction end what was placed here.
    let own = desk.place(place(&guest, 10)).await.expect("placed");
    let own_id: HoldId = own.hold_id.parse().expect("a hold");
    let foreign = support::void(own_id, &guest, 10);
    let refused = support::rejected(&ledger.post_one(foreign).await).0;
    let managed = bursar_contracts::wallet::v1::RejectionReason::HoldManaged;
    assert_eq!(refused, managed);
    fixture.verify().await;
}

/// The calls that move money need a key and give their first answer again,
/// refusals included; another body is refused.
#[tokio::test]
async fn answers_are_replayed() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 100).await;
    let hotel = fixture.funded("EUR", 0).await;
    let mut holds = desk.holds.clone();
    let unkeyed = holds.place_hold(with_token(place(&guest, 1), &desk.token));
    let unkeyed = unkeyed.await.expect_err("no key");
    assert_eq!(reason(&unkeyed), "IDEMPOTENCY_KEY_REQUIRED");

    let first = holds.place_hold(desk.keyed(place(&guest, 60), "k")).await;
    let again = holds.place_hold(desk.keyed(place(&guest, 60), "k")).await;
    assert!(!is_replay(&first) && is_replay(&again));
    let hold = first.expect("placed").into_inner().hold.expect("a hold");
    let repeated = again.expect("the same").into_inner().hold;
    assert_eq!(repeated.as_ref(), Some(&hold));
    let other = holds.place_hold(desk.keyed(place(&guest, 59), "k")).await;
    assert_eq!(
        refusal(other),
        (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED".to_owned())
    );
    assert_eq!(balance(&fixture, &guest).await, (40, 60));

    let part = || desk.keyed(capture(&hold, Some(25), &hotel), "c");
    let first = holds.capture_hold(part()).await;
    desk.capture(capture(&hold, Some(1), &hotel))
        .await
        .expect("another part");
    let again = holds.capture_hold(part()).await;
    assert!(!is_replay(&first) && is_replay(&again));
    let first = first.expect("captured").into_inner();
    assert_eq!(first, again.expect("the same").into_inner());
    assert_eq!(first.hold.expect("a hold").remaining_minor, 35);

    let over = || desk.keyed(capture(&hold, Some(50), &hotel), "o");
    let first = holds.capture_hold(over()).await;
    let again = holds.capture_hold(over()).await;
    assert!(!is_replay(&first) && is_replay(&again));
    let (first, again) = (first.expect_err("over"), again.expect_err("over"));
    assert_eq!(first.details(), again.details());

    let undo = || desk.keyed(void(&hold), "v");
    let first = holds.void_hold(undo()).await.expect("voided");
    let again = holds.void_hold(undo()).await.expect("the same");
    assert_eq!(first.into_inner(), again.into_inner());
    assert_eq!(balance(&fixture, &guest).await, (74, 0));
    assert_eq!(balance(&fixture, &hotel).await, (26, 0));
    fixture.verify().await;
}

/// A call whose answer was lost after its posting gives the answer when it is
/// made again, whatever became of the hold meanwhile, and posts nothing more.
#[tokio::test]
async fn lost_answers_are_found_again() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 100).await;
    let hotel = fixture.funded("EUR", 0).await;
    let mut holds = desk.holds.clone();
    let forget = async || {
        sqlx::query("DELETE FROM idempotency_keys")
            .execute(&fixture.database.owner)
            .await
            .expect("the owner may");
    };
    let place = PlaceHoldRequest {
        ttl_seconds: 3_600,
        ..place(&guest, 60)
    };
    let first = holds.place_hold(desk.keyed(place.clone(), "k")).await;
    let hold = first.expect("placed").into_inner().hold.expect("a hold");
    forget().await;
    let again = holds.place_hold(desk.keyed(place, "k")).await;
    let again = again.expect("found").into_inner().hold;
    assert_eq!(again.as_ref(), Some(&hold));

    let all = || desk.keyed(capture(&hold, None, &hotel), "c");
    let first = holds.capture_hold(all()).await.expect("captured");
    forget().await;
    let again = holds.capture_hold(all()).await.expect("found");
    assert_eq!(first.into_inner(), again.into_inner());
    forget().await;
    let other = desk.keyed(capture(&hold, Some(60), &hotel), "c");
    assert_eq!(
        refusal(holds.capture_hold(other).await),
        (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED".to_owned())
    );
    assert_eq!(balance(&fixture, &hotel).await, (60, 0));
    fixture.verify().await;
}

/// A wallet's holds are listed newest first in pages, by state, and with those
/// of its transactions; nobody sees another user's.
#[tokio::test]
async fn holds_are_their_owners() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 100).await;
    let other = fixture.funded("EUR", 100).await;
    let mut placed = Vec::new();
    for _ in 0..5 {
        let hold = desk.place(place(&guest, 1)).await.expect("placed");
        placed.insert(0, hold);
        desk.place(place(&other, 1)).await.expect("placed");
    }
    placed[1] = desk.void(&placed[1]).await.expect("voided");
    let owner: UserId = guest.owner_user_id.parse().expect("a user");
    let owner = user_with(&fixture.tokens, owner, "hold:read:own");
    let list = async |token: &str, status: HoldStatus, size| {
        let mut listed = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListHoldsRequest {
                wallet_id: guest.wallet_id.clone(),
                status: status.into(),
                page_size: size,
                page_token,
            };
            let mut holds = desk.holds.clone();
            let page = holds.list_holds(with_token(request, token)).await?;
            let page = page.into_inner();
            listed.extend(page.holds);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok::<_, Status>(listed);
            }
        }
    };
    for size in [1, 2, 5, 0] {
        let all = list(&owner, HoldStatus::Unspecified, size).await;
        assert_eq!(all.expect("listed"), placed);
    }
    let voided = list(&owner, HoldStatus::Voided, 1).await.expect("listed");
    assert_eq!(voided, placed[1..2]);
    let active = list(&owner, HoldStatus::Active, 3).await.expect("listed");
    assert_eq!(active.len(), 4);
    assert_eq!(
        list(&desk.token, HoldStatus::Active, 9)
            .await
            .expect("listed"),
        active
    );

    let stranger = user_with(&fixture.tokens, UserId::generate(), "hold:read:own");
    let hidden = list(&stranger, HoldStatus::Unspecified, 1).await;
    assert_eq!(
        refusal(hidden),
        (Code::NotFound, "WALLET_NOT_FOUND".to_owned())
    );
    let get = |hold: &Hold| GetHoldRequest {
        hold_id: hold.hold_id.clone(),
    };
    let mut holds = desk.holds.clone();
    let seen = holds.get_hold(with_token(get(&placed[0]), &owner)).await;
    assert_eq!(
        seen.expect("own").into_inner().hold,
        Some(placed[0].clone())
    );
    let hidden = holds.get_hold(with_token(get(&placed[0]), &stranger)).await;
    let absent = Hold {
        hold_id: HoldId::generate().to_string(),
        ..Hold::default()
    };
    let missing = holds.get_hold(with_token(get(&absent), &stranger)).await;
    let (hidden, missing) = (hidden.expect_err("hidden"), missing.expect_err("missing"));
    assert_eq!(hidden.code(), Code::NotFound);
    assert_eq!(reason(&hidden), "HOLD_NOT_FOUND");
    assert_eq!(hidden.details(), missing.details());
    assert_eq!(hidden.message(), missing.message());
}

/// Users, admins and services without the permission move nothing.
#[tokio::test]
async fn holds_need_their_permissions() {
    let fixture = Fixture::start().await;
    let desk = Desk::of(&fixture);
    let guest = fixture.funded("EUR", 100).await;
    let hold = desk.place(place(&guest, 10)).await.expect("placed");
    let owner: UserId = guest.owner_user_id.parse().expect("a user");
    for token in [
        user_with(&fixture.tokens, owner, "hold:*:own"),
        fixture.tokens.service("transaction"),
    ] {
        let mut holds = desk.holds.clone();
        let call = |key: &str| keyed(place(&guest, 1), &token, key);
        let placed = holds.place_hold(call("a")).await;
        assert_eq!(refusal(placed).0, Code::PermissionDenied);
        let request = keyed(capture_fee(&hold, None), &token, "b");
        let captured = holds.capture_hold(request).await;
        assert_eq!(refusal(captured).0, Code::PermissionDenied);
        let request = VoidHoldRequest {
            hold_id: hold.hold_id.clone(),
        };
        let voided = holds.void_hold(keyed(request, &token, "c")).await;
        assert_eq!(refusal(voided).0, Code::PermissionDenied);
    }
    assert_eq!(desk.hold(&hold).await, hold);
}

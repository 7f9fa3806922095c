//! What holds allow and refuse, by example.

use super::*;

/// Placing a hold moves exactly available money of one user's wallet to held.
#[test]
fn placing_takes_one_exact_form() {
    let place = |legs| with_hold(2, HoldAction::Place, legs);
    let good = place(vec![available(ALICE, -10), leg(ALICE, Bucket::Held, 10)]);
    let change = run(&book(), &good).expect("placed").hold.expect("a hold");
    assert_eq!((change.before, change.after.amount), (None, 10));
    let too_much = place(vec![available(ALICE, -101), leg(ALICE, Bucket::Held, 101)]);
    assert_eq!(
        refusal(&book(), &too_much),
        RejectionReason::InsufficientFunds.at(0)
    );
    let mut platform = [available(ALICE, -10), leg(ALICE, Bucket::Held, 10)];
    for leg in &mut platform {
        leg.account = fees();
    }
    for legs in [
        vec![available(ALICE, 10), leg(ALICE, Bucket::Held, -10)],
        vec![available(ALICE, -10), leg(BOB, Bucket::Held, 10)],
        vec![available(ALICE, -10), available(BOB, 10)],
        vec![
            available(ALICE, -10),
            leg(ALICE, Bucket::Held, 9),
            available(BOB, 1),
        ],
        platform.to_vec(),
    ] {
        assert_eq!(
            refusal(&book(), &place(legs)),
            RejectionReason::HoldMismatch.whole()
        );
    }
    let twice = with_hold(1, HoldAction::Place, good.legs);
    assert_eq!(
        refusal(&book(), &twice),
        RejectionReason::HoldMismatch.whole()
    );
}

/// A capture of all of the hold's money ends it, once.
#[test]
fn capturing_ends_the_hold() {
    let capture = |legs| with_hold(1, HoldAction::Capture, legs);
    let mut fee = available(BOB, 2);
    fee.account = fees();
    let split = capture(vec![leg(ALICE, Bucket::Held, -30), available(BOB, 28), fee]);
    let applied = run(&book(), &split).expect("captured");
    let after = applied.hold.clone().expect("a hold").after;
    assert_eq!(after.status, HoldStatus::Captured);
    let mut later = book();
    drop(later.apply(&applied));
    assert_eq!(
        refusal(&later, &split),
        RejectionReason::HoldNotActive.whole()
    );
    for legs in [
        vec![leg(ALICE, Bucket::Held, -31), available(BOB, 31)],
        vec![available(ALICE, -30), available(BOB, 30)],
        vec![leg(ALICE, Bucket::Held, -30), available(ALICE, 30)],
        vec![leg(ALICE, Bucket::Held, -30), leg(BOB, Bucket::Held, 30)],
        vec![
            leg(ALICE, Bucket::Held, -15),
            leg(ALICE, Bucket::Held, -15),
            available(BOB, 30),
        ],
    ] {
        assert_eq!(
            refusal(&book(), &capture(legs)),
            RejectionReason::HoldMismatch.whole()
        );
    }
}

/// A capture may pay out more than its hold when a wallet of the platform pays the
/// rest, as for the refund of money that was spent; the platform's may be short.
#[test]
fn the_platform_may_pay_what_a_hold_has_not() {
    let mut claim = available(BOB, -12);
    claim.account = fees();
    let legs = vec![leg(ALICE, Bucket::Held, -30), claim, available(BOB, 42)];
    let capture = with_hold(1, HoldAction::Capture, legs);
    let applied = run(&book(), &capture).expect("captured");
    let after = applied.hold.clone().expect("a hold").after;
    assert_eq!((after.status, after.captured), (HoldStatus::Captured, 30));
    assert!(applied.entries[1].balance_after < 0);
}

/// Captures take parts to other wallets until nothing remains; a final one
/// gives the rest back.
#[test]
fn captures_take_parts() {
    let capture = |amount: i64| {
        let legs = vec![leg(ALICE, Bucket::Held, -amount), available(BOB, amount)];
        with_hold(1, HoldAction::Capture, legs)
    };
    let last = |taken: i64, rest: i64| {
        let legs = vec![
            leg(ALICE, Bucket::Held, -taken),
            available(ALICE, rest),
            available(BOB, taken - rest),
        ];
        with_hold(1, HoldAction::CaptureFinal, legs)
    };
    let mut book = book();
    let first = run(&book, &capture(12)).expect("captured in part");
    let after = first.hold.clone().expect("a hold").after;
    assert_eq!((after.status, after.remaining()), (HoldStatus::Active, 18));
    drop(book.apply(&first));
    for refused in [capture(19), last(30, 10), last(17, 5)] {
        assert_eq!(
            refusal(&book, &refused),
            RejectionReason::HoldMismatch.whole()
        );
    }
    let ended = run(&book, &last(18, 5)).expect("captured for good");
    let after = ended.hold.clone().expect("a hold").after;
    assert_eq!((after.status, after.captured), (HoldStatus::Captured, 25));
    drop(book.apply(&ended));
    assert_eq!(
        refusal(&book, &capture(1)),
        RejectionReason::HoldNotActive.whole()
    );
}

/// From its expiry on a hold cannot be captured and can expire; before, the reverse.
#[test]
fn expired_holds_are_not_captured() {
    let expires_at = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(10);
    let expiring = Hold {
        expires_at: Some(expires_at),
        ..hold()
    };
    let book = Book::new([wallet(ALICE), wallet(BOB)], [expiring], []);
    let capture = with_hold(
        1,
        HoldAction::Capture,
        vec![leg(ALICE, Bucket::Held, -30), available(BOB, 30)],
    );
    let expire = with_hold(
        1,
        HoldAction::Expire,
        vec![leg(ALICE, Bucket::Held, -30), available(ALICE, 30)],
    );
    let before = expires_at - time::Duration::microseconds(1);
    assert!(decide(&book, &capture, before).is_ok());
    assert_eq!(
        decide(&book, &expire, before),
        Err(RejectionReason::HoldMismatch.whole())
    );
    assert_eq!(
        decide(&book, &capture, expires_at),
        Err(RejectionReason::HoldExpired.whole())
    );
    let expired = decide(&book, &expire, expires_at).expect("its time is over");
    let after = expired.hold.clone().expect("a hold").after;
    assert_eq!(after.status, HoldStatus::Expired);
    let mut later = book.clone();
    drop(later.apply(&expired));
    assert_eq!(
        decide(&later, &capture, expires_at),
        Err(RejectionReason::HoldExpired.whole())
    );
}

/// Only postings of the hold's transaction change it, and only wallet's own
/// operations one without a transaction.
#[test]
fn holds_belong_to_their_transaction() {
    let legs = vec![leg(ALICE, Bucket::Held, -30), available(ALICE, 30)];
    let void = with_hold(1, HoldAction::Void, legs);
    let foreign = Posting {
        transaction: Some(TransactionId::from_uuid(Uuid::from_u128(9))),
        ..void.clone()
    };
    let own = Posting {
        transaction: None,
        ..void
    };
    for posting in [&foreign, &own] {
        assert_eq!(
            refusal(&book(), posting),
            RejectionReason::HoldManaged.whole()
        );
    }
    let free = Hold {
        transaction: None,
        ..hold()
    };
    let book = Book::new([wallet(ALICE)], [free], []);
    assert!(run(&book, &own).is_ok());
    assert_eq!(
        refusal(&book, &foreign),
        RejectionReason::HoldManaged.whole()
    );
}

/// A void gives all of the hold's money back, once.
#[test]
fn voiding_ends_the_hold() {
    let void = |legs| with_hold(1, HoldAction::Void, legs);
    let good = void(vec![leg(ALICE, Bucket::Held, -30), available(ALICE, 30)]);
    let applied = run(&book(), &good).expect("voided");
    assert_eq!(applied.movements[0].direction, Direction::Moved);
    let mut later = book();
    drop(later.apply(&applied));
    assert_eq!(
        refusal(&later, &good),
        RejectionReason::HoldNotActive.whole()
    );
    for legs in [
        vec![leg(ALICE, Bucket::Held, -29), available(ALICE, 29)],
        vec![leg(ALICE, Bucket::Held, -30), available(BOB, 30)],
        vec![leg(ALICE, Bucket::Held, -30), leg(ALICE, Bucket::Bonus, 30)],
    ] {
        assert_eq!(
            refusal(&book(), &void(legs)),
            RejectionReason::HoldMismatch.whole()
        );
    }
}

/// A hold that does not exist, or belongs to a wallet outside the posting, is not found.
#[test]
fn foreign_holds_are_not_found() {
    for (number, wallet) in [(2, ALICE), (1, BOB)] {
        let legs = vec![leg(wallet, Bucket::Held, -30), available(wallet, 30)];
        assert_eq!(
            refusal(&book(), &with_hold(number, HoldAction::Void, legs)),
            RejectionReason::HoldNotFound.whole()
        );
    }
}

/// Held money moves only by a hold.
#[test]
fn held_money_needs_a_hold() {
    for legs in [
        vec![available(BOB, 30), leg(ALICE, Bucket::Held, -30)],
        vec![available(ALICE, -30), leg(ALICE, Bucket::Held, 30)],
    ] {
        assert_eq!(
            refusal(&book(), &posting(legs)),
            RejectionReason::HoldMismatch.at(1)
        );
    }
}

//! What bonus money allows and refuses, by example.

use bursar_aip::id::{CampaignId, GrantId};
use time::Duration;

use super::*;
use crate::domain::bonus::{BonusGrant, BonusStep, GrantStatus, NewGrant};
use crate::domain::book::SpendOrder;
use crate::domain::wallet::{SystemAccount, SystemPurpose};

const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn budget() -> Account {
    let account = SystemAccount {
        purpose: SystemPurpose::BonusPool,
        name: "spring".to_owned(),
        currency: currency("EUR"),
    };
    Account::system(account, &TenantId::default())
}

fn budget_wallet(available: i64) -> Wallet {
    Wallet {
        id: budget().wallet_id(),
        owner: None,
        min_available: 0,
        balance: Balance {
            available,
            ..Balance::default()
        },
        ..wallet(98)
    }
}

fn grant_id(number: u128) -> GrantId {
    GrantId::from_uuid(Uuid::from_u128(number))
}

/// Alice's grant of 20 that expires after so many seconds.
fn grant(number: u128, remaining: i64, seconds: Option<i64>) -> BonusGrant {
    BonusGrant {
        id: grant_id(number),
        campaign: CampaignId::from_uuid(Uuid::nil()),
        budget: budget().wallet_id(),
        wallet: id(ALICE),
        owner: wallet(ALICE).owner.expect("a user's wallet"),
        amount: 20,
        remaining,
        returned: 0,
        status: GrantStatus::Active,
        granted_by: PostingId::from_uuid(Uuid::nil()),
        granted_at: START,
        expires_at: seconds.map(|seconds| START + Duration::seconds(seconds)),
        ended: None,
    }
}

/// Alice's 100 and grants, and what the campaign's budget has.
fn bonus_book(order: SpendOrder, grants: &[BonusGrant]) -> Book {
    let bonus = grants.iter().map(|grant| grant.remaining).sum();
    let mut alice = wallet(ALICE);
    alice.balance = Balance {
        available: 100,
        held: 0,
        bonus,
    };
    Book::new([alice, wallet(BOB), budget_wallet(50)], [], [])
        .with_grants(grants.iter().cloned())
        .with_spend_order(order)
}

fn spend(amount: i64) -> Posting {
    posting(vec![
        leg(ALICE, LegBucket::Spendable, -amount),
        leg(BOB, LegBucket::Spendable, amount),
    ])
}

/// The entries of a posting, as bucket and amount.
fn moves(applied: &Applied) -> Vec<(Bucket, i64)> {
    let entries = applied.entries.iter();
    entries.map(|entry| (entry.bucket, entry.amount)).collect()
}

/// The order of the book says which money is spent first; the payee gets
/// available money all the same.
#[test]
fn spendable_money_is_taken_in_order() {
    let grants = [grant(1, 20, None)];
    let paid = |order, amount| {
        let applied = run(&bonus_book(order, &grants), &spend(amount)).expect("paid");
        moves(&applied)
    };
    let (available, bonus) = (Bucket::Available, Bucket::Bonus);
    assert_eq!(
        paid(SpendOrder::BonusFirst, 15),
        [(bonus, -15), (available, 15)]
    );
    assert_eq!(
        paid(SpendOrder::BonusFirst, 30),
        [(available, -10), (bonus, -20), (available, 30)]
    );
    assert_eq!(
        paid(SpendOrder::AvailableFirst, 100),
        [(available, -100), (available, 100)]
    );
    assert_eq!(
        paid(SpendOrder::AvailableFirst, 105),
        [(available, -100), (bonus, -5), (available, 105)]
    );
    assert_eq!(
        paid(SpendOrder::AvailableOnly, 100),
        [(available, -100), (available, 100)]
    );
    for (order, too_much) in [
        (SpendOrder::BonusFirst, 121),
        (SpendOrder::AvailableFirst, 121),
        (SpendOrder::AvailableOnly, 101),
    ] {
        assert_eq!(
            refusal(&bonus_book(order, &grants), &spend(too_much)),
            RejectionReason::InsufficientFunds.at(0)
        );
    }
}

/// Grants are used up by the earliest expiry, those without one last, and one
/// whose time is over not at all.
#[test]
fn grants_are_spent_by_expiry() {
    let grants = [
        grant(1, 20, None),
        grant(2, 20, Some(60)),
        grant(3, 20, Some(30)),
        grant(4, 20, Some(0)),
    ];
    let book = bonus_book(SpendOrder::BonusFirst, &grants);
    let applied = decide(&book, &spend(45), START).expect("paid");
    let mut left: Vec<(GrantId, i64, GrantStatus)> = applied
        .grants
        .iter()
        .map(|change| (change.after.id, change.after.remaining, change.after.status))
        .collect();
    left.sort();
    assert_eq!(
        left,
        [
            (grant_id(1), 15, GrantStatus::Active),
            (grant_id(2), 0, GrantStatus::Spent),
            (grant_id(3), 0, GrantStatus::Spent),
        ]
    );
    let all_usable = decide(&book, &spend(161), START);
    assert_eq!(all_usable, Err(RejectionReason::InsufficientFunds.at(0)));
}

/// A grant takes from the budget what the user gets, within the cap.
#[test]
fn granting_takes_one_exact_form() {
    let new = NewGrant {
        id: grant_id(9),
        campaign: CampaignId::from_uuid(Uuid::nil()),
        expires_at: None,
        user_cap: Some(40),
    };
    let make = |amount: i64| {
        let mut source = available(BOB, -amount);
        source.account = budget();
        Posting {
            bonus: Some(BonusStep::Grant(new.clone())),
            ..posting(vec![source, leg(ALICE, Bucket::Bonus, amount)])
        }
    };
    let owner = wallet(ALICE).owner.expect("a user's wallet");
    let book = bonus_book(SpendOrder::BonusFirst, &[]).with_granted([((new.campaign, owner), 15)]);
    let applied = run(&book, &make(25)).expect("granted");
    assert_eq!(applied.grants[0].after.remaining, 25);
    assert_eq!(
        refusal(&book, &make(26)),
        RejectionReason::GrantCapExceeded.whole()
    );
    let mut later = book.clone();
    drop(later.apply(&applied));
    let again = Posting {
        id: PostingId::from_uuid(Uuid::from_u128(70)),
        bonus: Some(BonusStep::Grant(NewGrant {
            id: grant_id(10),
            ..new.clone()
        })),
        ..make(1)
    };
    assert_eq!(
        refusal(&later, &again),
        RejectionReason::GrantCapExceeded.whole()
    );
    let poor = bonus_book(SpendOrder::BonusFirst, &[]);
    let uncapped = Posting {
        bonus: Some(BonusStep::Grant(NewGrant {
            user_cap: None,
            ..new.clone()
        })),
        ..make(51)
    };
    assert_eq!(
        refusal(&poor, &uncapped),
        RejectionReason::InsufficientFunds.at(0)
    );
    let from_a_user = Posting {
        legs: vec![available(BOB, -5), leg(ALICE, Bucket::Bonus, 5)],
        ..make(5)
    };
    assert_eq!(
        refusal(&book, &from_a_user),
        RejectionReason::GrantMismatch.whole()
    );
}

/// What is left of a grant is converted before its time is over and taken back
/// after it, whole and once, also from a frozen wallet.
#[test]
fn grants_end_by_their_time() {
    let book = bonus_book(SpendOrder::BonusFirst, &[grant(1, 12, Some(10))]);
    let step = |step, target: Leg| Posting {
        bonus: Some(step),
        ..posting(vec![leg(ALICE, Bucket::Bonus, -12), target])
    };
    let mut back = available(BOB, 12);
    back.account = budget();
    let convert = step(BonusStep::Convert(grant_id(1)), available(ALICE, 12));
    let expire = step(BonusStep::Expire(grant_id(1)), back);
    let due = START + Duration::seconds(10);
    let before = due - Duration::microseconds(1);
    let converted = decide(&book, &convert, before).expect("converted");
    let after = &converted.grants[0].after;
    assert_eq!((after.status, after.returned), (GrantStatus::Converted, 12));
    assert_eq!(
        decide(&book, &expire, before),
        Err(RejectionReason::GrantMismatch.whole())
    );
    assert_eq!(
        decide(&book, &convert, due),
        Err(RejectionReason::GrantNotActive.whole())
    );
    let mut frozen = book.wallet(id(ALICE)).expect("Alice's").clone();
    frozen.status = WalletStatus::Frozen;
    let mut book =
        Book::new([frozen, budget_wallet(50)], [], []).with_grants([grant(1, 12, Some(10))]);
    let expired = decide(&book, &expire, due).expect("taken back");
    drop(book.apply(&expired));
    let again = Posting {
        id: PostingId::from_uuid(Uuid::from_u128(71)),
        ..expire
    };
    assert_eq!(
        decide(&book, &again, due),
        Err(RejectionReason::GrantNotActive.whole())
    );
}

/// Bonus money moves only by a grant or as spendable money.
#[test]
fn bonus_money_needs_a_grant() {
    let book = bonus_book(SpendOrder::BonusFirst, &[grant(1, 20, None)]);
    for legs in [
        vec![available(BOB, 20), leg(ALICE, Bucket::Bonus, -20)],
        vec![available(BOB, -1), leg(ALICE, Bucket::Bonus, 1)],
    ] {
        assert_eq!(
            refusal(&book, &posting(legs)),
            RejectionReason::GrantMismatch.at(1)
        );
    }
}

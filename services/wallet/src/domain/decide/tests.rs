//! Each rule by example: what is refused, with which reason, at which leg.

mod bonus;
mod holds;

use bursar_aip::id::{HoldId, TenantId, TransactionId};
use std::num::NonZeroI64;
use uuid::Uuid;

use super::super::hold::{Hold, HoldAction, HoldStatus};
use super::super::posting::{HoldStep, PostingId, PostingKind};
use super::super::wallet::{Balance, SystemAccount, SystemPurpose};
use super::*;

const ALICE: u128 = 1;
const BOB: u128 = 2;

fn currency(code: &str) -> Currency {
    Currency::parse(code).expect("the test names a real currency")
}

fn id(number: u128) -> WalletId {
    WalletId::from_uuid(Uuid::from_u128(number))
}

fn user(number: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(number))
}

/// A user's wallet with 100 available, 30 held and 20 bonus.
fn wallet(number: u128) -> Wallet {
    Wallet {
        balance: Balance {
            available: 100,
            held: 30,
            bonus: 20,
        },
        ..Wallet::open(
            id(number),
            TenantId::default(),
            user(number),
            currency("EUR"),
            OffsetDateTime::UNIX_EPOCH,
        )
    }
}

fn fees() -> Account {
    let account = SystemAccount {
        purpose: SystemPurpose::Fees,
        name: String::new(),
        currency: currency("EUR"),
    };
    Account::system(account, &TenantId::default())
}

fn fee_wallet() -> Wallet {
    Wallet {
        id: fees().wallet_id(),
        owner: None,
        min_available: i64::MIN,
        balance: Balance::default(),
        ..wallet(99)
    }
}

/// Alice's active hold of her 30.
fn hold() -> Hold {
    Hold {
        id: hold_id(1),
        wallet: id(ALICE),
        transaction: Some(transaction()),
        amount: 30,
        captured: 0,
        status: HoldStatus::Active,
        description: String::new(),
        placed_by: PostingId::from_uuid(Uuid::nil()),
        placed_at: OffsetDateTime::UNIX_EPOCH,
        expires_at: None,
        ended: None,
    }
}

fn hold_id(number: u128) -> HoldId {
    HoldId::from_uuid(Uuid::from_u128(number))
}

fn book() -> Book {
    Book::new([wallet(ALICE), wallet(BOB), fee_wallet()], [hold()], [])
}

fn transaction() -> TransactionId {
    TransactionId::from_uuid(Uuid::from_u128(8))
}

fn leg(number: u128, bucket: impl Into<LegBucket>, amount: i64) -> Leg {
    Leg {
        account: Account::User(id(number)),
        bucket: bucket.into(),
        amount: NonZeroI64::new(amount).expect("not zero"),
        currency: currency("EUR"),
        required_owner: None,
    }
}

fn available(number: u128, amount: i64) -> Leg {
    leg(number, Bucket::Available, amount)
}

fn posting(legs: Vec<Leg>) -> Posting {
    Posting {
        id: PostingId::from_uuid(Uuid::from_u128(7)),
        tenant: TenantId::default(),
        transaction: Some(transaction()),
        kind: PostingKind::Transfer,
        legs,
        effective_at: None,
        hold: None,
        bonus: None,
        fingerprint: [0; 32],
    }
}

fn with_hold(hold: u128, action: HoldAction, legs: Vec<Leg>) -> Posting {
    Posting {
        hold: Some(HoldStep::on(hold_id(hold), action)),
        ..posting(legs)
    }
}

fn run(book: &Book, posting: &Posting) -> Result<Applied, Rejected> {
    decide(book, posting, OffsetDateTime::UNIX_EPOCH)
}

fn refusal(book: &Book, posting: &Posting) -> Rejected {
    run(book, posting).expect_err("the posting is refused")
}

/// A transfer takes from one wallet, gives to the other and tells of both.
#[test]
fn a_transfer_moves_money() {
    let applied = run(
        &book(),
        &posting(vec![available(ALICE, -40), available(BOB, 40)]),
    )
    .expect("there is enough");
    let lines: Vec<_> = applied
        .entries
        .iter()
        .map(|entry| {
            (
                entry.wallet,
                entry.version,
                entry.amount,
                entry.balance_after,
            )
        })
        .collect();
    assert_eq!(lines, [(id(ALICE), 1, -40, 60), (id(BOB), 1, 40, 140)]);
    let told: Vec<_> = applied
        .movements
        .iter()
        .map(|movement| (movement.owner, movement.direction, movement.event_version))
        .collect();
    assert_eq!(
        told,
        [
            (user(ALICE), Direction::Debited, 2),
            (user(BOB), Direction::Credited, 2)
        ]
    );
}

/// Legs must be two or more and sum to zero in each currency on its own.
#[test]
fn unbalanced_legs_are_refused() {
    let mut dollars = available(BOB, 40);
    dollars.currency = currency("USD");
    for legs in [
        vec![],
        vec![available(ALICE, 40)],
        vec![available(ALICE, -40), available(BOB, 41)],
        vec![available(ALICE, -40), dollars],
        vec![available(ALICE, i64::MIN), available(BOB, i64::MAX)],
    ] {
        let rejected = refusal(&book(), &posting(legs));
        assert_eq!(rejected, RejectionReason::Unbalanced.whole());
    }
}

/// Wallets that do not exist, belong to another tenant or to another user than
/// the required one, and the platform's own when named by id, are not found.
#[test]
fn wallets_out_of_reach_are_not_found() {
    let to = |leg: Leg| posting(vec![available(ALICE, -1), leg]);
    let not_found = RejectionReason::WalletNotFound.at(1);
    assert_eq!(refusal(&book(), &to(available(3, 1))), not_found);
    let mut required = available(BOB, 1);
    required.required_owner = Some(user(ALICE));
    assert_eq!(refusal(&book(), &to(required.clone())), not_found);
    required.required_owner = Some(user(BOB));
    assert!(run(&book(), &to(required)).is_ok());
    let mut platform = available(BOB, 1);
    platform.account = Account::User(fees().wallet_id());
    assert_eq!(refusal(&book(), &to(platform.clone())), not_found);
    platform.account = fees();
    assert!(run(&book(), &to(platform)).is_ok());
    let foreign = Posting {
        tenant: "acme".parse().expect("a tenant"),
        ..to(available(BOB, 1))
    };
    assert_eq!(
        refusal(&book(), &foreign),
        RejectionReason::WalletNotFound.at(0)
    );
}

/// A leg in another currency than its wallet is refused, even when balanced.
#[test]
fn another_currency_is_refused() {
    let mut legs = vec![available(ALICE, -1), available(BOB, 1)];
    for leg in &mut legs {
        leg.currency = currency("USD");
    }
    assert_eq!(
        refusal(&book(), &posting(legs)),
        RejectionReason::CurrencyMismatch.at(0)
    );
}

/// Buckets stop at their floors, and no later leg makes up for it.
#[test]
fn floors_hold() {
    let enough = |from: Leg, to: Leg| run(&book(), &posting(vec![from, to])).map(|_| ());
    assert_eq!(enough(available(ALICE, -100), available(BOB, 100)), Ok(()));
    let insufficient = Err(RejectionReason::InsufficientFunds.at(0));
    assert_eq!(
        enough(available(ALICE, -101), available(BOB, 101)),
        insufficient
    );
    assert_eq!(
        enough(leg(ALICE, LegBucket::Spendable, -101), available(BOB, 101)),
        insufficient
    );
    assert_eq!(
        enough(available(ALICE, -101), available(ALICE, 101)),
        insufficient
    );
    assert_eq!(
        enough(available(ALICE, 101), available(ALICE, -101)),
        Ok(())
    );
    let credit = Wallet {
        min_available: -50,
        ..wallet(ALICE)
    };
    let book = Book::new([credit, wallet(BOB)], [], []);
    let within = posting(vec![available(ALICE, -150), available(BOB, 150)]);
    assert!(run(&book, &within).is_ok());
    let beyond = posting(vec![available(ALICE, -151), available(BOB, 151)]);
    assert_eq!(
        refusal(&book, &beyond),
        RejectionReason::InsufficientFunds.at(0)
    );
}

/// A balance that would not fit is refused, at either end.
#[test]
fn overflow_is_refused() {
    let full = Wallet {
        balance: Balance {
            available: i64::MAX,
            ..Balance::default()
        },
        ..wallet(BOB)
    };
    let empty = Wallet {
        balance: Balance {
            available: i64::MIN,
            ..Balance::default()
        },
        ..fee_wallet()
    };
    let book = Book::new([wallet(ALICE), full, empty], [], []);
    let over = posting(vec![available(ALICE, -1), available(BOB, 1)]);
    assert_eq!(
        refusal(&book, &over),
        RejectionReason::BalanceOverflow.at(1)
    );
    let mut from_fees = available(ALICE, -1);
    from_fees.account = fees();
    let under = posting(vec![from_fees, available(ALICE, 1)]);
    assert_eq!(
        refusal(&book, &under),
        RejectionReason::BalanceOverflow.at(0)
    );
}

/// A frozen wallet takes money and gives none that may be spent; a closed one neither.
#[test]
fn status_is_obeyed() {
    let status = |status| {
        let alice = Wallet {
            status,
            ..wallet(ALICE)
        };
        Book::new([alice, wallet(BOB)], [hold()], [])
    };
    let out = posting(vec![available(BOB, 1), available(ALICE, -1)]);
    let bonus_out = posting(vec![available(BOB, 1), leg(ALICE, Bucket::Bonus, -1)]);
    let into = posting(vec![available(BOB, -1), available(ALICE, 1)]);
    let capture = with_hold(
        1,
        HoldAction::Capture,
        vec![available(BOB, 30), leg(ALICE, Bucket::Held, -30)],
    );
    let frozen = status(WalletStatus::Frozen);
    for posting in [&out, &bonus_out] {
        assert_eq!(
            refusal(&frozen, posting),
            RejectionReason::WalletFrozen.at(1)
        );
    }
    for posting in [&into, &capture] {
        assert!(run(&frozen, posting).is_ok());
    }
    let closed = status(WalletStatus::Closed);
    for posting in [&out, &bonus_out, &into, &capture] {
        assert_eq!(
            refusal(&closed, posting),
            RejectionReason::WalletClosed.at(1)
        );
    }
}

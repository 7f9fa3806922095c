//! What fees and rates add to the postings.

use bursar_aip::id::{ExchangeRateId, FeeRuleId};
use bursar_money::{Currency, PositiveMoney};
use uuid::Uuid;

use super::super::super::{
    Account, Answer, Asked, Asker, Bucket, Command, Conversion, Fee, FeePayer, Input, Leg,
    Movement, MovementKind, Posting, Price, RefundError, Step, Transaction, plan_refund,
};
use super::cases::{at, posted, succeeded, turn};
use super::{deposit, initiated_at, payee, payer, transfer, user, withdrawal};

fn fee(minor: i64, payer: FeePayer) -> Price {
    Price {
        fee: Some(Fee {
            minor,
            payer,
            rule: FeeRuleId::from_uuid(Uuid::from_u128(5)),
        }),
        conversion: None,
    }
}

fn converted(price: Price, minor: i64) -> Price {
    let dollar = Currency::parse("USD").expect("USD is a currency");
    Price {
        conversion: Some(Conversion {
            amount: PositiveMoney::new(dollar, minor).expect("positive"),
            rate: "1.1".parse().expect("a rate"),
            spread_basis_points: 0,
            source: "ecb".to_owned(),
            observed_at: at(0),
            exchange_rate: ExchangeRateId::from_uuid(Uuid::from_u128(6)),
        }),
        ..price
    }
}

/// One of the prices that such a movement can have.
pub(super) fn some(movement: &Movement, choice: u8) -> Price {
    let free = Price::default();
    match (movement.kind(), choice % 6) {
        (MovementKind::Refund | MovementKind::Adjustment | MovementKind::BonusGrant, _)
        | (_, 0) => free,
        (MovementKind::Deposit, _) => fee(5, FeePayer::Recipient),
        (MovementKind::Withdrawal, _) => fee(5, FeePayer::Sender),
        (MovementKind::Transfer, 1) => fee(5, FeePayer::Sender),
        (MovementKind::Transfer, 2) => fee(5, FeePayer::Recipient),
        (MovementKind::Transfer, 3) => converted(free, 110),
        (MovementKind::Transfer, 4) => converted(fee(5, FeePayer::Sender), 110),
        (MovementKind::Transfer, _) => converted(fee(5, FeePayer::Recipient), 104),
    }
}

/// The legs of a posting in short: whose money, which bucket, how much of what.
fn legs(posting: &Posting) -> Vec<(&'static str, i64, &'static str)> {
    let name = |account: &Account, bucket: Bucket| match (account, bucket) {
        (Account::Wallet { id, .. }, Bucket::Held) if *id == payer() => "held",
        (Account::Wallet { id, .. }, _) if *id == payer() => "payer",
        (Account::Wallet { id, .. }, _) if *id == payee() => "payee",
        (Account::Wallet { .. }, _) => "another wallet",
        (Account::Settlement(_), _) => "provider",
        (Account::Receivable(_), _) => "receivable",
        (Account::Fees, _) => "fees",
        (Account::Liquidity, _) => "liquidity",
        (Account::Suspense, _) => "suspense",
        (Account::Budget(_), _) => "budget",
    };
    let leg = |leg: &Leg| {
        let name = name(&leg.account, leg.bucket);
        (name, leg.amount_minor, leg.currency.code())
    };
    posting.legs.iter().map(leg).collect()
}

fn posting(step: &Step) -> &Posting {
    match &step.command {
        Some(Command::Post(posting)) => posting,
        other => panic!("a posting was expected, not {other:?}"),
    }
}

fn opened(movement: Movement, price: Price) -> Step {
    turn(&initiated_at(movement, 100, price), Input::Resume(None))
}

/// A sender pays the fee on top, a recipient out of the amount; the side that the
/// money reaches stays the last.
#[test]
fn a_transfers_fee_is_one_more_leg() {
    let sender = opened(transfer(), fee(5, FeePayer::Sender));
    let expected = [
        ("payer", -105, "EUR"),
        ("fees", 5, "EUR"),
        ("payee", 100, "EUR"),
    ];
    assert_eq!(legs(posting(&sender)), expected);
    let recipient = opened(transfer(), fee(5, FeePayer::Recipient));
    let expected = [
        ("payer", -100, "EUR"),
        ("fees", 5, "EUR"),
        ("payee", 95, "EUR"),
    ];
    assert_eq!(legs(posting(&recipient)), expected);
}

/// A rule that makes a transaction free adds no leg.
#[test]
fn no_fee_is_no_leg() {
    let free = opened(transfer(), fee(0, FeePayer::Sender));
    let expected = [("payer", -100, "EUR"), ("payee", 100, "EUR")];
    assert_eq!(legs(posting(&free)), expected);
}

/// A provider takes the amount in, and the wallet gets what the fee leaves of it.
#[test]
fn a_deposits_fee_is_taken_from_what_is_credited() {
    let asking = opened(deposit(), fee(5, FeePayer::Recipient));
    let answer = Input::Asked(Asked::Answered(succeeded(100)));
    let crediting = turn(&asking.transaction, answer);
    let expected = [
        ("provider", -100, "EUR"),
        ("fees", 5, "EUR"),
        ("payee", 95, "EUR"),
    ];
    assert_eq!(legs(posting(&crediting)), expected);
}

/// The fee of a withdrawal is set aside with the amount, taken with it, and given
/// back with it.
#[test]
fn a_withdrawals_fee_goes_with_the_hold() {
    let placing = opened(withdrawal(), fee(5, FeePayer::Sender));
    let expected = [("payer", -105, "EUR"), ("held", 105, "EUR")];
    assert_eq!(legs(posting(&placing)), expected);
    let asking = turn(&placing.transaction, posted());
    let paid = Input::Asked(Asked::Answered(succeeded(100)));
    let capturing = turn(&asking.transaction, paid);
    let expected = [
        ("held", -105, "EUR"),
        ("fees", 5, "EUR"),
        ("provider", 100, "EUR"),
    ];
    assert_eq!(legs(posting(&capturing)), expected);
    let declined = Input::Asked(Asked::Answered(Answer::Declined {
        reference: None,
        decline_code: "do_not_honor".to_owned(),
    }));
    let voiding = turn(&asking.transaction, declined);
    let expected = [("held", -105, "EUR"), ("payer", 105, "EUR")];
    assert_eq!(legs(posting(&voiding)), expected);
}

/// Money that changes its currency is two balanced pairs, over the platform's
/// liquidity in both.
#[test]
fn a_conversion_goes_over_liquidity() {
    let plain = opened(transfer(), converted(Price::default(), 110));
    let expected = [
        ("payer", -100, "EUR"),
        ("liquidity", 100, "EUR"),
        ("liquidity", -110, "USD"),
        ("payee", 110, "USD"),
    ];
    assert_eq!(legs(posting(&plain)), expected);
    let with_fee = opened(transfer(), converted(fee(5, FeePayer::Recipient), 104));
    let expected = [
        ("payer", -100, "EUR"),
        ("fees", 5, "EUR"),
        ("liquidity", 95, "EUR"),
        ("liquidity", -104, "USD"),
        ("payee", 104, "USD"),
    ];
    assert_eq!(legs(posting(&with_fee)), expected);
}

fn completed(price: Price) -> Transaction {
    turn(&opened(transfer(), price).transaction, posted()).transaction
}

/// A refund gives back the amount without the fee, and costs nothing itself.
#[test]
fn a_refund_leaves_the_fee() {
    for payer in FeePayer::ALL {
        let original = completed(fee(5, payer));
        let (movement, amount) =
            plan_refund(&original, 0, None, Asker::User(user())).expect("it can be refunded");
        assert_eq!(amount.minor(), 100);
        let refund = opened(movement, Price::default());
        assert_eq!(posting(&refund).legs.len(), 2);
    }
}

/// What has changed its currency does not come back at another rate.
#[test]
fn a_conversion_cannot_be_refunded() {
    let original = completed(converted(Price::default(), 110));
    let refused = plan_refund(&original, 0, None, Asker::Operator);
    assert_eq!(refused, Err(RefundError::Converted));
}

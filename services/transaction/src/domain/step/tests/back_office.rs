//! What operators move: one posting each, and nothing of a customer's movement.

use super::super::super::{
    Account, Adjustment, AdjustmentDirection, AdjustmentReason, Asker, Bucket, Command, Failure,
    FailureReason, FeePayer, FeeRule, FeeRuleInvalid, Input, Leg, Movement, MovementKind, Posting,
    PostingKind, RefundError, Refusal, RefusalReason, Rounding, Side, State, Transaction, Verdict,
    limit::Limited, plan_refund,
};
use super::cases::{posted, posting_kind, turn};
use super::{adjustment, amount, bonus_grant, initiated, payee, payer, user, wallet};
use bursar_aip::id::FeeRuleId;
use uuid::Uuid;

/// What operators move, in every form.
fn all() -> [Transaction; 3] {
    [adjustment(true), adjustment(false), bonus_grant()].map(initiated)
}

fn opening(transaction: &Transaction) -> Posting {
    match turn(transaction, Input::Resume(None)).command {
        Some(Command::Post(posting)) => posting,
        other => panic!("{other:?} instead of a posting"),
    }
}

fn sides(posting: &Posting) -> Vec<(&Account, Bucket, i64)> {
    let side = |leg: &'_ Leg| (leg.bucket, leg.amount_minor);
    let legs = posting.legs.iter();
    legs.map(|leg| {
        let (bucket, amount_minor) = side(leg);
        (&leg.account, bucket, amount_minor)
    })
    .collect()
}

fn of(wallet: bursar_aip::id::WalletId, owner: Option<bursar_aip::id::UserId>) -> Account {
    Account::Wallet {
        id: wallet,
        required_owner: owner,
    }
}

/// A credit is paid by suspense, and a debit is paid to it out of available money that
/// must be the owner's.
#[test]
fn an_adjustment_is_one_posting_against_suspense() {
    let available = Bucket::Available;
    let [credit, debit, _] = all();
    let posting = opening(&credit);
    assert_eq!(posting.kind, PostingKind::Adjustment);
    let wallet = of(payee(), None);
    let expected = [
        (&Account::Suspense, available, -100),
        (&wallet, available, 100),
    ];
    assert_eq!(sides(&posting), expected);
    let posting = opening(&debit);
    let wallet = of(payer(), Some(user()));
    let expected = [
        (&wallet, available, -100),
        (&Account::Suspense, available, 100),
    ];
    assert_eq!(sides(&posting), expected);
    assert_eq!(posting.grant, None);
}

/// A grant goes from the budget into bonus money, under an id that never changes.
#[test]
fn a_bonus_grant_is_one_posting_out_of_the_budget() {
    let [_, _, grant] = all();
    let posting = opening(&grant);
    assert_eq!(posting.kind, PostingKind::BonusGrant);
    assert_eq!(posting.id, grant.id.uuid());
    assert_eq!(posting.grant, Some(grant.grant_id()));
    let campaign = grant.movement.campaign().expect("it has a campaign");
    let (budget, wallet) = (Account::Budget(campaign), of(payee(), None));
    let expected = [
        (&budget, Bucket::Available, -100),
        (&wallet, Bucket::Bonus, 100),
    ];
    assert_eq!(sides(&posting), expected);
}

/// Applied, it is done; refused, it has failed for the reason that was given; and what
/// may still arrive is barred first, by a posting that moves nothing and grants nothing.
#[test]
fn its_one_posting_decides() {
    let refusal = Refusal {
        reason: RefusalReason::BonusCapExceeded,
        side: Side::Payer,
    };
    for transaction in all() {
        let done = turn(&transaction, posted()).transaction;
        assert_eq!((done.state, done.version), (State::Completed, 2));
        let refused = |sole_attempt| {
            let input = Input::Refused {
                refusal,
                sole_attempt,
            };
            turn(&transaction, input)
        };
        let failed = refused(true).transaction;
        assert_eq!(failed.state, State::Failed);
        assert_eq!(failed.failure, Some(refusal.failure()));
        let barring = refused(false);
        assert_eq!(posting_kind(&barring), Some(PostingKind::Bar));
        let Some(Command::Bar { posting, .. }) = &barring.command else {
            panic!("it is barred");
        };
        assert_eq!(posting.id, opening(&transaction).id);
        assert_eq!(posting.grant, None);
        let suspense_only = posting
            .legs
            .iter()
            .all(|leg| leg.account == Account::Suspense);
        assert!(suspense_only && *posting != opening(&transaction));
        let barred = turn(&transaction, Input::Barred(Verdict::Refused(refusal)));
        assert_eq!(barred.transaction.state, State::Failed);
        let late = turn(&transaction, Input::BarredTooLate);
        assert_eq!(late.command, Some(Command::Post(opening(&transaction))));
    }
}

/// The campaign's reasons say what is wrong with it, and not with a wallet.
#[test]
fn a_refused_grant_says_why() {
    for (reason, words) in [
        (RefusalReason::BonusCampaignNotFound, "does not exist"),
        (RefusalReason::BonusCampaignNotActive, "grants nothing now"),
        (
            RefusalReason::BonusCapExceeded,
            "so much of the bonus campaign",
        ),
        (RefusalReason::BonusBudgetExhausted, "its budget"),
    ] {
        let side = Side::Payer;
        let Failure { reason, message } = Refusal { reason, side }.failure();
        assert!(
            message.contains(words) && !message.contains("wallet"),
            "{message}"
        );
        assert_eq!(FailureReason::parse(reason.name()), Some(reason));
    }
}

/// Nobody can have it refunded, it counts against no limit, and no fee can be set for it.
#[test]
fn it_is_no_movement_of_a_customers() {
    for transaction in all() {
        let done = turn(&transaction, posted()).transaction;
        for asker in [Asker::Operator, Asker::User(user())] {
            let planned = plan_refund(&done, 0, Some(amount(1)), asker);
            assert_eq!(planned, Err(RefundError::NotRefundable));
        }
        assert_eq!(Limited::of(&transaction.movement), None);
        let kind = transaction.movement.kind();
        assert!(!kind.has_fees());
        let rule = fee_rule(kind);
        assert_eq!(rule.validate(), Err(FeeRuleInvalid::BackOffice));
    }
}

fn fee_rule(kind: MovementKind) -> FeeRule {
    FeeRule {
        id: FeeRuleId::from_uuid(Uuid::from_u128(5)),
        kind,
        currency: amount(1).currency(),
        from_minor: 1,
        to_minor: None,
        fixed_minor: 1,
        basis_points: 0,
        min_fee_minor: 0,
        max_fee_minor: None,
        payer: FeePayer::Sender,
        rounding: Rounding::HalfEven,
        priority: 0,
    }
}

/// Only the wallets that it moved money of have a part in a transaction, and only whose
/// money an adjustment takes is its payer.
#[test]
fn an_adjustment_knows_whose_wallet_it_takes_from() {
    let [credit, debit, grant] = all();
    assert!(credit.involves(payee()) && !credit.involves(payer()));
    assert!(debit.involves(payer()) && !debit.involves(wallet(3)));
    let payers = [credit, debit, grant].map(|one| one.movement.payer());
    assert_eq!(payers, [None, Some(user()), None]);
    let direction = AdjustmentDirection::Credit;
    for reason in AdjustmentReason::ALL {
        let adjustment = Adjustment {
            wallet: payee(),
            direction,
            reason,
            corrects: None,
        };
        let movement = Movement::Adjustment(adjustment.clone());
        assert_eq!(movement.adjustment(), Some(&adjustment));
        assert_eq!(AdjustmentReason::parse(reason.name()), Some(reason));
    }
}

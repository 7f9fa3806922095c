//! What refunds add to the rules: the reserve, the shares, the receivable.

use proptest::prelude::*;

use super::super::super::{
    Account, Asked, Asker, Command, Event, Failure, Initiated, Input, MAX_SHARES, Movement, Note,
    Posting, PostingKind, Price, RefundError, Refusal, RefusalReason, Side, State, Transaction,
    Verdict, plan_refund,
};
use super::cases::{POOR, at, lost, posted, posting_kind, succeeded, turn};
use super::world::World;
use super::{
    amount, deposit, initiated, initiated_with, refund_of_deposit, refund_of_transfer, transfer,
    user, withdrawal,
};

fn other_user() -> bursar_aip::id::UserId {
    bursar_aip::id::UserId::from_uuid(uuid::Uuid::from_u128(8))
}

/// A completed transaction of 100 that reached the user.
fn completed(movement: Movement) -> Transaction {
    let mut transaction = initiated(movement.clone());
    transaction.initiator = other_user();
    if movement.provider().is_some() {
        let asking = turn(&transaction, Input::Resume(None));
        let answer = Input::Asked(Asked::Answered(succeeded(100)));
        transaction = turn(&asking.transaction, answer).transaction;
    }
    let done = turn(&transaction, posted()).transaction;
    assert_eq!(done.state, State::Completed);
    done
}

fn posting(command: Option<Command>) -> Posting {
    match command {
        Some(Command::Post(posting)) => posting,
        other => panic!("a posting was expected, not {other:?}"),
    }
}

fn poor(sole_attempt: bool) -> Input {
    Input::Refused {
        refusal: POOR,
        sole_attempt,
    }
}

/// Who received a transfer may send it back, an operator may refund any transfer
/// and deposit, and nobody else anything.
#[test]
fn refunds_are_for_receivers_and_operators() {
    let (receiver, sender) = (Asker::User(user()), Asker::User(other_user()));
    let transfer = completed(transfer());
    let plan = |original: &Transaction, asker| plan_refund(original, 0, None, asker).map(|_| ());
    assert_eq!(plan(&transfer, receiver), Ok(()));
    assert_eq!(plan(&transfer, Asker::Operator), Ok(()));
    assert_eq!(plan(&transfer, sender), Err(RefundError::NotPermitted));
    let stranger = Asker::User(bursar_aip::id::UserId::from_uuid(uuid::Uuid::from_u128(9)));
    assert_eq!(plan(&transfer, stranger), Err(RefundError::NotFound));

    let deposit = completed(deposit());
    assert_eq!(plan(&deposit, Asker::Operator), Ok(()));
    assert_eq!(plan(&deposit, receiver), Err(RefundError::NotPermitted));
    let withdrawal = initiated(withdrawal());
    assert_eq!(
        plan(&withdrawal, Asker::Operator),
        Err(RefundError::NotRefundable)
    );
    let refund = completed(refund_of_transfer());
    assert_eq!(
        plan(&refund, Asker::Operator),
        Err(RefundError::NotRefundable)
    );
    assert_eq!(
        plan(&initiated(super::transfer()), Asker::Operator),
        Err(RefundError::NotCompleted)
    );
}

/// The amount is what is asked for, or all that is left, and never more than that.
#[test]
fn amounts_stay_within_what_is_left() {
    let original = completed(transfer());
    let plan = |reserved, asked: Option<i64>| {
        plan_refund(&original, reserved, asked.map(amount), Asker::Operator)
            .map(|(_, amount)| amount.minor())
    };
    assert_eq!(plan(0, None), Ok(100));
    assert_eq!(plan(30, None), Ok(70));
    assert_eq!(plan(30, Some(70)), Ok(70));
    let exceeds = |left_minor| Err(RefundError::Exceeds { left_minor });
    assert_eq!(plan(30, Some(71)), exceeds(70));
    assert_eq!(plan(100, None), exceeds(0));
    assert_eq!(plan(100, Some(1)), exceeds(0));
    let dollars = bursar_money::Currency::parse("USD").expect("a currency");
    let dollars = bursar_money::PositiveMoney::new(dollars, 1).expect("positive");
    assert_eq!(
        plan_refund(&original, 0, Some(dollars), Asker::Operator).map(|_| ()),
        Err(RefundError::CurrencyMismatch)
    );
}

/// The refund of a transfer is one posting from who received it, whose wallet it
/// must be, to who sent it; refused it fails.
#[test]
fn a_transfer_goes_back_by_one_posting() {
    let original = completed(transfer());
    let (movement, amount) =
        plan_refund(&original, 0, None, Asker::Operator).expect("it can be refunded");
    assert_eq!(movement.from_wallet(), original.movement.to_wallet());
    assert_eq!(movement.to_wallet(), original.movement.from_wallet());
    let refund = initiated_with(movement, amount.minor());
    let request = posting(turn(&refund, Input::Resume(None)).command);
    assert_eq!(
        (request.kind, request.id),
        (PostingKind::GiveBack, refund.id.uuid())
    );
    let owner = Some(user());
    assert!(matches!(
        request.legs[0].account,
        Account::Wallet { required_owner, .. } if required_owner == owner
    ));
    assert_eq!(turn(&refund, posted()).transaction.state, State::Completed);
    let failed = turn(&refund, poor(true)).transaction;
    assert_eq!(failed.failure, Some(POOR.failure()));
}

/// What the wallet has not got is the platform's to pay: the share is set aside
/// under an id of its own, and the claim is posted with the capture.
#[test]
fn a_shortfall_becomes_a_receivable() {
    let opening = turn(&initiated(refund_of_deposit(true)), Input::Resume(None));
    let first = posting(opening.command.clone());
    let measuring = turn(&opening.transaction, poor(true));
    assert!(matches!(measuring.command, Some(Command::Measure(_))));
    assert!(measuring.events.is_empty(), "nothing is decided yet");
    let sharing = turn(&measuring.transaction, Input::Measured(Some(40)));
    assert_eq!(sharing.transaction.receivable(), 60);
    let second = posting(sharing.command.clone());
    assert_ne!(second.id, first.id);
    assert_eq!(second.legs[1].amount_minor, 40);

    let asking = turn(&sharing.transaction, posted());
    assert_eq!(asking.command, Some(Command::Ask));
    let answer = Input::Asked(Asked::Answered(succeeded(100)));
    let settling = turn(&asking.transaction, answer);
    let capture = posting(settling.command.clone());
    let amounts: Vec<_> = capture.legs.iter().map(|leg| leg.amount_minor).collect();
    assert_eq!(amounts, [-40, -60, 100]);
    assert!(matches!(capture.legs[1].account, Account::Receivable(_)));
    assert_eq!(
        turn(&settling.transaction, posted()).transaction.state,
        State::Completed
    );
}

/// While another attempt may arrive its id is barred before anything is measured,
/// and a run that is cut off in between bars again.
#[test]
fn a_share_is_found_only_once_the_attempt_before_is_barred() {
    let pending = initiated(refund_of_deposit(true));
    let barring = turn(&pending, poor(false));
    assert_eq!(posting_kind(&barring), Some(PostingKind::Bar));
    assert_eq!(barring.note, Some(Note::Refused(POOR)));
    let measuring = turn(&pending, Input::Barred(Verdict::Refused(POOR)));
    assert!(matches!(measuring.command, Some(Command::Measure(_))));
    let unanswered = turn(&pending, Input::Measured(None));
    assert_eq!((unanswered.command, unanswered.note), (None, None));
    let again = turn(&pending, Input::Resume(barring.note));
    assert_eq!(posting_kind(&again), Some(PostingKind::Bar));
}

/// A wallet that is emptied again and again does not keep the refund from its
/// end: after some shares the platform pays all and the provider is asked.
#[test]
fn shares_come_to_an_end() {
    let mut step = turn(&initiated(refund_of_deposit(true)), Input::Resume(None));
    let mut ids = Vec::new();
    for _ in 0..MAX_SHARES {
        ids.push(posting(step.command.clone()).id);
        let measuring = turn(&step.transaction, poor(true));
        step = turn(&measuring.transaction, Input::Measured(Some(50)));
    }
    ids.push(posting(step.command.clone()).id);
    let covered = turn(&step.transaction, poor(true));
    assert_eq!(covered.command, Some(Command::Ask));
    assert_eq!(covered.transaction.receivable(), 100);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len() as u32, MAX_SHARES + 1, "no id is used twice");

    let answer = Input::Asked(Asked::Answered(succeeded(100)));
    let settling = turn(&covered.transaction, answer);
    assert_eq!(posting_kind(&settling), Some(PostingKind::Cover));
    let lost_one = turn(&covered.transaction, lost());
    assert_eq!(lost_one.transaction.state, State::Unknown);
}

/// A claim stands for money that is not there, never for money that is: a frozen
/// wallet makes the refund fail, a closed one has no share.
#[test]
fn only_missing_money_is_covered() {
    let refused = |reason| Input::Refused {
        refusal: Refusal {
            reason,
            side: Side::Payer,
        },
        sole_attempt: true,
    };
    let pending = initiated(refund_of_deposit(true));
    let frozen = turn(&pending, refused(RefusalReason::WalletFrozen));
    assert_eq!(frozen.transaction.state, State::Failed);
    let closed = turn(&pending, refused(RefusalReason::WalletClosed));
    assert_eq!(closed.command, Some(Command::Ask));
    assert_eq!(closed.transaction.receivable(), 100);
    let uncovered = turn(&initiated(refund_of_deposit(false)), poor(true));
    assert_eq!(uncovered.transaction.state, State::Failed);
}

/// A provider that declines gets everything given back, and no claim is left.
#[test]
fn a_declined_refund_leaves_no_claim() {
    let declined = || {
        Input::Asked(Asked::Answered(super::super::super::Answer::Declined {
            reference: None,
            decline_code: "refund_refused".to_owned(),
        }))
    };
    let pending = initiated(refund_of_deposit(true));
    let measuring = turn(&pending, poor(true)).transaction;
    let sharing = turn(&measuring, Input::Measured(Some(40))).transaction;
    let asking = turn(&sharing, posted()).transaction;
    let releasing = turn(&asking, declined());
    let void = posting(releasing.command.clone());
    assert_eq!((void.kind, void.legs.len()), (PostingKind::Void, 2));
    assert_eq!(void.legs[1].amount_minor, 40);
    let failed = turn(&releasing.transaction, posted()).transaction;
    assert_eq!(failed.failure, Some(Failure::declined()));

    let nothing = turn(&measuring, Input::Measured(Some(-5))).transaction;
    assert_eq!(nothing.wallet_pays(), 0, "credit is not drawn on");
    let failed = turn(&nothing, declined()).transaction;
    assert_eq!(failed.failure, Some(Failure::declined()));
}

/// An event that names a share out of turn, or a share of what is not covered,
/// does not fold.
#[test]
fn shares_out_of_turn_do_not_fold() {
    let found = |attempt, wallet_minor| Event::ShortfallFound {
        attempt,
        wallet_minor,
    };
    let fits =
        |transaction: &Transaction, event: Event| transaction.clone().apply(&event, at(1)).is_ok();
    let covered = initiated(refund_of_deposit(true));
    assert!(fits(&covered, found(0, 0)));
    assert!(fits(&covered, found(0, 100)));
    assert!(!fits(&covered, found(1, 0)));
    assert!(!fits(&covered, found(0, 101)));
    assert!(!fits(&covered, found(0, -1)));
    assert!(!fits(&initiated(refund_of_deposit(false)), found(0, 0)));
    assert!(!fits(&initiated(withdrawal()), found(0, 0)));
    let asked = turn(&covered, posted()).transaction;
    assert!(!fits(&asked, found(0, 0)), "the money is set aside");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// However many refunds are asked for, and whatever happens to each of them:
    /// together they give back no more than the original, and the reserve is in
    /// the end what was given back.
    #[test]
    fn refunds_give_back_no_more_than_the_original(
        of_deposit in any::<bool>(),
        refunds in proptest::collection::vec(
            (
                proptest::option::of(1_i64..150),
                0_i64..200,
                proptest::collection::vec(any::<u8>(), 0..30),
            ),
            1..8,
        ),
    ) {
        let original = completed(if of_deposit { deposit() } else { transfer() });
        let mut reserved = 0;
        let mut under_way = Vec::new();
        for (asked, funds, choices) in refunds {
            let plan = plan_refund(&original, reserved, asked.map(amount), Asker::Operator);
            let Ok((_, planned)) = plan else { continue };
            reserved += planned.minor();
            prop_assert!(reserved <= 100);
            // The world has its own payer and payee.
            let movement = if of_deposit { refund_of_deposit(true) } else { refund_of_transfer() };
            let price = Price::default();
            let initiated = Initiated { movement, amount: planned, price, initiator: user() };
            let refund = Transaction::initiate(super::transaction_id(), initiated, at(0));
            let mut world = World::new(refund, funds);
            for choice in choices {
                world.stumble(choice);
            }
            under_way.push(world);
        }
        let mut given_back = 0;
        for mut world in under_way {
            world.recover();
            world.check_at_rest();
            let ended = world.transaction();
            match ended.state {
                State::Completed => given_back += ended.amount.minor(),
                _ => reserved -= ended.amount.minor(),
            }
        }
        prop_assert_eq!(given_back, reserved);
        prop_assert!(given_back <= 100);
    }
}

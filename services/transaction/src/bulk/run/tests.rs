//! Bulk transfers against a ledger that is as unkind as a network allows.
//!
//! The ledger here is a model of wallet's: ids are taken once, atomic calls are
//! whole. Calls are answered, lost on the way there, lost on the way back or late,
//! money arrives between two attempts, and processes die and forget what they sent.

use std::collections::HashMap;
use std::time::Instant;

use bursar_aip::id::{BulkTransferId, TenantId, TransactionId, UserId, WalletId};
use bursar_contracts::transaction::v1::BulkTransferState;
use bursar_money::{Currency, PositiveMoney};
use bursar_server::now;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::Counts;
use super::*;
use crate::domain::{
    Initiated, LedgerFault, Movement, Posted, PostingKind, Price, RefusalReason, Side, State,
};
use crate::ledger::Reply;

/// How often the ledger may be asked in a test before it must answer.
const MAX_FATES: usize = 12;

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It arrives and is answered.
    Answered,
    /// It arrives, and the answer is lost.
    AnswerLost,
    /// It is on its way until something else has happened.
    Late,
    /// It arrives, and the process dies with the answer.
    Killed,
    /// It is answered; then money arrives.
    AnsweredThenFunded,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::Answered),
        Just(Fate::AnswerLost),
        Just(Fate::Late),
        Just(Fate::Killed),
        Just(Fate::AnsweredThenFunded),
    ]
}

/// The ledger: what is posted under which id, and the payer's balance.
struct Model {
    taken: HashMap<Uuid, PostingKind>,
    balance: i64,
    on_the_way: Vec<(Mode, Vec<Posting>)>,
}

impl Model {
    fn post(&mut self, mode: Mode, postings: &[Posting]) -> Vec<BatchReply> {
        let before = (self.taken.clone(), self.balance);
        let mut replies = Vec::new();
        for (index, posting) in postings.iter().enumerate() {
            let reply = self.post_one(posting);
            let is_refusal = !matches!(reply, Reply::Applied(_));
            replies.push(BatchReply::Own(reply.clone()));
            if is_refusal && mode == Mode::Atomic {
                (self.taken, self.balance) = before;
                return self.refuse_all(postings, index, reply);
            }
        }
        replies
    }

    fn refuse_all(&self, postings: &[Posting], culprit: usize, why: Reply) -> Vec<BatchReply> {
        postings
            .iter()
            .enumerate()
            .map(|(index, posting)| match self.taken.get(&posting.id) {
                _ if index == culprit => BatchReply::Own(why.clone()),
                Some(kind) if *kind == posting.kind => BatchReply::Own(applied()),
                Some(_) | None => BatchReply::Companion,
            })
            .collect()
    }

    fn post_one(&mut self, posting: &Posting) -> Reply {
        match self.taken.get(&posting.id) {
            Some(kind) if *kind == posting.kind => return applied(),
            Some(_) => return Reply::Faulted(LedgerFault::PostingIdReused),
            None => {}
        }
        if posting.kind == PostingKind::Transfer {
            let amount = posting.legs[1].amount_minor;
            if amount > self.balance {
                return Reply::Refused(Refusal {
                    reason: RefusalReason::InsufficientFunds,
                    side: Side::Payer,
                });
            }
            self.balance -= amount;
        }
        self.taken.insert(posting.id, posting.kind);
        applied()
    }

    /// Everything that is late arrives.
    fn deliver(&mut self) {
        for (mode, postings) in std::mem::take(&mut self.on_the_way) {
            self.post(mode, &postings);
        }
    }
}

fn applied() -> Reply {
    Reply::Applied(Posted {
        recorded_at: now(),
        beneficiary: Some(UserId::generate()),
    })
}

fn run_of(mode: Mode, amounts: &[i64]) -> BulkRun {
    let euro = Currency::parse("EUR").expect("a currency");
    let (initiator, from, at) = (UserId::generate(), WalletId::generate(), now());
    let items = (0..)
        .zip(amounts)
        .map(|(position, amount)| {
            let initiated = Initiated {
                movement: Movement::Transfer {
                    from,
                    to: WalletId::generate(),
                },
                amount: PositiveMoney::new(euro, *amount).expect("positive"),
                price: Price::default(),
                initiator,
            };
            Item {
                position,
                key: position.to_string(),
                stored: Stored {
                    transaction: Transaction::initiate(TransactionId::generate(), initiated, at),
                    tenant: TenantId::default(),
                    description: String::new(),
                    refunded_minor: 0,
                },
                refusal: None,
            }
        })
        .collect();
    let id = BulkTransferId::generate();
    BulkRun {
        bulk: Bulk {
            id,
            tenant: TenantId::default(),
            mode,
            initiator,
            transfers: i32::try_from(amounts.len()).expect("few"),
            counts: Counts::default(),
            created_at: at,
            updated_at: at,
        },
        items,
        settled: Vec::new(),
        lease: Lease {
            bulk: id,
            epoch: 1,
            attempts: 0,
            correlation: None,
        },
        actor: initiator.to_string(),
        loose_end: false,
        freeze: None,
        deadline: Instant::now(),
        stop: CancellationToken::new(),
    }
}

impl BulkRun {
    /// One call of the ledger and what comes of it.
    fn turn(&mut self, model: &mut Model, fate: Fate) {
        let mode = self.bulk.mode;
        let (stage, asked) = next_call(mode, &self.items);
        let postings = self.postings(stage, &asked).expect("all are PENDING");
        match fate {
            Fate::Late => {
                model.on_the_way.push((mode, postings));
                self.loose_end = true;
            }
            Fate::AnswerLost | Fate::Killed => {
                model.post(mode, &postings);
                self.loose_end = true;
            }
            Fate::Answered | Fate::AnsweredThenFunded => {
                let replies = model.post(mode, &postings);
                let change = self.take_in(stage, &asked, &replies).expect("it follows");
                self.bulk = change.bulk;
                for (index, item) in change.items {
                    self.items[index] = item;
                }
                if matches!(fate, Fate::AnsweredThenFunded) {
                    model.balance += 100;
                }
            }
        }
    }
}

proptest! {
    /// Whatever is lost, late or killed: the rows and the ledger agree in the end,
    /// an atomic bulk transfer is whole at every moment, and nothing that is still
    /// on its way can change it afterwards.
    #[test]
    fn rows_and_ledger_agree_whatever_is_lost(
        is_atomic: bool,
        amounts in proptest::collection::vec(1_i64..100, 1..6),
        balance in 0_i64..300,
        fates in proptest::collection::vec((fate(), any::<bool>()), 0..MAX_FATES),
    ) {
        let mode = if is_atomic { Mode::Atomic } else { Mode::Independent };
        let mut run = run_of(mode, &amounts);
        let mut model = Model { taken: HashMap::new(), balance, on_the_way: Vec::new() };
        for (fate, delivers) in fates {
            if run.bulk.is_over() {
                break;
            }
            run.turn(&mut model, fate);
            if delivers {
                model.deliver();
            }
            check_whole(&run, &model)?;
        }
        for _ in 0..4 {
            if !run.bulk.is_over() {
                run.turn(&mut model, Fate::Answered);
                check_whole(&run, &model)?;
            }
        }
        prop_assert!(run.bulk.is_over(), "four answers always end it");
        model.deliver();
        check_whole(&run, &model)?;
        for item in &run.items {
            let transaction = &item.stored.transaction;
            let made = model.taken.get(&transaction.id.uuid()) == Some(&PostingKind::Transfer);
            let expected = if made { State::Completed } else { State::Failed };
            prop_assert_eq!(transaction.state, expected, "{:?}", transaction);
        }
        prop_assert!(model.balance >= 0);
    }

    /// With nothing lost, the first call decides: all that can be paid is paid, and
    /// of an atomic bulk transfer all or nothing.
    #[test]
    fn an_answered_call_is_final(
        is_atomic: bool,
        amounts in proptest::collection::vec(1_i64..100, 1..6),
        balance in 0_i64..300,
    ) {
        let mode = if is_atomic { Mode::Atomic } else { Mode::Independent };
        let mut run = run_of(mode, &amounts);
        let mut model = Model { taken: HashMap::new(), balance, on_the_way: Vec::new() };
        run.turn(&mut model, Fate::Answered);
        prop_assert!(run.bulk.is_over());
        let is_enough = amounts.iter().sum::<i64>() <= balance;
        match run.bulk.state() {
            BulkTransferState::Completed => prop_assert!(is_enough),
            BulkTransferState::Failed | BulkTransferState::PartlyCompleted => {
                prop_assert!(!is_enough);
            }
            other => prop_assert!(false, "{:?}", other),
        }
        let results = run.results();
        let refused = results.iter().filter(|result| result.is_refused).count();
        if is_atomic && !is_enough {
            prop_assert_eq!(refused, 1, "one is to blame, the others are companions");
            prop_assert!(results.iter().all(|result| result.failure.is_some()));
            prop_assert!(answer(&run.bulk, &results).is_err());
        } else {
            prop_assert!(answer(&run.bulk, &results).is_ok());
        }
    }
}

/// Of an atomic bulk transfer the ledger has all transfers or none.
fn check_whole(run: &BulkRun, model: &Model) -> Result<(), TestCaseError> {
    if run.bulk.mode == Mode::Atomic {
        let made = run
            .items
            .iter()
            .filter(|item| {
                let id = item.stored.transaction.id.uuid();
                model.taken.get(&id) == Some(&PostingKind::Transfer)
            })
            .count();
        prop_assert!(made == 0 || made == run.items.len());
        let states: Vec<State> = run
            .items
            .iter()
            .map(|item| item.stored.transaction.state)
            .collect();
        prop_assert!(states.windows(2).all(|pair| pair[0] == pair[1]));
    }
    Ok(())
}

/// A fault of ours on one transfer of an atomic bulk transfer sends all of them to
/// a person, and none is told to have failed.
#[test]
fn a_fault_stops_an_atomic_bulk_transfer() {
    let mut run = run_of(Mode::Atomic, &[1, 2, 3]);
    let replies = [
        BatchReply::Companion,
        BatchReply::Own(Reply::Faulted(LedgerFault::Unbalanced)),
        BatchReply::Companion,
    ];
    let change = run
        .take_in(Stage::Post, &[0, 1, 2], &replies)
        .expect("it follows");
    run.bulk = change.bulk;
    assert_eq!(run.bulk.state(), BulkTransferState::ManualReview);
    assert_eq!(run.bulk.counts.review, 3);
}

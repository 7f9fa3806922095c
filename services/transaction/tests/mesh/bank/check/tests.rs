//! Sound evidence has no flaw, and every planted one is found.

use super::*;
use crate::bank::history::{Answer, Attempt, Kind, Micros, Movement, Outcome, Wish};

const ALICE: Uuid = Uuid::from_u128(0xA11CE);
const BOB: Uuid = Uuid::from_u128(0xB0B);
/// What Alice owes the platform.
const OWED: Uuid = Uuid::from_u128(0x0E);
const SETTLEMENT: Uuid = Uuid::from_u128(0x5E);

/// A day at the bank, kept as the services keep it.
#[derive(Default)]
struct Day(Evidence);

impl Day {
    /// A deposit of Alice's, a transfer of hers to Bob, one that failed, a payout of
    /// Bob's, and Alice's deposit given back though she has spent some of it.
    fn sound() -> Evidence {
        let mut day = Self::default();
        for (id, account) in [
            (ALICE, Some(ALICE)),
            (BOB, Some(BOB)),
            (OWED, Some(ALICE)),
            (SETTLEMENT, None),
        ] {
            day.0.wallets.push(Wallet {
                id,
                account,
                available: 0,
                held: 0,
                version: 0,
            });
        }
        let deposited = day.call(Kind::Deposit, None, Some(ALICE), 1_000);
        day.post(deposited, &[(SETTLEMENT, -1_000), (ALICE, 1_000)]);
        day.at_provider(deposited, "succeeded");
        let sent = day.call(Kind::Transfer, Some(ALICE), Some(BOB), 400);
        day.post(sent, &[(ALICE, -400), (BOB, 400)]);
        let refused = day.call(Kind::Transfer, Some(BOB), Some(ALICE), 9_000);
        day.fails(refused);
        let paid = day.call(Kind::Withdrawal, Some(BOB), None, 100);
        day.post(paid, &[(BOB, -100), (SETTLEMENT, 100)]);
        day.at_provider(paid, "succeeded");
        let refunded = day.call(Kind::RefundDeposit, Some(ALICE), None, 1_000);
        day.post(
            refunded,
            &[(ALICE, -600), (OWED, -400), (SETTLEMENT, 1_000)],
        );
        day.at_provider(refunded, "succeeded");
        let declined = day.call(Kind::Deposit, None, Some(BOB), 7);
        day.at_provider(declined, "declined");
        day.fails(declined);
        day.0
    }

    /// A call that was answered at once, and again when it was asked again. Returns
    /// its number, by which its times are known.
    fn call(&mut self, kind: Kind, from: Option<Uuid>, to: Option<Uuid>, amount: i64) -> usize {
        let number = self.0.calls.len();
        let id = Uuid::from_u128(100 + number as u128);
        let at = 1_000 * i64::try_from(number).unwrap();
        let attempt = |asked_at: Micros| Attempt {
            asked_at,
            told_at: asked_at + 20,
            answer: Some(Answer {
                transaction: Some(id),
                outcome: Outcome::Completed,
                said: format!("{id} is done"),
            }),
        };
        let unanswered = Attempt {
            answer: None,
            ..attempt(at)
        };
        self.0.calls.push(Call {
            key: format!("key {number}"),
            wish: Wish {
                kind,
                from,
                to,
                currency: "EUR".to_owned(),
                amount_minor: amount,
                original: None,
            },
            attempts: vec![unanswered, attempt(at + 30), attempt(at + 60)],
        });
        self.0.transactions.push(Transaction {
            id,
            key: format!("key {number}"),
            kind: kind.name().to_owned(),
            state: "COMPLETED".to_owned(),
            currency: "EUR".to_owned(),
            amount_minor: amount,
            created_at: at + 10,
        });
        number
    }

    fn fails(&mut self, number: usize) {
        self.0.transactions[number].state = "FAILED".to_owned();
        for attempt in &mut self.0.calls[number].attempts {
            if let Some(answer) = &mut attempt.answer {
                answer.outcome = Outcome::Failed;
            }
        }
    }

    fn post(&mut self, number: usize, legs: &[(Uuid, i64)]) {
        for &(wallet, amount) in legs {
            enter(&mut self.0, number, wallet, amount);
        }
    }

    fn at_provider(&mut self, number: usize, status: &str) {
        let transaction = &self.0.transactions[number];
        let part = self.0.calls[number].wish.kind.at_provider().unwrap();
        self.0.movements.push(Movement {
            kind: part.to_owned(),
            reference: effects::reference(transaction.id),
            currency: "EUR".to_owned(),
            amount_minor: transaction.amount_minor,
            status: status.to_owned(),
        });
    }
}

/// An entry that fits the wallet it is in.
fn enter(evidence: &mut Evidence, number: usize, wallet: Uuid, amount: i64) {
    let transaction = &evidence.transactions[number];
    let mut wallets = evidence.wallets.iter_mut();
    let after = wallets.find(|it| it.id == wallet).unwrap();
    after.available += amount;
    after.version += 1;
    evidence.entries.push(Entry {
        wallet,
        version: after.version,
        transaction: transaction.id,
        currency: "EUR".to_owned(),
        bucket: "available".to_owned(),
        amount,
        balance_after: after.available,
        recorded_at: transaction.created_at + 5,
    });
}

/// The flaws of sound evidence after something was done to it.
fn flaws(plant: impl FnOnce(&mut Evidence)) -> Vec<Flaw> {
    let mut evidence = Day::sound();
    plant(&mut evidence);
    let mut flaws: Vec<Flaw> = check(&evidence).into_iter().map(|it| it.flaw).collect();
    flaws.sort_unstable();
    flaws.dedup();
    flaws
}

fn answers(call: &mut Call) -> impl Iterator<Item = &mut Answer> {
    let attempts = call.attempts.iter_mut();
    attempts.filter_map(|attempt| attempt.answer.as_mut())
}

/// Nothing is wrong with a day on which nothing went wrong.
#[test]
fn sound_books_have_no_flaw() {
    assert_eq!(check(&Day::sound()), []);
}

/// What was acknowledged and is not there.
#[test]
fn lost_effects_are_found() {
    // Not even the transaction; the ledger still has its entries.
    let found = flaws(|evidence| drop(evidence.transactions.remove(1)));
    assert!(found.contains(&Flaw::Lost), "{found:?}");
    // The state goes back.
    let found = flaws(|evidence| evidence.transactions[1].state = "FAILED".to_owned());
    assert!(found.contains(&Flaw::Lost), "{found:?}");
    // No posting, and wallets as if there had been none.
    let found = flaws(|evidence| {
        let id = evidence.transactions[4].id;
        evidence.entries.retain(|entry| entry.transaction != id);
    });
    assert!(found.contains(&Flaw::Lost), "{found:?}");
    // The provider has not paid out.
    let found = flaws(|evidence| evidence.movements[1].status = "pending".to_owned());
    assert_eq!(found, [Flaw::Lost]);
}

/// One key with two effects, wherever the second one is.
#[test]
fn doubled_effects_are_found() {
    // Two postings of one transaction.
    let found = flaws(|evidence| {
        enter(evidence, 1, ALICE, -400);
        enter(evidence, 1, BOB, 400);
    });
    assert!(found.contains(&Flaw::Doubled), "{found:?}");
    // Two transactions of one key.
    let found = flaws(|evidence| {
        let mut second = evidence.transactions[1].clone();
        second.id = Uuid::from_u128(7);
        evidence.transactions.push(second);
    });
    assert!(found.contains(&Flaw::Doubled), "{found:?}");
    // Two payouts of one reference.
    let found = flaws(|evidence| {
        let second = evidence.movements[1].clone();
        evidence.movements.push(second);
    });
    assert_eq!(found, [Flaw::Doubled]);
}

/// Effects that nobody asked for, or that were told to have failed.
#[test]
fn phantom_effects_are_found() {
    // A transaction of no call.
    let found = flaws(|evidence| {
        evidence.calls.pop();
    });
    assert_eq!(found, [Flaw::Phantom]);
    // One that is there before it is asked for.
    let found = flaws(|evidence| evidence.transactions[5].created_at = 1);
    assert_eq!(found, [Flaw::Phantom]);
    // Another amount than was asked for.
    let found = flaws(|evidence| evidence.transactions[5].amount_minor += 1);
    assert_eq!(found, [Flaw::Phantom]);
    // Entries of no transaction.
    let found = flaws(|evidence| {
        evidence.entries[0].transaction = Uuid::from_u128(8);
    });
    assert!(found.contains(&Flaw::Phantom), "{found:?}");
    // A failed transfer that moved money.
    let found = flaws(|evidence| {
        enter(evidence, 2, BOB, -9_000);
        enter(evidence, 2, ALICE, 9_000);
    });
    assert!(found.contains(&Flaw::Phantom), "{found:?}");
    // A failed deposit that the provider took.
    let found = flaws(|evidence| evidence.movements[3].status = "succeeded".to_owned());
    assert_eq!(found, [Flaw::Phantom]);
    // A payout of nobody's.
    let found = flaws(|evidence| {
        let mut foreign = evidence.movements[1].clone();
        foreign.reference = "txn_9".to_owned();
        evidence.movements.push(foreign);
    });
    assert_eq!(found, [Flaw::Phantom]);
    // A call that was told of a failure, and succeeded.
    let found = flaws(|evidence| {
        for answer in answers(&mut evidence.calls[1]) {
            answer.outcome = Outcome::Failed;
        }
    });
    assert_eq!(found, [Flaw::Phantom]);
}

/// A key that is answered in another way the second time.
#[test]
fn changed_answers_are_found() {
    let found = flaws(|evidence| {
        let last = answers(&mut evidence.calls[1]).last().unwrap();
        last.said = "something else".to_owned();
    });
    assert_eq!(found, [Flaw::Changed]);
    let found = flaws(|evidence| {
        let last = answers(&mut evidence.calls[1]).last().unwrap();
        last.transaction = Some(evidence.transactions[0].id);
    });
    assert!(found.contains(&Flaw::Lost), "{found:?}");
}

/// Money that does not add up, in a wallet, an account or a currency.
#[test]
fn wrong_balances_are_found() {
    // A wallet that has more than its entries.
    let found = flaws(|evidence| evidence.wallets[0].available += 1);
    assert_eq!(found, [Flaw::Balance]);
    // A currency with one side too few.
    let found = flaws(|evidence| {
        enter(evidence, 4, SETTLEMENT, -5);
    });
    assert_eq!(found, [Flaw::Balance]);
    // A refund that moved another amount.
    let found = flaws(|evidence| {
        enter(evidence, 4, ALICE, -1);
        enter(evidence, 4, SETTLEMENT, 1);
    });
    assert_eq!(found, [Flaw::Balance]);
    // A payout of another amount.
    let found = flaws(|evidence| evidence.movements[1].amount_minor += 1);
    assert_eq!(found, [Flaw::Balance]);
}

/// Entries that do not follow one from another, or stand in the wrong order.
#[test]
fn broken_order_is_found() {
    // A version that is missing, and one that is there twice.
    for version in [9, 1] {
        let found = flaws(|evidence| {
            let of_bob = |entry: &&mut Entry| entry.wallet == BOB;
            let last = evidence.entries.iter_mut().rfind(of_bob).unwrap();
            last.version = version;
        });
        assert!(found.contains(&Flaw::Order), "{found:?}");
    }
    // A balance that does not follow.
    let found = flaws(|evidence| evidence.entries[2].balance_after += 1);
    assert_eq!(found, [Flaw::Order]);
    // A time that goes back.
    let found = flaws(|evidence| {
        let of_bob = |entry: &&mut Entry| entry.wallet == BOB;
        evidence
            .entries
            .iter_mut()
            .rfind(of_bob)
            .unwrap()
            .recorded_at = 0;
    });
    assert_eq!(found, [Flaw::Order]);
    // Bob's payout was known to be done before Alice was asked for the transfer
    // that stands before it.
    let found = flaws(|evidence| {
        for attempt in &mut evidence.calls[1].attempts {
            attempt.asked_at += 10_000;
            attempt.told_at += 10_000;
        }
        evidence.transactions[1].created_at += 10_000;
    });
    assert_eq!(found, [Flaw::Order]);
}

/// What is under way when everything should have come to an end.
#[test]
fn unfinished_business_is_found() {
    let found = flaws(|evidence| evidence.transactions[2].state = "UNKNOWN".to_owned());
    assert!(found.contains(&Flaw::Unfinished), "{found:?}");
    let found = flaws(|evidence| {
        for attempt in &mut evidence.calls[2].attempts {
            attempt.answer = None;
        }
    });
    assert_eq!(found, [Flaw::Unfinished]);
    let found = flaws(|evidence| {
        evidence.wallets[0].held = 5;
        evidence.wallets[0].available -= 5;
    });
    assert!(found.contains(&Flaw::Unfinished), "{found:?}");
}

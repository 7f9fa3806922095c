//! Every call has its one effect or none, and nothing else has any.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::{Case, Flaw};
use crate::bank::history::{Call, Movement, Outcome, Transaction};

pub(super) fn check(case: &mut Case<'_>) {
    for call in &case.evidence.calls {
        answers(case, call);
    }
    let mut keys: HashMap<&str, Uuid> = HashMap::new();
    for transaction in &case.evidence.transactions {
        if let Some(first) = keys.insert(&transaction.key, transaction.id) {
            let what = format!("{} is {first} and {}", transaction.key, transaction.id);
            case.find(Flaw::Doubled, what);
        }
        asked_for(case, transaction);
        posted(case, transaction);
        done_by_provider(case, transaction);
    }
    strangers(case);
}

/// A key has one answer, and what it says is so.
fn answers(case: &mut Case<'_>, call: &Call) {
    let Some(first) = call.answers().next() else {
        case.find(Flaw::Unfinished, format!("{} was never answered", call.key));
        return;
    };
    for answer in call.answers().filter(|answer| answer.said != first.said) {
        let what = format!("{}: {} became {}", call.key, first.said, answer.said);
        case.find(Flaw::Changed, what);
    }
    for answer in call.answers() {
        let Some(id) = answer.transaction else {
            continue;
        };
        let transaction = case.transactions.get(&id).copied();
        let Some(transaction) = transaction.filter(|it| it.key == call.key) else {
            case.find(Flaw::Lost, format!("{} was told of {id}", call.key));
            continue;
        };
        let (flaw, is) = match (answer.outcome, transaction.state.as_str()) {
            (Outcome::Completed, "COMPLETED") | (Outcome::Failed, "FAILED") => continue,
            (Outcome::UnderWay, _) => continue,
            (Outcome::Completed, state) => (Flaw::Lost, state),
            (Outcome::Failed, state) => (Flaw::Phantom, state),
        };
        let what = format!("{} was told {:?} and is {is}", call.key, answer.outcome);
        case.find(flaw, what);
    }
}

/// Somebody asked for exactly this, and before it was there.
fn asked_for(case: &mut Case<'_>, transaction: &Transaction) {
    let Some(call) = case.call_of(transaction) else {
        let what = format!("nobody asked for {transaction:?}");
        case.find(Flaw::Phantom, what);
        return;
    };
    let wish = &call.wish;
    let is_asked_for = wish.kind.name() == transaction.kind
        && wish.currency == transaction.currency
        && wish.amount_minor == transaction.amount_minor
        && call
            .asked_at()
            .is_some_and(|at| at <= transaction.created_at);
    let was_told_of = call
        .answers()
        .all(|answer| answer.transaction == Some(transaction.id));
    let what = format!("{transaction:?} is not what was asked for by {call:?}");
    if !is_asked_for || !was_told_of {
        case.find(Flaw::Phantom, what);
    }
    if !matches!(&*transaction.state, "COMPLETED" | "FAILED") {
        case.find(Flaw::Unfinished, format!("{transaction:?}"));
    }
}

/// The ledger moved what was asked for if it is COMPLETED, and nothing if not.
fn posted(case: &mut Case<'_>, transaction: &Transaction) {
    let Some(call) = case.call_of(transaction) else {
        return;
    };
    let expected: BTreeMap<Uuid, i64> = match &*transaction.state {
        "COMPLETED" => call.wish.effect().into_iter().collect(),
        _ => BTreeMap::new(),
    };
    let mut moved: BTreeMap<Uuid, i64> = BTreeMap::new();
    for entry in case.entries.get(&transaction.id).into_iter().flatten() {
        let wallet = case.wallets.get(&entry.wallet);
        if let Some(account) = wallet.and_then(|wallet| wallet.account) {
            *moved.entry(account).or_default() += entry.amount;
        }
    }
    moved.retain(|_, sum| *sum != 0);
    if moved == expected {
        return;
    }
    let is_multiple = !expected.is_empty()
        && (2..10).any(|times| {
            let multiple = expected.iter().map(|(&id, &sum)| (id, sum * times));
            multiple.collect::<BTreeMap<_, _>>() == moved
        });
    let flaw = match (expected.is_empty(), moved.is_empty()) {
        (false, true) => Flaw::Lost,
        (true, false) => Flaw::Phantom,
        _ if is_multiple => Flaw::Doubled,
        _ => Flaw::Balance,
    };
    let what = format!("{transaction:?} moved {moved:?}, not {expected:?}");
    case.find(flaw, what);
}

/// The provider did its part once if it is COMPLETED, and not at all if not.
fn done_by_provider(case: &mut Case<'_>, transaction: &Transaction) {
    let Some(call) = case.call_of(transaction) else {
        return;
    };
    let reference = reference(transaction.id);
    let done: Vec<&Movement> = succeeded(case)
        .filter(|movement| movement.reference == reference)
        .collect();
    let part = call.wish.kind.at_provider();
    let expected = usize::from(transaction.state == "COMPLETED" && part.is_some());
    let flaw = match done.as_slice() {
        [one] if expected == 1 => {
            let is_it = part == Some(&*one.kind)
                && one.currency == transaction.currency
                && one.amount_minor == transaction.amount_minor;
            (!is_it).then_some(Flaw::Balance)
        }
        [] => (expected == 1).then_some(Flaw::Lost),
        _ if expected == 0 => Some(Flaw::Phantom),
        _ => Some(Flaw::Doubled),
    };
    let what = format!("{transaction:?} is {done:?} at the provider");
    if let Some(flaw) = flaw {
        case.find(flaw, what);
    }
}

/// Nothing is in the ledger or at the provider that is no transaction.
fn strangers(case: &mut Case<'_>) {
    let known: Vec<String> = case
        .evidence
        .transactions
        .iter()
        .map(|transaction| reference(transaction.id))
        .collect();
    let foreign: Vec<String> = succeeded(case)
        .filter(|movement| !known.contains(&movement.reference))
        .map(|movement| format!("{movement:?} is no transaction's"))
        .collect();
    let posted = case.entries.keys();
    let unknown = posted.filter(|id| !case.transactions.contains_key(id));
    let unknown: Vec<String> = unknown
        .map(|id| format!("the ledger has entries of {id}, which is no transaction"))
        .collect();
    for what in foreign.into_iter().chain(unknown) {
        case.find(Flaw::Phantom, what);
    }
}

fn succeeded<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a Movement> {
    let movements = case.evidence.movements.iter();
    movements.filter(|movement| movement.status == "succeeded")
}

/// The provider's name of a transaction.
pub(super) fn reference(transaction: Uuid) -> String {
    format!("txn_{transaction}")
}

//! What must not have happened, read from the history and all books. Pure.
//!
//! | flaw | what it is |
//! |---|---|
//! | [`Flaw::Lost`] | acknowledged, and without its effect |
//! | [`Flaw::Doubled`] | one key, two effects |
//! | [`Flaw::Phantom`] | an effect that nobody asked for, or that was told to have failed |
//! | [`Flaw::Changed`] | a key that was answered in two ways |
//! | [`Flaw::Balance`] | money that does not add up: per currency, per wallet, per account |
//! | [`Flaw::Order`] | a wallet's entries that do not follow one from another, or not in the order in which the clients know that things happened |
//! | [`Flaw::Unfinished`] | what has not come to an end |

mod balances;
mod effects;
mod order;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use uuid::Uuid;

use super::history::{Call, Entry, Evidence, Transaction, Wallet};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flaw {
    Lost,
    Doubled,
    Phantom,
    Changed,
    Balance,
    Order,
    Unfinished,
}

/// What is wrong, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) flaw: Flaw,
    pub(super) what: String,
}

/// The evidence with what is looked up in it.
struct Case<'a> {
    evidence: &'a Evidence,
    calls: HashMap<&'a str, &'a Call>,
    transactions: HashMap<Uuid, &'a Transaction>,
    wallets: HashMap<Uuid, &'a Wallet>,
    /// By their transaction.
    entries: HashMap<Uuid, Vec<&'a Entry>>,
    found: Vec<Violation>,
}

/// Everything that is wrong.
pub(super) fn check(evidence: &Evidence) -> Vec<Violation> {
    let calls = evidence.calls.iter();
    let transactions = evidence.transactions.iter();
    let wallets = evidence.wallets.iter();
    let mut entries: HashMap<Uuid, Vec<&Entry>> = HashMap::new();
    for entry in &evidence.entries {
        entries.entry(entry.transaction).or_default().push(entry);
    }
    let mut case = Case {
        evidence,
        calls: calls.map(|call| (call.key.as_str(), call)).collect(),
        transactions: transactions.map(|it| (it.id, it)).collect(),
        wallets: wallets.map(|wallet| (wallet.id, wallet)).collect(),
        entries,
        found: Vec::new(),
    };
    effects::check(&mut case);
    balances::check(&mut case);
    order::check(&mut case);
    case.found
}

impl<'a> Case<'a> {
    fn find(&mut self, flaw: Flaw, what: String) {
        self.found.push(Violation { flaw, what });
    }

    /// The call that a transaction came of.
    fn call_of(&self, transaction: &Transaction) -> Option<&'a Call> {
        self.calls.get(transaction.key.as_str()).copied()
    }
}

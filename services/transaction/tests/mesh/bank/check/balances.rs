//! The money adds up.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Case, Flaw};

pub(super) fn check(case: &mut Case<'_>) {
    currencies(case);
    wallets(case);
    accounts(case);
}

/// Nothing came into the ledger or went out of it: what users have, others owe.
fn currencies(case: &mut Case<'_>) {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for entry in &case.evidence.entries {
        *sums.entry(&entry.currency).or_default() += entry.amount;
    }
    for (currency, sum) in sums.into_iter().filter(|(_, sum)| *sum != 0) {
        case.find(
            Flaw::Balance,
            format!("all entries in {currency} sum to {sum}"),
        );
    }
}

/// Every wallet has what its entries sum to, and nothing is set aside any more.
fn wallets(case: &mut Case<'_>) {
    let mut sums: BTreeMap<(Uuid, &str), i64> = BTreeMap::new();
    for entry in &case.evidence.entries {
        *sums.entry((entry.wallet, &entry.bucket)).or_default() += entry.amount;
    }
    for wallet in &case.evidence.wallets {
        let sum = |bucket| sums.get(&(wallet.id, bucket)).copied().unwrap_or_default();
        let (available, held) = (sum("available"), sum("held"));
        if (wallet.available, wallet.held) != (available, held) {
            let what = format!("{wallet:?} has entries of {available} and {held}");
            case.find(Flaw::Balance, what);
        }
        if wallet.held != 0 {
            let what = format!("money is still set aside in {wallet:?}");
            case.find(Flaw::Unfinished, what);
        }
    }
}

/// Every account has what the calls that were done gave and took.
fn accounts(case: &mut Case<'_>) {
    let mut expected: BTreeMap<Uuid, i64> = BTreeMap::new();
    for transaction in &case.evidence.transactions {
        let call = case.call_of(transaction);
        let done = call.filter(|_| transaction.state == "COMPLETED");
        for (account, amount) in done.iter().flat_map(|call| call.wish.effect()) {
            *expected.entry(account).or_default() += amount;
        }
    }
    let mut found: BTreeMap<Uuid, i64> = BTreeMap::new();
    for wallet in &case.evidence.wallets {
        if let Some(account) = wallet.account {
            *found.entry(account).or_default() += wallet.available + wallet.held;
        }
    }
    for (account, has) in found {
        let expected = expected.get(&account).copied().unwrap_or_default();
        if has != expected {
            let what = format!("{account} has {has}, and was given {expected}");
            case.find(Flaw::Balance, what);
        }
    }
}

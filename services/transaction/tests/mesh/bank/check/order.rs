//! A wallet's entries follow one from another, in the order in which things happened.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::{Case, Flaw};
use crate::bank::history::{Entry, Micros};

pub(super) fn check(case: &mut Case<'_>) {
    let mut by_wallet: BTreeMap<Uuid, Vec<&Entry>> = BTreeMap::new();
    for entry in &case.evidence.entries {
        by_wallet.entry(entry.wallet).or_default().push(entry);
    }
    for wallet in &case.evidence.wallets {
        let mut entries = by_wallet.remove(&wallet.id).unwrap_or_default();
        entries.sort_by_key(|entry| entry.version);
        let versions = entries.iter().map(|entry| entry.version);
        if !versions.eq(1..=wallet.version) {
            let what = format!("the versions of {wallet:?} are no row from 1");
            case.find(Flaw::Order, what);
        }
        chain(case, &entries);
        real_time(case, wallet.id, &entries);
    }
    for wallet in by_wallet.into_keys() {
        case.find(
            Flaw::Phantom,
            format!("{wallet} has entries and is no wallet"),
        );
    }
}

/// Each balance is the one before it and the amount, and no time goes back.
fn chain(case: &mut Case<'_>, entries: &[&Entry]) {
    let mut balances: HashMap<&str, i64> = HashMap::new();
    let mut last: Option<Micros> = None;
    for entry in entries {
        let before = balances.insert(&entry.bucket, entry.balance_after);
        if before.unwrap_or_default() + entry.amount != entry.balance_after {
            let what = format!("{entry:?} does not follow from {before:?}");
            case.find(Flaw::Order, what);
        }
        if last.is_some_and(|last| entry.recorded_at < last) {
            case.find(
                Flaw::Order,
                format!("{entry:?} is older than the one before"),
            );
        }
        last = Some(entry.recorded_at);
    }
}

/// The versions that one call made in a wallet, and what the client knew of it.
struct Span {
    key: String,
    asked_at: Micros,
    done_at: Option<Micros>,
    first: i64,
    last: i64,
}

/// What a client knew to be done before another one asked stands before it.
fn real_time(case: &mut Case<'_>, wallet: Uuid, entries: &[&Entry]) {
    let mut spans: BTreeMap<Uuid, Span> = BTreeMap::new();
    for entry in entries {
        let transaction = case.transactions.get(&entry.transaction).copied();
        let Some(call) = transaction.and_then(|it| case.call_of(it)) else {
            continue;
        };
        let Some(asked_at) = call.asked_at() else {
            continue;
        };
        let span = spans.entry(entry.transaction).or_insert_with(|| Span {
            key: call.key.clone(),
            asked_at,
            done_at: call.done_at(),
            first: entry.version,
            last: entry.version,
        });
        span.last = entry.version;
    }
    for done in spans.values() {
        let Some(done_at) = done.done_at else {
            continue;
        };
        let inverted = |later: &&Span| later.asked_at > done_at && later.first < done.last;
        for later in spans.values().filter(inverted) {
            let what = format!(
                "{wallet}: {} was done before {} was asked for, and stands behind it",
                done.key, later.key
            );
            case.find(Flaw::Order, what);
        }
    }
}

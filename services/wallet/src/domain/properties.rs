//! Properties that hold after any history of calls, whatever was asked for.

mod history;

use std::collections::{BTreeMap, HashMap};

use bursar_aip::id::{HoldId, WalletId};
use bursar_money::Currency;
use proptest::prelude::*;
use time::OffsetDateTime;
use uuid::Uuid;

use self::history::{HOLDS, History, ask, calls};
use super::batch::{Mode, Outcome, decide_call, holds_of, wallets_of};
use super::decide::Direction;
use super::hold::HoldStatus;
use super::posting::{Posting, RejectionReason};
use super::wallet::Balance;

proptest! {
    /// However calls are mixed, the books balance and explain every wallet.
    #[test]
    fn books_balance_and_explain_every_wallet(calls in calls()) {
        let mut history = History::new();
        for (mode, asks) in &calls {
            history.run(*mode, asks);
        }
        for applied in &history.applied {
            prop_assert!(applied.entries.len() >= 2);
            let mut sums: BTreeMap<Currency, i64> = BTreeMap::new();
            for entry in &applied.entries {
                *sums.entry(entry.currency).or_default() += entry.amount;
            }
            prop_assert!(sums.values().all(|sum| *sum == 0), "{:?}", applied);
        }
        for wallet in history.wallets() {
            let mut balance = Balance::default();
            let entries = history.entries().filter(|entry| entry.wallet == wallet.id);
            let mut versions = 0;
            for entry in entries {
                versions += 1;
                prop_assert_eq!(entry.version, versions);
                let bucket = balance.of_mut(entry.bucket);
                *bucket += entry.amount;
                prop_assert_eq!(entry.balance_after, *bucket);
                prop_assert!(*bucket >= wallet.floor(entry.bucket));
                prop_assert_eq!(entry.currency, wallet.currency);
            }
            prop_assert_eq!(wallet.version, versions);
            prop_assert_eq!(wallet.balance, balance);
        }
    }

    /// Held money is always the sum of the wallet's active holds.
    #[test]
    fn held_money_is_the_sum_of_active_holds(calls in calls()) {
        let mut history = History::new();
        for (mode, asks) in &calls {
            history.run(*mode, asks);
            for wallet in history.wallets() {
                let held: i64 = (0..HOLDS)
                    .filter_map(|number| history.book.hold(HoldId::from_uuid(Uuid::from_u128(number))))
                    .filter(|hold| hold.wallet == wallet.id && hold.status == HoldStatus::Active)
                    .map(|hold| hold.amount)
                    .sum();
                prop_assert_eq!(wallet.balance.held, held);
            }
        }
    }

    /// A refusal changes nothing, and an atomic call is applied whole or not at all.
    #[test]
    fn refusals_change_nothing(calls in calls()) {
        let mut history = History::new();
        for (mode, asks) in &calls {
            let before = history.book.clone();
            let (postings, decided) = history.run(*mode, asks);
            let new = decided.outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Applied(_)));
            prop_assert_eq!(new.count(), decided.applied.len());
            let refused = decided.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Rejected(_)));
            if decided.applied.is_empty() {
                prop_assert_eq!(&history.book, &before);
            }
            if *mode == Mode::Atomic && refused {
                prop_assert!(decided.applied.is_empty());
                let culprits = decided.outcomes.iter().filter(|outcome| matches!(
                    outcome,
                    Outcome::Rejected(rejected) if rejected.reason != RejectionReason::BatchRejected
                ));
                prop_assert_eq!(culprits.count(), 1);
            }
            prop_assert_eq!(decided.outcomes.len(), postings.len());
        }
    }

    /// A posting asked for again is answered as it was the first time.
    #[test]
    fn replays_equal_the_first_answer(calls in calls()) {
        let mut history = History::new();
        for (mode, asks) in &calls {
            let (_, decided) = history.run(*mode, asks);
            for outcome in decided.outcomes {
                match outcome {
                    Outcome::Applied(recorded) => {
                        prop_assert_eq!(history.first_answers.insert(recorded.id, recorded), None);
                    }
                    Outcome::Replayed(recorded) => {
                        prop_assert_eq!(history.first_answers.get(&recorded.id), Some(&recorded));
                    }
                    Outcome::Rejected(_) => {}
                }
            }
        }
    }

    /// An id cannot be used for another posting, applied or not.
    #[test]
    fn ids_belong_to_one_posting(calls in calls()) {
        let mut history = History::new();
        for (mode, asks) in &calls {
            history.run(*mode, asks);
        }
        for applied in history.applied.clone() {
            let original = history
                .postings
                .iter()
                .find(|posting| posting.id == applied.recorded.id)
                .expect("it was asked for");
            let forged = Posting { fingerprint: [255; 32], ..original.clone() };
            let decided = decide_call(&mut history.book, &[forged], Mode::Independent, history.now);
            prop_assert_eq!(
                decided.outcomes,
                vec![Outcome::Rejected(RejectionReason::PostingIdReused.whole())]
            );
        }
    }

    /// Each posting makes one event for each user's wallet it touches, and a
    /// wallet's events are numbered without a gap after `wallet.created`.
    #[test]
    fn events_are_numbered_without_a_gap(calls in calls()) {
        let mut history = History::new();
        for (mode, asks) in &calls {
            history.run(*mode, asks);
        }
        let mut versions: HashMap<WalletId, i64> = HashMap::new();
        for applied in &history.applied {
            for movement in &applied.movements {
                let version = versions.entry(movement.wallet).or_insert(1);
                *version += 1;
                prop_assert_eq!(movement.event_version, *version);
                let sum: i64 = movement.entries.iter().map(|entry| entry.amount).sum();
                let direction = match sum.signum() {
                    1 => Direction::Credited,
                    -1 => Direction::Debited,
                    _ => Direction::Moved,
                };
                prop_assert_eq!(movement.direction, direction);
                prop_assert!(movement.entries.iter().all(|entry| entry.wallet == movement.wallet));
            }
        }
        for wallet in history.wallets().filter(|wallet| wallet.owner.is_some()) {
            prop_assert_eq!(wallet.event_version, versions.get(&wallet.id).copied().unwrap_or(1));
        }
    }

    /// How independent postings are cut into calls changes no result.
    #[test]
    fn batching_changes_no_result(asks in prop::collection::vec(ask(), 1..40), size in 1_usize..10) {
        let mut together = History::new();
        let mut apart = History::new();
        let mut left = Vec::new();
        for chunk in asks.chunks(size) {
            // One time of recording for both, because it is part of the results.
            together.now = OffsetDateTime::UNIX_EPOCH;
            left.extend(together.run(Mode::Independent, chunk).1.outcomes);
        }
        let mut right = Vec::new();
        for ask in &asks {
            apart.now = OffsetDateTime::UNIX_EPOCH;
            right.extend(apart.run(Mode::Independent, std::slice::from_ref(ask)).1.outcomes);
        }
        // The amounts of hold endings are looked up when they are asked for, so
        // only histories that asked for the same postings are compared.
        prop_assume!(together.postings == apart.postings);
        prop_assert_eq!(left, right);
        prop_assert_eq!(together.book, apart.book);
    }

    /// What a call changes is among the wallets and holds that were locked for
    /// it, and calls without a common one give the same in either order.
    #[test]
    fn locks_cover_every_change(calls in calls()) {
        let mut history = History::new();
        for pair in calls.chunks(2) {
            let mut decided = Vec::new();
            let before = history.book.clone();
            for (mode, asks) in pair {
                let (postings, result) = history.run(*mode, asks);
                let wallets = wallets_of(postings.iter());
                let holds = holds_of(postings.iter());
                for (_, applied) in &result.applied {
                    prop_assert!(applied.wallets.iter().all(|wallet| wallets.contains(&wallet.id)));
                    prop_assert!(applied.hold.iter().all(|hold| holds.contains(&hold.after.id)));
                }
                decided.push((*mode, postings, wallets, holds, result.outcomes, history.now));
            }
            if let [first, second] = decided.as_slice()
                && first.2.is_disjoint(&second.2)
                && first.3.is_disjoint(&second.3)
            {
                let mut book = before;
                let late = decide_call(&mut book, &second.1, second.0, second.5);
                let early = decide_call(&mut book, &first.1, first.0, first.5);
                prop_assert_eq!(&late.outcomes, &second.4);
                prop_assert_eq!(&early.outcomes, &first.4);
                prop_assert_eq!(&book, &history.book);
            }
        }
    }
}

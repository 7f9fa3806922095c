//! Properties that hold after any history of calls, whatever was asked for.

mod history;

use std::collections::{BTreeMap, HashMap};

use bursar_aip::id::{HoldId, WalletId};
use bursar_money::Currency;
use proptest::prelude::*;
use time::OffsetDateTime;

use self::history::{
    GRANTS, HOLDS, History, LIMITED, LIMITS, USER_CAP, ask, calls, grant_id, hold_id, spend_order,
    wallet_id,
};
use super::batch::{Mode, Outcome, decide_call, holds_of, wallets_of};
use super::bonus::{BonusGrant, GrantChange, GrantStatus};
use super::decide::Direction;
use super::hold::{Hold, HoldAction, HoldChange, HoldStatus};
use super::posting::{Posting, PostingKind, RejectionReason};
use super::wallet::{Balance, Bucket};

proptest! {
    /// However calls are mixed, the books balance and explain every wallet.
    #[test]
    fn books_balance_and_explain_every_wallet(calls in calls(), order in spend_order()) {
        let mut history = History::new(order);
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
    fn held_money_is_the_sum_of_active_holds(calls in calls(), order in spend_order()) {
        let mut history = History::new(order);
        for (mode, asks) in &calls {
            history.run(*mode, asks);
            for wallet in history.wallets() {
                let held: i64 = (0..HOLDS)
                    .filter_map(|number| history.book.hold(hold_id(number)))
                    .filter(|hold| hold.wallet == wallet.id && hold.status == HoldStatus::Active)
                    .map(Hold::remaining)
                    .sum();
                prop_assert_eq!(wallet.balance.held, held);
            }
        }
    }

    /// What a hold captured and gave back is never more than was set aside, it
    /// ends once, and it is never captured when its time is over.
    #[test]
    fn holds_end_once_and_never_exceed(calls in calls(), order in spend_order()) {
        let mut history = History::new(order);
        for (mode, asks) in &calls {
            history.run(*mode, asks);
        }
        let mut ends: HashMap<HoldId, usize> = HashMap::new();
        for applied in &history.applied {
            let Some(HoldChange { before, after }) = &applied.hold else { continue };
            prop_assert!((0..=after.amount).contains(&after.captured));
            prop_assert_eq!(after.status == HoldStatus::Active, after.ended.is_none());
            prop_assert!(after.status != HoldStatus::Active || after.remaining() > 0);
            *ends.entry(after.id).or_default() += usize::from(after.ended.is_some());
            if let Some(before) = before {
                prop_assert_eq!(before.status, HoldStatus::Active);
                prop_assert!(after.captured >= before.captured);
                let at = applied.recorded.recorded_at;
                prop_assert!(after.captured == before.captured || !before.is_due(at));
                prop_assert!(after.status != HoldStatus::Expired || before.is_due(at));
            }
        }
        prop_assert!(ends.values().all(|ends| *ends <= 1));
    }

    /// Bonus money is always the sum of what is left of the active grants, no
    /// grant gives more than it had, none is used after its time, and no user is
    /// granted more than the cap.
    #[test]
    fn bonus_money_is_what_is_left_of_grants(calls in calls(), order in spend_order()) {
        let mut history = History::new(order);
        for (mode, asks) in &calls {
            history.run(*mode, asks);
            let grants: Vec<&BonusGrant> =
                (0..GRANTS).filter_map(|number| history.book.grant(grant_id(number))).collect();
            for wallet in history.wallets() {
                let of_wallet = || grants.iter().filter(|grant| grant.wallet == wallet.id);
                let left: i64 = of_wallet().map(|grant| grant.remaining).sum();
                prop_assert_eq!(wallet.balance.bonus, left);
                let granted: i64 = of_wallet().map(|grant| grant.amount).sum();
                prop_assert!(granted <= USER_CAP);
            }
            for grant in grants {
                prop_assert_eq!(grant.status == GrantStatus::Active, grant.remaining > 0);
                prop_assert_eq!(grant.status == GrantStatus::Active, grant.ended.is_none());
                prop_assert!(grant.remaining + grant.returned <= grant.amount);
            }
        }
        for applied in &history.applied {
            let at = applied.recorded.recorded_at;
            for GrantChange { before, after } in &applied.grants {
                let Some(before) = before else { continue };
                prop_assert!(after.remaining < before.remaining);
                prop_assert_eq!(after.status == GrantStatus::Expired, before.is_due(at));
            }
        }
    }

    /// What a wallet with limits spends by transfers and holds stays within them
    /// in every day and month.
    #[test]
    fn limits_are_kept(calls in calls(), order in spend_order()) {
        let mut history = History::new(order);
        for (mode, asks) in &calls {
            history.run(*mode, asks);
        }
        let limited = wallet_id(LIMITED);
        let mut days: HashMap<time::Date, i64> = HashMap::new();
        for applied in &history.applied {
            let posting = history.postings.iter().find(|posting| posting.id == applied.recorded.id);
            let posting = posting.expect("it was asked for");
            let places = posting.hold.as_ref().is_some_and(|step| step.action == HoldAction::Place);
            let counts = places || (posting.kind == PostingKind::Transfer && posting.hold.is_none());
            let spent: i64 = -applied
                .entries
                .iter()
                .filter(|entry| entry.wallet == limited && entry.bucket != Bucket::Held)
                .map(|entry| entry.amount)
                .sum::<i64>();
            if counts && spent > 0 {
                prop_assert!(Some(spent) <= LIMITS.single);
                if !places {
                    *days.entry(applied.recorded.recorded_at.date()).or_default() += spent;
                }
            }
        }
        // Transfers alone, which nothing gives back, are within the day's limit.
        prop_assert!(days.values().all(|spent| Some(*spent) <= LIMITS.daily));
    }

    /// A wallet's entries are in the order of their times, also when a clock is behind.
    #[test]
    fn times_never_go_back_within_a_wallet(calls in calls(), order in spend_order()) {
        let mut history = History::new(order);
        for (mode, asks) in &calls {
            history.run(*mode, asks);
        }
        let mut latest: HashMap<WalletId, OffsetDateTime> = HashMap::new();
        for applied in &history.applied {
            let at = applied.recorded.recorded_at;
            for wallet in &applied.wallets {
                let before = latest.insert(wallet.id, at);
                prop_assert!(before.is_none_or(|before| before <= at));
                prop_assert_eq!(wallet.posted_at, Some(at));
            }
        }
    }

    /// A refusal changes nothing, and an atomic call is applied whole or not at all.
    #[test]
    fn refusals_change_nothing(calls in calls(), order in spend_order()) {
        let mut history = History::new(order);
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
    fn replays_equal_the_first_answer(calls in calls(), order in spend_order()) {
        let mut history = History::new(order);
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
    fn ids_belong_to_one_posting(calls in calls(), order in spend_order()) {
        let mut history = History::new(order);
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
    fn events_are_numbered_without_a_gap(calls in calls(), order in spend_order()) {
        let mut history = History::new(order);
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
    fn batching_changes_no_result(asks in prop::collection::vec(ask(), 1..40), size in 1_usize..10, order in spend_order()) {
        let mut together = History::new(order);
        let mut apart = History::new(order);
        // One time of recording for both, because it is part of the results.
        together.is_clock_still = true;
        apart.is_clock_still = true;
        let mut left = Vec::new();
        for chunk in asks.chunks(size) {
            left.extend(together.run(Mode::Independent, chunk).1.outcomes);
        }
        let mut right = Vec::new();
        for ask in &asks {
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
    fn locks_cover_every_change(calls in calls(), order in spend_order()) {
        let mut history = History::new(order);
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
                    prop_assert!(applied.grants.iter().all(|grant| wallets.contains(&grant.after.wallet)));
                    prop_assert!(applied.allowances.iter().all(|after| wallets.contains(&after.wallet)));
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

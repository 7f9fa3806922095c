//! Properties that hold after any history of calls, whatever was asked for.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroI64;

use bursar_aip::id::{HoldId, TenantId, TransactionId, UserId, WalletId};
use bursar_money::Currency;
use proptest::prelude::*;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::batch::{Decided, Mode, Outcome, decide_call, holds_of, wallets_of};
use super::book::Book;
use super::decide::{Applied, Direction, Entry};
use super::hold::{HoldAction, HoldStatus};
use super::posting::{
    Account, HoldStep, Leg, Posting, PostingId, PostingKind, Recorded, RejectionReason,
};
use super::wallet::{Balance, Bucket, SystemAccount, SystemPurpose, Wallet, WalletStatus};

const USERS: u128 = 6;
const HOLDS: u128 = 5;

/// What a random call asks for. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Ask {
    Move { from: u128, to: u128, amount: i64 },
    Fund { to: u128, amount: i64, bonus: bool },
    Place { wallet: u128, hold: u128, amount: i64 },
    End { hold: u128, to: u128, action: HoldAction, is_exact: bool },
    Raw { legs: Vec<(u128, Bucket, i64)> },
    Again { earlier: usize },
}

fn ask() -> impl Strategy<Value = Ask> {
    let amount = 1_i64..200;
    let wallet = 0..USERS + 2;
    let hold = 0..HOLDS;
    let bucket = proptest::sample::select(Bucket::ALL.to_vec());
    prop_oneof![
        4 => (wallet.clone(), wallet.clone(), amount.clone())
            .prop_map(|(from, to, amount)| Ask::Move { from, to, amount }),
        3 => (wallet.clone(), amount.clone(), any::<bool>())
            .prop_map(|(to, amount, bonus)| Ask::Fund { to, amount, bonus }),
        3 => (wallet.clone(), hold.clone(), amount)
            .prop_map(|(wallet, hold, amount)| Ask::Place { wallet, hold, amount }),
        3 => (hold, wallet.clone(), any::<bool>(), prop::bool::weighted(0.8)).prop_map(
            |(hold, to, is_void, is_exact)| Ask::End {
                hold,
                to,
                action: if is_void { HoldAction::Void } else { HoldAction::Capture },
                is_exact,
            }
        ),
        1 => prop::collection::vec((wallet, bucket, -50_i64..50), 0..5)
            .prop_map(|legs| Ask::Raw { legs }),
        1 => any::<prop::sample::Index>().prop_map(|index| Ask::Again { earlier: index.index(1000) }),
    ]
}

fn calls() -> impl Strategy<Value = Vec<(Mode, Vec<Ask>)>> {
    let mode = prop_oneof![Just(Mode::Independent), Just(Mode::Atomic)];
    prop::collection::vec((mode, prop::collection::vec(ask(), 1..6)), 1..25)
}

fn euro() -> Currency {
    Currency::parse("EUR").expect("a currency")
}

fn wallet_id(number: u128) -> WalletId {
    WalletId::from_uuid(Uuid::from_u128(number))
}

fn pool() -> SystemAccount {
    SystemAccount {
        purpose: SystemPurpose::BonusPool,
        name: String::new(),
        currency: euro(),
    }
}

/// Six users' wallets: one with credit, one in dollars, one frozen, one closed;
/// two numbers beyond them name no wallet. The platform's pool pays in.
fn opening_book() -> Book {
    let tenant = TenantId::default();
    let user = |number: u128| Wallet {
        min_available: if number == 1 { -100 } else { 0 },
        currency: Currency::parse(if number == 2 { "USD" } else { "EUR" }).expect("a currency"),
        status: match number {
            3 => WalletStatus::Frozen,
            4 => WalletStatus::Closed,
            _ => WalletStatus::Active,
        },
        ..Wallet::open(
            wallet_id(number),
            tenant.clone(),
            UserId::from_uuid(Uuid::from_u128(number)),
            euro(),
            OffsetDateTime::UNIX_EPOCH,
        )
    };
    let platform = Wallet {
        owner: None,
        min_available: i64::MIN,
        event_version: 0,
        ..user(USERS)
    };
    let platform = Wallet {
        id: pool().wallet_id(&tenant),
        ..platform
    };
    Book::new((0..USERS).map(user).chain([platform]), [], [])
}

/// Runs asks as postings and keeps what was answered and written.
struct History {
    book: Book,
    now: OffsetDateTime,
    next: u128,
    postings: Vec<Posting>,
    first_answers: HashMap<PostingId, Recorded>,
    applied: Vec<Applied>,
}

impl History {
    fn new() -> Self {
        Self {
            book: opening_book(),
            now: OffsetDateTime::UNIX_EPOCH,
            next: 1,
            postings: Vec::new(),
            first_answers: HashMap::new(),
            applied: Vec::new(),
        }
    }

    fn run(&mut self, mode: Mode, asks: &[Ask]) -> (Vec<Posting>, Decided) {
        let postings: Vec<Posting> = asks.iter().map(|ask| self.posting(ask)).collect();
        self.now += Duration::seconds(1);
        let decided = decide_call(&mut self.book, &postings, mode, self.now);
        for (_, applied) in &decided.applied {
            self.applied.push(applied.clone());
        }
        (postings, decided)
    }

    fn posting(&mut self, ask: &Ask) -> Posting {
        if let Ask::Again { earlier } = ask
            && !self.postings.is_empty()
        {
            return self.postings[earlier % self.postings.len()].clone();
        }
        let (legs, hold) = self.legs(ask);
        let id = self.next;
        self.next += 1;
        let mut fingerprint = [0; 32];
        fingerprint[..16].copy_from_slice(&id.to_be_bytes());
        let posting = Posting {
            id: PostingId::from_uuid(Uuid::from_u128(id)),
            tenant: TenantId::default(),
            transaction: TransactionId::from_uuid(Uuid::from_u128(id)),
            kind: PostingKind::Adjustment,
            legs,
            effective_at: None,
            hold,
            fingerprint,
        };
        self.postings.push(posting.clone());
        posting
    }

    fn legs(&self, ask: &Ask) -> (Vec<Leg>, Option<HoldStep>) {
        let step = |number: &u128, action| {
            Some(HoldStep { hold: HoldId::from_uuid(Uuid::from_u128(*number)), action })
        };
        match ask {
            Ask::Move { from, to, amount } => (
                vec![
                    leg(*from, Bucket::Available, -amount),
                    leg(*to, Bucket::Available, *amount),
                ],
                None,
            ),
            Ask::Fund { to, amount, bonus } => {
                let bucket = if *bonus { Bucket::Bonus } else { Bucket::Available };
                (vec![pool_leg(-amount), leg(*to, bucket, *amount)], None)
            }
            Ask::Place { wallet, hold, amount } => (
                vec![
                    leg(*wallet, Bucket::Available, -amount),
                    leg(*wallet, Bucket::Held, *amount),
                ],
                step(hold, HoldAction::Place),
            ),
            Ask::End { hold, to, action, is_exact } => {
                let known = self.book.hold(HoldId::from_uuid(Uuid::from_u128(*hold)));
                let (wallet, amount) = known.map_or((0, 7), |known| {
                    (known.wallet.uuid().as_u128(), known.amount)
                });
                let amount = if *is_exact { amount } else { amount + 1 };
                let target = match action {
                    HoldAction::Void => leg(wallet, Bucket::Available, amount),
                    HoldAction::Capture | HoldAction::Place => {
                        leg(*to, Bucket::Available, amount)
                    }
                };
                (vec![leg(wallet, Bucket::Held, -amount), target], step(hold, *action))
            }
            Ask::Raw { legs } => {
                let mut legs: Vec<Leg> = legs
                    .iter()
                    .filter(|(_, _, amount)| *amount != 0)
                    .map(|(wallet, bucket, amount)| leg(*wallet, *bucket, *amount))
                    .collect();
                // Mostly balanced, so that more than the first phase is tried.
                let sum: i64 = legs.iter().map(|leg| leg.amount.get()).sum();
                if sum != 0 && sum % 5 != 0 {
                    legs.push(pool_leg(-sum));
                }
                (legs, None)
            }
            Ask::Again { .. } => (vec![pool_leg(1)], None),
        }
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.applied.iter().flat_map(|applied| &applied.entries)
    }

    fn wallets(&self) -> impl Iterator<Item = &Wallet> {
        (0..USERS)
            .map(wallet_id)
            .chain([pool().wallet_id(&TenantId::default())])
            .filter_map(|id| self.book.wallet(id))
    }
}

fn leg(wallet: u128, bucket: Bucket, amount: i64) -> Leg {
    let currency = if wallet == 2 && amount % 7 != 0 { "USD" } else { "EUR" };
    Leg {
        account: Account::User(wallet_id(wallet)),
        bucket,
        amount: NonZeroI64::new(amount).expect("not zero"),
        currency: Currency::parse(currency).expect("a currency"),
        required_owner: (wallet == 5 && amount % 11 == 0)
            .then(|| UserId::from_uuid(Uuid::from_u128(1))),
    }
}

fn pool_leg(amount: i64) -> Leg {
    Leg {
        account: Account::system(pool(), &TenantId::default()),
        ..leg(0, Bucket::Available, amount)
    }
}

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

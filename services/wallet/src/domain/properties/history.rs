//! Random histories: what callers ask for, and the book that it is asked of.

use std::collections::HashMap;
use std::num::NonZeroI64;

use bursar_aip::id::{HoldId, TenantId, TransactionId, UserId, WalletId};
use bursar_money::Currency;
use proptest::prelude::*;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::domain::batch::{Decided, Mode, decide_call};
use crate::domain::book::Book;
use crate::domain::decide::{Applied, Entry};
use crate::domain::hold::HoldAction;
use crate::domain::posting::{Account, HoldStep, Leg, Posting, PostingId, PostingKind, Recorded};
use crate::domain::wallet::{Bucket, SystemAccount, SystemPurpose, Wallet, WalletStatus};

pub(super) const USERS: u128 = 6;
pub(super) const HOLDS: u128 = 5;

/// What a random call asks for. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Move {
        from: u128,
        to: u128,
        amount: i64,
    },
    Fund {
        to: u128,
        amount: i64,
        bonus: bool,
    },
    Place {
        wallet: u128,
        hold: u128,
        amount: i64,
    },
    End {
        hold: u128,
        to: u128,
        action: HoldAction,
        is_exact: bool,
    },
    Raw {
        legs: Vec<(u128, Bucket, i64)>,
    },
    Again {
        earlier: usize,
    },
}

pub(super) fn ask() -> impl Strategy<Value = Ask> {
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

pub(super) fn calls() -> impl Strategy<Value = Vec<(Mode, Vec<Ask>)>> {
    let mode = prop_oneof![Just(Mode::Independent), Just(Mode::Atomic)];
    prop::collection::vec((mode, prop::collection::vec(ask(), 1..6)), 1..25)
}

fn euro() -> Currency {
    Currency::parse("EUR").expect("a currency")
}

pub(super) fn wallet_id(number: u128) -> WalletId {
    WalletId::from_uuid(Uuid::from_u128(number))
}

pub(super) fn pool() -> SystemAccount {
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
pub(super) struct History {
    pub(super) book: Book,
    pub(super) now: OffsetDateTime,
    next: u128,
    pub(super) postings: Vec<Posting>,
    pub(super) first_answers: HashMap<PostingId, Recorded>,
    pub(super) applied: Vec<Applied>,
}

impl History {
    pub(super) fn new() -> Self {
        Self {
            book: opening_book(),
            now: OffsetDateTime::UNIX_EPOCH,
            next: 1,
            postings: Vec::new(),
            first_answers: HashMap::new(),
            applied: Vec::new(),
        }
    }

    pub(super) fn run(&mut self, mode: Mode, asks: &[Ask]) -> (Vec<Posting>, Decided) {
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
            Some(HoldStep {
                hold: HoldId::from_uuid(Uuid::from_u128(*number)),
                action,
            })
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
                let bucket = if *bonus {
                    Bucket::Bonus
                } else {
                    Bucket::Available
                };
                (vec![pool_leg(-amount), leg(*to, bucket, *amount)], None)
            }
            Ask::Place {
                wallet,
                hold,
                amount,
            } => (
                vec![
                    leg(*wallet, Bucket::Available, -amount),
                    leg(*wallet, Bucket::Held, *amount),
                ],
                step(hold, HoldAction::Place),
            ),
            Ask::End {
                hold,
                to,
                action,
                is_exact,
            } => {
                let known = self.book.hold(HoldId::from_uuid(Uuid::from_u128(*hold)));
                let (wallet, amount) = known.map_or((0, 7), |known| {
                    (known.wallet.uuid().as_u128(), known.amount)
                });
                let amount = if *is_exact { amount } else { amount + 1 };
                let target = match action {
                    HoldAction::Void => leg(wallet, Bucket::Available, amount),
                    HoldAction::Capture | HoldAction::Place => leg(*to, Bucket::Available, amount),
                };
                (
                    vec![leg(wallet, Bucket::Held, -amount), target],
                    step(hold, *action),
                )
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

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.applied.iter().flat_map(|applied| &applied.entries)
    }

    pub(super) fn wallets(&self) -> impl Iterator<Item = &Wallet> {
        (0..USERS)
            .map(wallet_id)
            .chain([pool().wallet_id(&TenantId::default())])
            .filter_map(|id| self.book.wallet(id))
    }
}

fn leg(wallet: u128, bucket: Bucket, amount: i64) -> Leg {
    let currency = if wallet == 2 && amount % 7 != 0 {
        "USD"
    } else {
        "EUR"
    };
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

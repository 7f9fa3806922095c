//! Random histories: what callers ask for, and the book that it is asked of.

use std::collections::HashMap;
use std::num::NonZeroI64;

use bursar_aip::id::{CampaignId, GrantId, HoldId, TenantId, TransactionId, UserId, WalletId};
use bursar_money::Currency;
use proptest::prelude::*;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::domain::batch::{Decided, Mode, decide_call};
use crate::domain::bonus::{BonusStep, NewGrant};
use crate::domain::book::{Book, SpendOrder};
use crate::domain::decide::{Applied, Entry};
use crate::domain::hold::HoldAction;
use crate::domain::limit::{Allowance, Limits};
use crate::domain::posting::{
    Account, HoldStep, Leg, LegBucket, Posting, PostingId, PostingKind, Recorded,
};
use crate::domain::wallet::{Bucket, SystemAccount, SystemPurpose, Wallet, WalletStatus};

pub(super) const USERS: u128 = 6;
pub(super) const HOLDS: u128 = 5;
pub(super) const GRANTS: u128 = 8;
/// The most that one user is granted in the campaign.
pub(super) const USER_CAP: i64 = 300;
/// The wallet that has limits, and what they are.
pub(super) const LIMITED: u128 = 0;
pub(super) const LIMITS: Limits = Limits {
    single: Some(150),
    daily: Some(300),
    monthly: Some(500),
};

/// What a random call asks for. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Move {
        from: u128,
        to: u128,
        amount: i64,
    },
    /// Takes spendable money, as a transfer or as a correction.
    Spend {
        from: u128,
        to: u128,
        amount: i64,
        is_transfer: bool,
    },
    Fund {
        to: u128,
        amount: i64,
    },
    Place {
        wallet: u128,
        hold: u128,
        amount: i64,
        seconds: Option<i64>,
    },
    End {
        hold: u128,
        to: u128,
        action: HoldAction,
        /// How much is captured, in hundredths of what remains.
        percent: i64,
        is_exact: bool,
    },
    Grant {
        wallet: u128,
        grant: u128,
        amount: i64,
        seconds: Option<i64>,
    },
    EndGrant {
        grant: u128,
        is_expiry: bool,
    },
    Raw {
        legs: Vec<(u128, LegBucket, i64)>,
    },
    Again {
        earlier: usize,
    },
}

pub(super) fn ask() -> impl Strategy<Value = Ask> {
    let amount = || 1_i64..200;
    let wallet = || 0..USERS + 2;
    let seconds = || prop::option::of(-2_i64..40);
    let buckets = Bucket::ALL.map(LegBucket::Of);
    let bucket = proptest::sample::select([&buckets[..], &[LegBucket::Spendable]].concat());
    let ends = vec![
        HoldAction::Capture,
        HoldAction::CaptureFinal,
        HoldAction::Void,
        HoldAction::Expire,
    ];
    prop_oneof![
        3 => (wallet(), wallet(), amount())
            .prop_map(|(from, to, amount)| Ask::Move { from, to, amount }),
        4 => (wallet(), wallet(), amount(), any::<bool>()).prop_map(
            |(from, to, amount, is_transfer)| Ask::Spend { from, to, amount, is_transfer }
        ),
        3 => (wallet(), amount()).prop_map(|(to, amount)| Ask::Fund { to, amount }),
        3 => (wallet(), 0..HOLDS, amount(), seconds()).prop_map(
            |(wallet, hold, amount, seconds)| Ask::Place { wallet, hold, amount, seconds }
        ),
        4 => (
            0..HOLDS,
            wallet(),
            proptest::sample::select(ends),
            0_i64..=100,
            prop::bool::weighted(0.8),
        )
            .prop_map(|(hold, to, action, percent, is_exact)| Ask::End {
                hold,
                to,
                action,
                percent,
                is_exact,
            }),
        3 => (wallet(), 0..GRANTS, amount(), seconds()).prop_map(
            |(wallet, grant, amount, seconds)| Ask::Grant { wallet, grant, amount, seconds }
        ),
        2 => (0..GRANTS, any::<bool>())
            .prop_map(|(grant, is_expiry)| Ask::EndGrant { grant, is_expiry }),
        1 => prop::collection::vec((wallet(), bucket, -50_i64..50), 0..5)
            .prop_map(|legs| Ask::Raw { legs }),
        1 => any::<prop::sample::Index>().prop_map(|index| Ask::Again { earlier: index.index(1000) }),
    ]
}

/// A random order in which spendable money is taken.
pub(super) fn spend_order() -> impl Strategy<Value = SpendOrder> {
    prop_oneof![
        Just(SpendOrder::BonusFirst),
        Just(SpendOrder::AvailableFirst),
        Just(SpendOrder::AvailableOnly),
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
/// two numbers beyond them name no wallet. The platform's pool pays in, and the
/// first wallet has limits.
fn opening_book(order: SpendOrder) -> Book {
    let tenant = TenantId::default();
    let user = |number: u128| Wallet {
        min_available: if number == 1 { -100 } else { 0 },
        currency: Currency::parse(if number == 2 { "USD" } else { "EUR" }).expect("a currency"),
        status: match number {
            3 => WalletStatus::Frozen,
            4 => WalletStatus::Closed,
            _ => WalletStatus::Active,
        },
        has_limits: number == LIMITED,
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
        has_limits: false,
        ..user(USERS)
    };
    let platform = Wallet {
        id: pool().wallet_id(&tenant),
        ..platform
    };
    let unused = Allowance::unused(wallet_id(LIMITED), LIMITS, OffsetDateTime::UNIX_EPOCH);
    Book::new((0..USERS).map(user).chain([platform]), [], [])
        .with_allowances([unused])
        .with_spend_order(order)
}

/// Runs asks as postings and keeps what was answered and written.
pub(super) struct History {
    pub(super) book: Book,
    pub(super) now: OffsetDateTime,
    pub(super) is_clock_still: bool,
    next: u128,
    pub(super) postings: Vec<Posting>,
    pub(super) first_answers: HashMap<PostingId, Recorded>,
    pub(super) applied: Vec<Applied>,
}

impl History {
    pub(super) fn new(order: SpendOrder) -> Self {
        Self {
            book: opening_book(order),
            now: OffsetDateTime::UNIX_EPOCH,
            is_clock_still: false,
            next: 1,
            postings: Vec::new(),
            first_answers: HashMap::new(),
            applied: Vec::new(),
        }
    }

    pub(super) fn run(&mut self, mode: Mode, asks: &[Ask]) -> (Vec<Posting>, Decided) {
        let postings: Vec<Posting> = asks.iter().map(|ask| self.posting(ask)).collect();
        // Days pass now and then, and the clock of another replica is behind.
        let step = match self.postings.len() % 7 {
            _ if self.is_clock_still => Duration::ZERO,
            0 => Duration::days(9),
            3 => Duration::seconds(-3),
            _ => Duration::seconds(5),
        };
        self.now += step;
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
        let Shape {
            kind,
            legs,
            hold,
            bonus,
        } = self.shape(ask);
        let id = self.next;
        self.next += 1;
        let mut fingerprint = [0; 32];
        fingerprint[..16].copy_from_slice(&id.to_be_bytes());
        let posting = Posting {
            id: PostingId::from_uuid(Uuid::from_u128(id)),
            tenant: TenantId::default(),
            transaction: match hold {
                Some(_) => None,
                None => Some(TransactionId::from_uuid(Uuid::from_u128(id))),
            },
            kind,
            legs,
            effective_at: None,
            hold,
            bonus,
            fingerprint,
        };
        self.postings.push(posting.clone());
        posting
    }

    fn shape(&self, ask: &Ask) -> Shape {
        let plain = |legs| Shape {
            kind: PostingKind::Adjustment,
            legs,
            hold: None,
            bonus: None,
        };
        match ask {
            Ask::Move { from, to, amount } => plain(vec![
                leg(*from, Bucket::Available, -amount),
                leg(*to, Bucket::Available, *amount),
            ]),
            Ask::Spend {
                from,
                to,
                amount,
                is_transfer,
            } => Shape {
                kind: if *is_transfer {
                    PostingKind::Transfer
                } else {
                    PostingKind::Adjustment
                },
                ..plain(vec![
                    leg(*from, LegBucket::Spendable, -amount),
                    leg(*to, LegBucket::Spendable, *amount),
                ])
            },
            Ask::Fund { to, amount } => plain(vec![
                pool_leg(-amount),
                leg(*to, Bucket::Available, *amount),
            ]),
            Ask::Place {
                wallet,
                hold,
                amount,
                seconds,
            } => Shape {
                hold: Some(HoldStep {
                    expires_at: self.after(*seconds),
                    ..HoldStep::on(hold_id(*hold), HoldAction::Place)
                }),
                ..plain(vec![
                    leg(*wallet, Bucket::Available, -amount),
                    leg(*wallet, Bucket::Held, *amount),
                ])
            },
            Ask::End {
                hold,
                to,
                action,
                percent,
                is_exact,
            } => Shape {
                hold: Some(HoldStep::on(hold_id(*hold), *action)),
                ..plain(self.ending(*hold, *to, *action, *percent, *is_exact))
            },
            Ask::Grant {
                wallet,
                grant,
                amount,
                seconds,
            } => Shape {
                bonus: Some(BonusStep::Grant(NewGrant {
                    id: grant_id(*grant),
                    campaign: CampaignId::from_uuid(Uuid::nil()),
                    expires_at: self.after(*seconds),
                    user_cap: Some(USER_CAP),
                })),
                ..plain(vec![
                    pool_leg(-amount),
                    leg(*wallet, Bucket::Bonus, *amount),
                ])
            },
            Ask::EndGrant { grant, is_expiry } => self.ending_of_grant(*grant, *is_expiry),
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
                plain(legs)
            }
            Ask::Again { .. } => plain(vec![pool_leg(1)]),
        }
    }

    fn after(&self, seconds: Option<i64>) -> Option<OffsetDateTime> {
        seconds.map(|seconds| self.now + Duration::seconds(seconds))
    }

    /// The legs that capture or give back a hold, mostly as the rules want them.
    fn ending(
        &self,
        hold: u128,
        to: u128,
        action: HoldAction,
        percent: i64,
        is_exact: bool,
    ) -> Vec<Leg> {
        let known = self.book.hold(hold_id(hold));
        let (wallet, remaining) = known.map_or((0, 7), |known| {
            (known.wallet.uuid().as_u128(), known.remaining().max(1))
        });
        let part = (remaining * percent / 100).max(1);
        let all = if is_exact { remaining } else { remaining + 1 };
        let held = |amount: i64| leg(wallet, Bucket::Held, -amount);
        match action {
            HoldAction::Capture if is_exact => {
                vec![held(part), leg(to, Bucket::Available, part)]
            }
            HoldAction::CaptureFinal if part < remaining => vec![
                held(all),
                leg(wallet, Bucket::Available, all - part),
                leg(to, Bucket::Available, part),
            ],
            HoldAction::Place | HoldAction::Capture | HoldAction::CaptureFinal => {
                vec![held(all), leg(to, Bucket::Available, all)]
            }
            HoldAction::Void | HoldAction::Expire => {
                vec![held(all), leg(wallet, Bucket::Available, all)]
            }
        }
    }

    fn ending_of_grant(&self, grant: u128, is_expiry: bool) -> Shape {
        let id = grant_id(grant);
        let (wallet, remaining) = self.book.grant(id).map_or((0, 7), |known| {
            (known.wallet.uuid().as_u128(), known.remaining.max(1))
        });
        let (step, target) = if is_expiry {
            (BonusStep::Expire(id), pool_leg(remaining))
        } else {
            let target = leg(wallet, Bucket::Available, remaining);
            (BonusStep::Convert(id), target)
        };
        Shape {
            kind: PostingKind::Adjustment,
            legs: vec![leg(wallet, Bucket::Bonus, -remaining), target],
            hold: None,
            bonus: Some(step),
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

/// What tells one posting from another, besides its ids.
struct Shape {
    kind: PostingKind,
    legs: Vec<Leg>,
    hold: Option<HoldStep>,
    bonus: Option<BonusStep>,
}

pub(super) fn hold_id(number: u128) -> HoldId {
    HoldId::from_uuid(Uuid::from_u128(number))
}

pub(super) fn grant_id(number: u128) -> GrantId {
    GrantId::from_uuid(Uuid::from_u128(number))
}

fn leg(wallet: u128, bucket: impl Into<LegBucket>, amount: i64) -> Leg {
    let currency = if wallet == 2 && amount % 7 != 0 {
        "USD"
    } else {
        "EUR"
    };
    Leg {
        account: Account::User(wallet_id(wallet)),
        bucket: bucket.into(),
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

//! Limits against a plain model, and at the edges of days and months.

use std::collections::HashMap;

use bursar_aip::id::{LimitRuleId, TenantId, UserId, WalletId};
use bursar_money::{Currency, PositiveMoney};
use proptest::prelude::*;
use time::macros::{date, datetime};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::*;

const NOON: OffsetDateTime = datetime!(2026-03-31 12:00 UTC);

fn euro() -> Currency {
    Currency::parse("EUR").expect("a currency")
}

fn user(number: u8) -> UserId {
    UserId::from_uuid(Uuid::from_u128(u128::from(number) + 1))
}

fn wallet(number: u8) -> WalletId {
    WalletId::from_uuid(Uuid::from_u128(u128::from(number) + 1))
}

fn demand(minor: i64, at: OffsetDateTime) -> Demand {
    Demand {
        tenant: TenantId::default(),
        user: user(0),
        tier: 1,
        wallet: wallet(0),
        movement: Limited::Transfer,
        amount: PositiveMoney::new(euro(), minor).expect("positive"),
        at,
    }
}

fn rule(scope: Scope) -> LimitRule {
    LimitRule {
        id: LimitRuleId::generate(),
        tenant: TenantId::default(),
        scope,
        movement: None,
        currency: euro(),
        single_minor: None,
        daily_minor: None,
        monthly_minor: None,
        velocity: None,
    }
}

/// What a store does: it keeps what was taken, and is asked before each slice.
#[derive(Default)]
struct Store {
    taken: Vec<Demand>,
}

impl Store {
    fn weigh(&mut self, demands: &[Demand], rules: &[LimitRule]) -> Vec<Result<(), Exceeded>> {
        let mut used: HashMap<UsageKey, Used> = HashMap::new();
        for demand in demands {
            for key in usage_keys(demand) {
                let mut sum = Used::default();
                for taken in &self.taken {
                    if usage_keys(taken).contains(&key) {
                        sum.minor += i128::from(taken.amount.minor());
                        sum.movements += 1;
                    }
                }
                used.insert(key, sum);
            }
        }
        let recent: Vec<Option<Recent>> = demands
            .iter()
            .map(|demand| Some(self.recent(demand, window(demand, rules)?)))
            .collect();
        let weighed = weigh(demands, rules, &used, &recent);
        let mut uses: HashMap<UsageKey, Used> = HashMap::new();
        for (demand, result) in demands.iter().zip(&weighed.results) {
            if result.is_ok() {
                self.taken.push(demand.clone());
                for key in usage_keys(demand) {
                    let sum = uses.entry(key).or_default();
                    sum.minor += i128::from(demand.amount.minor());
                    sum.movements += 1;
                }
            }
        }
        assert_eq!(weighed.uses.into_iter().collect::<HashMap<_, _>>(), uses);
        weighed.results
    }

    fn recent(&self, demand: &Demand, window: Window) -> Recent {
        let mut times: Vec<OffsetDateTime> = self
            .taken
            .iter()
            .filter(|taken| taken.user == demand.user && taken.movement == demand.movement)
            .map(|taken| taken.at)
            .filter(|at| *at > window.since)
            .collect();
        times.sort();
        times.reverse();
        times.truncate(usize::try_from(window.max_count).expect("it is small"));
        Recent {
            count: u32::try_from(times.len()).expect("it is small"),
            oldest: times.last().copied(),
        }
    }
}

/// The model: all that was taken in one list, and every limit from its definition.
fn allowed(taken: &[Demand], rules: &[LimitRule], demand: &Demand) -> Option<LimitKind> {
    let movements = [Some(demand.movement), None];
    let scopes = [
        Scope::Wallet {
            wallet: demand.wallet,
            owner: demand.user,
        },
        Scope::User(demand.user),
        Scope::Tier(demand.tier),
        Scope::Everybody,
    ];
    let order: Vec<&LimitRule> = scopes
        .iter()
        .flat_map(|scope| movements.map(|movement| (*scope, movement)))
        .filter_map(|place| {
            rules
                .iter()
                .find(|rule| (rule.scope, rule.movement) == place)
        })
        .collect();
    let own: Vec<&Demand> = taken
        .iter()
        .filter(|one| one.user == demand.user && one.movement == demand.movement)
        .collect();
    let sum = |same: &dyn Fn(&Demand) -> bool| -> i128 {
        let others = own.iter().filter(|one| same(one));
        others.map(|one| i128::from(one.amount.minor())).sum()
    };
    let minor = i128::from(demand.amount.minor());
    let above = |limit: Option<i64>, used: i128| {
        limit.is_some_and(|limit| used + minor > i128::from(limit))
    };
    let same_month =
        |one: &Demand| (one.at.year(), one.at.month()) == (demand.at.year(), demand.at.month());
    let same_day = |one: &Demand| same_month(one) && one.at.day() == demand.at.day();
    if above(order.iter().find_map(|rule| rule.single_minor), 0) {
        return Some(LimitKind::Single);
    }
    if above(
        order.iter().find_map(|rule| rule.daily_minor),
        sum(&same_day),
    ) {
        return Some(LimitKind::Daily);
    }
    if above(
        order.iter().find_map(|rule| rule.monthly_minor),
        sum(&same_month),
    ) {
        return Some(LimitKind::Monthly);
    }
    let velocity = order.iter().find_map(|rule| rule.velocity)?;
    let since = demand.at - Duration::seconds(i64::from(velocity.window_seconds));
    let count = own.iter().filter(|one| one.at > since).count();
    (count >= usize::try_from(velocity.max_count).expect("it is small"))
        .then_some(LimitKind::Velocity)
}

fn any_scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        Just(Scope::Everybody),
        (0..3_u8).prop_map(Scope::Tier),
        (0..3_u8).prop_map(|number| Scope::User(user(number))),
        (0..3_u8, 0..3_u8).prop_map(|(number, owner)| Scope::Wallet {
            wallet: wallet(number),
            owner: user(owner),
        }),
    ]
}

fn any_movement() -> impl Strategy<Value = Limited> {
    proptest::sample::select(Limited::ALL.to_vec())
}

prop_compose! {
    fn any_rule()(
        scope in any_scope(),
        movement in proptest::option::of(any_movement()),
        single_minor in proptest::option::of(0..30_i64),
        daily_minor in proptest::option::of(0..90_i64),
        monthly_minor in proptest::option::of(0..120_i64),
        velocity in proptest::option::of((0..4_u32, 1..90_000_u32)),
    ) -> LimitRule {
        LimitRule {
            movement,
            single_minor,
            daily_minor,
            monthly_minor,
            velocity: velocity.map(|(max_count, window_seconds)| Velocity {
                max_count,
                window_seconds,
            }),
            ..rule(scope)
        }
    }
}

prop_compose! {
    fn any_demand()(
        number in 0..3_u8,
        tier in 0..3_u8,
        own in 0..3_u8,
        movement in any_movement(),
        minor in 1..40_i64,
        seconds in -100_000..100_000_i64,
    ) -> Demand {
        Demand {
            user: user(number),
            tier,
            wallet: wallet(own),
            movement,
            // The last day of March and the first of April.
            ..demand(minor, NOON + Duration::seconds(seconds))
        }
    }
}

proptest! {
    /// Whatever the rules, their order and the slices: what is let through is what
    /// the model lets through, for the same reason.
    #[test]
    fn slices_are_decided_as_the_model_decides(
        mut rules in proptest::collection::vec(any_rule(), 0..12),
        slices in proptest::collection::vec(
            proptest::collection::vec(any_demand(), 1..8), 1..6),
    ) {
        let mut places = std::collections::HashSet::new();
        rules.retain(|rule| places.insert((rule.scope, rule.movement)));
        let mut store = Store::default();
        let mut taken = Vec::new();
        for slice in &slices {
            for (demand, result) in slice.iter().zip(store.weigh(slice, &rules)) {
                let expected = allowed(&taken, &rules, demand);
                prop_assert_eq!(result.err().map(|exceeded| exceeded.kind), expected);
                if expected.is_none() {
                    taken.push(demand.clone());
                }
            }
        }
    }

    /// However the clocks of those who record differ, no window of the past ever has
    /// more movements than may be.
    #[test]
    fn no_window_is_overfull(
        offsets in proptest::collection::vec(-50..50_i64, 1..40),
        max_count in 1..5_u32,
        window_seconds in 1..60_u32,
    ) {
        let velocity = Velocity { max_count, window_seconds };
        let rules = [LimitRule { velocity: Some(velocity), ..rule(Scope::Everybody) }];
        let mut store = Store::default();
        for offset in offsets {
            store.weigh(&[demand(1, NOON + Duration::seconds(offset))], &rules);
        }
        let length = Duration::seconds(i64::from(window_seconds));
        for last in &store.taken {
            let inside = store.taken.iter().filter(|one| {
                one.at <= last.at && one.at > last.at - length
            });
            prop_assert!(inside.count() <= usize::try_from(max_count).expect("it is small"));
        }
    }

    /// What is left and what is used make the limit, and nothing overflows.
    #[test]
    fn what_is_left_is_exact(limit in 0..=i64::MAX, used in 0..=i128::from(u64::MAX)) {
        let left = left(limit, used);
        prop_assert!((0..=limit).contains(&left));
        prop_assert_eq!(i128::from(left), (i128::from(limit) - used).max(0));
    }
}

/// The last moment of a day and the first of the next are of different days; the
/// same for months, and in February of any year. Zones do not matter.
#[test]
fn days_and_months_end_at_midnight_of_utc() {
    let last = datetime!(2026-03-31 23:59:59.999999999 UTC);
    let first = datetime!(2026-04-01 0:00 UTC);
    assert_eq!(Period::Day.starts_on(last), date!(2026 - 03 - 31));
    assert_eq!(Period::Month.starts_on(last), date!(2026 - 03 - 01));
    assert_eq!(Period::Day.ends_at(last), first);
    assert_eq!(Period::Month.ends_at(last), first);
    assert_eq!(Period::Day.starts_on(first), date!(2026 - 04 - 01));
    assert_eq!(Period::Month.starts_on(first), date!(2026 - 04 - 01));
    assert_eq!(Period::Month.ends_at(first), datetime!(2026-05-01 0:00 UTC));
    for (at, next) in [
        (
            datetime!(2027-02-28 12:00 UTC),
            datetime!(2027-03-01 0:00 UTC),
        ),
        (
            datetime!(2028-02-29 12:00 UTC),
            datetime!(2028-03-01 0:00 UTC),
        ),
        (
            datetime!(2026-12-31 12:00 UTC),
            datetime!(2027-01-01 0:00 UTC),
        ),
    ] {
        assert_eq!(Period::Day.ends_at(at), next);
        assert_eq!(Period::Month.ends_at(at), next);
    }
    let abroad = datetime!(2026-04-01 1:30 +2);
    assert_eq!(Period::Day.starts_on(abroad), date!(2026 - 03 - 31));
    assert_eq!(Period::Month.starts_on(abroad), date!(2026 - 03 - 01));
}

/// What was used yesterday, or last month, is not used today.
#[test]
fn a_new_day_and_a_new_month_begin_with_nothing_used() {
    let rules = [LimitRule {
        daily_minor: Some(100),
        monthly_minor: Some(150),
        ..rule(Scope::Everybody)
    }];
    let mut store = Store::default();
    let day = |day: u8, hour| {
        let day = date!(2026 - 03 - 01)
            .replace_day(day)
            .expect("a day of March");
        day.with_hms(hour, 0, 0).expect("an hour").assume_utc()
    };
    let ok = vec![Ok(())];
    assert_eq!(store.weigh(&[demand(100, day(30, 23))], &rules), ok);
    let [Err(exceeded)] = &store.weigh(&[demand(1, day(30, 23))], &rules)[..] else {
        panic!("the day is used up");
    };
    assert_eq!(
        (
            exceeded.kind,
            exceeded.used,
            exceeded.left,
            exceeded.resets_at
        ),
        (LimitKind::Daily, 100, 0, Some(day(31, 0)))
    );
    assert_eq!(store.weigh(&[demand(50, day(31, 0))], &rules), ok);
    let [Err(exceeded)] = &store.weigh(&[demand(1, day(31, 23))], &rules)[..] else {
        panic!("the month is used up");
    };
    assert_eq!(exceeded.kind, LimitKind::Monthly);
    assert_eq!(exceeded.resets_at, Some(datetime!(2026-04-01 0:00 UTC)));
    let april = datetime!(2026-04-01 0:00 UTC);
    assert_eq!(store.weigh(&[demand(100, april)], &rules), ok);
}

/// An error tells when waiting helps: never for more than the limit itself, nor for
/// what is refused altogether.
#[test]
fn only_what_waiting_helps_resets() {
    let velocity = |max_count| {
        Some(Velocity {
            max_count,
            window_seconds: 60,
        })
    };
    let resets_at = |rule: LimitRule, before: i64, minor: i64| {
        let mut store = Store::default();
        if before > 0 {
            store.weigh(&[demand(before, NOON - Duration::seconds(10))], &[]);
        }
        let results = store.weigh(&[demand(minor, NOON)], &[rule]);
        let exceeded = results
            .into_iter()
            .next()
            .expect("one")
            .expect_err("refused");
        exceeded.resets_at
    };
    let base = || rule(Scope::Everybody);
    let midnight = Some(datetime!(2026-04-01 0:00 UTC));
    for (rule, before, minor, expected) in [
        (
            LimitRule {
                single_minor: Some(5),
                ..base()
            },
            0,
            6,
            None,
        ),
        (
            LimitRule {
                daily_minor: Some(5),
                ..base()
            },
            1,
            5,
            midnight,
        ),
        (
            LimitRule {
                daily_minor: Some(5),
                ..base()
            },
            0,
            6,
            None,
        ),
        (
            LimitRule {
                daily_minor: Some(0),
                ..base()
            },
            0,
            1,
            None,
        ),
        (
            LimitRule {
                velocity: velocity(1),
                ..base()
            },
            1,
            1,
            Some(NOON + Duration::seconds(50)),
        ),
        (
            LimitRule {
                velocity: velocity(0),
                ..base()
            },
            0,
            1,
            None,
        ),
    ] {
        assert_eq!(resets_at(rule, before, minor), expected);
    }
}

/// A tier beyond the highest that rules know counts as that one, and a rule of
/// another tenant or currency holds for nobody here.
#[test]
fn rules_hold_for_whom_they_are() {
    let most = |rules: &[LimitRule], demand: &Demand| {
        let applied = Applied::of(rules, demand.subject());
        applied.single.map(|limit| limit.most)
    };
    let single = |scope, minor| LimitRule {
        single_minor: Some(minor),
        ..rule(scope)
    };
    let high = Demand {
        tier: u8::MAX,
        ..demand(1, NOON)
    };
    assert_eq!(most(&[single(Scope::Tier(MAX_TIER), 7)], &high), Some(7));
    let elsewhere = LimitRule {
        tenant: "elsewhere".parse().expect("a tenant"),
        ..single(Scope::Everybody, 7)
    };
    let dollars = LimitRule {
        currency: Currency::parse("USD").expect("a currency"),
        ..single(Scope::Everybody, 7)
    };
    assert_eq!(most(&[elsewhere, dollars], &high), None);
    let others = Scope::Wallet {
        wallet: wallet(0),
        owner: user(1),
    };
    assert_eq!(most(&[single(others, 7)], &high), None);
}

/// Names come back from their text.
#[test]
fn names_are_read_back() {
    for movement in Limited::ALL {
        assert_eq!(Limited::parse(movement.name()), Some(movement));
    }
    for period in Period::ALL {
        assert_eq!(Period::parse(period.name()), Some(period));
    }
    assert_eq!(Limited::parse("refund"), None);
    assert_eq!(Period::parse("year"), None);
}

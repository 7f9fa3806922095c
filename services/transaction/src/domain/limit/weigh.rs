//! Whether what is demanded fits into what is left.

use std::collections::{BTreeMap, HashMap};

use bursar_aip::id::{TenantId, UserId};
use bursar_money::Currency;
use time::{Date, Duration, OffsetDateTime};

use super::{Applied, Demand, Exceeded, Limit, LimitKind, LimitRule, Limited, Period, Velocity};

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey {
    /// The user.
    pub user: UserId,
    /// The user's tenant, which is one for each user.
    pub tenant: TenantId,
    /// The kind of movement.
    pub movement: Limited,
    /// The currency.
    pub currency: Currency,
    /// Days or months.
    pub period: Period,
    /// Which of them.
    pub starts_on: Date,
}

/// What some movements come to. A sum of amounts of 64 bits never leaves 128.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// The sum of the amounts, in minor units.
    pub minor: i128,
    /// How many they are.
    pub movements: i64,
}

impl Used {
    fn add(&mut self, other: Self) {
        self.minor += other.minor;
        self.movements += other.movements;
    }
}

/// A window in which movements are to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Those that were recorded after it.
    pub since: OffsetDateTime,
    /// How many are enough: the newest of them are counted, and no more.
    pub max_count: u32,
}

/// The movements of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// How many there are.
    pub count: u32,
    /// When the oldest of them was recorded.
    pub oldest: Option<OffsetDateTime>,
}

/// What becomes of some demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// Of each, in their order, whether it fits.
    pub results: Vec<Result<(), Exceeded>>,
    /// What those that fit use, in the order of the keys.
    pub uses: BTreeMap<UsageKey, Used>,
}

/// What a demand is counted under.
pub fn usage_keys(demand: &Demand) -> [UsageKey; 2] {
    Period::ALL.map(|period| UsageKey {
        user: demand.user,
        tenant: demand.tenant.clone(),
        movement: demand.movement,
        currency: demand.amount.currency(),
        period,
        starts_on: period.starts_on(demand.at),
    })
}

/// The window that has to be counted for a demand; `None` when no rule asks for it.
pub fn window(demand: &Demand, rules: &[LimitRule]) -> Option<Window> {
    let limit = Applied::of(rules, demand.subject()).velocity?;
    Some(Window {
        since: demand.at - length(limit.most),
        max_count: limit.most.max_count,
    })
}

/// Decides about demands in their order; those that fit count for those behind them.
///
/// `used` has what is used before them under each key that is counted at all;
/// `recent` has the movements of each demand's [`window`]. What was recorded later
/// than a demand's own time is in its window too: of two that were recorded at once,
/// whoever is decided second must see the first, whatever their clocks say.
pub fn weigh(
    demands: &[Demand],
    rules: &[LimitRule],
    used: &HashMap<UsageKey, Used>,
    recent: &[Option<Recent>],
) -> Weighed {
    debug_assert_eq!(demands.len(), recent.len(), "every demand has its window");
    let mut scales = Scales {
        used: used.clone(),
        uses: BTreeMap::new(),
        taken: HashMap::new(),
    };
    let results = demands
        .iter()
        .zip(recent)
        .map(|(demand, recent)| {
            let applied = Applied::of(rules, demand.subject());
            scales.check(demand, &applied, recent.unwrap_or_default())?;
            scales.take(demand);
            Ok(())
        })
        .collect();
    Weighed {
        results,
        uses: scales.uses,
    }
}

struct Scales {
    /// What is used under each key, earlier demands included.
    used: HashMap<UsageKey, Used>,
    /// What the demands use of it.
    uses: BTreeMap<UsageKey, Used>,
    /// When the demands that fit were made.
    taken: HashMap<(UserId, Limited, Currency), Vec<OffsetDateTime>>,
}

impl Scales {
    fn check(&self, demand: &Demand, applied: &Applied, recent: Recent) -> Result<(), Exceeded> {
        let [day, month] = usage_keys(demand);
        let sums = [
            (LimitKind::Single, applied.single, None),
            (LimitKind::Daily, applied.daily, Some(day)),
            (LimitKind::Monthly, applied.monthly, Some(month)),
        ];
        for (kind, limit, key) in sums {
            if let Some(limit) = limit {
                self.check_sum(demand, kind, limit, key)?;
            }
        }
        match applied.velocity {
            Some(limit) => self.check_velocity(demand, limit, recent),
            None => Ok(()),
        }
    }

    fn check_sum(
        &self,
        demand: &Demand,
        kind: LimitKind,
        limit: Limit<i64>,
        key: Option<UsageKey>,
    ) -> Result<(), Exceeded> {
        let used = key.as_ref().and_then(|key| self.used.get(key));
        let used = used.map_or(0, |used| used.minor);
        let left = left(limit.most, used);
        if demand.amount.minor() <= left {
            return Ok(());
        }
        let resets_at = key.map(|key| key.period.bounds(key.starts_on).1);
        Err(Exceeded {
            kind,
            movement: demand.movement,
            currency: demand.amount.currency(),
            limit: limit.most,
            used,
            left,
            // The next period makes no room for more than the limit itself.
            resets_at: resets_at.filter(|_| demand.amount.minor() <= limit.most),
            rule: limit.rule,
        })
    }

    fn check_velocity(
        &self,
        demand: &Demand,
        limit: Limit<Velocity>,
        recent: Recent,
    ) -> Result<(), Exceeded> {
        let since = demand.at - length(limit.most);
        let taken = self.taken.get(&place(demand));
        let taken = taken.map_or(0, |times| times.iter().filter(|at| **at > since).count());
        let taken = u32::try_from(taken).unwrap_or(u32::MAX);
        let count = recent.count.saturating_add(taken);
        let max_count = limit.most.max_count;
        if count < max_count {
            return Ok(());
        }
        // With some of the same slice in the window, the latest time that can be.
        let leaves = match (max_count, taken, recent.oldest) {
            (0, _, _) => None,
            (_, 0, Some(oldest)) => Some(oldest),
            (_, _, _) => Some(demand.at),
        };
        Err(Exceeded {
            kind: LimitKind::Velocity,
            movement: demand.movement,
            currency: demand.amount.currency(),
            limit: i64::from(max_count),
            used: i128::from(count),
            left: 0,
            resets_at: leaves.map(|at| at + length(limit.most)),
            rule: limit.rule,
        })
    }

    fn take(&mut self, demand: &Demand) {
        let one = Used {
            minor: i128::from(demand.amount.minor()),
            movements: 1,
        };
        for key in usage_keys(demand) {
            // What has no row is not counted.
            if let Some(used) = self.used.get_mut(&key) {
                used.add(one);
                self.uses.entry(key).or_default().add(one);
            }
        }
        let times = self.taken.entry(place(demand)).or_default();
        times.push(demand.at);
    }
}

fn place(demand: &Demand) -> (UserId, Limited, Currency) {
    (demand.user, demand.movement, demand.amount.currency())
}

fn length(velocity: Velocity) -> Duration {
    Duration::seconds(i64::from(velocity.window_seconds))
}

/// What a limit leaves beside what is used, from 0 to the limit.
pub fn left(limit: i64, used: i128) -> i64 {
    let left = (i128::from(limit) - used).clamp(0, i128::from(limit.max(0)));
    i64::try_from(left).expect("it is not more than the limit")
}

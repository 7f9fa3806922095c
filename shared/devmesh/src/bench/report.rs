//! The report: the medians of the rounds, and how they stand to the targets.

#![expect(
    clippy::float_arithmetic,
    reason = "rates, ratios and milliseconds are what it reports"
)]

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::driver::Load;

mod table;

/// What one round measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) tpcb_c32_tps: f64,
    pub(super) ledger_sql: Load,
    pub(super) wallet_rpc: Load,
    pub(super) cpu: CpuTime,
    pub(super) many_wallets: Option<Load>,
    pub(super) hot_wallet: Load,
    pub(super) opposed_pairs: Load,
    pub(super) deadlocks: i64,
    pub(super) wallet_create: Load,
    pub(super) balance_read: Load,
}

/// What the soak measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Soak {
    pub(super) load: Load,
    pub(super) checkpoints: i64,
    pub(super) autovacuums: i64,
}

/// CPU time a posting, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct CpuTime {
    wallet: f64,
    postgres: f64,
}

/// The report. Its JSON form is what other programs read.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    reference: Reference,
    ledger_sql: LedgerSql,
    wallet_rpc: WalletRpc,
    hot_wallet: HotWallet,
    opposed_pairs: OpposedPairs,
    wallet_create: WalletCreate,
    balance_read: BalanceRead,
    #[serde(skip_serializing_if = "Option::is_none")]
    growth: Option<Growth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    soak: Option<SoakResult>,
    cpu_us_per_posting: CpuTime,
}

#[derive(Clone, Debug, Serialize)]
struct Reference {
    tpcb_c32_tps: f64,
}

#[derive(Clone, Debug, Serialize)]
struct LedgerSql {
    postings_per_s: f64,
    ratio: f64,
}

#[derive(Clone, Debug, Serialize)]
struct WalletRpc {
    callers: u32,
    postings_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    ratio: f64,
}

#[derive(Clone, Debug, Serialize)]
struct HotWallet {
    postings_per_s: f64,
    ratio_to_uniform: f64,
}

#[derive(Clone, Debug, Serialize)]
struct OpposedPairs {
    postings_per_s: f64,
    deadlocks: i64,
}

#[derive(Clone, Debug, Serialize)]
struct WalletCreate {
    per_s: f64,
    p95_ms: f64,
}

#[derive(Clone, Debug, Serialize)]
struct BalanceRead {
    per_s: f64,
    p99_ms: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Growth {
    wallets_100k_per_s: f64,
    wallets_5m_per_s: f64,
}

#[derive(Clone, Debug, Serialize)]
struct SoakResult {
    first_minute_per_s: f64,
    last_minute_per_s: f64,
    ratio: f64,
    checkpoints: i64,
    autovacuums: i64,
}

impl CpuTime {
    /// What each of so many postings took.
    pub(super) fn of(wallet: Duration, postgres: Duration, postings: u64) -> Self {
        let us_each = |time: Duration| time.as_secs_f64() * 1e6 / as_float(postings.max(1));
        Self {
            wallet: us_each(wallet),
            postgres: us_each(postgres),
        }
    }
}

impl Report {
    /// The report on these rounds, of which there is at least one.
    pub(super) fn of(callers: u32, rounds: &[Round], soak: Option<Soak>) -> Self {
        let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
        let tps = of(|round| round.tpcb_c32_tps);
        let sql = of(|round| round.ledger_sql.per_s);
        let rpc = of(|round| round.wallet_rpc.per_s);
        let hot = of(|round| round.hot_wallet.per_s);
        let many: Vec<f64> = rounds
            .iter()
            .filter_map(|round| Some(round.many_wallets?.per_s))
            .collect();
        Self {
            reference: Reference { tpcb_c32_tps: tps },
            ledger_sql: LedgerSql {
                postings_per_s: sql,
                ratio: sql / tps,
            },
            wallet_rpc: WalletRpc {
                callers,
                postings_per_s: rpc,
                p50_ms: of(|round| round.wallet_rpc.p50_ms),
                p99_ms: of(|round| round.wallet_rpc.p99_ms),
                ratio: rpc / tps,
            },
            hot_wallet: HotWallet {
                postings_per_s: hot,
                ratio_to_uniform: hot / rpc,
            },
            opposed_pairs: OpposedPairs {
                postings_per_s: of(|round| round.opposed_pairs.per_s),
                deadlocks: rounds.iter().map(|round| round.deadlocks).sum(),
            },
            wallet_create: WalletCreate {
                per_s: of(|round| round.wallet_create.per_s),
                p95_ms: of(|round| round.wallet_create.p95_ms),
            },
            balance_read: BalanceRead {
                per_s: of(|round| round.balance_read.per_s),
                p99_ms: of(|round| round.balance_read.p99_ms),
            },
            growth: (!many.is_empty()).then(|| Growth {
                wallets_100k_per_s: rpc,
                wallets_5m_per_s: median(many),
            }),
            soak: soak.map(SoakResult::of),
            cpu_us_per_posting: CpuTime {
                wallet: of(|round| round.cpu.wallet),
                postgres: of(|round| round.cpu.postgres),
            },
        }
    }
}

impl SoakResult {
    fn of(soak: Soak) -> Self {
        let (first, last) = (soak.load.first_minute_per_s, soak.load.last_minute_per_s);
        Self {
            first_minute_per_s: first,
            last_minute_per_s: last,
            ratio: last / first,
            checkpoints: soak.checkpoints,
            autovacuums: soak.autovacuums,
        }
    }
}

/// The table for people.
impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        table::write(self, formatter)
    }
}

/// The middle value; of an even number of values, the mean of the two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a benchmark are far below 2^53"
)]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;

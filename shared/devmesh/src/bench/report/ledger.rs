//! What was measured of the ledger.

use std::time::Duration;

use serde::Serialize;

use super::{median, us_each};
use crate::bench::driver::Load;

/// What one round measured.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Round {
    pub(in crate::bench) tpcb_c32_tps: f64,
    pub(in crate::bench) ledger_sql: Load,
    pub(in crate::bench) wallet_rpc: Load,
    pub(in crate::bench) cpu: CpuTime,
    pub(in crate::bench) many_wallets: Option<Load>,
    pub(in crate::bench) hot_wallet: Load,
    pub(in crate::bench) opposed_pairs: Load,
    pub(in crate::bench) deadlocks: i64,
    pub(in crate::bench) wallet_create: Load,
    pub(in crate::bench) balance_read: Load,
}

/// What the soak measured.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Soak {
    pub(in crate::bench) load: Load,
    pub(in crate::bench) checkpoints: i64,
    pub(in crate::bench) autovacuums: i64,
}

/// CPU time a posting, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::bench) struct CpuTime {
    pub(super) wallet: f64,
    pub(super) postgres: f64,
}

/// The ledger's part of the report.
#[derive(Clone, Debug, Serialize)]
pub(in crate::bench) struct LedgerReport {
    #[serde(skip)]
    pub(super) tpcb_c32_tps: f64,
    pub(super) ledger_sql: LedgerSql,
    pub(super) wallet_rpc: WalletRpc,
    pub(super) hot_wallet: HotWallet,
    pub(super) opposed_pairs: OpposedPairs,
    pub(super) wallet_create: WalletCreate,
    pub(super) balance_read: BalanceRead,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) growth: Option<Growth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) soak: Option<SoakResult>,
    pub(super) cpu_us_per_posting: CpuTime,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct LedgerSql {
    pub(super) postings_per_s: f64,
    pub(super) ratio: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct WalletRpc {
    pub(super) callers: u32,
    pub(super) postings_per_s: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) ratio: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct HotWallet {
    pub(super) postings_per_s: f64,
    pub(super) ratio_to_uniform: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct OpposedPairs {
    pub(super) postings_per_s: f64,
    pub(super) deadlocks: i64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct WalletCreate {
    pub(super) per_s: f64,
    pub(super) p95_ms: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct BalanceRead {
    pub(super) per_s: f64,
    pub(super) p99_ms: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Growth {
    pub(super) wallets_100k_per_s: f64,
    pub(super) wallets_5m_per_s: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct SoakResult {
    pub(super) first_minute_per_s: f64,
    pub(super) last_minute_per_s: f64,
    pub(super) ratio: f64,
    pub(super) checkpoints: i64,
    pub(super) autovacuums: i64,
}

impl CpuTime {
    /// What each of so many postings took.
    pub(in crate::bench) fn of(wallet: Duration, postgres: Duration, postings: u64) -> Self {
        Self {
            wallet: us_each(wallet, postings),
            postgres: us_each(postgres, postings),
        }
    }
}

impl LedgerReport {
    /// The part on these rounds, of which there is at least one.
    pub(in crate::bench) fn of(callers: u32, rounds: &[Round], soak: Option<Soak>) -> Self {
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
            tpcb_c32_tps: tps,
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

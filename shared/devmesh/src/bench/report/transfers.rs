//! What was measured of transfers.

use serde::Serialize;

use super::median;
use crate::bench::driver::Load;

/// What one round measured.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Round {
    pub(in crate::bench) tpcb_c32_tps: f64,
    pub(in crate::bench) gateway: Load,
    pub(in crate::bench) cpu: CpuTime,
    pub(in crate::bench) rest: Load,
    pub(in crate::bench) replay: Load,
    pub(in crate::bench) bulk: Load,
}

/// CPU time a transfer, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::bench) struct CpuTime {
    pub(in crate::bench) gateway: f64,
    pub(in crate::bench) transaction: f64,
    pub(in crate::bench) wallet: f64,
    pub(in crate::bench) postgres: f64,
}

/// The transfers' part of the report. Ratios are of a round's own reference.
#[derive(Clone, Debug, Serialize)]
pub(in crate::bench) struct TransfersReport {
    #[serde(skip)]
    pub(super) tpcb_c32_tps: f64,
    pub(super) transfer_gateway: TransferGateway,
    pub(super) transfer_rest: TransferRest,
    pub(super) idempotent_replay: IdempotentReplay,
    pub(super) bulk_per_s: f64,
    pub(super) bulk_ratio: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct TransferGateway {
    pub(super) transfers_per_s: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) ratio: f64,
    pub(super) cpu_us: CpuTime,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct TransferRest {
    pub(super) transfers_per_s: f64,
    pub(super) p99_ms: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct IdempotentReplay {
    pub(super) p99_ms: f64,
}

impl TransfersReport {
    /// The part on these rounds, of which there is at least one.
    pub(in crate::bench) fn of(rounds: &[Round]) -> Self {
        let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
        Self {
            tpcb_c32_tps: of(|round| round.tpcb_c32_tps),
            transfer_gateway: TransferGateway {
                transfers_per_s: of(|round| round.gateway.per_s),
                p50_ms: of(|round| round.gateway.p50_ms),
                p99_ms: of(|round| round.gateway.p99_ms),
                ratio: of(|round| round.gateway.per_s / round.tpcb_c32_tps),
                cpu_us: CpuTime {
                    gateway: of(|round| round.cpu.gateway),
                    transaction: of(|round| round.cpu.transaction),
                    wallet: of(|round| round.cpu.wallet),
                    postgres: of(|round| round.cpu.postgres),
                },
            },
            transfer_rest: TransferRest {
                transfers_per_s: of(|round| round.rest.per_s),
                p99_ms: of(|round| round.rest.p99_ms),
            },
            idempotent_replay: IdempotentReplay {
                p99_ms: of(|round| round.replay.p99_ms),
            },
            bulk_per_s: of(|round| round.bulk.per_s),
            bulk_ratio: of(|round| round.bulk.per_s / round.tpcb_c32_tps),
        }
    }
}

//! What is measured of transfers, in which order.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::stage::Stage;
use crate::bench::driver::Load;
use crate::bench::report::transfers::{CpuTime, Round, TransfersReport};
use crate::bench::report::us_each;
use crate::bench::settings::Settings;
use crate::bench::{cpu, seconds};

/// How many callers ask for transfers, each waiting for its answer.
const CALLERS: u32 = 128;
/// How many ask again for what they asked before. Its target is a latency, so
/// they are few enough not to stand in a queue of their own making.
const REPLAYING_CALLERS: u32 = 16;
/// How many pay a hundred others by one call.
const BULK_CALLERS: u32 = 4;

/// Measures all rounds.
pub(in crate::bench) async fn all(
    settings: &Settings,
    stage: &mut Stage,
    out: &mut impl Write,
) -> anyhow::Result<TransfersReport> {
    let mut rounds = Vec::new();
    for number in 1..=settings.rounds {
        writeln!(out, "Transfers, round {number} of {}:", settings.rounds)?;
        rounds.push(round(settings.length, stage, out).await?);
    }
    Ok(TransfersReport::of(&rounds))
}

async fn round(length: Duration, stage: &mut Stage, out: &mut impl Write) -> anyhow::Result<Round> {
    let tps = stage.server.reference(length).await?;
    writeln!(out, "  {:<18} {tps:>8.0}/s", "reference")?;

    let used = Used::until_now(stage);
    let order = self::order("single", CALLERS, length, stage);
    let gateway = carry_out(stage, out, "transfer_gateway", &order).await?;
    let cpu = Used::until_now(stage).since(used, gateway);
    let order = self::order("rest", CALLERS, length, stage);
    let rest = carry_out(stage, out, "transfer_rest", &order).await?;
    let order = self::order("replay", REPLAYING_CALLERS, length, stage);
    let replay = carry_out(stage, out, "idempotent_replay", &order).await?;
    let order = self::order("bulk", BULK_CALLERS, length, stage);
    let bulk = carry_out(stage, out, "bulk", &order).await?;
    Ok(Round {
        tpcb_c32_tps: tps,
        gateway,
        cpu,
        rest,
        replay,
        bulk,
    })
}

fn order(measure: &str, callers: u32, length: Duration, stage: &Stage) -> Value {
    json!({
        "measure": measure,
        "wallets": {"database_url": stage.wallets_url(), "limit": stage.wallets()},
        "address": stage.gateway.address,
        "callers": callers,
        "seconds": seconds(length),
    })
}

async fn carry_out(
    stage: &mut Stage,
    out: &mut impl Write,
    name: &str,
    order: &Value,
) -> anyhow::Result<Load> {
    let load = stage
        .driver
        .carry_out(order)
        .await
        .with_context(|| format!("measuring {name}"))?;
    let unpublished = stage.settle().await?;
    writeln!(
        out,
        "  {name:<18} {:>8.0}/s   p50 {:>6.1} ms   p99 {:>6.1} ms   {unpublished} events behind",
        load.per_s, load.p50_ms, load.p99_ms
    )?;
    Ok(load)
}

/// CPU times by which two moments are compared.
#[derive(Clone, Copy)]
struct Used {
    gateway: Duration,
    transaction: Duration,
    wallet: Duration,
    postgres: Duration,
}

impl Used {
    fn until_now(stage: &Stage) -> Self {
        Self {
            gateway: cpu::used_by_tree(stage.gateway.pid),
            transaction: cpu::used_by_tree(stage.transaction.pid),
            wallet: cpu::used_by_tree(stage.wallet.pid),
            postgres: cpu::used_by_tree(stage.server.pid),
        }
    }

    /// The CPU time of each transfer between two moments, the warm-up included.
    fn since(self, before: Self, load: Load) -> CpuTime {
        let transfers = load.done_with_warm_up;
        let each = |now: Duration, before: Duration| us_each(now.saturating_sub(before), transfers);
        CpuTime {
            gateway: each(self.gateway, before.gateway),
            transaction: each(self.transaction, before.transaction),
            wallet: each(self.wallet, before.wallet),
            postgres: each(self.postgres, before.postgres),
        }
    }
}

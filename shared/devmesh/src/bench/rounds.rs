//! What is measured of the ledger, in which order.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::driver::Load;
use super::report::ledger::{CpuTime, LedgerReport, Round, Soak};
use super::settings::Settings;
use super::stage::{Stage, Urls};
use super::{cpu, seconds};

/// How many callers there are over gRPC, and how many open wallets: with 256 of
/// them and 4,000 wallets a second each would wait for 64 ms.
const CALLERS: u32 = 256;
const OPENING_CALLERS: u32 = 64;
/// Deadlocks in all databases of the server since it was started.
const DEADLOCKS: &str = "SELECT sum(deadlocks)::bigint FROM pg_stat_database";
const CHECKPOINTS: &str = "SELECT num_timed + num_requested FROM pg_stat_checkpointer";

/// Measures all rounds and the soak.
pub(super) async fn all(
    settings: &Settings,
    stage: &mut Stage,
    out: &mut impl Write,
) -> anyhow::Result<LedgerReport> {
    let mut rounds = Vec::new();
    for number in 1..=settings.rounds {
        writeln!(out, "Ledger, round {number} of {}:", settings.rounds)?;
        rounds.push(round(settings, stage, out).await?);
    }
    let soak = match settings.soak {
        Some(length) => Some(soak(length, stage, out).await?),
        None => None,
    };
    Ok(LedgerReport::of(CALLERS, &rounds, soak))
}

async fn round(
    settings: &Settings,
    stage: &mut Stage,
    out: &mut impl Write,
) -> anyhow::Result<Round> {
    let length = settings.length;
    let tps = stage.server.reference(length).await?;
    writeln!(out, "  {:<16} {tps:>8.0}/s", "reference")?;

    let bare = stage.bare();
    let order = json!({
        "measure": "ledger_sql", "wallets": wallets(&bare),
        "application_url": bare.application, "seconds": seconds(length),
    });
    let ledger_sql = carry_out(stage, out, "ledger_sql", &order).await?;

    let used = used_cpu(stage);
    let order = post(&stage.usual(), &stage.usual.address, "uniform", length);
    let wallet_rpc = carry_out(stage, out, "wallet_rpc", &order).await?;
    let cpu = used_cpu(stage).since(used, wallet_rpc);

    let many = match &stage.many {
        Some(service) => {
            let order = post(&stage.many(), &service.address, "uniform", length);
            Some(carry_out(stage, out, "many wallets", &order).await?)
        }
        None => None,
    };
    let order = post(&stage.usual(), &stage.usual.address, "hot", length);
    let hot_wallet = carry_out(stage, out, "hot_wallet", &order).await?;

    let deadlocks = stage.server.count(DEADLOCKS).await?;
    let order = post(&stage.usual(), &stage.usual.address, "opposed", length);
    let opposed_pairs = carry_out(stage, out, "opposed_pairs", &order).await?;
    let deadlocks = stage.server.count(DEADLOCKS).await? - deadlocks;

    let order = json!({
        "measure": "create", "address": stage.usual.address,
        "callers": OPENING_CALLERS, "seconds": seconds(length),
    });
    let wallet_create = carry_out(stage, out, "wallet_create", &order).await?;
    let order = json!({
        "measure": "read", "wallets": wallets(&stage.usual()), "address": stage.usual.address,
        "callers": CALLERS, "seconds": seconds(length),
    });
    let balance_read = carry_out(stage, out, "balance_read", &order).await?;
    Ok(Round {
        tpcb_c32_tps: tps,
        ledger_sql,
        wallet_rpc,
        cpu,
        many_wallets: many,
        hot_wallet,
        opposed_pairs,
        deadlocks,
        wallet_create,
        balance_read,
    })
}

/// The load of `wallet_rpc` for minutes. A checkpoint is asked for in its
/// middle, so that a short soak has one too; autovacuum comes by itself.
async fn soak(length: Duration, stage: &mut Stage, out: &mut impl Write) -> anyhow::Result<Soak> {
    let checkpoints = stage.server.count(CHECKPOINTS).await?;
    let mut server = stage.server.superuser().await?;
    let checkpoint = async move {
        tokio::time::sleep(length / 2).await;
        sqlx::query("CHECKPOINT").execute(&mut server).await
    };
    let order = post(&stage.usual(), &stage.usual.address, "uniform", length);
    let checkpointing = tokio::spawn(checkpoint);
    let load = carry_out(stage, out, "soak", &order).await?;
    checkpointing.await??;
    Ok(Soak {
        load,
        checkpoints: stage.server.count(CHECKPOINTS).await? - checkpoints,
        autovacuums: stage.autovacuums().await?,
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
        "  {name:<16} {:>8.0}/s   p50 {:>6.1} ms   p99 {:>6.1} ms   {unpublished} events behind",
        load.per_s, load.p50_ms, load.p99_ms
    )?;
    Ok(load)
}

fn post(urls: &Urls, address: &str, shape: &str, length: Duration) -> Value {
    json!({
        "measure": "post", "wallets": wallets(urls), "address": address, "shape": shape,
        "callers": CALLERS, "seconds": seconds(length),
    })
}

fn wallets(urls: &Urls) -> Value {
    json!({"database_url": urls.owner, "limit": urls.wallets})
}

/// CPU times by which two moments are compared.
#[derive(Clone, Copy)]
struct Used {
    wallet: Duration,
    postgres: Duration,
}

fn used_cpu(stage: &Stage) -> Used {
    Used {
        wallet: cpu::used_by_tree(stage.usual.pid),
        postgres: cpu::used_by_tree(stage.server.pid),
    }
}

impl Used {
    /// The CPU time of each posting between two moments, the warm-up included.
    fn since(self, before: Self, load: Load) -> CpuTime {
        CpuTime::of(
            self.wallet.saturating_sub(before.wallet),
            self.postgres.saturating_sub(before.postgres),
            load.done_with_warm_up,
        )
    }
}

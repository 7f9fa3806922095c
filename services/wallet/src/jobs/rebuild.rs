//! Works on the rebuilds that operators ask for, one after another.
//!
//! A rebuild remembers the last wallet that is done. Whoever works on it holds a
//! lease; when that process ends, another one goes on after that wallet. To mend
//! a wallet twice changes nothing, so an overtaken worker does no harm.

pub(crate) mod wallet;
pub(crate) mod watch;

use std::time::Duration;

use bursar_aip::id::WalletId;
use bursar_server::{crash_point, now};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use self::wallet::{Compared, Mode, Stopped};
use self::watch::{LEASE, Watch};
use super::pace::Share;
use crate::store::rebuilds::{self, Counts, Rebuild, RebuildStatus};

/// How often it looks for work.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many wallets are done between two records of the progress.
const PAGE: i64 = 50;
/// The share of the time, in percent, that a rebuild takes.
const SHARE_PERCENT: u32 = 50;

/// Runs until `shutdown`.
pub async fn run(pool: PgPool, shutdown: CancellationToken) -> anyhow::Result<()> {
    while !shutdown.is_cancelled() {
        match work(&pool, &shutdown).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "a rebuild waits; trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}

/// Works on one rebuild until it is done or has to stop. Says whether there was
/// one.
pub async fn work(pool: &PgPool, shutdown: &CancellationToken) -> Result<bool, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let claimed = rebuilds::claim(&mut connection, LEASE.as_secs_f64()).await?;
    drop(connection);
    let Some((mut rebuild, epoch)) = claimed else {
        return Ok(false);
    };
    crash_point!("rebuild.after_claim");
    let share = Share::percent(SHARE_PERCENT);
    let mut watch = Watch::leased(
        pool.clone(),
        rebuild.clone(),
        epoch,
        share,
        shutdown.clone(),
    );
    let outcome = go_on(pool, &mut rebuild, &mut watch).await;
    match outcome {
        Ok(()) => {
            tracing::info!(rebuild = %rebuild.id, checked = rebuild.counts.checked,
                differences = rebuild.counts.differences, "a rebuild is done");
            Ok(true)
        }
        Err(Stopped::Told) => {
            // If the lease is still ours, the next process need not wait for its end.
            let _ = watch.record(&rebuild, Duration::ZERO).await;
            Ok(true)
        }
        Err(Stopped::Database(error)) => Err(error),
    }
}

async fn go_on(pool: &PgPool, rebuild: &mut Rebuild, watch: &mut Watch) -> Result<(), Stopped> {
    if rebuild.total == 0 {
        rebuild.total = total(pool, rebuild).await?;
        watch.record(rebuild, LEASE).await?;
    }
    loop {
        let wallets = next(pool, rebuild).await?;
        if wallets.is_empty() {
            break;
        }
        for wallet in wallets {
            let compared = wallet::compare(pool, wallet, mode(rebuild.dry_run), watch).await?;
            count(&mut rebuild.counts, &compared);
            rebuild.cursor = Some(wallet);
            // What was mended is no difference to whoever compares it again.
            if compared.is_rebuilt {
                watch.record(rebuild, LEASE).await?;
            }
            watch.breathe().await?;
        }
        watch.record(rebuild, LEASE).await?;
    }
    rebuild.status = RebuildStatus::Completed;
    rebuild.finished_at = Some(now());
    watch.record(rebuild, Duration::ZERO).await
}

async fn total(pool: &PgPool, rebuild: &Rebuild) -> Result<i64, sqlx::Error> {
    if rebuild.wallet.is_some() {
        return Ok(1);
    }
    let mut connection = pool.acquire().await?;
    rebuilds::count_wallets(&mut connection, &rebuild.tenant, rebuild.created_at).await
}

/// The wallets after the last one that is done. Those that were opened since the
/// rebuild was asked for are projected as they ought to be from the start.
async fn next(pool: &PgPool, rebuild: &Rebuild) -> Result<Vec<WalletId>, sqlx::Error> {
    if let Some(wallet) = rebuild.wallet {
        let is_done = rebuild.cursor == Some(wallet);
        return Ok(if is_done { Vec::new() } else { vec![wallet] });
    }
    let mut connection = pool.acquire().await?;
    let (tenant, at) = (&rebuild.tenant, rebuild.created_at);
    rebuilds::next_wallets(&mut connection, tenant, at, rebuild.cursor, PAGE).await
}

pub(crate) fn mode(dry_run: bool) -> Mode {
    if dry_run { Mode::Look } else { Mode::Mend }
}

/// Counts a wallet that was compared.
pub(crate) fn count(counts: &mut Counts, compared: &Compared) {
    let differs = compared.projections > 0 || compared.is_balance_wrong;
    counts.checked += 1;
    counts.differing += i64::from(differs);
    counts.rebuilt += i64::from(compared.is_rebuilt);
    counts.differences += compared.projections;
    counts.balance_differences += i64::from(compared.is_balance_wrong);
}

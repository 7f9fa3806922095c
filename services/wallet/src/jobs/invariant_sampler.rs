//! Asks the invariants of a sample of wallets, over and over, so that a broken
//! one shows in the metrics within minutes and not at the next `verify`.
//!
//! Each sample is read in one snapshot that is soon given back. Half of its
//! wallets are those that changed last, where a fault of ours would begin; the
//! others are any, where somebody else's hand would show. Of each wallet the
//! latest entries are read, and some from anywhere before.
//!
//! What is found is logged once with its ids, and counted for as long as the
//! process runs: nothing that was broken goes unseen because the next sample
//! missed it.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::samples::{self, Offence, Windows};

/// How often a sample is taken.
const INTERVAL: Duration = Duration::from_secs(5);
/// How many wallets a sample has of each kind.
const WALLETS: i64 = 8;
/// How many postings a sample has at most.
const POSTINGS: i64 = 100;
/// How many findings are remembered.
const MAX_FINDINGS: usize = 1_000;
/// The invariants that are sampled, by their numbers in the platform's list.
pub const SAMPLED: [u8; 8] = [1, 2, 3, 4, 5, 6, 8, 9];

/// Something that breaks an invariant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The invariant.
    pub invariant: u8,
    /// The wallet, or for 1 and 2 the posting.
    pub id: Uuid,
    /// The version of the entry, where it is about one.
    pub version: i64,
}

/// What a sample found, and how much it looked at.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// How many wallets, postings or entries each invariant was asked of.
    pub checked: Vec<(u8, i64)>,
    /// What breaks one.
    pub findings: Vec<Finding>,
}

/// Runs until `shutdown`.
pub async fn run(pool: PgPool, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut known = BTreeSet::new();
    report(&known);
    while !shutdown.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.cancelled() => break,
        }
        match sample(&pool).await {
            Ok(sample) => tell(sample, &mut known),
            Err(error) => {
                tracing::warn!(%error, "the invariants were not sampled");
                metrics::counter!("bursar_invariant_sample_failures_total").increment(1);
            }
        }
    }
    Ok(())
}

/// Counts what was looked at, and logs what is new.
fn tell(sample: Sample, known: &mut BTreeSet<Finding>) {
    for (invariant, checked) in sample.checked {
        metrics::counter!("bursar_invariant_checked_total", "invariant" => invariant.to_string())
            .increment(u64::try_from(checked).unwrap_or_default());
    }
    for finding in sample.findings {
        if known.len() < MAX_FINDINGS && known.insert(finding.clone()) {
            let Finding {
                invariant,
                id,
                version,
            } = finding;
            tracing::error!(invariant, %id, version, "an invariant is broken; verify the ledger");
        }
    }
    report(known);
}

/// Says how many findings of each invariant there are, none included.
fn report(known: &BTreeSet<Finding>) {
    for invariant in SAMPLED {
        let of_it = known.iter().filter(|known| known.invariant == invariant);
        let count = u32::try_from(of_it.count()).unwrap_or(u32::MAX);
        metrics::gauge!("bursar_invariant_violations", "invariant" => invariant.to_string())
            .set(f64::from(count));
    }
}

/// Takes one sample.
pub async fn sample(pool: &PgPool) -> Result<Sample, sqlx::Error> {
    let mut transaction = pool
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    let wallets = samples::pick(&mut transaction, WALLETS).await?;
    let sample = ask(&mut transaction, &wallets).await?;
    transaction.rollback().await?;
    Ok(sample)
}

/// Asks every invariant of these wallets.
async fn ask(conn: &mut PgConnection, wallets: &[Uuid]) -> Result<Sample, sqlx::Error> {
    let windows: Windows = samples::windows(conn, wallets).await?;
    let postings = samples::postings(conn, &windows, POSTINGS).await?;
    let of_postings = i64::try_from(postings.len()).unwrap_or(i64::MAX);
    let of_wallets = i64::try_from(wallets.len()).unwrap_or(i64::MAX);
    let of_entries = windows.entries();
    let mut sample = Sample::default();
    let mut add = |invariant, checked, offences: Vec<Offence>| {
        sample.checked.push((invariant, checked));
        let findings = offences.into_iter().map(|offence| Finding {
            invariant,
            id: offence.id,
            version: offence.version,
        });
        sample.findings.extend(findings);
    };
    add(1, of_postings, samples::unbalanced(conn, &postings).await?);
    add(2, of_postings, samples::misnamed(conn, &postings).await?);
    add(3, of_wallets, samples::wrong_balances(conn, wallets).await?);
    let below = samples::below_floor(conn, wallets, &windows).await?;
    add(4, of_wallets, below);
    add(5, of_wallets, samples::wrong_holds(conn, wallets).await?);
    add(6, of_entries, samples::orphans(conn, &windows).await?);
    add(8, of_entries, samples::gaps(conn, &windows).await?);
    add(9, of_entries, samples::unchained(conn, &windows).await?);
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A finding is remembered once, whichever samples meet it again.
    #[test]
    fn findings_are_remembered_once() {
        let finding = |version| Finding {
            invariant: 9,
            id: Uuid::nil(),
            version,
        };
        let mut known = BTreeSet::new();
        for findings in [vec![finding(1)], vec![finding(1), finding(2)], vec![]] {
            let sample = Sample {
                checked: vec![(9, 10)],
                findings,
            };
            tell(sample, &mut known);
        }
        assert_eq!(known.len(), 2);
    }
}

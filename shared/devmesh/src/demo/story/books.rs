//! What there is to read afterwards: the ledger's entries, the audit trail, and
//! whether every invariant holds.

use std::io::Write;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use bursar_money::Money;
use serde_json::Value;

use super::{Call, Mesh, Office, PATIENCE, POLL_INTERVAL, Person, Rest, Teller, number, text};
use crate::verify;

pub(super) async fn entries(
    rest: &Rest,
    person: &Person,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<()> {
    teller.note(&format!("{}, newest first:", person.name))?;
    let call = Call::get(format!(
        "/api/v1/wallet/wallets/{}/entries?page_size=20",
        person.wallet_id
    ))
    .by(&person.token);
    let listed = rest.send(&call).await?.ok("the entries")?;
    for entry in listed["entries"]
        .as_array()
        .context("no entries in the answer")?
    {
        let bucket = text(entry, "/bucket")?;
        let money = |field| number(entry, field).map(|minor| Money::new(person.currency, minor));
        teller.note(&format!(
            "  {:<10} {:>12}  then {:>12}  {}",
            bucket.trim_start_matches("BUCKET_").to_lowercase(),
            money("/amount_minor")?.to_string(),
            money("/balance_after_minor")?.to_string(),
            origin(entry)?,
        ))?;
    }
    Ok(())
}

/// What an entry comes from: a transaction, or what wallet itself did.
fn origin(entry: &Value) -> anyhow::Result<String> {
    let transaction = text(entry, "/transaction_id")?;
    if !transaction.is_empty() {
        return Ok(transaction);
    }
    let kind = text(entry, "/kind")?;
    let kind = kind.trim_start_matches("POSTING_KIND_");
    Ok(kind.to_lowercase().replace('_', " "))
}

pub(super) async fn audit(
    office: &Office<'_>,
    transaction_id: &str,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<()> {
    let path = format!("/api/v1/admin/audit-events?page_size=20&subject={transaction_id}");
    let start = Instant::now();
    loop {
        let call = Call::get(&path).by(&office.operator);
        let listed = office.rest.send(&call).await?.ok("the audit trail")?;
        let events = listed["audit_events"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        // The trail is written from events, a moment after the fact.
        if events
            .iter()
            .any(|event| event["type"] == "transaction.completed")
        {
            for event in events.iter().rev() {
                teller.note(&format!(
                    "{}  {:<24} by {}",
                    text(event, "/occurred_at")?.get(11..23).unwrap_or_default(),
                    text(event, "/type")?,
                    text(event, "/actor")?,
                ))?;
            }
            return Ok(());
        }
        if start.elapsed() >= PATIENCE {
            bail!("the audit trail has no completion of {transaction_id}: {listed}");
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Asks again while the check cannot be made, because PostgreSQL restarts say. A
/// check that was made is final.
async fn report(mesh: &Mesh) -> anyhow::Result<verify::Report> {
    let start = Instant::now();
    loop {
        match verify::verify(mesh.home()).await {
            Err(error) if start.elapsed() >= PATIENCE => return Err(error),
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
            Ok(report) => return Ok(report),
        }
    }
}

pub(super) async fn invariants(
    mesh: &Mesh,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<()> {
    let report = report(mesh).await?;
    let (held, broken): (Vec<_>, Vec<_>) = report.lines.iter().partition(|line| line.holds);
    for line in &broken {
        teller.note(&line.text)?;
    }
    ensure!(broken.is_empty(), "{} invariants are broken", broken.len());
    teller.note(&format!(
        "{} invariants hold (`make verify` lists them)",
        held.len()
    ))?;
    Ok(())
}

//! A hold: money set aside at first, taken in parts, and the rest given back.

use std::io::Write;

use anyhow::ensure;
use bursar_money::Money;
use serde_json::{Value, json};

use super::{CAPTURES_MINOR, HOLD_MINOR, Office, Person, Teller, amount, number, text};

/// Sets some of the guest's money aside and gives the host what the stay costs.
pub(super) async fn stay(
    office: &Office<'_>,
    guest: &Person,
    host: &Person,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<()> {
    let path = format!("/api/v1/wallet/wallets/{}/holds", guest.wallet_id);
    let body = json!({
        "amount": amount(guest, HOLD_MINOR),
        "ttl_seconds": 86_400,
        "description": "a room for a night",
    });
    let placed = office.ask(path, body, "the hold").await?;
    let id = text(&placed, "/hold/hold_id")?;
    tell(guest, &placed, teller)?;

    let path = format!("/api/v1/wallet/holds/{id}:capture");
    let [first, last] = CAPTURES_MINOR;
    for (minor, is_final) in [(first, false), (last, true)] {
        let body = json!({
            "amount": amount(guest, minor),
            "final": is_final,
            "to_wallet_id": host.wallet_id,
        });
        let captured = office.ask(path.clone(), body, "the capture").await?;
        tell(guest, &captured, teller)?;
        let status = text(&captured, "/hold/status")?;
        let has_ended = status != "HOLD_STATUS_ACTIVE";
        ensure!(has_ended == is_final, "the hold is {status}: {captured}");
    }
    Ok(())
}

/// How far the hold of an answer has come.
fn tell(
    person: &Person,
    answer: &Value,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<()> {
    let hold = &answer["hold"];
    let money = |field| number(hold, field).map(|minor| Money::new(person.currency, minor));
    let status = text(hold, "/status")?;
    teller.note(&format!(
        "{:>12}  captured {:>10}  {:<9}  {}",
        money("/amount_minor")?.to_string(),
        money("/captured_minor")?.to_string(),
        status.trim_start_matches("HOLD_STATUS_"),
        text(hold, "/hold_id")?,
    ))?;
    Ok(())
}

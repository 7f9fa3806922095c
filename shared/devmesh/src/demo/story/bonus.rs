//! Bonus money: a campaign with a budget of its own grants some, and it is spent
//! before the wallet's other money.

use std::io::Write;

use anyhow::ensure;
use bursar_money::Money;
use serde_json::json;

use super::{
    BONUS_MINOR, BONUS_SPENT_MINOR, Call, Office, Person, Rest, Teller, amount, number, text,
};

/// Starts a campaign and grants somebody all of its budget.
pub(super) async fn welcome(
    office: &Office<'_>,
    person: &Person,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<()> {
    let body = json!({
        "name": "Welcome",
        "currency_code": person.currency.code(),
        "budget_minor": BONUS_MINOR.to_string(),
        "grant_ttl_seconds": 86_400,
    });
    let path = "/api/v1/wallet/bonus-campaigns".to_owned();
    let created = office.ask(path, body, "the campaign").await?;
    let campaign = text(&created, "/campaign/campaign_id")?;
    let path = format!("/api/v1/wallet/wallets/{}/bonus-grants", person.wallet_id);
    let body = json!({"campaign_id": campaign, "amount": amount(person, BONUS_MINOR)});
    let granted = office.ask(path, body, "the grant").await?;
    teller.note(&format!(
        "{:>12}  of campaign {campaign}  {}",
        Money::new(person.currency, BONUS_MINOR).to_string(),
        text(&granted, "/grant/grant_id")?,
    ))?;
    Ok(())
}

/// What is left of the grant; the rest was spent.
pub(super) async fn left(
    rest: &Rest,
    person: &Person,
    teller: &mut Teller<'_, impl Write>,
) -> anyhow::Result<()> {
    let path = format!("/api/v1/wallet/wallets/{}/bonus-grants", person.wallet_id);
    let call = Call::get(path).by(&person.token);
    let listed = rest.send(&call).await?.ok("the grants")?;
    let remaining = number(&listed, "/grants/0/remaining_minor")?;
    ensure!(
        remaining == BONUS_MINOR - BONUS_SPENT_MINOR,
        "the payment did not take bonus money first: {listed}"
    );
    teller.note(&format!(
        "{:>12}  of it is left",
        Money::new(person.currency, remaining).to_string()
    ))?;
    Ok(())
}

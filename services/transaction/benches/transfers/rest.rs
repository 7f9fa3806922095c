//! `CreateTransfer` by REST, each with a key of its own.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::calls;
use crate::dice::Dice;
use crate::measured::{Measured, Window, collect};
use crate::order::Load;
use crate::payers::Payers;

pub(crate) async fn measure(load: &Load, payers: &Arc<Payers>) -> anyhow::Result<Value> {
    let url = format!("http://{}/api/v1/transactions/transfers", load.address);
    // It keeps a connection for each caller.
    let client = Client::builder().tcp_nodelay(true).build()?;
    let window = Window::starting_now(load.span());
    let mut callers = JoinSet::new();
    for number in 0..load.callers {
        let payers = Arc::clone(payers);
        let (client, url) = (client.clone(), url.clone());
        let mut dice = Dice::new(number);
        callers.spawn(async move {
            let mut measured = Measured::new()?;
            while window.is_open() {
                let begun = Instant::now();
                transfer(&client, &url, &payers, &mut dice).await?;
                measured.note(window, begun, 1, 0);
            }
            Ok(measured)
        });
    }
    collect(window, callers).await
}

async fn transfer(
    client: &Client,
    url: &str,
    payers: &Payers,
    dice: &mut Dice,
) -> anyhow::Result<()> {
    let choice = payers.choose(dice, 1);
    let amount = calls::amount();
    let body = json!({
        "from_wallet_id": choice.from,
        "to_wallet_id": choice.to.first().context("a wallet was chosen")?,
        "amount": {"currency_code": amount.currency_code, "minor_units": amount.minor_units.to_string()},
    });
    let response = client
        .post(url)
        .bearer_auth(choice.token)
        .header("idempotency-key", calls::new_key())
        .json(&body)
        .send()
        .await?;
    let status = response.status();
    let answer: Value = response.json().await?;
    ensure!(
        status == StatusCode::OK && answer["transaction"]["state"] == "TRANSACTION_STATE_COMPLETED",
        "a transfer was answered with {status}: {answer}"
    );
    Ok(())
}

//! The load on the wallet that `make bench` measures.
//!
//! A process of its own, so that its CPU can be told from the service's. It
//! issues the tokens that the service under load trusts, then reads orders from
//! standard input, a line of JSON each, carries one out after the other, and
//! answers each with a line of JSON. The first line it writes says where the
//! issuer is. It ends with its input.

#![expect(
    clippy::float_arithmetic,
    clippy::print_stdout,
    reason = "rates and milliseconds are what it measures, and it writes them"
)]

mod channels;
mod create;
// The load of transfers chooses by the same dice.
#[path = "../../../transaction/benches/transfers/dice.rs"]
mod dice;
mod ledger;
mod measured;
mod order;
mod posting;
mod read;
mod wallets;

use anyhow::Context as _;
use bursar_testkit::Tokens;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::order::Order;
use crate::wallets::Known;

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let tokens = Tokens::start().await;
    println!(
        "{}",
        json!({"jwks_url": tokens.jwks_url, "identity_address": tokens.identity_address})
    );
    let mut known = Known::default();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let order: Order =
            serde_json::from_str(&line).with_context(|| format!("not an order: {line}"))?;
        println!("{}", carry_out(&order, &tokens, &mut known).await?);
    }
    Ok(())
}

async fn carry_out(order: &Order, tokens: &Tokens, known: &mut Known) -> anyhow::Result<Value> {
    match order {
        Order::LedgerSql(order) => {
            let wallets = known.of(&order.wallets).await?;
            ledger::measure(order, &wallets).await
        }
        Order::Post(order) => {
            let wallets = known.of(&order.wallets).await?;
            posting::measure(order, &wallets, tokens).await
        }
        Order::Create(order) => create::measure(order, tokens).await,
        Order::Read(order) => {
            let wallets = known.of(&order.wallets).await?;
            read::measure(order, &wallets, tokens).await
        }
    }
}

//! The load of transfers that `make bench` measures.
//!
//! A process of its own, so that its CPU can be told from the services'. It
//! issues the tokens that the services under load trust, then reads orders from
//! standard input, a line of JSON each, carries one out after the other, and
//! answers each with a line of JSON. The first line it writes says where the
//! issuer is. It ends with its input.

#![expect(
    clippy::float_arithmetic,
    clippy::print_stdout,
    reason = "rates and milliseconds are what it measures, and it writes them"
)]

mod bulk;
mod calls;
mod dice;
#[path = "../../../wallet/benches/load/measured.rs"]
mod measured;
mod order;
mod payers;
mod replay;
mod rest;
mod single;

use anyhow::Context as _;
use bursar_testkit::Tokens;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::order::Order;
use crate::payers::Known;

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
    let payers = known.payers(&order.load().wallets, tokens).await?;
    match order {
        Order::Single(load) => single::measure(load, &payers).await,
        Order::Rest(load) => rest::measure(load, &payers).await,
        Order::Replay(load) => replay::measure(load, &payers).await,
        Order::Bulk(load) => bulk::measure(load, &payers).await,
    }
}

//! `CreateTransfer` by gRPC with keys that were used before: what a caller sees
//! who lost an answer and asks again.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use bursar_contracts::transaction::v1::transaction_service_client::TransactionServiceClient;
use serde_json::Value;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::calls::{self, Call};
use crate::dice::Dice;
use crate::measured::{Measured, Window, collect};
use crate::order::Load;
use crate::payers::Payers;

/// How many transfers each caller makes before the measurement, to ask for
/// them again and again in it.
const CALLS: usize = 50;
/// What an answer has that was given before.
const REPLAYED: &str = "idempotency-replayed";

pub(crate) async fn measure(load: &Load, payers: &Arc<Payers>) -> anyhow::Result<Value> {
    let channels = calls::open(&load.address, load.callers).await?;
    let mut preparing = JoinSet::new();
    for number in 0..load.callers {
        let payers = Arc::clone(payers);
        let channel = channels[number % channels.len()].clone();
        preparing.spawn(async move { prepare(channel, &payers, number).await });
    }
    let mut prepared = Vec::new();
    while let Some(caller) = preparing.join_next().await {
        prepared.push(caller?.context("the transfers to ask for again")?);
    }
    let window = Window::starting_now(load.span());
    let mut callers = JoinSet::new();
    for (mut client, known) in prepared {
        callers.spawn(async move {
            let mut measured = Measured::new()?;
            for call in known.iter().cycle() {
                if !window.is_open() {
                    break;
                }
                let begun = Instant::now();
                let response = call.make(&mut client).await?;
                measured.note(window, begun, 1, 0);
                let replayed = response.metadata().get(REPLAYED);
                ensure!(
                    replayed.is_some_and(|value| value == "true"),
                    "a transfer was made again"
                );
            }
            Ok(measured)
        });
    }
    collect(window, callers).await
}

async fn prepare(
    channel: Channel,
    payers: &Payers,
    number: usize,
) -> anyhow::Result<(TransactionServiceClient<Channel>, Vec<Call>)> {
    let mut client = TransactionServiceClient::new(channel);
    let mut dice = Dice::new(number);
    let mut known = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let call = Call::choose(payers, &mut dice);
        call.make(&mut client).await?;
        known.push(call);
    }
    Ok((client, known))
}

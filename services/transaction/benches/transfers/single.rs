//! `CreateTransfer` by gRPC, each with a key of its own.

use std::sync::Arc;
use std::time::Instant;

use bursar_contracts::transaction::v1::transaction_service_client::TransactionServiceClient;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::calls::{self, Call};
use crate::dice::Dice;
use crate::measured::{Measured, Window, collect};
use crate::order::Load;
use crate::payers::Payers;

pub(crate) async fn measure(load: &Load, payers: &Arc<Payers>) -> anyhow::Result<Value> {
    let channels = calls::open(&load.address, load.callers).await?;
    let window = Window::starting_now(load.span());
    let mut callers = JoinSet::new();
    for number in 0..load.callers {
        let payers = Arc::clone(payers);
        let mut dice = Dice::new(number);
        let mut client = TransactionServiceClient::new(channels[number % channels.len()].clone());
        callers.spawn(async move {
            let mut measured = Measured::new()?;
            while window.is_open() {
                let call = Call::choose(&payers, &mut dice);
                let begun = Instant::now();
                call.make(&mut client).await?;
                measured.note(window, begun, 1, 0);
            }
            Ok(measured)
        });
    }
    collect(window, callers).await
}

//! `CreateBulkTransfer` by gRPC: a user pays a hundred others by one call, each
//! transfer on its own.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use bursar_contracts::transaction::v1::bulk_service_client::BulkServiceClient;
use bursar_contracts::transaction::v1::{
    BulkTransferMode, BulkTransferOrder, BulkTransferState, CreateBulkTransferRequest,
};
use bursar_testkit::with_token;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::calls;
use crate::dice::Dice;
use crate::measured::{Measured, Window, collect};
use crate::order::Load;
use crate::payers::{Choice, Payers};

/// How many transfers each call asks for.
const TRANSFERS: usize = 100;

pub(crate) async fn measure(load: &Load, payers: &Arc<Payers>) -> anyhow::Result<Value> {
    let channels = calls::open(&load.address, load.callers).await?;
    let window = Window::starting_now(load.span());
    let mut callers = JoinSet::new();
    for number in 0..load.callers {
        let payers = Arc::clone(payers);
        let mut dice = Dice::new(number);
        let mut client = BulkServiceClient::new(channels[number % channels.len()].clone());
        callers.spawn(async move {
            let mut measured = Measured::new()?;
            while window.is_open() {
                let choice = payers.choose(&mut dice, TRANSFERS);
                let request = with_token(message(&choice), choice.token);
                let request = calls::with_key(request, &calls::new_key())?;
                let begun = Instant::now();
                let response = client.create_bulk_transfer(request).await?.into_inner();
                let bulk = response.bulk_transfer.context("an answer has it")?;
                ensure!(
                    bulk.state() == BulkTransferState::Completed,
                    "a bulk transfer ended as {bulk:?}"
                );
                measured.note(window, begun, u64::try_from(TRANSFERS)?, 0);
            }
            Ok(measured)
        });
    }
    collect(window, callers).await
}

fn message(choice: &Choice<'_>) -> CreateBulkTransferRequest {
    let transfers = choice
        .to
        .iter()
        .enumerate()
        .map(|(position, to)| BulkTransferOrder {
            item_key: position.to_string(),
            from_wallet_id: choice.from.clone(),
            to_wallet_id: to.clone(),
            amount: Some(calls::amount()),
            ..BulkTransferOrder::default()
        });
    CreateBulkTransferRequest {
        mode: BulkTransferMode::Independent.into(),
        transfers: transfers.collect(),
    }
}

//! `GetWallet` of any wallet, as an operator.

use std::sync::Arc;
use std::time::Instant;

use bursar_aip::id::{UserId, WalletId};
use bursar_contracts::wallet::v1::GetWalletRequest;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_testkit::{Tokens, with_token};
use serde_json::Value;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::channels;
use crate::dice::Dice;
use crate::measured::{Measured, Window, collect};
use crate::order::{Read, span};

pub(crate) async fn measure(
    order: &Read,
    wallets: &Arc<[Uuid]>,
    tokens: &Tokens,
) -> anyhow::Result<Value> {
    let channels = channels::open(&order.address).await?;
    let token = tokens.admin(UserId::generate());
    let window = Window::starting_now(span(order.seconds));
    let mut callers = JoinSet::new();
    for number in 0..order.callers {
        let wallets = Arc::clone(wallets);
        let mut dice = Dice::new(number);
        let mut client = WalletServiceClient::new(channels::of(&channels, number));
        let token = token.clone();
        callers.spawn(async move {
            let mut measured = Measured::new()?;
            while window.is_open() {
                let wallet = WalletId::from_uuid(wallets[dice.below(wallets.len())]);
                let request = GetWalletRequest {
                    wallet_id: wallet.to_string(),
                    ..GetWalletRequest::default()
                };
                let begun = Instant::now();
                client.get_wallet(with_token(request, &token)).await?;
                measured.note(window, begun, 1, 0);
            }
            Ok(measured)
        });
    }
    collect(window, callers).await
}

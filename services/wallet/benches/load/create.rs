//! `CreateWallet`, each with an idempotency key, by many users.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::CreateWalletRequest;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_testkit::{Tokens, with_token};
use serde_json::Value;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::channels;
use crate::measured::{Measured, Window, collect};
use crate::order::{Create, span};

/// The service's default bound on the wallets of one user is 100; with so many
/// users nobody comes near it.
const USERS: usize = 10_000;

pub(crate) async fn measure(order: &Create, tokens: &Tokens) -> anyhow::Result<Value> {
    let channels = channels::open(&order.address).await?;
    let users: Arc<[String]> = (0..USERS)
        .map(|_| tokens.user(UserId::generate()))
        .collect();
    let next = Arc::new(AtomicUsize::new(0));
    let window = Window::starting_now(span(order.seconds));
    let mut callers = JoinSet::new();
    for number in 0..order.callers {
        let users = Arc::clone(&users);
        let next = Arc::clone(&next);
        let mut client = WalletServiceClient::new(channels::of(&channels, number));
        callers.spawn(async move {
            let mut measured = Measured::new()?;
            while window.is_open() {
                let user = next.fetch_add(1, Ordering::Relaxed) % users.len();
                let request = CreateWalletRequest {
                    currency_code: "EUR".to_owned(),
                };
                let mut request = with_token(request, &users[user]);
                let key = Uuid::now_v7().to_string().parse()?;
                request.metadata_mut().insert("idempotency-key", key);
                let begun = Instant::now();
                client.create_wallet(request).await?;
                measured.note(window, begun, 1, 0);
            }
            Ok(measured)
        });
    }
    collect(window, callers).await
}

//! What is current when a watch begins: the user's wallets and latest transactions.

use std::time::Instant;

use bursar_aip::id::UserId;
use bursar_auth::Caller;
use bursar_contracts::transaction::v1::{WatchedBalance, WatchedTransaction, WatchedWallet};
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_contracts::wallet::v1::{Bucket, ListWalletsRequest, Wallet};
use bursar_server::crash_point;
use sqlx::PgPool;
use tonic::Request;
use tonic::transport::Channel;

use super::error::Error;
use crate::contract;
use crate::explain::entries::prepare;
use crate::store::lists::{self, Page};

/// How many transactions are told.
const TRANSACTIONS: i64 = 50;
/// How many pages of a hundred wallets are read.
const MAX_PAGES: usize = 10;

/// The user's latest transactions, oldest first.
pub(crate) async fn transactions(
    pool: &PgPool,
    caller: &Caller,
    user: UserId,
) -> Result<Vec<WatchedTransaction>, Error> {
    let mut conn = pool.acquire().await?;
    let page = Page {
        before: None,
        limit: TRANSACTIONS,
    };
    let mut latest = lists::of_user(&mut conn, &caller.tenant, user, None, page).await?;
    latest.reverse();
    Ok(latest
        .iter()
        .map(|stored| WatchedTransaction {
            transaction: Some(contract::transaction(stored)),
            ..WatchedTransaction::default()
        })
        .collect())
}

/// The user's wallets, as wallet tells them to the user.
pub(crate) async fn wallets(
    client: &WalletServiceClient<Channel>,
    caller: &Caller,
    user: UserId,
    deadline: Instant,
) -> Result<Vec<WatchedWallet>, Error> {
    let owner = user.to_string();
    let mut told = Vec::new();
    let mut page_token = String::new();
    for _ in 0..MAX_PAGES {
        let mut request = Request::new(ListWalletsRequest {
            page_size: 100,
            page_token,
        });
        prepare(&mut request, caller, deadline).map_err(|_| Error::Unavailable)?;
        crash_point!("watch.before_wallets");
        let page = client.clone().list_wallets(request).await;
        crash_point!("watch.after_wallets");
        let page = page.map_err(|status| {
            tracing::warn!(code = ?status.code(), "wallet does not tell a user's wallets");
            Error::Unavailable
        })?;
        let page = page.into_inner();
        // An operator is shown other users' wallets as well.
        let own = page.wallets.into_iter();
        told.extend(
            own.filter(|wallet| wallet.owner_user_id == owner)
                .map(watched),
        );
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(told)
}

fn watched(wallet: Wallet) -> WatchedWallet {
    let balance = wallet.balance.unwrap_or_default();
    let of = |bucket: Bucket, balance_minor| WatchedBalance {
        bucket: bucket.into(),
        balance_minor,
    };
    WatchedWallet {
        wallet_id: wallet.wallet_id,
        currency_code: wallet.currency_code,
        version: wallet.version,
        balances: vec![
            of(Bucket::Available, balance.available_minor),
            of(Bucket::Held, balance.held_minor),
            of(Bucket::Bonus, balance.bonus_minor),
        ],
        ..WatchedWallet::default()
    }
}
